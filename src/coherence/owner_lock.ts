/**
 * Locks in memory that several programs share, any of which may be killed while it holds one: the word says who holds it. Who waits for long
 * has it looked into whether that daemon is still alive.
 *
 * What is done under such a lock must be good at any instant, since the holder may never come to its end.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { ARCHITECTURE } from "../sys/architecture.ts";
import { libc } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { TIMESPEC } from "../wire/linux.ts";

/** Somebody may be asleep in the kernel. */
const CONTENDED = 1 << 30;
const SPINS = 200;
/** After which the holder is looked at. */
const PATIENCE_NS = 20_000_000;

/** linux/futex.h */
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;

/** The word of a lock that is held by a thread of a daemon; never 0. */
export function holderWord(owner: number, thread: number): number {
  return (owner * 256 + thread) + 1;
}

/** The daemon that holds a lock whose word is this, not 0. */
export function holderOf(word: number): number {
  return ((word & ~CONTENDED) - 1) >>> 8;
}

/** Frees a lock that a dead daemon holds. The word was seen in it. */
export function freeDeadLock(memory: NativeMemory, index: number, word: number): void {
  if (Atomics.compareExchange(memory.i32, index, word, 0) !== word) return;
  libc.futex(ARCHITECTURE.syscalls.futex, memory.pointerAt(index * 4), FUTEX_WAKE, 1 << 20, null);
}

/** All locks in one piece of memory, as one thread takes them. Not recursive. */
export class OwnerLocks {
  readonly #memory: NativeMemory;
  readonly #words: Int32Array;
  readonly #me: number;
  readonly #lookAt: (owner: number) => void;
  readonly #timeout: Deno.PointerObject;

  /** `lookAt` is told of a daemon that holds a lock for long: if it is dead, its locks are to be freed. */
  constructor(memory: NativeMemory, me: number, lookAt: (owner: number) => void) {
    this.#memory = memory;
    this.#words = memory.i32;
    this.#me = me;
    this.#lookAt = lookAt;
    const timeout = NativeMemory.allocate(TIMESPEC.SIZE);
    timeout.setU64(TIMESPEC.NSEC, PATIENCE_NS);
    this.#timeout = timeout.pointerAt(0);
  }

  /** Takes the lock whose word has this index. */
  lock(index: number): void {
    if (Atomics.compareExchange(this.#words, index, 0, this.#me) !== 0) this.#lockSlow(index);
  }

  unlock(index: number): void {
    const word = Atomics.exchange(this.#words, index, 0);
    assert((word & ~CONTENDED) === this.#me, "a lock is released by its holder");
    if ((word & CONTENDED) === 0) return;
    const pointer = this.#memory.pointerAt(index * 4);
    libc.futex(ARCHITECTURE.syscalls.futex, pointer, FUTEX_WAKE, 1, null);
  }

  #lockSlow(index: number): void {
    const words = this.#words;
    for (let tries = 0;; tries++) {
      let word = Atomics.load(words, index);
      if (word === 0) {
        // Others may be asleep: our unlock() wakes one to be sure.
        const taken = this.#me | (tries > SPINS ? CONTENDED : 0);
        if (Atomics.compareExchange(words, index, 0, taken) === 0) return;
        continue;
      }
      if (tries < SPINS) continue;
      if ((word & CONTENDED) === 0) {
        if (Atomics.compareExchange(words, index, word, word | CONTENDED) !== word) continue;
        word |= CONTENDED;
      }
      const before = word;
      const pointer = this.#memory.pointerAt(index * 4);
      libc.futex(ARCHITECTURE.syscalls.futex, pointer, FUTEX_WAIT, word, this.#timeout);
      if (Atomics.load(words, index) === before) this.#lookAt(holderOf(before));
    }
  }
}
