/**
 * For each mount inside the shared directory, a descriptor that open_by_handle_at(2) takes.
 *
 * @module
 */

import { libc } from "../sys/libc.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import { MOUNT_COUNT_MAX, MOUNT_SLOT, MOUNT_TABLE_OFFSET, STATE_HEADER } from "./layout.ts";
import { Mutex } from "./mutex.ts";

const TABLE = MOUNT_TABLE_OFFSET >>> 2;
const SLOT_WORDS = MOUNT_SLOT.SIZE >>> 2;
const FD = MOUNT_SLOT.FD >>> 2;
const USED = STATE_HEADER.MOUNT_USED >>> 2;

/**
 * The table, seen by one thread. Entries are added as mounts are met, and all but the root's dropped when a session
 * ends, so that the host can unmount them.
 */
export class MountTable {
  readonly #i32: Int32Array;
  readonly #mutex: Mutex;

  constructor(memory: NativeMemory) {
    this.#i32 = memory.i32;
    this.#mutex = new Mutex(memory, STATE_HEADER.MOUNT_MUTEX);
  }

  /** Mounts that have a descriptor. */
  get count(): number {
    return Atomics.load(this.#i32, USED);
  }

  /** The descriptor for a mount, or -1. */
  fd(mountId: number): number {
    const count = Atomics.load(this.#i32, USED);
    for (let slot = 0; slot < count; slot++) {
      const word = TABLE + slot * SLOT_WORDS;
      if (this.#i32[word] === mountId) return this.#i32[word + FD]!;
    }
    return -1;
  }

  /** Takes `fd` over (closing it if the mount is there already); false if the table is full (the caller keeps it). */
  insert(mountId: number, fd: number): boolean {
    this.#mutex.lock();
    const count = this.#i32[USED]!;
    const known = this.fd(mountId) >= 0;
    const inserted = !known && count < MOUNT_COUNT_MAX;
    if (inserted) {
      const word = TABLE + count * SLOT_WORDS;
      this.#i32[word] = mountId;
      this.#i32[word + FD] = fd;
      Atomics.store(this.#i32, USED, count + 1);
    }
    this.#mutex.unlock();
    if (known) libc.close(fd);
    return known || inserted;
  }

  /** Closes all but the first entry, the root's. No inode is held by handle any more. */
  keepFirst(): void {
    this.#mutex.lock();
    const count = this.#i32[USED]!;
    Atomics.store(this.#i32, USED, Math.min(count, 1));
    for (let slot = 1; slot < count; slot++) {
      libc.close(this.#i32[TABLE + slot * SLOT_WORDS + FD]!);
    }
    this.#mutex.unlock();
  }
}
