/**
 * What looking on costs a daemon under full load: the same work without and with `inspect --watch 0.2` beside it, turn about.
 *
 *     deno task bench:inspect [ROUNDS]
 *
 * One looker-on runs all the time and is stopped (SIGSTOP) in every other slice, so that its start is in none of them. Guest and daemon share
 * the first processor; the looker-on has the others, as it would on a host with processors to spare: what is measured is the daemon, not how
 * three programs share two processors.
 *
 * @module
 */

import { onOneProcessor } from "../../src/bench/placement.ts";
import { median, quantile } from "../../src/bench/statistics.ts";
import { Subject } from "../../src/cli/subject.ts";
import { Guest } from "../../src/guest/guest.ts";
import { affinityOf, firstProcessor, setAffinity } from "../../src/sys/affinity.ts";
import { processorTime } from "../guest/probe.ts";

const ROUNDS = Number(Deno.args[0] ?? 21);
const SLICE_MS = 400;
const INTERVAL_SECONDS = 0.2;
/** Time for the looker-on to be where a signal has sent it. */
const SETTLE_MS = 30;
const PARENT = Deno.env.get("VIRTIOFSD_TS_BENCH_DIR") ?? "/dev/shm";
const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const FILE_SIZE = 64 * 1024 ** 2;
const VIEWS = ["summary", "ops", "inodes", "queues"];

interface Row {
  readonly name: string;
  readonly act: (guest: Guest, i: number) => void;
}

/** Of one slice: microseconds per operation, by the clock and of the daemon's processor time. */
interface Sample {
  readonly clock: number;
  readonly processor: number;
}

const small = new Uint8Array(4096);
const large = new Uint8Array(1024 ** 2);

function readAt(buffer: Uint8Array<ArrayBuffer>, places: number): Row["act"] {
  return (guest, i) => {
    using file = guest.openSync("/data");
    for (let k = 0; k < 16; k++) {
      // Scattered, and the same places in each slice.
      file.seekSync((i * 16 + k) * 7919 % places * buffer.length, Deno.SeekMode.Start);
      file.readSync(buffer);
    }
  };
}

const ROWS: readonly Row[] = [
  { name: "stat of a path of two names", act: (guest) => guest.statSync("/directory/file") },
  { name: "open, 16 reads of 4 KiB, close", act: readAt(small, FILE_SIZE / small.length) },
  { name: "open, 16 reads of 1 MiB, close", act: readAt(large, FILE_SIZE / large.length) },
  {
    name: "create, write 4 KiB, remove",
    act: (guest) => {
      guest.writeFileSync("/directory/new", small);
      guest.removeSync("/directory/new");
    },
  },
];

function slice(guest: Guest, pid: number, { act }: Row): Sample {
  const processorBefore = processorTime(pid);
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < SLICE_MS) act(guest, count++);
  const clock = (performance.now() - start) * 1000 / count;
  return { clock, processor: (processorTime(pid) - processorBefore) / 1000 / count };
}

/** Off the first processor, where there are others. */
function putAside(pid: number): void {
  const mask = affinityOf(0)!;
  const first = firstProcessor(mask);
  mask[first >>> 3]! &= ~(1 << (first & 7));
  if (mask.every((bits) => bits === 0)) return;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) setAffinity(Number(name), mask);
}

function startLooking(view: string, pid: number): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--quiet", MAIN, "inspect", view, "--pid", String(pid)],
      ...["--watch", String(INTERVAL_SECONDS)],
    ],
    ...{ stdin: "null", stdout: "null", stderr: "inherit" },
  }).spawn();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function ratios(pairs: readonly [Sample, Sample][], of: keyof Sample): string {
  const sorted = Float64Array.from(pairs, ([without, with_]) => with_[of] / without[of]).sort();
  const [low, middle, high] = [0.25, 0.5, 0.75].map((part) => quantile(sorted, part).toFixed(3));
  return `${middle} (${low}–${high})`;
}

const directory = Deno.makeTempDirSync({ dir: PARENT, prefix: "virtiofsd-ts-bench-inspect-" });
Deno.mkdirSync(`${directory}/directory`);
Deno.writeTextFileSync(`${directory}/directory/file`, "x");
Deno.writeFileSync(`${directory}/data`, crypto.getRandomValues(new Uint8Array(65536)));
Deno.truncateSync(`${directory}/data`, FILE_SIZE);
const daemon = await Subject.open({
  ...{ kind: "directory", directory, args: ["--cache", "never", "--dax", "never"] },
});
const pid = daemon.pid!;
const lookers = VIEWS.map((view) => startLooking(view, pid));
try {
  await using guest = await Guest.connect({ socketPath: daemon.socketPath, cache: "none" });
  await pause(3000);
  for (const looker of lookers) putAside(looker.pid);
  const signal = (name: Deno.Signal) => lookers.forEach((looker) => looker.kill(name));
  signal("SIGSTOP");
  const measure = async (row: Row, isWatched: boolean): Promise<Sample> => {
    signal(isWatched ? "SIGCONT" : "SIGSTOP");
    await pause(SETTLE_MS);
    return onOneProcessor(pid, () => slice(guest, pid, row)).result;
  };
  console.log(
    `${navigator.hardwareConcurrency} processors, Linux ${Deno.osRelease()}, Deno ${Deno.version.deno}, ` +
      `load ${
        Deno.loadavg()[0]!.toFixed(1)
      }, ${ROUNDS} rounds of ${SLICE_MS} ms, turn about, in ${PARENT}; ` +
      `${VIEWS.length} lookers-on (${VIEWS.join(", ")}), each every ${INTERVAL_SECONDS} s\n`,
  );
  console.log(
    "| the guest's work | µs without | with | with/without | daemon CPU µs without | with | with/without |\n" +
      "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
  );
  for (const row of ROWS) {
    const pairs: [Sample, Sample][] = [];
    for (let round = -1; round < ROUNDS; round++) {
      const isFirstWatched = round % 2 === 0;
      const first = await measure(row, isFirstWatched);
      const second = await measure(row, !isFirstWatched);
      // The first round warms up.
      if (round >= 0) pairs.push(isFirstWatched ? [second, first] : [first, second]);
    }
    const micros = (i: 0 | 1, of: keyof Sample) =>
      median(pairs.map((pair) => pair[i][of])).toFixed(1);
    const cells = (["clock", "processor"] as const).flatMap((of) => [
      micros(0, of),
      micros(1, of),
      ratios(pairs, of),
    ]);
    console.log(`| ${row.name} | ${cells.join(" | ")} |`);
  }
  signal("SIGCONT");
} finally {
  for (const looker of lookers) {
    looker.kill("SIGTERM");
    await looker.status;
  }
  await daemon.close();
  Deno.removeSync(directory, { recursive: true });
}
