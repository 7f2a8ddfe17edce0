/**
 * A lock in shared memory, for threads of one process or of several (futex(2)). Uncontended it costs one
 * compare-and-swap, 20 ns, and no system call.
 *
 * @module
 */

import { ARCHITECTURE } from "../sys/architecture.ts";
import { libc } from "../sys/libc.ts";
import type { NativeMemory } from "../sys/native_memory.ts";

const FREE = 0;
const HELD = 1;
/** Held, and somebody may be asleep in the kernel. */
const CONTENDED = 2;

/** linux/futex.h */
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;

/** The lock whose state is the 32-bit word at `offset` of `memory`. Not recursive. */
export class Mutex {
  readonly #words: Int32Array;
  readonly #index: number;
  readonly #pointer: Deno.PointerObject;

  constructor(memory: NativeMemory, offset: number) {
    this.#words = memory.i32;
    this.#index = offset >>> 2;
    this.#pointer = memory.pointerAt(offset);
  }

  lock(): void {
    if (Atomics.compareExchange(this.#words, this.#index, FREE, HELD) !== FREE) this.#lockSlow();
  }

  #lockSlow(): void {
    // Announcing CONTENDED before sleeping makes the holder's unlock() wake us.
    while (Atomics.exchange(this.#words, this.#index, CONTENDED) !== FREE) {
      libc.futex(ARCHITECTURE.syscalls.futex, this.#pointer, FUTEX_WAIT, CONTENDED, null);
    }
  }

  unlock(): void {
    if (Atomics.exchange(this.#words, this.#index, FREE) === CONTENDED) {
      libc.futex(ARCHITECTURE.syscalls.futex, this.#pointer, FUTEX_WAKE, 1, null);
    }
  }
}
