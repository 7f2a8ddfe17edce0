/**
 * From measurements to a table: medians over the rounds, and ratios of each round's pair.
 *
 * @module
 */

import type { Measurement } from "./plan.ts";
import { ROWS } from "./rows.ts";

/** One target's figures in one row. */
export interface TargetFigures {
  /** Wall time of one operation, microseconds: the median of the rounds. */
  readonly wallMicroseconds: number;
  /** The daemon's processor time for it. */
  readonly daemonMicroseconds: number;
}

/** One row of the table. */
export interface RowFigures {
  readonly row: string;
  readonly state: string;
  readonly jobs: number;
  readonly targets: Readonly<Record<string, TargetFigures>>;
  /** First target's best round : second target's best, wall time: what is left when nobody else has disturbed. */
  readonly bestRatio: number;
  readonly bestDaemonRatio: number;
  /** First target : second target, wall time, of each round; sorted. Empty with one target. */
  readonly ratios: readonly number[];
  /** The same of the daemons' processor time. */
  readonly daemonRatios: readonly number[];
}

/** The middle of some numbers, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

type Figure = (measurement: Measurement) => number;
const wall: Figure = ({ milliseconds, operations }) => milliseconds * 1000 / operations;
const daemon: Figure = ({ daemonNanoseconds, operations }) => daemonNanoseconds / 1000 / operations;

function best(measurements: readonly Measurement[], figure: Figure): number {
  return Math.min(...measurements.map(figure));
}

function ratios(first: readonly Measurement[], second: readonly Measurement[], figure: Figure) {
  return first
    .map((one) => {
      const other = second.find(({ round }) => round === one.round);
      return other === undefined ? NaN : figure(one) / figure(other);
    })
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
}

/**
 * The table of all measurements; ratios are between the first two targets. Round 0 is left out: in it the guest reads its
 * program in, and our daemon's code is compiled.
 */
export function figures(
  all: readonly Measurement[],
  targetNames: readonly string[],
): RowFigures[] {
  const measurements = all.filter(({ round }) => round > 0);
  const rows: RowFigures[] = [];
  for (const jobs of new Set(measurements.map((measurement) => measurement.jobs))) {
    for (const { name, state } of ROWS) {
      const here = measurements.filter((one) => one.row === name && one.jobs === jobs);
      if (here.length === 0) continue;
      const of = (target: string) => here.filter((one) => one.target === target);
      const [first, second] = targetNames;
      const targets = Object.fromEntries(targetNames.map((target) => [target, {
        wallMicroseconds: median(of(target).map(wall)),
        daemonMicroseconds: median(of(target).map(daemon)),
      }]));
      const pair = second === undefined ? null : [of(first!), of(second)] as const;
      rows.push({
        row: name,
        state,
        jobs,
        targets,
        bestRatio: pair === null ? NaN : best(pair[0], wall) / best(pair[1], wall),
        bestDaemonRatio: pair === null ? NaN : best(pair[0], daemon) / best(pair[1], daemon),
        ratios: pair === null ? [] : ratios(...pair, wall),
        daemonRatios: pair === null ? [] : ratios(...pair, daemon),
      });
    }
  }
  return rows;
}

function rate(row: RowFigures, microseconds: number): string {
  const unitSize = ROWS.find(({ name }) => name === row.row)?.unitSize ?? 0;
  if (unitSize < 2 ** 20) return microseconds.toFixed(1);
  return `${microseconds.toFixed(0)} (${(unitSize / microseconds / 1.048576).toFixed(0)} MiB/s)`;
}

/** The median of some sorted ratios, their middle half, and the ratio of the best rounds. */
function ratioCells(sorted: readonly number[], bestRatio: number): string[] {
  if (sorted.length === 0) return ["–", "", "–"];
  const quartile = (share: number) => sorted[Math.round((sorted.length - 1) * share)]!.toFixed(2);
  return [median(sorted).toFixed(2), `${quartile(0.25)}–${quartile(0.75)}`, bestRatio.toFixed(2)];
}

/** The table as text, readable on a terminal and as Markdown. */
export function tableText(rows: readonly RowFigures[], targetNames: readonly string[]): string {
  const [first, second] = targetNames;
  const head = ["row", "jobs"];
  for (const target of targetNames) head.push(`${target} µs`, `${target} CPU µs`);
  if (second !== undefined) {
    head.push(`${first}/${second}`, "middle half", "best", "CPU ratio", "middle half", "best");
  }
  const lines = rows.map((row) => {
    const cells = [row.row + (row.state === "" ? "" : `, ${row.state}`), String(row.jobs)];
    for (const target of targetNames) {
      const { wallMicroseconds, daemonMicroseconds } = row.targets[target]!;
      cells.push(rate(row, wallMicroseconds), daemonMicroseconds.toFixed(1));
    }
    if (second !== undefined) {
      cells.push(...ratioCells(row.ratios, row.bestRatio));
      cells.push(...ratioCells(row.daemonRatios, row.bestDaemonRatio));
    }
    return cells;
  });
  const widths = head.map((title, i) =>
    Math.max(title.length, ...lines.map((line) => line[i]!.length))
  );
  const line = (cells: readonly string[]) =>
    `| ${
      cells.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join(
        " | ",
      )
    } |`;
  const rule = `|${
    widths.map((width, i) => "-".repeat(width + 1) + (i === 0 ? "-" : ":")).join("|")
  }|`;
  return [line(head), rule, ...lines.map(line)].join("\n");
}
