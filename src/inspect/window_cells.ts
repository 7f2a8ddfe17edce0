/**
 * The DAX window cut into cells, and the files in it: what both pictures, the terminal's and the page's, are drawn from.
 *
 * @module
 */

import type { MappingRow, WindowView } from "./snapshot.ts";

/** A file that has mappings. */
export interface WindowFile {
  readonly nodeid: number;
  readonly path: string | null;
  /** Ranges of the window that it is in. */
  readonly ranges: number;
  readonly bytes: number;
  /** Of its mappings, in milliseconds since 1970. */
  readonly oldest: number;
  readonly newest: number;
}

/** For each cell the mapping that has most of it; null = free. A mapping that lies beyond the window is cut. */
export function windowCells(view: WindowView, rangesPerCell: number): (MappingRow | null)[] {
  const cellSize = view.rangeSize * rangesPerCell;
  if (!(cellSize > 0)) return [];
  const count = Math.ceil(view.size / cellSize);
  const cells = new Array<MappingRow | null>(count).fill(null);
  const shares = new Float64Array(count);
  for (const mapping of view.mappings) {
    const end = Math.min(mapping.end, view.size);
    for (let at = Math.max(0, mapping.start); at < end;) {
      const cell = Math.floor(at / cellSize);
      const next = Math.min((cell + 1) * cellSize, end);
      if (next - at > shares[cell]!) {
        shares[cell] = next - at;
        cells[cell] = mapping;
      }
      at = next;
    }
  }
  return cells;
}

/**
 * The files, by nodeid: those that come later are mostly last, so that a file keeps its letter and its colour from one picture to
 * the next.
 */
export function windowFiles(view: WindowView): WindowFile[] {
  const mappings = Map.groupBy(view.mappings, ({ nodeid }) => nodeid);
  return [...mappings].map(([nodeid, rows]) => fileOf(view, nodeid, rows))
    .sort((a, b) => a.nodeid - b.nodeid);
}

function fileOf(view: WindowView, nodeid: number, rows: readonly MappingRow[]): WindowFile {
  let bytes = 0;
  let ranges = 0;
  let oldest = Infinity;
  let newest = -Infinity;
  // Two mappings may share a range.
  let counted = -1;
  for (const { start, end, since } of rows.toSorted((a, b) => a.start - b.start)) {
    bytes += end - start;
    oldest = Math.min(oldest, since);
    newest = Math.max(newest, since);
    const first = Math.max(counted + 1, Math.floor(start / view.rangeSize));
    const last = Math.floor((Math.min(end, view.size) - 1) / view.rangeSize);
    ranges += Math.max(0, last - first + 1);
    counted = Math.max(counted, last);
  }
  const path = rows.find((row) => row.path !== null)?.path ?? null;
  return { nodeid, path, ranges, bytes, oldest, newest };
}

/** Classes of age, each with its upper limit in milliseconds. */
export const AGES: readonly { readonly below: number; readonly name: string }[] = [
  { below: 1000, name: "under 1 s" },
  { below: 10_000, name: "under 10 s" },
  { below: 60_000, name: "under 1 min" },
  { below: 600_000, name: "under 10 min" },
  { below: 3_600_000, name: "under 1 h" },
  { below: Infinity, name: "1 h and more" },
];

/** The class of an age in milliseconds. */
export function ageClass(age: number): number {
  return AGES.findIndex(({ below }) => !(age >= below));
}
