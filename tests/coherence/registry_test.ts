import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { seedOf } from "../intervals/random.ts";
import { errorsOf, failed, start } from "./storm.ts";
import { mapModel } from "./storm_model.ts";
import { leftovers, slotsOf, TableFiles } from "./table_files.ts";

const PROCESSES = 3;
const THREADS = 2;
const STEPS = Number(Deno.env.get("VIRTIOFSD_TS_STEPS") ?? 15_000);

interface Kind {
  readonly what: string;
  readonly slotCount: number;
  readonly inodes: number;
  readonly most: number;
  /** Whether there are too many inodes. */
  readonly isFull: boolean;
}

const KINDS: readonly Kind[] = [
  { what: "few inodes, one bucket", slotCount: 64, inodes: 6, most: 4, isFull: false },
  {
    what: "more inodes than slots, one bucket",
    slotCount: 64,
    inodes: 200,
    most: 30,
    isFull: true,
  },
  { what: "more inodes than slots", slotCount: 1024, inodes: 4000, most: 400, isFull: true },
];

for (const { what, slotCount, inodes, most, isFull } of KINDS) {
  Deno.test(`Registry: processes of several threads on one table: ${what}`, async () => {
    const seed = seedOf();
    using files = new TableFiles(slotCount);
    using watcher = files.daemon();
    const model = `${files.directory}/model`;
    mapModel(model).unmap();
    const common = { path: files.path, slotCount, model, threads: THREADS, inodes, most, dieAt: 0 };
    const processes = Array.from(
      { length: PROCESSES },
      (_, i) => start({ ...common, steps: STEPS, sweepMs: 50, seed: seed + i * 7919 }),
    );
    const reports = await Promise.all(processes.map(({ report }) => report));
    const errors = [...reports.flatMap(errorsOf), ...leftovers(watcher, [watcher])];
    if (errors.length > 0) throw failed(seed, "registry_test.ts", errors);
    const threads = reports.flatMap((report) => report?.threads ?? []);
    equal(threads.length, PROCESSES * THREADS);
    const sum = (key: "acquired" | "refused" | "changes") =>
      threads.reduce((total, counts) => total + counts[key], 0);
    equal(watcher.refusals, sum("refused"), `seed ${seed}`);
    equal(sum("refused") > 0, isFull, `${sum("refused")} refused, seed ${seed}`);
    ok(sum("acquired") > STEPS && sum("changes") > STEPS / 10, `${sum("acquired")} acquired`);
  });
}

/** Inodes that differ from 1, 2, 3, 4 in one word. */
const NEARBY: readonly [number, number, number, number][] = [
  [0, 2, 3, 4],
  [1, 0, 3, 4],
  [1, 2, 0, 4],
  [1, 2, 3, 0],
];

Deno.test("Registry: an inode has one slot in all daemons, for as long as any uses it", () => {
  using files = new TableFiles(64);
  using first = files.daemon();
  using second = files.daemon();
  const [one, other] = [first.thread.registry, second.thread.registry];
  equal(one.find(1, 2, 3, 4), 0);
  const slot = one.acquire(1, 2, 3, 4);
  ok(slot >= 8 && slot < 64);
  equal(other.find(1, 2, 3, 4), slot);
  equal(other.acquire(1, 2, 3, 4), slot);
  equal(other.acquire(1, 2, 3, 4), slot);
  for (const [devLo, devHi, inoLo, inoHi] of NEARBY) equal(one.find(devLo, devHi, inoLo, inoHi), 0);
  one.release(slot);
  deepEqual([slotsOf(first), slotsOf(second)], [[], [slot]]);
  other.release(slot);
  equal(one.find(1, 2, 3, 4), slot);
  const version = first.thread.slots.low(slot);
  other.release(slot);
  equal(one.find(1, 2, 3, 4), 0);
  notEqual(first.thread.slots.low(slot), version);
});

Deno.test("Registry: an inode that uses a slot again has another version than the one before it saw", () => {
  using files = new TableFiles(64);
  using daemon = files.daemon();
  const { registry, slots } = daemon.thread;
  const versions = new Set<number>();
  for (let ino = 1; ino <= 1000; ino++) {
    const slot = registry.acquire(1, 0, ino, 0);
    equal(slot, 8);
    ok(!versions.has(slots.low(slot)));
    versions.add(slots.low(slot));
    registry.release(slot);
  }
});

Deno.test("Registry: a full bucket gives 0, counts it, and gives slots again when there are any", () => {
  using files = new TableFiles(64);
  using daemon = files.daemon();
  const { registry } = daemon.thread;
  const slots = Array.from({ length: 56 }, (_, i) => registry.acquire(1, 0, i, 0));
  deepEqual([...slots].sort((a, b) => a - b), Array.from({ length: 56 }, (_, i) => i + 8));
  equal(daemon.refusals, 0);
  equal(registry.acquire(1, 0, 100, 0), 0);
  equal(daemon.refusals, 1);
  equal(registry.acquire(1, 0, 7, 0), slots[7]);
  registry.release(slots[20]!);
  equal(registry.acquire(1, 0, 100, 0), slots[20]);
  equal(daemon.refusals, 1);
});
