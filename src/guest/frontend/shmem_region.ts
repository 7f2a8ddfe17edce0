/**
 * A shared-memory region of the device (virtio 1.3, 2.10): address space of ours in which the daemon has
 * pieces of files mapped (vhost-user: SHMEM_MAP).
 *
 * The rules are the specification's: a mapping may not lie over another, and one is removed as a whole.
 *
 * @module
 */

import type { Status } from "../../sys/errno.ts";
import { EEXIST, EINVAL, ENOENT } from "../../sys/errno.ts";
import { libc, status } from "../../sys/libc.ts";
import { mapAddress, NativeMemory, unmapAddress } from "../../sys/native_memory.ts";
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from "../../wire/linux.ts";

const PAGE_SIZE = 4096;

/** Address space of `size` bytes where nothing is accessible until the daemon maps something. */
export class ShmemRegion implements Disposable {
  readonly size: number;
  readonly address: number;
  /** Length by offset of each live mapping. */
  readonly #mappings = new Map<number, number>();
  #released = false;

  constructor(size: number) {
    this.size = size;
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    this.address = mapAddress(null, size, PROT_NONE, flags, -1, 0);
  }

  /** The bytes. Touching what is not mapped is a crash (SIGSEGV), touching beyond a file's end, too (SIGBUS). */
  get bytes(): NativeMemory {
    return new NativeMemory(this.address, this.size);
  }

  /** Live mappings as [offset, length], for whoever wants to look. */
  get mappings(): ReadonlyMap<number, number> {
    return this.#mappings;
  }

  /** vhost-user: SHMEM_MAP. Returns 0 or a negative errno. */
  map(offset: number, length: number, fd: number, fdOffset: number, writable: boolean): Status {
    if (!this.#holds(offset, length) || fdOffset % PAGE_SIZE !== 0) return -EINVAL;
    for (const [start, size] of this.#mappings) {
      if (offset < start + size && start < offset + length) return -EEXIST;
    }
    const protection = PROT_READ | (writable ? PROT_WRITE : 0);
    const result = this.#place(offset, length, protection, MAP_SHARED, fd, fdOffset);
    if (result === 0) this.#mappings.set(offset, length);
    return result;
  }

  /** vhost-user: SHMEM_UNMAP. Returns 0 or a negative errno. */
  unmap(offset: number, length: number): Status {
    if (this.#mappings.get(offset) !== length) return -ENOENT;
    this.#mappings.delete(offset);
    return this.#place(offset, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }

  /** Removes every mapping, as a reset of the device does. */
  unmapAll(): void {
    for (const [offset, length] of [...this.#mappings]) this.unmap(offset, length);
  }

  [Symbol.dispose](): void {
    if (this.#released) return;
    this.#released = true;
    unmapAddress(this.address, this.size);
  }

  #holds(offset: number, length: number): boolean {
    return length > 0 && offset % PAGE_SIZE === 0 && length % PAGE_SIZE === 0 &&
      offset + length <= this.size;
  }

  #place(
    offset: number,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    fdOffset: number,
  ): Status {
    const address = Deno.UnsafePointer.create(BigInt(this.address + offset));
    const result = libc.mmap(
      address,
      BigInt(length),
      protection,
      flags | MAP_FIXED | MAP_NORESERVE,
      fd,
      BigInt(fdOffset),
    );
    const failed = result === null || Deno.UnsafePointer.value(result) !==
        BigInt(this.address + offset);
    return failed ? status(-1) : 0;
  }
}
