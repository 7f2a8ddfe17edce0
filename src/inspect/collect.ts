/**
 * Reads all views of some daemons.
 *
 * @module
 */

import { VERSION_SLOT_FIRST } from "../wire/shared_versions.ts";
import type { DaemonState } from "./daemon_state.ts";
import { InspectError } from "./inspect_error.ts";
import { readInodes } from "./inodes.ts";
import { readOps } from "./ops.ts";
import { readQueues } from "./queues.ts";
import type { DaemonReport, Report, TableReport } from "./report.ts";
import { readSummary } from "./summary.ts";
import { VersionTableReader } from "./version_table.ts";
import { readVersions } from "./versions.ts";
import { readWindow } from "./window.ts";

/** How much is wanted. */
export interface CollectOptions {
  /** Most inodes of a daemon and slots of a table, those used most; null = figures about them will do. */
  readonly rows: number | null;
  /** Leave out what takes long: the slots of version tables, half a million of them. */
  readonly isQuick?: boolean;
  /** Version tables beside those of the daemons. */
  readonly tables?: readonly string[];
}

/** The report. A daemon that ends meanwhile is left out of it, with a line that says so. */
export function collectReport(
  daemons: readonly DaemonState[],
  { rows, isQuick = false, tables = [] }: CollectOptions,
): Report {
  const refused: string[] = [];
  const orRefused = <T>(read: () => T): T[] => {
    try {
      return [read()];
    } catch (error) {
      if (!(error instanceof InspectError)) throw error;
      refused.push(error.message);
      return [];
    }
  };
  const paths = new Set([...tables, ...tablesOf(daemons)]);
  return {
    taken: Date.now(),
    daemons: daemons.flatMap((daemon) => orRefused(() => daemonReport(daemon, rows))),
    versions: [...paths].flatMap((path) =>
      orRefused(() => isQuick ? quickTableReport(path) : tableReport(path, daemons, rows))
    ),
    refused,
  };
}

function daemonReport(daemon: DaemonState, rows: number | null): DaemonReport {
  return {
    summary: readSummary(daemon),
    ops: readOps(daemon),
    queues: readQueues(daemon),
    window: readWindow(daemon),
    inodes: rows === null ? null : readInodes(daemon, { sort: "lookups", limit: rows }),
  };
}

function tablesOf(daemons: readonly DaemonState[]): string[] {
  return daemons.map(({ reader }) => reader.description.versionTable)
    .filter((path) => path !== null);
}

/** Owners and counters are in the first pages. */
function quickTableReport(path: string): TableReport {
  using table = new VersionTableReader(path);
  return {
    path,
    slotCount: table.slotCount - VERSION_SLOT_FIRST,
    ...{ used: null, free: null },
    ...table.counters(),
    owners: table.owners().map((owner) => ({ ...owner, slots: 0 })),
    rows: [],
  };
}

function tableReport(
  path: string,
  daemons: readonly DaemonState[],
  rows: number | null,
): TableReport {
  using table = new VersionTableReader(path);
  // Without rows nobody asks for paths, which cost a look at every inode.
  return readVersions(table, rows === null ? [] : daemons, { limit: rows ?? 0 });
}
