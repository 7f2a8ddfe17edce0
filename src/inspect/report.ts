/**
 * All views of some daemons at one moment: what the page and the metrics are made of.
 *
 * @module
 */

import type {
  DaemonSummary,
  InodesView,
  OpsView,
  QueuesView,
  VersionsView,
  WindowView,
} from "./snapshot.ts";

/** One daemon. */
export interface DaemonReport {
  readonly summary: DaemonSummary;
  readonly ops: OpsView;
  readonly queues: QueuesView;
  readonly window: WindowView;
  /** Null where nobody asked: there may be millions. */
  readonly inodes: InodesView | null;
}

/** A version table. `used` and `free` are null where nobody asked: to count them all slots are looked at. */
export type TableReport = Omit<VersionsView, "used" | "free"> & {
  readonly used: number | null;
  readonly free: number | null;
};

/** Daemons, and the version tables that they share. */
export interface Report {
  /** Milliseconds since 1970. */
  readonly taken: number;
  readonly daemons: readonly DaemonReport[];
  readonly versions: readonly TableReport[];
  /** Why something could not be read: a line each. */
  readonly refused: readonly string[];
}
