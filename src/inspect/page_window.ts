/**
 * The DAX window on the page: the terminal's picture as SVG, by file and by age.
 *
 * @module
 */

import { escaped, table } from "./html.ts";
import type { MappingRow, WindowView } from "./snapshot.ts";
import { ageText, bytesText } from "./units.ts";
import { ageClass, AGES, windowCells, windowFiles } from "./window_cells.ts";
import { ageColour, fileColour, hexColour } from "./window_colours.ts";

const CELLS_PER_LINE = 64;
/** More, and a cell stands for more ranges: the page shall stay small. */
const CELLS_MAX = 4096;
const CELL = 13;
const STEP = CELL + 2;
const LEFT = 62;
const MIB = 1024 ** 2;

/** Both pictures and the legend. */
export function windowPictures(view: WindowView, now: number): string {
  if (view.size === 0) return `<p class="none">No front end has asked for a window.</p>`;
  const files = windowFiles(view);
  const order = new Map(files.map(({ nodeid }, i) => [nodeid, i]));
  const byFile = (cell: MappingRow) => hexColour(fileColour(order.get(cell.nodeid)!));
  const byAge = (cell: MappingRow) => hexColour(ageColour(ageClass(now - cell.since)));
  const legend = table(
    [
      {
        title: "File",
        kind: "path",
        html: true,
        cell: (file) =>
          key(hexColour(fileColour(order.get(file.nodeid)!))) +
          escaped(file.path ?? `(nodeid ${file.nodeid})`),
      },
      { title: "Ranges", kind: "figure", cell: ({ ranges }) => String(ranges) },
      { title: "Mapped", kind: "figure", cell: ({ bytes }) => bytesText(bytes) },
      { title: "Newest", kind: "figure", cell: ({ newest }) => ageText(now - newest) },
      { title: "Oldest", kind: "figure", cell: ({ oldest }) => ageText(now - oldest) },
    ],
    files.toSorted((a, b) => b.bytes - a.bytes),
    100,
  );
  const ages = AGES.map(({ name }, i) => key(hexColour(ageColour(i))) + escaped(name));
  return `<figure class="window">${svg(view, byFile, now)}
<figcaption>By file; one cell is ${
    bytesText(rangesPerCell(view) * view.rangeSize)
  }</figcaption></figure>
${legend}
<details><summary>By age</summary><figure>${svg(view, byAge, now)}
<figcaption>${ages.join(" &ensp; ")}</figcaption></figure></details>`;
}

function rangesPerCell(view: WindowView): number {
  let ranges = 1;
  while (view.size / view.rangeSize / ranges > CELLS_MAX) ranges *= 2;
  return ranges;
}

function svg(view: WindowView, colour: (cell: MappingRow) => string, now: number): string {
  const ranges = rangesPerCell(view);
  const cells = windowCells(view, ranges);
  const lines = Math.ceil(cells.length / CELLS_PER_LINE);
  const parts: string[] = [];
  for (let line = 0; line < lines; line++) {
    const offset = line * CELLS_PER_LINE * ranges * view.rangeSize / MIB;
    parts.push(
      `<text x="${LEFT - 6}" y="${line * STEP + CELL - 3}" text-anchor="end">${offset} MiB</text>`,
    );
  }
  cells.forEach((cell, i) => {
    const place = `x="${LEFT + i % CELLS_PER_LINE * STEP}" y="${
      Math.floor(i / CELLS_PER_LINE) * STEP
    }" width="${CELL}" height="${CELL}" rx="2"`;
    if (cell === null) {
      parts.push(`<rect class="free" ${place}/>`);
      return;
    }
    // What the front end has not answered about is paler.
    const opacity = cell.state === "live" ? "" : ` opacity="0.5"`;
    parts.push(
      `<rect ${place} fill="${colour(cell)}"${opacity}><title>${title(cell, now)}</title></rect>`,
    );
  });
  const [width, height] = [LEFT + CELLS_PER_LINE * STEP, lines * STEP];
  return `<svg width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" ` +
    `aria-label="The DAX window">\n${parts.join("\n")}\n</svg>`;
}

function title(cell: MappingRow, now: number): string {
  const where = `${bytesText(cell.start)} to ${bytesText(cell.end)}`;
  const access = cell.writable ? "writable" : "read-only";
  return escaped(
    `${cell.path ?? `nodeid ${cell.nodeid}`} at ${bytesText(cell.fileOffset)} | ${where} | ` +
      `${access}, ${cell.state} | ${ageText(now - cell.since)}`,
  );
}

function key(colour: string): string {
  return `<span class="key" style="background:${colour}"></span>`;
}
