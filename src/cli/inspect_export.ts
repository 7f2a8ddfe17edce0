/**
 * `inspect --html` and `inspect --prometheus`: everything at once, for a browser and for a scraper.
 *
 * @module
 */

import { collectReport } from "../inspect/collect.ts";
import { printable } from "../inspect/display_width.ts";
import { InspectError } from "../inspect/inspect_error.ts";
import { openMetrics } from "../inspect/open_metrics.ts";
import { page } from "../inspect/page.ts";
import type { Report } from "../inspect/report.ts";
import { printError, printOut } from "./exit.ts";
import { InspectSource, type SourceOptions } from "./inspect_source.ts";

/** Inodes of a daemon and slots of a table that the page shows by default: those used most. */
const PAGE_ROWS_DEFAULT = 1000;

/** Writes the page to `path`; "-" is stdout. `rows` is `--limit`. Throws `InspectError`. */
export function writePage(path: string, options: SourceOptions, rows: number | undefined): void {
  const report = collect(options, rows === 0 ? Infinity : rows ?? PAGE_ROWS_DEFAULT);
  if (path === "-") return printOut(page(report).trimEnd());
  try {
    // It says what is in shared directories that others may not look into.
    Deno.writeTextFileSync(path, page(report), { mode: 0o600 });
  } catch (error) {
    throw new InspectError(`The page cannot be written: ${(error as Error).message}`);
  }
}

/** Prints the metrics. That no daemon runs is no error: it is what they then say. */
export function printMetrics(options: SourceOptions): void {
  printOut(openMetrics(collect(options, null)).trimEnd());
}

function collect(options: SourceOptions, rows: number | null): Report {
  using source = new InspectSource(options);
  const tables = options.versionTable === undefined ? [] : [options.versionTable];
  const report = collectReport(source.listed, { rows, tables });
  for (const line of [...source.found.refused, ...report.refused]) {
    printError(`warning: ${printable(line)}`);
  }
  if (rows !== null && report.daemons.length + report.versions.length === 0) throw source.nobody();
  return report;
}
