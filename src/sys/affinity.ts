/**
 * Which processors a thread may run on (sched_setaffinity(2)).
 *
 * @module
 */

import { libc, status } from "./libc.ts";

/** Bytes of a mask: 1,024 processors, as the C library's cpu_set_t. */
const MASK_SIZE = 128;

/** A set of processors: bit n of the bytes is processor n. */
export type ProcessorMask = Uint8Array<ArrayBuffer>;

/** The mask of one processor. */
export function oneProcessor(processor: number): ProcessorMask {
  const mask = new Uint8Array(MASK_SIZE);
  mask[processor >>> 3] = 1 << (processor & 7);
  return mask;
}

/** Where a thread may run (0 is the calling one), or null where that cannot be found out. */
export function affinityOf(threadId: number): ProcessorMask | null {
  const mask = new Uint8Array(MASK_SIZE);
  return status(libc.sched_getaffinity(threadId, MASK_SIZE, mask)) < 0 ? null : mask;
}

/** Lets a thread run on these processors only. Returns 0 or a negative errno. */
export function setAffinity(threadId: number, mask: ProcessorMask): number {
  return status(libc.sched_setaffinity(threadId, MASK_SIZE, mask));
}

/** The first processor of a mask. */
export function firstProcessor(mask: ProcessorMask): number {
  const byte = mask.findIndex((bits) => bits !== 0);
  return byte < 0 ? 0 : byte * 8 + Math.log2(mask[byte]! & -mask[byte]!);
}
