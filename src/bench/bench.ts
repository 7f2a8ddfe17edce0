/**
 * Measures daemons through the guest in userspace, turn about in one run, so that what disturbs the machine
 * disturbs all of them.
 *
 * @module
 */

import type { Caller } from "../guest/client/caller.ts";
import { closeSession, openSession, type SessionOptions } from "../guest/session.ts";
import { MAPPING_ROWS } from "./mapping_rows.ts";
import { Place } from "./place.ts";
import { onOneProcessor } from "./placement.ts";
import { REQUEST_ROWS } from "./request_rows.ts";
import type { Row } from "./row.ts";
import { SMALLFILE_ROWS } from "./smallfile_rows.ts";
import { median, summarize, type Summary } from "./statistics.ts";

/** One daemon that is measured. */
export interface BenchSubject {
  readonly name: string;
  readonly socketPath: string;
  /** How its guest differs from the others'. */
  readonly session?: Partial<SessionOptions>;
}

/** How to measure. */
export interface BenchOptions {
  readonly session: Omit<SessionOptions, "socketPath">;
  /** Turns of each daemon. One more is run first and thrown away: code and caches are cold then. */
  readonly rounds: number;
  /** How long a row runs in one turn, where it is not a fixed amount of work. */
  readonly milliseconds: number;
  /** Leave it to the scheduler where single requests are timed, too. */
  readonly spread: boolean;
  /** The rows; by default all there are. */
  readonly rows?: readonly Row[];
  /** Only rows whose names match. */
  readonly filter: RegExp | null;
  /** Told before each row. */
  readonly progress: (text: string) => void;
}

/** One daemon's figures of one row. */
export interface BenchCell extends Summary {
  /** Operations per second: the median of the rounds. */
  readonly perSecond: number;
  /** MiB per second, where the operation has bytes. */
  readonly mibPerSecond: number | null;
  /** The median of the rounds' pairs: this daemon's median time over the first daemon's. */
  readonly ratio: number;
  /** The middle half of those pairs. */
  readonly ratioLow: number;
  readonly ratioHigh: number;
}

/** One row of the result, a cell for each daemon. */
export interface BenchRow {
  readonly name: string;
  readonly unit: string;
  /** Guest and daemon were kept on one processor. */
  readonly oneProcessor: boolean;
  readonly cells: readonly BenchCell[];
}

/** The whole result. */
export interface BenchResult {
  readonly daemons: readonly string[];
  readonly rounds: number;
  readonly rows: readonly BenchRow[];
}

/** All rows in the table's order. */
export const ROWS: readonly Row[] = [...REQUEST_ROWS, ...SMALLFILE_ROWS, ...MAPPING_ROWS];

const MIB = 1024 * 1024;
/** Two pieces of 1 MiB for sequential transfers. */
const BUFFER_SIZE = 2 * MIB;

/** Runs everything. */
export async function bench(
  subjects: readonly BenchSubject[],
  options: BenchOptions,
): Promise<BenchResult> {
  const uid = Deno.uid() ?? 0;
  const gid = Deno.gid() ?? 0;
  const caller: Caller = { uid, gid, groups: [], umask: 0o022, pid: Deno.pid };
  const places: Place[] = [];
  const rows = (options.rows ?? ROWS).filter(({ name }) => options.filter?.test(name) ?? true);
  try {
    for (const { name, socketPath, session: special } of subjects) {
      options.progress(`${name}: connecting and making files`);
      const wishes = { ...options.session, ...special, socketPath };
      const session = await openSession(wishes, caller, BUFFER_SIZE);
      const place = new Place(session, session.frontend.memory.allocate(BUFFER_SIZE));
      places.push(place);
      place.prepare();
    }
    const runs = measure(subjects, places, withNeeded(rows), options);
    for (const place of places) place.clean();
    return {
      daemons: subjects.map(({ name }) => name),
      rounds: options.rounds,
      rows: rows.map((row) => resultOf(row, runs.get(row)!, options.spread)),
    };
  } finally {
    for (const { session } of places) await closeSession(session);
  }
}

/** The small-file rows need each other. */
function withNeeded(rows: readonly Row[]): readonly Row[] {
  const some = SMALLFILE_ROWS.some((row) => rows.includes(row));
  if (!some) return rows;
  return ROWS.filter((row) => rows.includes(row) || SMALLFILE_ROWS.includes(row));
}

/** What one turn of a daemon at a row came to. */
interface Turn {
  readonly samples: readonly number[];
  readonly perSecond: number;
}

/** By row, then by round, then by daemon. */
type Runs = Map<Row, Turn[][]>;

function measure(
  subjects: readonly BenchSubject[],
  places: readonly Place[],
  rows: readonly Row[],
  { rounds, milliseconds, spread, progress }: BenchOptions,
): Runs {
  const runs: Runs = new Map(rows.map((row) => [row, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const row of rows) {
      const turns: Turn[] = [];
      for (let i = 0; i < places.length; i++) {
        // Who begins changes with each round.
        const which = (i + round) % places.length;
        const when = round === 0 ? "warming up" : `round ${round} of ${rounds}`;
        progress(`${when}: ${row.name}: ${subjects[which]!.name}`);
        const place = places[which]!;
        const run = () => row.run(place, round === 0 ? milliseconds / 2 : milliseconds);
        turns[which] = row.oneProcessor === true && !spread
          ? onOneProcessor(place.session.frontend.daemonPid, run).result
          : run();
      }
      if (round > 0) runs.get(row)!.push(turns);
    }
  }
  return runs;
}

function resultOf(row: Row, rounds: readonly Turn[][], spread: boolean): BenchRow {
  const daemonCount = rounds[0]!.length;
  const cells = Array.from({ length: daemonCount }, (_, daemon): BenchCell => {
    const turns = rounds.map((round) => round[daemon]!);
    const ratios = rounds.map((round) => {
      return median(round[daemon]!.samples) / median(round[0]!.samples);
    });
    const sorted = Float64Array.from(ratios).sort();
    const perSecond = median(turns.map((turn) => turn.perSecond));
    const bytes = row.bytesPerOperation;
    return {
      ...summarize(turns.flatMap((turn) => turn.samples)),
      perSecond,
      mibPerSecond: bytes === undefined ? null : perSecond * bytes / MIB,
      ratio: median(ratios),
      ratioLow: sorted[Math.floor((sorted.length - 1) / 4)]!,
      ratioHigh: sorted[Math.ceil((sorted.length - 1) * 3 / 4)]!,
    };
  });
  const placed = row.oneProcessor === true && !spread;
  return { name: row.name, unit: row.unit, oneProcessor: placed, cells };
}
