/**
 * What each queue served, by opcode: requests and errors. Only the queue's own thread writes, so plain adds do;
 * counts are float64, exact to 2^53.
 *
 * @module
 */

import { OPCODE_COUNT } from "../wire/fuse.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import { COUNTERS_OFFSET, COUNTERS_QUEUE_SIZE } from "./layout.ts";

/** Offsets of one opcode's counters, in float64 elements. */
const COUNTER = { REQUESTS: 0, ERRORS: 1, SIZE: 2 } as const;

/** The counters of one queue. Opcodes that the protocol does not have are counted as opcode 0. */
export class Counters {
  readonly #counters: Float64Array;

  constructor(memory: NativeMemory, queueIndex: number) {
    this.#counters = new Float64Array(
      memory.u8.buffer,
      COUNTERS_OFFSET + queueIndex * COUNTERS_QUEUE_SIZE,
      OPCODE_COUNT * COUNTER.SIZE,
    );
  }

  count(opcode: number, failed: boolean): void {
    const at = (opcode < OPCODE_COUNT ? opcode : 0) * COUNTER.SIZE;
    this.#counters[at + COUNTER.REQUESTS]! += 1;
    if (failed) this.#counters[at + COUNTER.ERRORS]! += 1;
  }

  requests(opcode: number): number {
    return this.#counters[opcode * COUNTER.SIZE + COUNTER.REQUESTS]!;
  }

  errors(opcode: number): number {
    return this.#counters[opcode * COUNTER.SIZE + COUNTER.ERRORS]!;
  }
}
