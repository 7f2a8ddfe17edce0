/**
 * Arithmetic of the ring's free-running 16-bit indices.
 *
 * @module
 */

/** Wraps to 16 bits. */
export function wrap16(value: number): number {
  return value & 0xffff;
}

/**
 * Whether moving an index from `before` to `after` passed `event`, so that the other side asked to be told
 * (virtio 1.3, 2.7.10): event lies in [before, after) on the circle of 2^16.
 *
 * @example
 * ```ts
 * import { passes } from "./ring_index.ts";
 *
 * if (!passes(65535, 65534, 1)) throw new Error("wraps");
 * if (passes(1, 0, 1)) throw new Error("event 1 is the next buffer, not the last");
 * ```
 */
export function passes(event: number, before: number, after: number): boolean {
  return wrap16(after - event - 1) < wrap16(after - before);
}
