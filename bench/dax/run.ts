/**
 * The mmap table of the 2018 RFC with the guest in userspace: none, none with DAX, always, always with DAX; then what a mapping costs by
 * itself, and what becomes of a file that is twice as large as the window.
 *
 * Run: `deno task bench:dax [ROUNDS [MILLISECONDS]]`, on a file system whose pages are memory anyway (default /dev/shm, or
 * VIRTIOFSD_TS_BENCH_DIR), so that nothing waits for a disk.
 *
 * @module
 */

import { bench, type BenchResult, type BenchSubject } from "../../src/bench/bench.ts";
import { MAPPING_ROWS } from "../../src/bench/mapping_rows.ts";
import { DATA_FILE_SIZE } from "../../src/bench/place.ts";
import type { Row } from "../../src/bench/row.ts";
import { benchTable } from "../../src/bench/table.ts";
import { Subject } from "../../src/cli/subject.ts";
import type { SessionOptions } from "../../src/guest/session.ts";
import { ESTABLISHED_ROWS, RANDOM_ROWS, REMAP_ROWS, SCAN_ROWS } from "./rows.ts";

const MIB = 1024 * 1024;
const FILE_MIB = DATA_FILE_SIZE / MIB;
const rounds = Number(Deno.args[0] ?? 7);
const milliseconds = Number(Deno.args[1] ?? 150);
const parent = Deno.env.get("VIRTIOFSD_TS_BENCH_DIR") ?? "/dev/shm";

/** A daemon with its options, and a guest with its own. */
type Pair = readonly [name: string, serve: string, session: Partial<SessionOptions>];

const WITHOUT = "--dax never";
const whole = `--dax always --dax-window ${FILE_MIB * 2}M`;
const half = `--dax-window ${FILE_MIB / 2}M`;
/** As much memory for the guest's page cache as for the window. */
const pageCacheSize = DATA_FILE_SIZE / 2;

const TABLES: readonly (readonly [title: string, rows: readonly Row[], pairs: readonly Pair[]])[] =
  [
    [`A window twice the file of ${FILE_MIB} MiB`, [...MAPPING_ROWS, ...ESTABLISHED_ROWS], [
      ["none", `--cache never ${WITHOUT}`, { cache: "none", dax: "never" }],
      ["none + dax", `--cache never ${whole}`, { cache: "none", dax: "always" }],
      ["always", `--cache always ${WITHOUT}`, { cache: "always", dax: "never" }],
      ["always + dax", `--cache always ${whole}`, { cache: "always", dax: "always" }],
    ]],
    ["One SETUPMAPPING", REMAP_ROWS, [
      ["window of 16 M", `--cache always --dax always --dax-window 16M`, { dax: "always" }],
    ]],
    ["A window half the file, in order", SCAN_ROWS, [
      ["without", `--cache always ${WITHOUT}`, { dax: "never", pageCacheSize }],
      ["auto", `--cache always --dax auto ${half}`, { dax: "inode", pageCacheSize }],
      ["always", `--cache always --dax always ${half}`, { dax: "always", pageCacheSize }],
    ]],
    ["A window half the file, at random", RANDOM_ROWS, [
      ["without", `--cache always ${WITHOUT}`, { dax: "never", pageCacheSize }],
      ["auto", `--cache always --dax auto ${half}`, { dax: "inode", pageCacheSize }],
      ["always", `--cache always --dax always ${half}`, { dax: "always", pageCacheSize }],
    ]],
  ];

/** One table: all its daemons at the same time, turn about. */
async function run(rows: readonly Row[], pairs: readonly Pair[]): Promise<BenchResult> {
  const directory = Deno.makeTempDirSync({ dir: parent, prefix: "virtiofsd-ts-bench-dax-" });
  const daemons: Subject[] = [];
  try {
    const subjects: BenchSubject[] = [];
    for (const [name, serve, session] of pairs) {
      const daemon = await Subject.open({ kind: "directory", directory, args: serve.split(" ") });
      daemons.push(daemon);
      subjects.push({ name, socketPath: daemon.socketPath, session });
    }
    const progress = () => {};
    const options = { session: {}, rounds, milliseconds, spread: false, filter: null, progress };
    return await bench(subjects, { ...options, rows });
  } finally {
    for (const daemon of daemons) await daemon.close();
    Deno.removeSync(directory, { recursive: true });
  }
}

const { hardwareConcurrency } = navigator;
console.log(
  `${hardwareConcurrency} processors, Linux ${Deno.osRelease()}, Deno ${Deno.version.deno}, ` +
    `${rounds} rounds of ${milliseconds} ms, turn about, in ${parent}`,
);
for (const [title, rows, pairs] of TABLES) {
  console.log(`\n${title}\n\n${benchTable(await run(rows, pairs))}`);
}
