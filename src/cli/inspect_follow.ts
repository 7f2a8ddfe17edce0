/**
 * `inspect versions --follow`: changes, as they are counted.
 *
 * @module
 */

import { printable } from "../inspect/display_width.ts";
import { SCHEMA_VERSION } from "../inspect/snapshot.ts";
import { type Bump, VersionFollower } from "../inspect/versions.ts";
import { printOut } from "./exit.ts";
import { InspectSource, type SourceOptions } from "./inspect_source.ts";
import { endingSignals } from "./signals.ts";

/** How often the table is looked at. */
const INTERVAL_MS = 4;
/** A large table takes a millisecond: then less often, so that looking takes no more than this part of a processor. */
const SHARE = 0.2;

/** Prints a line for each slot that has moved, until a signal ends it. */
export async function followVersions(options: SourceOptions, json: boolean): Promise<void> {
  using source = new InspectSource(options);
  const ending = endingSignals();
  // Daemons come and go while this runs.
  let latest: InspectSource | null = null;
  const daemons = () => {
    latest?.[Symbol.dispose]();
    latest = new InspectSource({});
    return latest.found.daemons;
  };
  try {
    const follower = new VersionFollower(source.table, daemons);
    while (!ending.signal.aborted) {
      const start = performance.now();
      const lines = follower.poll().map((bump) => json ? jsonLine(bump) : textLine(bump));
      if (lines.length > 0) printOut(lines.join("\n"));
      const pause = Math.max(INTERVAL_MS, (performance.now() - start) / SHARE);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  } finally {
    ending.release();
    (latest as InspectSource | null)?.[Symbol.dispose]();
  }
}

function textLine({ slot, changes, path, device, ino }: Bump): string {
  const time = new Date().toISOString().slice(11, 23);
  const name = path ?? (device === null ? "-" : `${device} ${ino}`);
  return `${time}  ${String(slot).padStart(8)}  ${`+${changes}`.padStart(6)}  ${printable(name)}`;
}

function jsonLine(bump: Bump): string {
  return JSON.stringify({ schema: SCHEMA_VERSION, view: "change", time: Date.now(), ...bump });
}
