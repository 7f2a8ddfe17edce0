/**
 * Sequential reading and writing through the guest's file API against a plain pread(2) and pwrite(2) loop of the
 * same process, turn about:
 *
 *     deno run -A bench/client/sequential.ts [--rounds 15] [--size-mib 256] [--dir DIR] [--cache auto]
 *
 * Ends with 1 if reading with cold caches is below 70 % of the loop.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { Subject } from "../../src/cli/subject.ts";
import { Guest } from "../../src/guest/guest.ts";
import { median } from "../../src/bench/statistics.ts";

const MIB = 1024 * 1024;
const GOAL = 0.7;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    "size-mib": { type: "string", default: "256" },
    dir: { type: "string", default: "/dev/shm" },
    cache: { type: "string", default: "auto" },
  },
});
const size = Number(values["size-mib"]) * MIB;
const rounds = Number(values.rounds);
const directory = Deno.makeTempDirSync({ dir: values.dir, prefix: "virtiofsd-ts-bench-" });

/** MiB per second of moving the whole file in pieces of 1 MiB. */
function timed(move: (offset: number) => number | null): number {
  const start = performance.now();
  let done = 0;
  while (done < size) {
    const count = move(done);
    if (count === null || count <= 0) throw new Error(`stopped at ${done}`);
    done += count;
  }
  return size / MIB / (performance.now() - start) * 1000;
}

let good = true;
try {
  Deno.writeFileSync(`${directory}/data`, new Uint8Array(size).fill(0x5a));
  const subject = await Subject.open({
    kind: "directory",
    directory,
    args: ["--cache", values.cache],
  });
  try {
    // The page cache (64 MiB) is smaller than the file, so that every pass comes from the daemon.
    await using guest = await Guest.connect({
      socketPath: subject.socketPath,
    });
    using file = guest.openSync("/data", { read: true, write: true });
    const { preadLoop, pwriteLoop } = await import("./plain_loop.ts");
    const bytes = new Uint8Array(MIB);
    const ratios: Record<string, number[]> = { read: [], write: [] };
    for (let round = 0; round <= rounds; round++) {
      const pairs = [
        ["read", preadLoop(`${directory}/data`), (at: number) => file.readAtSync(bytes, at)],
        ["write", pwriteLoop(`${directory}/data`), (at: number) => file.writeAtSync(bytes, at)],
      ] as const;
      for (const [name, loop, ours] of pairs) {
        const loopFirst = round % 2 === 0;
        const first = timed(loopFirst ? loop.move : ours);
        const second = timed(loopFirst ? ours : loop.move);
        loop.close();
        const [plainRate, ourRate] = loopFirst ? [first, second] : [second, first];
        if (round > 0) ratios[name]!.push(ourRate / plainRate);
        console.log(
          `${name} ${round}: plain loop ${plainRate.toFixed(0)} MiB/s, guest ${
            ourRate.toFixed(0)
          } MiB/s, ratio ${(ourRate / plainRate).toFixed(2)}`,
        );
      }
    }
    for (const [name, all] of Object.entries(ratios)) {
      console.log(`${name}: median ratio ${median(all).toFixed(2)} of ${all.length} rounds`);
    }
    good = median(ratios.read!) >= GOAL;
  } finally {
    await subject.close();
  }
} finally {
  Deno.removeSync(directory, { recursive: true });
}
Deno.exit(good ? 0 : 1);
