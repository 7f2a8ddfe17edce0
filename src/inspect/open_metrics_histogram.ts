/**
 * The daemon's fine histogram of durations as a coarse cumulative one: with queues and opcodes, each bucket is a line for many.
 *
 * @module
 */

import type { OpcodeRow } from "./snapshot.ts";
import { numberText, type Sample } from "./open_metrics_text.ts";

/** Powers of four from 1 µs to 4.3 s, in nanoseconds: limits that the daemon's own buckets have too, so no count is guessed. */
const LIMITS: readonly number[] = Array.from({ length: 12 }, (_, i) => 2 ** (10 + 2 * i));

/** Samples of one opcode of one queue. A duration that equals a limit counts as longer: the daemon's buckets include their begin. */
export function durationHistogram(
  row: OpcodeRow,
  labels: Readonly<Record<string, string>>,
): Sample[] {
  // Their sum and not the row's count of requests, which may have been read a moment earlier: both must agree.
  const count = row.histogram.reduce((sum, [, n]) => sum + n, 0);
  const buckets = LIMITS.map((limit) => ({
    suffix: "_bucket",
    labels: { ...labels, le: numberText(limit / 1e9) },
    value: row.histogram.reduce((sum, [begin, n]) => begin < limit ? sum + n : sum, 0),
  }));
  return [
    ...buckets,
    { suffix: "_bucket", labels: { ...labels, le: "+Inf" }, value: count },
    { suffix: "_count", labels, value: count },
    { suffix: "_sum", labels, value: row.totalNs / 1e9 },
  ];
}
