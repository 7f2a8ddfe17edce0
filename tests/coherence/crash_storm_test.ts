import { deepEqual, equal, ok } from "node:assert/strict";
import { CHANGES_IN_PROGRESS } from "../../src/wire/shared_versions.ts";
import { randomNumbers, seedOf } from "../intervals/random.ts";
import { errorsOf, failed, start, type Started } from "./storm.ts";
import { mapModel, stopAll } from "./storm_model.ts";
import type { StormReport } from "./storm_process.ts";
import { keyOf } from "./storm_thread.ts";
import { type Daemon, leftovers, slotsOf, TableFiles } from "./table_files.ts";

/** VIRTIOFSD_TS_STORM_SECONDS: minutes, where there is time. */
const SECONDS = Number(Deno.env.get("VIRTIOFSD_TS_STORM_SECONDS") ?? 12);
/** A table is used for so long: what the model remembers of versions has 20 bits. */
const ROUND_SECONDS = 30;
const PROCESSES = 3;
/** Inodes of the test itself, which lives through it all. */
const OWN_INODES = [1, 2, 3];

/** Kills and replaces processes until the time is over. Returns how many were killed and what those that came to their end said. */
async function round(
  files: TableFiles,
  watcher: Daemon,
  seed: number,
  seconds: number,
): Promise<{ killed: number; errors: string[] }> {
  const random = randomNumbers(seed);
  const model = mapModel(`${files.directory}/model`);
  const end = Date.now() + seconds * 1000;
  const reports: Promise<StormReport | null>[] = [];
  const tell = (): Started => {
    const isFew = random(2) === 0;
    const started = start({
      path: files.path,
      slotCount: files.slotCount,
      model: `${files.directory}/model`,
      threads: 1 + random(3),
      seed: random(2 ** 31),
      inodes: isFew ? 6 : 200,
      most: isFew ? 4 : 20,
      steps: 0,
      // Half of them at a write of their own, which is more often than by chance in the midst of something.
      dieAt: random(2) === 0 ? 1 + random(20_000) : 0,
      sweepMs: 20,
    });
    reports.push(started.report);
    return started;
  };
  const lane = async () => {
    while (Date.now() < end) {
      const process = tell();
      const timer = setTimeout(() => process.kill(), 700 + random(1800));
      await process.report;
      clearTimeout(timer);
      watcher.versions.sweep();
    }
  };
  const last = start({
    path: files.path,
    slotCount: files.slotCount,
    model: `${files.directory}/model`,
    threads: 2,
    seed: random(2 ** 31),
    inodes: 200,
    most: 20,
    steps: 0,
    dieAt: 0,
    sweepMs: 20,
  });
  try {
    await Promise.all(Array.from({ length: PROCESSES - 1 }, lane));
  } finally {
    stopAll(model.memory);
  }
  const survivor = await last.report;
  const all = await Promise.all(reports);
  model.unmap();
  return {
    killed: all.filter((report) => report === null).length,
    errors: [...all.flatMap(errorsOf), ...errorsOf(survivor)],
  };
}

Deno.test(`Registry: daemons killed at any instant, for ${SECONDS} s`, async () => {
  const seed = seedOf();
  let killed = 0;
  for (let spent = 0, i = 0; spent < SECONDS; spent += ROUND_SECONDS, i++) {
    // One bucket, mostly full, and several.
    using files = new TableFiles(i % 2 === 0 ? 64 : 1024);
    using watcher = files.daemon();
    const { registry, slots } = watcher.thread;
    const own = OWN_INODES.map((inode) => registry.acquire(...keyOf(inode)));
    const outcome = await round(files, watcher, seed + i, Math.min(ROUND_SECONDS, SECONDS - spent))
      .catch((error: Error) => ({ killed: 0, errors: [error.message] }));
    killed += outcome.killed;
    // All but the watcher are gone, most of them in the midst of something.
    watcher.versions.sweep();
    const errors = [...outcome.errors, ...leftovers(watcher, [watcher])];
    if (errors.length > 0) throw failed(seed, "crash_storm_test.ts", errors);
    deepEqual(OWN_INODES.map((inode) => registry.find(...keyOf(inode))), own);
    deepEqual(slotsOf(watcher), own.toSorted((a, b) => a - b));
    for (const slot of own) equal(slots.low(slot) & CHANGES_IN_PROGRESS, 0);
    // Every slot can be had.
    if (files.slotCount === 64) {
      for (let inode = 1000; inode < 1053; inode++) ok(registry.acquire(...keyOf(inode)) !== 0);
      equal(registry.acquire(...keyOf(2000)), 0);
    }
  }
  console.log(`${killed} daemons were killed`);
  ok(killed >= SECONDS / 3, `only ${killed} were killed`);
});
