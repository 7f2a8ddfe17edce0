/**
 * What was asked for and how long it took, on the page: a row and a small chart for each opcode.
 *
 * @module
 */

import { type Column, table } from "./html.ts";
import type { OpcodeRow, OpsView } from "./snapshot.ts";
import { bytesText, countText, nanosecondsText } from "./units.ts";

/** The chart's ends, as powers of two nanoseconds: 256 ns and 17 s. */
const FIRST = 8;
const LAST = 34;
const BAR = 6;
const HEIGHT = 26;
const WIDTH = (LAST - FIRST) * BAR;

const COLUMNS: readonly Column<OpcodeRow>[] = [
  { title: "Request", cell: ({ name }) => name },
  { title: "Queue", kind: "figure", cell: ({ queue }) => String(queue) },
  { title: "Count", kind: "figure", cell: ({ requests }) => countText(requests) },
  { title: "Errors", cell: errorsText },
  { title: "In", kind: "figure", cell: ({ bytesIn }) => bytesText(bytesIn) },
  { title: "Out", kind: "figure", cell: ({ bytesOut }) => bytesText(bytesOut) },
  { title: "Median", kind: "figure", cell: ({ medianNs }) => nanosecondsText(medianNs) },
  { title: "p99", kind: "figure", cell: ({ p99Ns }) => nanosecondsText(p99Ns) },
  { title: "Longest", kind: "figure", cell: ({ maxNs }) => nanosecondsText(maxNs) },
  { title: "256 ns … 17 s, in powers of two", html: true, cell: latencyChart },
];

/** The table, the most frequent first. */
export function opsTable(view: OpsView): string {
  return table(COLUMNS, view.rows.toSorted((a, b) => b.requests - a.requests));
}

function errorsText({ errors, errnos }: OpcodeRow): string {
  if (errors === 0) return "";
  const named = Object.entries(errnos).sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${countText(count)} ${name}`);
  return named.length === 0 ? countText(errors) : named.join(", ");
}

/** Bars for powers of two nanoseconds; lines at the median and at p99. */
function latencyChart({ histogram, medianNs, p99Ns }: OpcodeRow): string {
  const counts = new Array<number>(LAST - FIRST).fill(0);
  for (const [begin, count] of histogram) counts[bucket(begin)]! += count;
  const most = Math.max(1, ...counts);
  const bars = counts.map((count, i) => {
    if (count === 0) return "";
    // What is there at all is seen.
    const height = Math.max(1, count / most * (HEIGHT - 2));
    return `<rect class="bar" x="${i * BAR}" y="${(HEIGHT - height).toFixed(1)}" ` +
      `width="${BAR - 1}" height="${height.toFixed(1)}"/>`;
  });
  return `<svg class="latency" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="Histogram">` +
    `<line class="axis" x1="0" x2="${WIDTH}" y1="${HEIGHT - 0.5}" y2="${HEIGHT - 0.5}"/>` +
    `${bars.join("")}${mark(medianNs)}${mark(p99Ns)}</svg>`;
}

function bucket(nanoseconds: number): number {
  return Math.floor(Math.min(Math.max(power(nanoseconds), FIRST), LAST - 1)) - FIRST;
}

function power(nanoseconds: number): number {
  return nanoseconds > 0 ? Math.log2(nanoseconds) : 0;
}

function mark(nanoseconds: number): string {
  const x = ((Math.min(Math.max(power(nanoseconds), FIRST), LAST) - FIRST) * BAR).toFixed(1);
  return `<line class="mark" x1="${x}" x2="${x}" y1="0" y2="${HEIGHT}"/>`;
}
