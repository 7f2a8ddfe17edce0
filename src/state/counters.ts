/**
 * What a queue served, by opcode: requests, errors, bytes, and how long they took. Only the queue's own thread writes, so plain
 * adds do; counts are float64, exact to 2^53.
 *
 * Times are a histogram of four buckets per power of two nanoseconds, so a quantile read from it is within 19 %.
 *
 * @module
 */

import { OPCODE_COUNT } from "../wire/fuse.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import {
  COUNTERS_OFFSET,
  COUNTERS_QUEUE_SIZE,
  ERRNO_COUNT,
  ERRNO_COUNTERS_OFFSET,
  ERRNO_COUNTERS_QUEUE_SIZE,
} from "./layout.ts";

/** Offsets of one opcode's counters, in float64 elements. */
export const COUNTER = {
  REQUESTS: 0,
  ERRORS: 1,
  /** Of requests and of replies, headers included. */
  BYTES_IN: 2,
  BYTES_OUT: 3,
  /** All together, and of the longest. */
  NANOSECONDS: 4,
  NANOSECONDS_MAX: 5,
  HISTOGRAM: 8,
  SIZE: 136,
} as const;
/** Buckets of the histogram: up to 2^34 ns, 17 s; longer ones are in the last. */
export const BUCKET_COUNT = 128;
/** What is shorter is in the first bucket: 2^2 ns. */
const FIRST_POWER = 2;

/** The bucket of a duration in nanoseconds. */
export function bucketOf(nanoseconds: number): number {
  if (nanoseconds < 1 << FIRST_POWER) return 0;
  const power = Math.floor(Math.log2(nanoseconds));
  const quarter = Math.floor((nanoseconds / 2 ** power - 1) * 4);
  return Math.min((power - FIRST_POWER) * 4 + quarter, BUCKET_COUNT - 1);
}

/** Where a bucket begins, in nanoseconds. */
export function bucketStart(bucket: number): number {
  return 2 ** (Math.floor(bucket / 4) + FIRST_POWER) * (1 + (bucket % 4) / 4);
}

/** The counters of one queue. Opcodes that the protocol does not have are counted as opcode 0. */
export class Counters {
  readonly #counters: Float64Array;
  readonly #errnos: Float64Array;

  constructor(memory: NativeMemory, queueIndex: number) {
    const { buffer } = memory.u8;
    this.#counters = new Float64Array(
      buffer,
      COUNTERS_OFFSET + queueIndex * COUNTERS_QUEUE_SIZE,
      OPCODE_COUNT * COUNTER.SIZE,
    );
    this.#errnos = new Float64Array(
      buffer,
      ERRNO_COUNTERS_OFFSET + queueIndex * ERRNO_COUNTERS_QUEUE_SIZE,
      OPCODE_COUNT * ERRNO_COUNT,
    );
  }

  /** Counts a request that has been answered with `status`: 0 or a negative errno. */
  count(
    opcode: number,
    status: number,
    bytesIn: number,
    bytesOut: number,
    nanoseconds: number,
  ): void {
    const known = opcode < OPCODE_COUNT ? opcode : 0;
    const counters = this.#counters;
    const at = known * COUNTER.SIZE;
    counters[at + COUNTER.REQUESTS]! += 1;
    counters[at + COUNTER.BYTES_IN]! += bytesIn;
    counters[at + COUNTER.BYTES_OUT]! += bytesOut;
    counters[at + COUNTER.NANOSECONDS]! += nanoseconds;
    counters[at + COUNTER.HISTOGRAM + bucketOf(nanoseconds)]! += 1;
    if (nanoseconds > counters[at + COUNTER.NANOSECONDS_MAX]!) {
      counters[at + COUNTER.NANOSECONDS_MAX] = nanoseconds;
    }
    if (status >= 0) return;
    counters[at + COUNTER.ERRORS]! += 1;
    const errno = -status < ERRNO_COUNT ? -status : 0;
    this.#errnos[known * ERRNO_COUNT + errno]! += 1;
  }

  /** One of COUNTER's values of an opcode. */
  value(opcode: number, counter: number): number {
    return this.#counters[opcode * COUNTER.SIZE + counter]!;
  }

  requests(opcode: number): number {
    return this.value(opcode, COUNTER.REQUESTS);
  }

  errors(opcode: number): number {
    return this.value(opcode, COUNTER.ERRORS);
  }

  /** How often an opcode failed with an errno (positive; 0 = one that has no number here). */
  errorsOf(opcode: number, errno: number): number {
    return this.#errnos[opcode * ERRNO_COUNT + errno]!;
  }
}
