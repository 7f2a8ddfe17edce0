/**
 * Tables for the terminal: columns aligned, figures to the right.
 *
 * @module
 */

import { displayWidth, printable, shortened } from "./display_width.ts";

/** One column. */
export interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => string;
  /** Figures are aligned to the right. */
  readonly isFigure?: boolean;
  /** Where the column gives way on a narrow terminal: "middle" for paths, "end" for lists. By default it does not. */
  readonly shortens?: "middle" | "end";
}

const GAP = "  ";
/** Columns do not get narrower than this, whatever the terminal. */
const NARROWEST = 8;

/** The lines. `width` is the terminal's; null where there is none: then nothing is cut. Without rows there is only the heading. */
export function textTable<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  width: number | null,
): string[] {
  const cells = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map(({ cell }) => printable(cell(row)))),
  ];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => displayWidth(line[i]!))));
  if (width !== null) fit(columns, widths, width);
  return cells.map((line) => {
    const text = line.map((cell, i) => aligned(cell, widths[i]!, columns[i]!)).join(GAP).trimEnd();
    return width === null ? text : shortened(text, width, "end");
  });
}

/** Names and values below each other. */
export function textFacts(
  facts: readonly (readonly [string, string])[],
  width: number | null,
): string[] {
  const most = Math.max(0, ...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => {
    const text = `${name.padEnd(most)}${GAP}${printable(value)}`;
    return width === null ? text : shortened(text, width, "middle");
  });
}

/** Takes what is too much from the columns that can be shortened, the widest one first. */
function fit<T>(columns: readonly Column<T>[], widths: number[], width: number): void {
  let excess = widths.reduce((sum, each) => sum + each, 0) + GAP.length * (widths.length - 1) -
    width;
  while (excess > 0) {
    let widest = -1;
    for (const [i, column] of columns.entries()) {
      if (column.shortens === undefined || widths[i]! <= NARROWEST) continue;
      if (widest < 0 || widths[i]! > widths[widest]!) widest = i;
    }
    if (widest < 0) return;
    widths[widest]!--;
    excess--;
  }
}

function aligned<T>(cell: string, width: number, column: Column<T>): string {
  const text = shortened(cell, width, column.shortens ?? "end");
  const space = " ".repeat(width - displayWidth(text));
  return column.isFigure === true ? space + text : text + space;
}
