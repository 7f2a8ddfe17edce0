/**
 * Open files and directories, shared by all queues. A handle (fh) is the slot number in its low half and the
 * slot's generation in its high half, so that a stale or forged fh finds nothing.
 *
 * As with inodes, `acquire` … `release` around each use keeps the descriptor open while a request works on it.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { libc } from "../sys/libc.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import {
  DIRECTORY_MUTEX_COUNT,
  HANDLE_COUNT_MAX,
  HANDLE_SLOT,
  HANDLE_TABLE_OFFSET,
  STATE_HEADER,
} from "./layout.ts";
import { Mutex } from "./mutex.ts";

const TABLE = HANDLE_TABLE_OFFSET >>> 2;
const SLOT_WORDS = HANDLE_SLOT.SIZE >>> 2;
const REFERENCES = HANDLE_SLOT.REFERENCES >>> 2;
const FD = HANDLE_SLOT.FD >>> 2;
const NODEID = HANDLE_SLOT.NODEID >>> 2;
const INODE = HANDLE_SLOT.INODE >>> 2;
const FLAGS = HANDLE_SLOT.FLAGS >>> 2;
const GENERATION = HANDLE_SLOT.GENERATION >>> 2;
const NEXT = HANDLE_SLOT.NEXT >>> 2;
const CURSOR_LO = HANDLE_SLOT.CURSOR_LO >>> 2;
const CURSOR_HI = HANDLE_SLOT.CURSOR_HI >>> 2;

const FRESH = STATE_HEADER.HANDLE_FRESH >>> 2;
const FREE = STATE_HEADER.HANDLE_FREE >>> 2;
const USED = STATE_HEADER.HANDLE_USED >>> 2;

/** The table, seen by one thread. Slot 0 is never used, so that fh 0 names nothing. */
export class HandleTable {
  readonly #u32: Uint32Array;
  readonly #i32: Int32Array;
  readonly #mutex: Mutex;
  readonly #closed: (nodeid: number) => void;
  readonly #directoryMutexes: readonly Mutex[];

  /** `closed` is told of each handle that is gone: `nodeid`'s inode need not be kept for it any more. */
  constructor(memory: NativeMemory, closed: (nodeid: number) => void) {
    this.#closed = closed;
    this.#u32 = memory.u32;
    this.#i32 = memory.i32;
    this.#mutex = new Mutex(memory, STATE_HEADER.HANDLE_MUTEX);
    this.#directoryMutexes = Array.from(
      { length: DIRECTORY_MUTEX_COUNT },
      (_, i) => new Mutex(memory, STATE_HEADER.DIRECTORY_MUTEXES + i * 4),
    );
    this.#mutex.lock();
    if (this.#u32[FRESH] === 0) this.#u32[FRESH] = 1;
    this.#mutex.unlock();
  }

  /** Handles open now. */
  get count(): number {
    return Atomics.load(this.#u32, USED);
  }

  /**
   * Takes `fd` over, and one hold on the inode, and returns its slot; 0 if the table is full (then the caller keeps both). An open file keeps its inode,
   * so that its nodeid means no other.
   */
  insert(fd: number, nodeid: number, flags: number): number {
    this.#mutex.lock();
    let slot = this.#u32[FREE]!;
    if (slot !== 0) {
      this.#u32[FREE] = this.#u32[this.#word(slot) + NEXT]!;
    } else if (this.#u32[FRESH]! < HANDLE_COUNT_MAX) {
      slot = this.#u32[FRESH]!;
      Atomics.store(this.#u32, FRESH, slot + 1);
    }
    this.#mutex.unlock();
    if (slot === 0) return 0;
    const word = this.#word(slot);
    this.#i32[word + FD] = fd;
    this.#u32[word + NODEID] = nodeid;
    this.#u32[word + INODE] = nodeid;
    this.#u32[word + FLAGS] = flags;
    this.#u32[word + CURSOR_LO] = 0;
    this.#u32[word + CURSOR_HI] = 0;
    Atomics.add(this.#u32, USED, 1);
    Atomics.store(this.#u32, word + REFERENCES, 1);
    return slot;
  }

  /** The high half of a slot's fh. */
  generation(slot: number): number {
    return this.#u32[this.#word(slot) + GENERATION]!;
  }

  /** Pins the handle if fh names an open one of this inode. */
  acquire(slot: number, generation: number, nodeid: number): boolean {
    if (slot <= 0 || slot >= Atomics.load(this.#u32, FRESH)) return false;
    const word = this.#word(slot);
    const index = word + REFERENCES;
    let references = Atomics.load(this.#u32, index);
    while (references !== 0) {
      const seen = Atomics.compareExchange(this.#u32, index, references, references + 1);
      if (seen === references) {
        if (this.#u32[word + GENERATION] === generation && this.#u32[word + NODEID] === nodeid) {
          return true;
        }
        this.release(slot);
        return false;
      }
      references = seen;
    }
    return false;
  }

  release(slot: number): void {
    const word = this.#word(slot);
    const before = Atomics.sub(this.#u32, word + REFERENCES, 1);
    assert(before > 0, "a handle is released once for each acquire");
    if (before === 1) this.#free(slot);
  }

  /**
   * RELEASE of an acquired handle: it is not found any more from here on, and closed when its last user is done.
   * False if another queue closed it first.
   */
  close(slot: number): boolean {
    const word = this.#word(slot);
    this.#mutex.lock();
    const open = this.#u32[word + NODEID] !== 0;
    this.#u32[word + NODEID] = 0;
    this.#mutex.unlock();
    if (open) this.release(slot);
    return open;
  }

  /** Closes all, at DESTROY, a new INIT, or the end of a connection. No request may be running. */
  closeAll(): void {
    const end = this.#u32[FRESH]!;
    for (let slot = 1; slot < end; slot++) {
      if (this.#u32[this.#word(slot) + REFERENCES] !== 0) this.close(slot);
    }
  }

  fd(slot: number): number {
    return this.#i32[this.#word(slot) + FD]!;
  }

  flags(slot: number): number {
    return this.#u32[this.#word(slot) + FLAGS]!;
  }

  cursorLo(slot: number): number {
    return this.#u32[this.#word(slot) + CURSOR_LO]!;
  }

  cursorHi(slot: number): number {
    return this.#u32[this.#word(slot) + CURSOR_HI]!;
  }

  setCursor(slot: number, lo: number, hi: number): void {
    const word = this.#word(slot);
    this.#u32[word + CURSOR_LO] = lo;
    this.#u32[word + CURSOR_HI] = hi;
  }

  /** Guards the position of a directory's descriptor, for one reader at a time. Some handles share one. */
  directoryMutex(slot: number): Mutex {
    return this.#directoryMutexes[slot & (DIRECTORY_MUTEX_COUNT - 1)]!;
  }

  #word(slot: number): number {
    return TABLE + slot * SLOT_WORDS;
  }

  #free(slot: number): void {
    const word = this.#word(slot);
    const fd = this.#i32[word + FD]!;
    this.#i32[word + FD] = -1;
    this.#u32[word + GENERATION]!++;
    Atomics.sub(this.#u32, USED, 1);
    const nodeid = this.#u32[word + INODE]!;
    this.#mutex.lock();
    this.#u32[word + NEXT] = this.#u32[FREE]!;
    this.#u32[FREE] = slot;
    this.#mutex.unlock();
    libc.close(fd);
    this.#closed(nodeid);
  }
}
