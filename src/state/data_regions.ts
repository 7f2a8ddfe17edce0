/**
 * Mappings of the DAX window that the front end has handed back as memory of the guest (QEMU does with each of them): where the guest's own
 * buffers may lie, as when it writes to one file from a mapping of another.
 *
 * They come and go in the midst of being mapped and unmapped, when the queues must not be bothered; so the main thread keeps
 * them here, and a queue looks when an address is in none of the regions that it knows.
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";
import {
  DATA_REGION,
  DATA_REGION_COUNT_MAX,
  DATA_REGION_OFFSET,
  DAX_HEADER,
  STATE_HEADER,
} from "./layout.ts";
import { Mutex } from "./mutex.ts";

const TABLE = DATA_REGION_OFFSET / 8;
const SLOT = DATA_REGION.SIZE / 8;
const GUEST = DATA_REGION.GUEST / 8;
const HOST = DATA_REGION.HOST / 8;
const LENGTH = DATA_REGION.LENGTH / 8;
const COUNT = (STATE_HEADER.DAX + DAX_HEADER.REGION_COUNT) >>> 2;

/** The list, seen by one thread. */
export class DataRegions {
  /** Where the region that {@linkcode DataRegions.find} found begins, here and in the guest, and its size. */
  guestAddress = 0;
  hostAddress = 0;
  size = 0;
  readonly #f64: Float64Array;
  readonly #i32: Int32Array;
  readonly #mutex: Mutex;

  constructor(state: NativeMemory) {
    this.#f64 = state.f64;
    this.#i32 = state.i32;
    this.#mutex = new Mutex(state, STATE_HEADER.DAX + DAX_HEADER.REGION_MUTEX);
  }

  /** False if there is no room. */
  add(guestAddress: number, hostAddress: number, size: number): boolean {
    this.#mutex.lock();
    const count = this.#i32[COUNT]!;
    const hasRoom = count < DATA_REGION_COUNT_MAX;
    if (hasRoom) {
      const at = TABLE + count * SLOT;
      this.#f64[at + GUEST] = guestAddress;
      this.#f64[at + HOST] = hostAddress;
      this.#f64[at + LENGTH] = size;
      this.#i32[COUNT] = count + 1;
    }
    this.#mutex.unlock();
    return hasRoom;
  }

  remove(guestAddress: number): void {
    this.#mutex.lock();
    const found = this.#indexOf(guestAddress);
    if (found >= 0) {
      const last = --this.#i32[COUNT]!;
      for (let i = 0; i < SLOT; i++) {
        this.#f64[TABLE + found * SLOT + i] = this.#f64[TABLE + last * SLOT + i]!;
      }
    }
    this.#mutex.unlock();
  }

  /** Whether an address lies in one. */
  find(guestAddress: number): boolean {
    if (Atomics.load(this.#i32, COUNT) === 0) return false;
    this.#mutex.lock();
    const found = this.#indexOf(guestAddress);
    if (found >= 0) {
      const at = TABLE + found * SLOT;
      this.guestAddress = this.#f64[at + GUEST]!;
      this.hostAddress = this.#f64[at + HOST]!;
      this.size = this.#f64[at + LENGTH]!;
    }
    this.#mutex.unlock();
    return found >= 0;
  }

  #indexOf(guestAddress: number): number {
    for (let i = this.#i32[COUNT]! - 1; i >= 0; i--) {
      const start = this.#f64[TABLE + i * SLOT + GUEST]!;
      const end = start + this.#f64[TABLE + i * SLOT + LENGTH]!;
      if (guestAddress >= start && guestAddress < end) return i;
    }
    return -1;
  }
}
