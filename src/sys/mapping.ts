/**
 * A file mapped shared into this process. The mapping owns its views: they are reached through it only, and
 * after `unmap()` reaching for them asserts, so that no view outlives the memory (touching it would be a crash).
 *
 * @module
 */

import { assert } from "../assert.ts";
import { MAP_NORESERVE, MAP_SHARED, PROT_READ, PROT_WRITE } from "../wire/linux.ts";
import { mapAddress, NativeMemory, unmapAddress } from "./native_memory.ts";

/** `size` bytes of `fd` from `offset` (a multiple of the page size), read-write and shared. */
export class Mapping {
  readonly address: number;
  readonly size: number;
  #memory: NativeMemory | null;

  constructor(fd: number, offset: number, size: number, protection = PROT_READ | PROT_WRITE) {
    this.size = size;
    this.address = mapAddress(null, size, protection, MAP_SHARED | MAP_NORESERVE, fd, offset);
    this.#memory = new NativeMemory(this.address, size);
  }

  /** The mapped bytes, for as long as they are mapped. Do not keep it beyond the mapping's owner. */
  get memory(): NativeMemory {
    assert(this.#memory !== null, "mapping is used while mapped");
    return this.#memory;
  }

  get mapped(): boolean {
    return this.#memory !== null;
  }

  unmap(): void {
    if (this.#memory === null) return;
    this.#memory = null;
    unmapAddress(this.address, this.size);
  }
}
