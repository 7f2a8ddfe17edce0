/**
 * What each cache mode of the guest costs and saves: stat of one cached file, and the small-file table of the 2018 RFC (1 KiB files), with the
 * daemon's mode being the same. The work is a program's: paths, system calls and the guest's caches.
 *
 * Run: `deno task bench:modes [ROUNDS]`, in /dev/shm or VIRTIOFSD_TS_BENCH_DIR. All daemons run at the same time, turn about; ratios are of
 * pairs in the same round, to "always".
 *
 * @module
 */

import { median, quantile } from "../../src/bench/statistics.ts";
import { Subject } from "../../src/cli/subject.ts";
import { Guest } from "../../src/guest/guest.ts";
import type { GuestCacheMode } from "../../src/guest/vfs/cache_mode.ts";

const ROUNDS = Number(Deno.args[0] ?? 9);
const PARENT = Deno.env.get("VIRTIOFSD_TS_BENCH_DIR") ?? "/dev/shm";
const FILES = 400;
const CACHED_STATS = 20_000;
const MODES: readonly GuestCacheMode[] = ["none", "auto", "always", "shared"];
const BASE = MODES.indexOf("always");

const content = new Uint8Array(1024).fill(120);
const path = (i: number) => `/files/file-${i}`;

/** A row: how many things it does, and how. */
interface Row {
  readonly name: string;
  readonly count: number;
  run(guest: Guest): void;
}

function each(name: string, act: (guest: Guest, i: number) => void): Row {
  return {
    name,
    count: FILES,
    run(guest) {
      for (let i = 0; i < FILES; i++) act(guest, i);
    },
  };
}

const ROWS: readonly Row[] = [
  {
    name: "create",
    count: FILES,
    run(guest) {
      guest.mkdirSync("/files");
      for (let i = 0; i < FILES; i++) guest.writeFileSync(path(i), content);
    },
  },
  each("stat, first", (guest, i) => guest.statSync(path(i))),
  {
    name: "ls -l",
    count: FILES,
    run(guest) {
      for (const { name } of guest.readDirSync("/files")) guest.lstatSync(`/files/${name}`);
    },
  },
  {
    name: "ls -l, again",
    count: FILES,
    run(guest) {
      for (const { name } of guest.readDirSync("/files")) guest.lstatSync(`/files/${name}`);
    },
  },
  each("read", (guest, i) => guest.readFileSync(path(i))),
  each("read, again", (guest, i) => guest.readFileSync(path(i))),
  each("append", (guest, i) => guest.writeFileSync(path(i), content, { append: true })),
  {
    name: "stat, cached",
    count: CACHED_STATS,
    run(guest) {
      for (let i = 0; i < CACHED_STATS; i++) guest.statSync("/files/file-0");
    },
  },
  each("rename", (guest, i) => guest.renameSync(path(i), `${path(i)}.new`)),
  {
    name: "delete",
    count: FILES,
    run(guest) {
      for (let i = 0; i < FILES; i++) guest.removeSync(`${path(i)}.new`);
      guest.removeSync("/files");
    },
  },
];

/** Microseconds for one thing, and requests. */
interface Sample {
  readonly micros: number;
  readonly requests: number;
}

function measure(guest: Guest, row: Row): Sample {
  const before = requestsOf(guest);
  const start = performance.now();
  row.run(guest);
  const micros = (performance.now() - start) * 1000 / row.count;
  return { micros, requests: (requestsOf(guest) - before) / row.count };
}

function requestsOf(guest: Guest): number {
  return guest.traffic.reduce((sum, { requests }) => sum + requests, 0);
}

async function measureAll(): Promise<Sample[][][]> {
  const table = `${PARENT}/virtiofsd-ts-bench-versions-${Deno.pid}`;
  const daemons: Subject[] = [];
  const guests: Guest[] = [];
  const directories: string[] = [];
  try {
    for (const cache of MODES) {
      const directory = Deno.makeTempDirSync({ dir: PARENT, prefix: "virtiofsd-ts-bench-modes-" });
      directories.push(directory);
      const args = ["--cache", cache === "none" ? "never" : cache, "--dax", "never"];
      if (cache === "shared") args.push("--version-table", table);
      const daemon = await Subject.open({ kind: "directory", directory, args });
      daemons.push(daemon);
      guests.push(await Guest.connect({ socketPath: daemon.socketPath, cache }));
    }
    // By row, mode and round. The first round warms up.
    const samples: Sample[][][] = ROWS.map(() => MODES.map(() => []));
    for (let round = -1; round < ROUNDS; round++) {
      for (const [r, row] of ROWS.entries()) {
        for (let k = 0; k < MODES.length; k++) {
          // Nobody is always the first.
          const m = (k + Math.max(0, round)) % MODES.length;
          const sample = measure(guests[m]!, row);
          if (round >= 0) samples[r]![m]!.push(sample);
        }
      }
    }
    return samples;
  } finally {
    for (const guest of guests) await guest.close();
    for (const daemon of daemons) await daemon.close();
    for (const directory of directories) Deno.removeSync(directory, { recursive: true });
    for (const file of [table, `${table}.registry`]) {
      try {
        Deno.removeSync(file);
      } catch {
        // The daemon did not come that far.
      }
    }
  }
}

const samples = await measureAll();
console.log(
  `${navigator.hardwareConcurrency} processors, Linux ${Deno.osRelease()}, Deno ${Deno.version.deno}, ` +
    `${ROUNDS} rounds, turn about, in ${PARENT}; median µs each, (ratio to always: median, middle half), requests each\n`,
);
console.log(`| row | ${MODES.join(" | ")} |\n| --- | ${MODES.map(() => "---").join(" | ")} |`);
for (const [r, row] of ROWS.entries()) {
  const cells = MODES.map((_, m) => {
    const own = samples[r]![m]!;
    const ratios = own.map(({ micros }, i) => micros / samples[r]![BASE]![i]!.micros);
    const sorted = Float64Array.from(ratios).sort();
    const middle = [0.25, 0.5, 0.75].map((part) => quantile(sorted, part).toFixed(2));
    const micros = median(own.map((sample) => sample.micros));
    const requests = median(own.map((sample) => sample.requests));
    const ratio = m === BASE ? "" : ` (${middle[1]}, ${middle[0]}–${middle[2]})`;
    return `${micros.toFixed(micros < 10 ? 2 : 0)}${ratio}, ${requests.toFixed(2)}`;
  });
  console.log(`| ${row.name} | ${cells.join(" | ")} |`);
}
