/**
 * The guest's side: runs every row on every target, turn about, and writes a line per measurement.
 *
 * Usage: `deno run -A inside.ts CONTROL`
 *
 * @module
 */

import { JobPool } from "./jobs.ts";
import type { Measurement, Plan, TargetPlan } from "./plan.ts";
import { Probe } from "./probe.ts";
import { type Job, type Row, ROWS } from "./rows.ts";
import { mkdir } from "./syscalls.ts";

const MIB = 1024 * 1024;
/** Long enough for the FORGETs of a dropped cache to have been served. */
const SETTLE_MS = 60;

function jobsOf(plan: Plan, target: TargetPlan, dir: string, count: number): Job[] {
  const { files, randomOperations, fileSize } = plan.amounts;
  return Array.from({ length: count }, (_, i) => ({
    dir: `${target.mount}/${dir}/job-${i}`,
    largeDir: `${target.mount}/large-directory`,
    files: Math.floor(files / count),
    randomOperations: Math.floor(randomOperations / count),
    fileSize: Math.floor(fileSize / count / MIB) * MIB,
    seed: 1 + i,
  }));
}

async function beforeStart(row: Row): Promise<void> {
  if (row.state === "cold") Deno.writeTextFileSync("/proc/sys/vm/drop_caches", "3");
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}

async function main(controlDir: string): Promise<void> {
  const plan: Plan = JSON.parse(Deno.readTextFileSync(`${controlDir}/plan.json`));
  using records = Deno.openSync(`${controlDir}/records.jsonl`, { write: true, create: true });
  const probe = new Probe(controlDir);
  const pool = new JobPool(Math.max(...plan.jobCounts));
  for (let round = 0; round < plan.rounds; round++) {
    // Whoever goes second finds the guest's code warm; the order changes each round.
    const targets = round % 2 === 0 ? plan.targets : plan.targets.toReversed();
    for (const jobCount of plan.jobCounts) {
      const dir = `round-${round}-${jobCount}`;
      for (const target of targets) {
        mkdir(`${target.mount}/${dir}`);
        for (const { dir: jobDir } of jobsOf(plan, target, dir, jobCount)) mkdir(jobDir);
      }
      for (const row of ROWS) {
        if (plan.rows !== null && !plan.rows.includes(row.name)) continue;
        if (row.isSingle === true && jobCount > 1) continue;
        for (const target of targets) {
          let before = {} as Awaited<ReturnType<Probe["ask"]>>;
          const jobs = jobsOf(plan, target, dir, jobCount);
          const { milliseconds, operations } = await pool.run(row.name, jobs, async () => {
            await beforeStart(row);
            before = await probe.ask();
          });
          const after = await probe.ask();
          const measurement: Measurement = {
            target: target.name,
            round,
            row: row.name,
            jobs: jobCount,
            operations,
            milliseconds,
            daemonNanoseconds: (after[target.name] ?? 0) - (before[target.name] ?? 0),
          };
          records.writeSync(new TextEncoder().encode(JSON.stringify(measurement) + "\n"));
          records.syncSync();
        }
      }
      for (const target of targets) {
        Deno.removeSync(`${target.mount}/${dir}`, { recursive: true });
      }
    }
  }
  pool.close();
}

await main(Deno.args[0]!);
