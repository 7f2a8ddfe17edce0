/**
 * What is measured of the daemons at one moment: plain data.
 *
 * @module
 */

/** One process. Memory in KiB. */
export interface ProcessSample {
  /** Which one: `serving`, or `b serving` of a second daemon. */
  readonly name: string;
  readonly pid: number;
  /** Proportional set size: pages that others have mapped too are divided among all. */
  readonly pss: number;
  /**
   * Its anonymous and shared memory, each page in proportion: PSS without pages of files. Those are the executable's, which is shared with whoever
   * else runs it: they come and go with others.
   */
  readonly own: number;
  /** Anonymous memory: heaps, stacks. */
  readonly anonymous: number;
  /** Threads by name. */
  readonly threads: Readonly<Record<string, number>>;
  /** Open descriptors by kind. */
  readonly descriptors: Readonly<Record<string, number>>;
}

/** What a daemon's state memory says: sums of all daemons. */
export interface StateSample {
  /** Without the roots. */
  readonly inodes: number;
  readonly handles: number;
  readonly requests: number;
  /** Bytes of requests and replies. */
  readonly bytes: number;
  /** Slots of the version table that are in use. */
  readonly slots: number;
}

/** All processes at one moment. */
export interface Sample {
  /** Since the soak began. */
  readonly seconds: number;
  /** Sessions that had ended by then. */
  readonly sessions: number;
  readonly processes: readonly ProcessSample[];
  /** Null for daemons that are not ours. */
  readonly state: StateSample | null;
}

/**
 * The runtime's threads: as many as processors, and beside them those that its pool starts for something that blocks, and ends when they have had
 * nothing to do for ten seconds. All others are ours or the engine's, and stay.
 */
export const RUNTIME_THREADS = "tokio-runtime-w";

/** All that was counted by kind. */
export function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** Everything that must be equal at quiet points, as text. */
export function countsOf({ processes, state }: Sample): string {
  const counts = processes.map(({ pid, descriptors, threads }) => {
    return { pid, descriptors, threads: { ...threads, [RUNTIME_THREADS]: 0 } };
  });
  return JSON.stringify([counts, state?.inodes, state?.handles, state?.slots]);
}
