/**
 * Fewer descriptors for this process, for a while.
 *
 * @module
 */

import { equal } from "node:assert/strict";
import { libc } from "../../src/sys/libc.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";

const RLIMIT_NOFILE = 7;

/** Lowers the soft limit of open descriptors until disposed of. */
export class DescriptorLimit implements Disposable {
  readonly #memory = NativeMemory.allocate(4096);
  readonly #soft: number;

  constructor(soft: number) {
    libc.prlimit(0, RLIMIT_NOFILE, null, this.#memory.pointerAt(0));
    this.#soft = this.#memory.u64(0);
    this.#set(soft);
  }

  #set(soft: number): void {
    this.#memory.setU64(0, soft);
    equal(libc.prlimit(0, RLIMIT_NOFILE, this.#memory.pointerAt(0), null), 0);
  }

  [Symbol.dispose](): void {
    this.#set(this.#soft);
  }
}
