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

/** Daemons, and the version tables that they share. */
export interface Report {
  /** Milliseconds since 1970. */
  readonly taken: number;
  readonly daemons: readonly DaemonReport[];
  readonly versions: readonly VersionsView[];
  /** Why something could not be read: a line each. */
  readonly refused: readonly string[];
}
