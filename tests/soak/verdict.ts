/**
 * Whether what was measured at quiet points stays flat.
 *
 * @module
 */

import { type ProcessSample, RUNTIME_THREADS, type Sample, total } from "./sample.ts";

/** Sessions after which everything that is made once has been made. */
export const WARM_UP_SESSIONS = 4;
/** Of all quiet points, if that is more. */
const WARM_UP_SHARE = 0.1;
/** Quiet points that are needed after that: one for each quarter. */
export const POINTS_MIN = 4;
/** How far memory may be from where it began: heaps breathe. */
const GROWTH_SHARE = 0.1;
const GROWTH_KIB = 8 * 1024;
/** Threads that the runtime's pool may have at one moment beside those of another: see {@linkcode RUNTIME_THREADS}. */
const POOL_THREADS = 3;
const FAULTS_PER_KIND = 3;

/** How one process' memory went. MiB. */
export interface Trend {
  readonly name: string;
  /** Medians of the first and the last quarter after the warm-up, of its own memory. */
  readonly first: number;
  readonly last: number;
  readonly perHour: number;
  readonly perDay: number;
}

/** The outcome. */
export interface Verdict {
  readonly faults: readonly string[];
  readonly trends: readonly Trend[];
  /** Quiet points that were not looked at. */
  readonly warmUp: number;
}

/** Judges quiet points in their order: nobody is connected, nothing is held. */
export function judge(points: readonly Sample[]): Verdict {
  const warmUp = Math.max(WARM_UP_SESSIONS, Math.ceil(points.length * WARM_UP_SHARE));
  const after = points.slice(warmUp);
  const base = points[warmUp - 1];
  if (base === undefined || after.length < POINTS_MIN) {
    const needed = warmUp + POINTS_MIN;
    return { faults: [`${points.length} quiet points, of ${needed}`], trends: [], warmUp };
  }
  const faults = [
    ...few(points.flatMap(leftovers)),
    ...few(after.flatMap((point) => family(point, base))),
    ...few(after.flatMap((point) => descriptors(point, base))),
    ...few(after.flatMap((point) => threads(point, base))),
    ...few(after.flatMap((point) => slots(point, base))),
  ];
  const trends = base.processes.map(({ name }) => trend(name, after));
  for (const { name, first, last, perHour } of trends) {
    const most = first * (1 + GROWTH_SHARE) + GROWTH_KIB / 1024;
    if (last <= most) continue;
    faults.push(
      `${name}: ${last.toFixed(1)} MiB in the last quarter, ${
        first.toFixed(1)
      } in the first, at most ${most.toFixed(1)} expected; ${perHour.toFixed(1)} MiB an hour`,
    );
  }
  return { faults, trends, warmUp };
}

/** The first faults of a kind say it; the rest would hide others. */
function few(faults: readonly string[]): string[] {
  const more = faults.length - FAULTS_PER_KIND;
  return more <= 0
    ? [...faults]
    : [...faults.slice(0, FAULTS_PER_KIND), `and ${more} more such faults`];
}

function leftovers({ state, sessions }: Sample): string[] {
  if (state === null || (state.inodes === 0 && state.handles === 0)) return [];
  const { inodes, handles } = state;
  return [`after session ${sessions}: ${inodes} inodes beside the root, ${handles} handles`];
}

function family(point: Sample, base: Sample): string[] {
  const names = ({ processes }: Sample) =>
    processes.map(({ name, pid }) => `${name} ${pid}`).join(", ");
  return names(point) === names(base)
    ? []
    : [`after session ${point.sessions}: processes ${names(point)}, before ${names(base)}`];
}

function descriptors(point: Sample, base: Sample): string[] {
  return eachProcess(point, base, (now, before) => {
    return changes("descriptors", now.descriptors, before.descriptors);
  });
}

function threads(point: Sample, base: Sample): string[] {
  return eachProcess(point, base, (now, before) => {
    const pool = now.threads[RUNTIME_THREADS] ?? 0;
    const most = (before.threads[RUNTIME_THREADS] ?? 0) + POOL_THREADS;
    const isSame = { [RUNTIME_THREADS]: Math.min(pool, most) };
    return changes("threads", now.threads, { ...before.threads, ...(pool > 0 ? isSame : {}) });
  });
}

/** What is not as it was, by kind, or null. */
function changes(
  what: string,
  now: Readonly<Record<string, number>>,
  before: Readonly<Record<string, number>>,
): string | null {
  const kinds = [...new Set([...Object.keys(now), ...Object.keys(before)])].sort();
  const changed = kinds.filter((kind) => now[kind] !== before[kind])
    .map((kind) => `${kind} ${before[kind] ?? 0} → ${now[kind] ?? 0}`);
  if (changed.length === 0) return null;
  return `${what} ${total(before)} → ${total(now)}: ${changed.join(", ")}`;
}

function slots(point: Sample, base: Sample): string[] {
  const [now, before] = [point.state?.slots ?? 0, base.state?.slots ?? 0];
  return now === before
    ? []
    : [`after session ${point.sessions}: slots of the version table ${before} → ${now}`];
}

function eachProcess(
  point: Sample,
  base: Sample,
  compare: (now: ProcessSample, before: ProcessSample) => string | null,
): string[] {
  return base.processes.flatMap((before) => {
    const now = point.processes.find(({ name }) => name === before.name);
    const fault = now === undefined ? null : compare(now, before);
    return fault === null ? [] : [`after session ${point.sessions}: ${before.name}: ${fault}`];
  });
}

function trend(name: string, points: readonly Sample[]): Trend {
  const series = points.flatMap(({ seconds, processes }) => {
    const process = processes.find((candidate) => candidate.name === name);
    return process === undefined ? [] : [[seconds / 3600, process.own / 1024] as const];
  });
  const quarter = Math.max(1, Math.floor(series.length / 4));
  const memory = series.map(([, mib]) => mib);
  const perHour = slope(series);
  return {
    name,
    first: median(memory.slice(0, quarter)),
    last: median(memory.slice(-quarter)),
    perHour,
    perDay: 24 * perHour,
  };
}

/** Of the line through the points with the least squares. */
function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (of: 0 | 1) => points.reduce((sum, point) => sum + point[of], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const spread = points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0);
  const common = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0);
  return spread === 0 ? 0 : common / spread;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >>> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
