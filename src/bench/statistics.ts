/**
 * Figures of many samples.
 *
 * @module
 */

/** What is said of a row of samples. */
export interface Summary {
  readonly count: number;
  readonly min: number;
  readonly median: number;
  readonly p99: number;
  readonly max: number;
}

/**
 * The value below which `fraction` of the sorted samples lie.
 *
 * @example
 * ```ts
 * import { quantile } from "./statistics.ts";
 *
 * if (quantile([1, 2, 3, 4, 5], 0.5) !== 3) throw new Error("not the middle");
 * ```
 */
export function quantile(sorted: ArrayLike<number>, fraction: number): number {
  const at = Math.min(sorted.length - 1, Math.floor(sorted.length * fraction));
  return sorted[at] ?? NaN;
}

/** The summary of samples in any order. */
export function summarize(samples: readonly number[]): Summary {
  const sorted = Float64Array.from(samples).sort();
  return {
    count: sorted.length,
    min: sorted[0] ?? NaN,
    median: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    max: sorted.at(-1) ?? NaN,
  };
}

/** The median of values in any order. */
export function median(values: readonly number[]): number {
  return quantile(Float64Array.from(values).sort(), 0.5);
}
