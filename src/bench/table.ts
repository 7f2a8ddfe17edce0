/**
 * The result as text.
 *
 * @module
 */

import type { BenchCell, BenchResult } from "./bench.ts";

const HEADINGS = ["min µs", "median µs", "p99 µs", "per second", "MiB/s"];
const NAME_WIDTH = 30;
const DAEMON_WIDTH = 16;
const FIGURE_WIDTH = 11;

/** A line per row and daemon; ratios are to the first daemon's median, with the middle half of the rounds. */
export function benchTable(result: BenchResult): string {
  const several = result.daemons.length > 1;
  const heading = HEADINGS.map((text) => text.padStart(FIGURE_WIDTH)).join("");
  const lines = [
    `${"".padEnd(NAME_WIDTH)}${"daemon".padEnd(DAEMON_WIDTH)}${heading}${
      several ? `   ratio to ${result.daemons[0]}` : ""
    }`,
  ];
  for (const { name, cells, oneProcessor } of result.rows) {
    cells.forEach((cell, i) => {
      const first = (i === 0 ? `${name}${oneProcessor ? " ¹" : ""}` : "").padEnd(NAME_WIDTH);
      const daemon = result.daemons[i]!.slice(-DAEMON_WIDTH + 1).padEnd(DAEMON_WIDTH);
      const ratio = i === 0 ? "" : `   ${ratioText(cell)}`;
      lines.push(`${first}${daemon}${figures(cell)}${ratio}`.trimEnd());
    });
  }
  if (result.rows.some(({ oneProcessor }) => oneProcessor)) {
    lines.push(
      "",
      "¹ one request at a time, guest and daemon on one processor (--spread: where they like)",
    );
  }
  return lines.join("\n");
}

function figures(cell: BenchCell): string {
  const rate = cell.mibPerSecond === null ? "" : cell.mibPerSecond.toFixed(0);
  return [
    micro(cell.min),
    micro(cell.median),
    // One sample per round says nothing of the hundredth part.
    cell.count < 100 ? "" : micro(cell.p99),
    cell.perSecond.toFixed(0),
    rate,
  ].map((text) => text.padStart(FIGURE_WIDTH)).join("");
}

function micro(value: number): string {
  return value < 100 ? value.toFixed(1) : value.toFixed(0);
}

function ratioText({ ratio, ratioLow, ratioHigh }: BenchCell): string {
  return `${ratio.toFixed(2)} (${ratioLow.toFixed(2)}–${ratioHigh.toFixed(2)})`;
}
