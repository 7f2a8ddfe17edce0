/**
 * What looking on costs a daemon under full load: the same work while nobody looks, while `inspect --watch 0.2` looks at another daemon, and
 * while it looks at this one, turn about. The second shows what it does to programs that they are beside busy processors.
 *
 *     deno task bench:inspect [ROUNDS]
 *
 * The lookers-on run all the time and are stopped (SIGSTOP) in the other slices, so that their start is in none of them. Guest and daemon share
 * the first processor; the lookers-on have the others, as it would on a host with processors to spare: what is measured is the daemon, not how
 * several programs share two processors.
 *
 * @module
 */

import { onOneProcessor } from "../../src/bench/placement.ts";
import { median, quantile } from "../../src/bench/statistics.ts";
import { Subject } from "../../src/cli/subject.ts";
import { Guest } from "../../src/guest/guest.ts";
import { affinityOf, firstProcessor, setAffinity } from "../../src/sys/affinity.ts";
import { processorTime } from "../guest/probe.ts";

const ROUNDS = Number(Deno.args[0] ?? 17);
const SLICE_MS = 400;
const INTERVAL_SECONDS = 0.2;
/** Time for the lookers-on to be where a signal has sent them. */
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

/** Of a condition to the first one, round by round: median, and middle half. */
function ratios(rounds: readonly Sample[][], condition: number, of: keyof Sample): string {
  const sorted = Float64Array.from(rounds, (row) => row[condition]![of] / row[0]![of]).sort();
  const [low, middle, high] = [0.25, 0.5, 0.75].map((part) => quantile(sorted, part).toFixed(2));
  return `${middle}, ${low}–${high}`;
}

const directory = Deno.makeTempDirSync({ dir: PARENT, prefix: "virtiofsd-ts-bench-inspect-" });
Deno.mkdirSync(`${directory}/directory`);
Deno.writeTextFileSync(`${directory}/directory/file`, "x");
Deno.writeFileSync(`${directory}/data`, crypto.getRandomValues(new Uint8Array(65536)));
Deno.truncateSync(`${directory}/data`, FILE_SIZE);
const options = {
  kind: "directory",
  directory,
  args: ["--cache", "never", "--dax", "never"],
} as const;
const daemons = [await Subject.open(options), await Subject.open(options)];
const [daemon, other] = daemons as [Subject, Subject];
const pid = daemon.pid!;
/** Who looks, by condition. */
const lookers = [
  [],
  VIEWS.map((view) => startLooking(view, other.pid!)),
  VIEWS.map((view) => startLooking(view, pid)),
];
const CONDITIONS = ["nobody", "at another", "at this one"];
try {
  await using guest = await Guest.connect({ socketPath: daemon.socketPath, cache: "none" });
  // Something to be seen of the other, too.
  await using idle = await Guest.connect({ socketPath: other.socketPath, cache: "none" });
  idle.statSync("/directory/file");
  await pause(5000);
  for (const looker of lookers.flat()) putAside(looker.pid);
  const measure = async (row: Row, condition: number): Promise<Sample> => {
    lookers.forEach((some, i) => {
      for (const looker of some) looker.kill(i === condition ? "SIGCONT" : "SIGSTOP");
    });
    await pause(SETTLE_MS);
    return onOneProcessor(pid, () => slice(guest, pid, row)).result;
  };
  console.log(
    `${navigator.hardwareConcurrency} processors, Linux ${Deno.osRelease()}, Deno ${Deno.version.deno}, ` +
      `load ${
        Deno.loadavg()[0]!.toFixed(1)
      }, ${ROUNDS} rounds of ${SLICE_MS} ms, turn about, in ${PARENT}; ` +
      `${VIEWS.length} lookers-on (${VIEWS.join(", ")}), each every ${INTERVAL_SECONDS} s; ` +
      `medians in µs, (ratio to nobody: median, middle half)\n`,
  );
  const headings = ["time", "daemon's CPU"].flatMap((what) =>
    CONDITIONS.map((condition) => `${what}, ${condition}`)
  );
  console.log(`| the guest's work | ${headings.join(" | ")} |\n| --- |${" --- |".repeat(6)}`);
  for (const row of ROWS) {
    const rounds: Sample[][] = [];
    for (let round = -1; round < ROUNDS; round++) {
      const samples: Sample[] = [];
      for (let k = 0; k < CONDITIONS.length; k++) {
        // Nobody is always the first.
        const condition = (k + round + 1) % CONDITIONS.length;
        samples[condition] = await measure(row, condition);
      }
      // The first round warms up.
      if (round >= 0) rounds.push(samples);
    }
    const cells = (["clock", "processor"] as const).flatMap((of) =>
      CONDITIONS.map((_, condition) => {
        const micros = median(rounds.map((samples) => samples[condition]![of])).toFixed(1);
        return condition === 0 ? micros : `${micros} (${ratios(rounds, condition, of)})`;
      })
    );
    console.log(`| ${row.name} | ${cells.join(" | ")} |`);
  }
} finally {
  for (const looker of lookers.flat()) {
    looker.kill("SIGCONT");
    looker.kill("SIGTERM");
    await looker.status;
  }
  for (const each of daemons) await each.close();
  Deno.removeSync(directory, { recursive: true });
}
