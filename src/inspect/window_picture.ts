/**
 * The DAX window as a picture in the terminal: a cell per range, or per several where it is large.
 *
 *       0 MiB  aaaabbbb....
 *     128 MiB  ............
 *
 * @module
 */

import { printable, shortened } from "./display_width.ts";
import type { MappingRow, WindowView } from "./snapshot.ts";
import { ageClass, AGES, windowCells, type WindowFile, windowFiles } from "./window_cells.ts";
import { ageColour, fileColour } from "./window_colours.ts";

/** How the picture is drawn. */
export interface PictureOptions {
  /** Columns of the terminal. */
  readonly width: number;
  /** Whether it may use colours (256 of them). */
  readonly colour: boolean;
  readonly by: "file" | "age";
  /** Most lines of cells; more than that, and a cell stands for more ranges. */
  readonly height?: number;
  /** Files in the legend, the largest first. */
  readonly legend?: number;
  /** Ages are counted to this moment, in milliseconds since 1970. */
  readonly now?: number;
}

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/** For files after the last letter. */
const NO_LETTER = "#";
const FREE = ".";
/** Mappings that the front end has not answered about, or has yet to be asked for. */
const STATES: Readonly<Record<Exclude<MappingRow["state"], "live">, string>> = {
  coming: "+",
  going: "-",
  planned: "?",
};
const CELLS_PER_LINE_MAX = 64;
const HEIGHT_DEFAULT = 32;
const LEGEND_DEFAULT = 16;
const MIB = 1024 ** 2;

/** What a kind of cell looks like. */
interface Look {
  readonly character: string;
  /** Of the ground, or null. */
  readonly colour: number | null;
}

/** The picture and its legend: lines without an end of line. */
export function picture(view: WindowView, options: PictureOptions): string[] {
  if (view.size === 0) return ["No front end has asked for a DAX window."];
  const label = `${view.size / MIB} MiB`.length;
  const perLine = cellsPerLine(options.width - label - 2);
  const height = options.height ?? HEIGHT_DEFAULT;
  let rangesPerCell = 1;
  while (Math.ceil(view.size / view.rangeSize / rangesPerCell / perLine) > height) {
    rangesPerCell *= 2;
  }
  const files = windowFiles(view);
  const now = options.now ?? Date.now();
  const look = options.by === "file" ? lookByFile(files) : lookByAge(now);
  const cells = windowCells(view, rangesPerCell);
  const lines: string[] = [];
  for (let first = 0; first < cells.length; first += perLine) {
    const offset = `${first * rangesPerCell * view.rangeSize / MIB} MiB`.padStart(label);
    const drawn = cells.slice(first, first + perLine).map((cell) => draw(look(cell), options));
    lines.push(`${offset}  ${drawn.join("")}`);
  }
  lines.push("", `one cell: ${rangesPerCell * view.rangeSize / MIB} MiB   ${FREE} free`);
  lines.push(...waitingLegend(view));
  lines.push(...(options.by === "file" ? fileLegend(files, now, options) : ageLegend(options)));
  return lines;
}

/** A power of two, so that lines begin at round offsets. */
function cellsPerLine(room: number): number {
  let count = 8;
  while (count * 2 <= Math.min(room, CELLS_PER_LINE_MAX)) count *= 2;
  return count;
}

function lookByFile(files: readonly WindowFile[]): (cell: MappingRow | null) => Look {
  const looks = new Map(files.map(({ nodeid }, i) => [nodeid, fileLook(i)]));
  return (cell) => {
    if (cell === null) return { character: FREE, colour: null };
    const look = looks.get(cell.nodeid)!;
    return cell.state === "live" ? look : { ...look, character: STATES[cell.state] };
  };
}

function lookByAge(now: number): (cell: MappingRow | null) => Look {
  return (cell) => {
    if (cell === null) return { character: FREE, colour: null };
    const look = ageLook(ageClass(now - cell.since));
    return cell.state === "live" ? look : { ...look, character: STATES[cell.state] };
  };
}

function fileLook(index: number): Look {
  return { character: LETTERS[index] ?? NO_LETTER, colour: fileColour(index) };
}

function ageLook(index: number): Look {
  return { character: String(index), colour: ageColour(index) };
}

/** Black on the colour: letters help where colours are alike. */
function draw({ character, colour }: Look, options: PictureOptions): string {
  if (!options.colour) return character;
  if (colour === null) return `\x1b[2m${character}\x1b[0m`;
  return `\x1b[38;5;16;48;5;${colour}m${character}\x1b[0m`;
}

function waitingLegend(view: WindowView): string[] {
  const states = Object.entries(STATES).filter(([state]) =>
    view.mappings.some((mapping) => mapping.state === state)
  );
  return states.length === 0
    ? []
    : [states.map(([state, character]) => `${character} ${state}`).join("   ")];
}

function fileLegend(
  files: readonly WindowFile[],
  now: number,
  options: PictureOptions,
): string[] {
  const shown = files.map((file, index) => ({ file, look: fileLook(index) }))
    .sort((a, b) => b.file.bytes - a.file.bytes);
  const most = options.legend ?? LEGEND_DEFAULT;
  const lines = shown.slice(0, most).map(({ file, look }) => {
    const ranges = `${file.ranges} ${file.ranges === 1 ? "range " : "ranges"}`;
    const figures = `${ranges.padStart(13)}  ${ages(file, now).padStart(14)}  `;
    const path = file.path ?? `(nodeid ${file.nodeid})`;
    return `${draw(look, options)}${figures}${
      shortened(printable(path), options.width - 1 - figures.length, "middle")
    }`;
  });
  if (shown.length > most) lines.push(`… and ${shown.length - most} more files`);
  return lines;
}

function ageLegend(options: PictureOptions): string[] {
  return AGES.map(({ name }, index) => `${draw(ageLook(index), options)}  ${name}`);
}

/** From the newest mapping's to the oldest's. */
function ages({ newest, oldest }: WindowFile, now: number): string {
  const [from, to] = [age(now - newest), age(now - oldest)];
  return from === to ? to : `${from}–${to}`;
}

function age(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  if (seconds < 3600) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3600).toFixed(0)} h`;
}
