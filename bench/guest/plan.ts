/**
 * What host and guest tell each other: the plan at the start, a line per measurement.
 *
 * @module
 */

import type { Amounts } from "./rows.ts";

/** A directory under test. */
export interface TargetPlan {
  readonly name: string;
  /** Where the guest has mounted it. */
  readonly mount: string;
}

/** What the guest is to do. */
export interface Plan {
  readonly targets: readonly TargetPlan[];
  readonly rounds: number;
  readonly amounts: Amounts;
  readonly jobCounts: readonly number[];
  /** Rows to run, those that they build on included; null for all. */
  readonly rows: readonly string[] | null;
}

/** One row, once. */
export interface Measurement {
  readonly target: string;
  readonly round: number;
  readonly row: string;
  readonly jobs: number;
  readonly operations: number;
  readonly milliseconds: number;
  /** Processor time that the target's own daemon used meanwhile, in nanoseconds; 0 without a daemon. */
  readonly daemonNanoseconds: number;
}
