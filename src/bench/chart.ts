/**
 * The result as a picture: for each row a bar per daemon, its length the time relative to the first
 * daemon's.
 *
 * @module
 */

import type { BenchResult } from "./bench.ts";

const COLOURS = ["#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#4a5568"];
const LEFT = 250;
const PLOT = 520;
const RIGHT = 130;
const BAR = 13;
const GAP = 10;
const TOP = 64;
const WIDTH = LEFT + PLOT + RIGHT;

/** An SVG document. Shorter bars are faster. */
export function benchChart(result: BenchResult): string {
  const { daemons, rows } = result;
  const longest = Math.max(1.2, ...rows.flatMap(({ cells }) => cells.map((cell) => cell.ratio)));
  // One row that is far off must not make all others unreadable.
  const scale = PLOT / Math.min(longest * 1.05, 4);
  const rowHeight = daemons.length * BAR + GAP;
  const height = TOP + rows.length * rowHeight + 30;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" ` +
    `viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    `<text x="16" y="24" font-size="16" font-weight="bold">Time per operation, ` +
    `relative to ${escaped(daemons[0]!)} (shorter is faster)</text>`,
  ];
  daemons.forEach((name, i) => {
    const x = 16 + i * 200;
    parts.push(`<rect x="${x}" y="36" width="12" height="12" fill="${colour(i)}"/>`);
    parts.push(`<text x="${x + 18}" y="46">${escaped(name)}</text>`);
  });
  rows.forEach(({ name, cells }, row) => {
    const y = TOP + row * rowHeight;
    const middle = y + (rowHeight - GAP) / 2 + 4;
    parts.push(`<text x="${LEFT - 10}" y="${middle}" text-anchor="end">${escaped(name)}</text>`);
    cells.forEach((cell, i) => {
      const length = Math.max(1, Math.min(cell.ratio * scale, PLOT));
      const top = y + i * BAR;
      const fill = colour(i);
      parts.push(
        `<rect x="${LEFT}" y="${top}" width="${length.toFixed(1)}" height="${BAR - 2}" ` +
          `fill="${fill}"/>`,
        `<text x="${(LEFT + length + 6).toFixed(1)}" y="${top + 10}" font-size="10">` +
          `${figure(cell.median)} µs</text>`,
      );
    });
  });
  const one = (LEFT + scale).toFixed(1);
  const bottom = height - 24;
  parts.push(
    `<line x1="${one}" y1="${TOP - 6}" x2="${one}" y2="${bottom}" stroke="#999" ` +
      `stroke-dasharray="3 3"/>`,
    `<text x="16" y="${height - 8}" font-size="10" fill="#555">medians of ${result.rounds} ` +
      `rounds, turn about; ratios are medians of the rounds' pairs</text>`,
    "</svg>",
  );
  return parts.join("\n") + "\n";
}

function colour(index: number): string {
  return COLOURS[index % COLOURS.length]!;
}

function figure(value: number): string {
  return value < 100 ? value.toFixed(1) : value.toFixed(0);
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
