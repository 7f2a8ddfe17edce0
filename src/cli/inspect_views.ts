/**
 * The views of `inspect`: how each is read, and how it is written for people. Everything is synchronous, so that whoever wants a view at
 * regular intervals reads it then and there.
 *
 * @module
 */

import { readInodes } from "../inspect/inodes.ts";
import { inodesText } from "../inspect/inodes_text.ts";
import { SCHEMA_VERSION } from "../inspect/snapshot.ts";
import { InspectError } from "../inspect/inspect_error.ts";
import { readOps } from "../inspect/ops.ts";
import { opsText } from "../inspect/ops_text.ts";
import { readQueues } from "../inspect/queues.ts";
import { queuesText } from "../inspect/queues_text.ts";
import type {
  DaemonSummary,
  DaemonsView,
  InodesView,
  OpsView,
  QueuesView,
  VersionsView,
  WindowView,
} from "../inspect/snapshot.ts";
import { readSummary } from "../inspect/summary.ts";
import { daemonsText, summaryText } from "../inspect/summary_text.ts";
import type { Before, TextLayout } from "../inspect/text_layout.ts";
import { readVersions } from "../inspect/versions.ts";
import { versionsText } from "../inspect/versions_text.ts";
import { readWindow } from "../inspect/window.ts";
import { windowText } from "../inspect/window_text.ts";
import type { InspectSource } from "./inspect_source.ts";

/** Which rows are read. */
export interface RowChoice {
  readonly sort: "lookups" | "opens" | null;
  /** A glob. */
  readonly path: string | null;
  readonly limit: number | null;
}

/** What each view is. */
export interface Views {
  readonly list: DaemonsView;
  readonly summary: DaemonSummary;
  readonly ops: OpsView;
  readonly inodes: InodesView;
  readonly window: WindowView;
  readonly versions: VersionsView;
  readonly queues: QueuesView;
}

/** A word after `inspect`. */
export type ViewName = keyof Views;

/** One view. */
export interface InspectView<V> {
  /** Whether it shows what happens per second. */
  readonly hasRates: boolean;
  /** Reads it, now. */
  readonly read: (source: InspectSource, choice: RowChoice) => V;
  /** Its lines; with the same view some time before, also what happens per second. */
  readonly text: (view: V, layout: TextLayout, before: Before<V> | null) => readonly string[];
}

/** All of them, by name. */
export const INSPECT_VIEWS: { readonly [N in ViewName]: InspectView<Views[N]> } = {
  list: {
    hasRates: true,
    read: readList,
    text: daemonsText,
  },
  summary: { hasRates: true, read: ({ one }) => readSummary(one), text: summaryText },
  ops: { hasRates: true, read: ({ one }) => readOps(one), text: opsText },
  inodes: { hasRates: false, read: ({ one }, choice) => readInodes(one, choice), text: inodesText },
  window: { hasRates: true, read: ({ one }) => readWindow(one), text: windowText },
  versions: {
    hasRates: true,
    read: ({ table, found }, choice) => readVersions(table, found.daemons, choice),
    text: versionsText,
  },
  queues: { hasRates: true, read: ({ one }) => readQueues(one), text: queuesText },
};

/** The view that is meant by none: the one daemon, or the list of several. */
export function defaultView(source: InspectSource): ViewName {
  return source.daemon === null ? "list" : "summary";
}

/** A view as a JSON object on one line; docs/inspect.md says what is in it. */
export function viewJson<N extends ViewName>(
  name: N,
  view: Views[N],
  source: InspectSource,
): string {
  const daemon = source.daemon === null || name === "list" || name === "summary"
    ? null
    : identityOf(source);
  return JSON.stringify({ schema: SCHEMA_VERSION, view: name, time: Date.now(), daemon, ...view });
}

/** One daemon whose tables are damaged is no reason to show none. */
function readList({ listed, found }: InspectSource): DaemonsView {
  const daemons: DaemonSummary[] = [];
  const refused = [...found.refused];
  for (const daemon of listed) {
    try {
      daemons.push(readSummary(daemon));
    } catch (error) {
      if (!(error instanceof InspectError)) throw error;
      refused.push(error.message);
    }
  }
  return { daemons, unreadable: found.unreadable, refused };
}

function identityOf({ one: { pid, running, reader } }: InspectSource): unknown {
  const { socket, sharedDir, version } = reader.description;
  return { pid, running, socket, sharedDir, version };
}
