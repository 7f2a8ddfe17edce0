/**
 * Waiting for a descriptor without blocking the main thread, until it is ready or the wait is called off.
 *
 * poll(2) runs on a thread of Deno's pool; an eventfd in the same wait set ends it when the signal is aborted, so
 * that no thread is left behind.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { OwnedFd } from "./fd.ts";
import { errnoName } from "./errno.ts";
import { libc, status } from "./libc.ts";
import { NativeMemory } from "./native_memory.ts";
import { EFD_CLOEXEC, EFD_NONBLOCK, POLLFD, POLLIN } from "../wire/linux.ts";

/** linux/poll.h */
export const POLLOUT = 4;

/** Two pollfd, then the u64 that is written to the eventfd. */
const AWAITED = 0;
const WAKE = POLLFD.SIZE;
const WAKE_VALUE = 2 * POLLFD.SIZE;
const MEMORY_SIZE = WAKE_VALUE + 8;

/** Native memory is never given back, so what a finished wait used serves the next. */
const spare: NativeMemory[] = [];

/** The readiness of one descriptor. Close it when nobody waits any more. */
export class Readiness implements Disposable {
  readonly #fd: number;
  readonly #signal: AbortSignal;
  readonly #wake: OwnedFd;
  readonly #memory: NativeMemory;
  readonly #onAbort: () => void;
  #waiting = false;
  #closed = false;

  /** `fd` stays the caller's. */
  constructor(fd: number, signal: AbortSignal) {
    const wake = status(libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (wake < 0) throw new Error(`Cannot make an eventfd: ${errnoName(wake)}`);
    this.#fd = fd;
    this.#signal = signal;
    this.#wake = new OwnedFd(wake);
    this.#memory = spare.pop() ?? NativeMemory.allocate(MEMORY_SIZE);
    this.#memory.setU64(WAKE_VALUE, 1);
    this.#onAbort = () => {
      libc.write(this.#wake.number, this.#memory.pointerAt(WAKE_VALUE), 8);
    };
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Resolves with true when one of `events` (or an error, or a hang-up) is there, with false when aborted. */
  async wait(events: number = POLLIN): Promise<boolean> {
    assert(!this.#closed && !this.#waiting, "one wait at a time, before close");
    const { view } = this.#memory;
    this.#waiting = true;
    try {
      while (!this.#signal.aborted) {
        view.setInt32(AWAITED + POLLFD.FD, this.#fd, true);
        view.setInt16(AWAITED + POLLFD.EVENTS, events, true);
        view.setInt16(AWAITED + POLLFD.REVENTS, 0, true);
        view.setInt32(WAKE + POLLFD.FD, this.#wake.number, true);
        view.setInt16(WAKE + POLLFD.EVENTS, POLLIN, true);
        view.setInt16(WAKE + POLLFD.REVENTS, 0, true);
        await libc.poll_async(this.#memory.pointerAt(0), 2, -1);
        if (this.#signal.aborted) break;
        if (view.getInt16(AWAITED + POLLFD.REVENTS, true) !== 0) return true;
      }
      return false;
    } finally {
      this.#waiting = false;
    }
  }

  close(): void {
    if (this.#closed) return;
    assert(!this.#waiting, "nobody waits");
    this.#closed = true;
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#wake.close();
    spare.push(this.#memory);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
