/**
 * What the version table costs: a change of an inode, finding and giving slots, and a million inodes.
 *
 *     deno task bench:versions
 *
 * @module
 */

import { cpuUsage } from "node:process";
import {
  OWNER_COUNT_MAX,
  REGISTRY_HEADER,
  registrySize,
  tableSize,
} from "../../src/coherence/registry_layout.ts";
import { SharedVersions } from "../../src/coherence/versions.ts";
import { StateMemory } from "../../src/state/state_memory.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";

/** Together 10,000,000 turns of each row. A trial is over before the scheduler takes the processor away, mostly. */
const TRIALS = 1000;
const TURNS = 10_000;
const WARM_UP = 200_000;
const SLOTS = 1 << 21;
const INODES = 1_000_000;
const LOADS = [0.5, 0.75, 0.95];
const DEV = 0x801;
/** As a file system gives them to new files. */
const FIRST_INO = 131_073;

/** A daemon alone with a table of its own. */
class Bench implements Disposable {
  readonly #directory = Deno.makeTempDirSync({ dir: "/dev/shm", prefix: "virtiofsd-ts-bench-" });
  readonly #state = StateMemory.create();
  readonly #versions: SharedVersions;

  constructor(slotCount: number) {
    this.#versions = SharedVersions.open(
      { path: `${this.#directory}/versions`, slotCount, watchHost: false },
      this.#state.memory,
    );
  }

  get thread(): SharedVersions["main"] {
    return this.#versions.main;
  }

  get refusals(): number {
    const { place } = this.#versions;
    const registry = new NativeMemory(place.registryAddress, registrySize(place.slotCount));
    return registry.u32[REGISTRY_HEADER.REFUSALS >>> 2]!;
  }

  [Symbol.dispose](): void {
    this.#versions.close();
    this.#state.close();
    Deno.removeSync(this.#directory, { recursive: true });
  }
}

function row(what: string, value: string): void {
  console.log(`| ${what.padEnd(58)} | ${value.padStart(26)} |`);
}

/** Nanoseconds per turn: the median of many short trials, of which some are disturbed, and the least. */
function measure(what: string, body: (turns: number) => void): void {
  body(WARM_UP);
  const times: number[] = [];
  for (let trial = 0; trial < TRIALS; trial++) {
    const start = performance.now();
    body(TURNS);
    times.push(1e6 * (performance.now() - start) / TURNS);
  }
  times.sort((one, other) => one - other);
  row(what, `${times[TRIALS >> 1]!.toFixed(1)} ns (${times[0]!.toFixed(1)})`);
}

/** Nanoseconds per inode of something done to `count`: of processor time, and as they pass. */
function measureOnce(what: string, count: number, body: () => void): void {
  const before = cpuUsage();
  const start = performance.now();
  body();
  const passed = 1e6 * (performance.now() - start) / count;
  const { user, system } = cpuUsage(before);
  const used = 1000 * (user + system) / count;
  row(what, `${used.toFixed(0)} ns (passed: ${passed.toFixed(0)})`);
}

function single(): void {
  using bench = new Bench(SLOTS);
  const { log, registry, slots } = bench.thread;
  const known = registry.acquire(DEV, 0, FIRST_INO, 0);
  measure("a change: begin, end, both written down", (turns) => {
    for (let i = 0; i < turns; i++) {
      log.enter(0, known);
      slots.begin(known);
      slots.end(known);
      log.strike(0);
    }
  });
  measure("a change that was made already", (turns) => {
    for (let i = 0; i < turns; i++) slots.count1(known);
  });
  measure("reading a version", (turns) => {
    let sum = 0;
    for (let i = 0; i < turns; i++) sum += slots.low(known) + slots.high(known);
    if (sum === 0) throw new Error("no versions");
  });
  measure("find, one inode", (turns) => {
    for (let i = 0; i < turns; i++) registry.find(DEV, 0, FIRST_INO, 0);
  });
  measure("acquire and release, a known inode", (turns) => {
    for (let i = 0; i < turns; i++) registry.release(registry.acquire(DEV, 0, FIRST_INO, 0));
  });
  measure("acquire and release, a new inode", (turns) => {
    for (let i = 0; i < turns; i++) registry.release(registry.acquire(DEV, 0, FIRST_INO + 1, 0));
  });
  measure("the names of a directory locked and unlocked", (turns) => {
    for (let i = 0; i < turns; i++) {
      registry.lockNames(known);
      registry.unlockNames(known);
    }
  });
}

function million(): void {
  using bench = new Bench(SLOTS);
  const { registry } = bench.thread;
  // A few thousand to compile the code, given back.
  for (let i = 0; i < 20_000; i++) registry.release(registry.acquire(DEV, 1, i, 0));
  measureOnce("1,000,000 inodes, table of 2^21 slots: registering one", INODES, () => {
    for (let i = 0; i < INODES; i++) registry.acquire(DEV, 0, FIRST_INO + i, 0);
  });
  row("… refused", String(bench.refusals));
  measureOnce("… finding one", INODES, () => {
    for (let i = 0; i < INODES; i++) registry.find(DEV, 0, FIRST_INO + i, 0);
  });
  measureOnce("… registering one again", INODES, () => {
    for (let i = 0; i < INODES; i++) registry.acquire(DEV, 0, FIRST_INO + i, 0);
  });
}

function fill(load: number): void {
  using bench = new Bench(SLOTS);
  const { registry } = bench.thread;
  const count = Math.floor(load * SLOTS);
  measureOnce(`filled to ${load}: registering one`, count, () => {
    for (let i = 0; i < count; i++) registry.acquire(DEV, 0, FIRST_INO + i, 0);
  });
  const { refusals } = bench;
  row("… refused", `${refusals} of ${count} (${(100 * refusals / count).toFixed(3)} %)`);
}

row("row", "median (least)");
console.log(`| ${"-".repeat(58)} | ${"-".repeat(25)}: |`);
single();
million();
for (const load of LOADS) fill(load);
const records = registrySize(0);
const perSlot = (tableSize(SLOTS) + registrySize(SLOTS) - records) / SLOTS;
row("bytes per slot, table and registry", perSlot.toFixed(0));
row(`bytes beside those: ${OWNER_COUNT_MAX} daemons' records`, String(records));
