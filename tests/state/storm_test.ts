import { equal } from "node:assert/strict";
import { HandleTable } from "../../src/state/handle_table.ts";
import { InodeTable } from "../../src/state/inode_table.ts";
import { FreshState, NOTHING_ELSE } from "./fresh_state.ts";
import { COUNTED_WORD, type Storm, type StormResult } from "./storm_worker.ts";

const THREADS = 3;

/** Runs the storm in several threads that start together. */
async function storm(kind: Storm["kind"], address: number, rounds: number): Promise<StormResult[]> {
  const start = new SharedArrayBuffer(4);
  const workers: Worker[] = [];
  const ready: Promise<void>[] = [];
  const results: Promise<StormResult>[] = [];
  for (let i = 0; i < THREADS; i++) {
    const worker = new Worker(new URL("./storm_worker.ts", import.meta.url), { type: "module" });
    const isReady = Promise.withResolvers<void>();
    const result = Promise.withResolvers<StormResult>();
    worker.onmessage = ({ data }: MessageEvent<StormResult | "ready">) => {
      if (data === "ready") isReady.resolve();
      else result.resolve(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      result.reject(new Error(event.message));
      isReady.resolve();
    };
    const message: Storm = { kind, address, start, rounds, seed: 12345 + i * 7919 };
    worker.postMessage(message);
    workers.push(worker);
    ready.push(isReady.promise);
    results.push(result.promise);
  }
  await Promise.all(ready);
  const word = new Int32Array(start);
  Atomics.store(word, 0, 1);
  Atomics.notify(word, 0);
  try {
    return await Promise.all(results);
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

function descriptors(): string[] {
  return [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`).includes("eventfd");
    } catch {
      return false;
    }
  }).map(({ name }) => name);
}

// Not unmapped: a terminated Worker may still have views for a moment.
const keep: FreshState[] = [];

function lastingState(): FreshState {
  const state = new FreshState();
  keep.push(state);
  return state;
}

Deno.test("Mutex: several threads count to the exact number", async () => {
  const state = lastingState();
  const rounds = 100_000;
  await storm("mutex", state.address, rounds);
  equal(state.memory.u32[COUNTED_WORD >>> 2], THREADS * rounds);
});

Deno.test("InodeTable: threads look up, use and forget the same inodes; nothing is lost, nothing stays", async () => {
  const state = lastingState();
  const table = new InodeTable(state.memory, NOTHING_ELSE);
  const before = descriptors().length;
  const results = await storm("inodes", state.address, 150_000);
  for (const { error } of results) equal(error, null);
  equal(table.count, 0);
  equal(table.fdCount, 0);
  // Closed neither too seldom nor twice: the latter would have closed another thread's.
  equal(descriptors().length <= before + THREADS * 2, true, `eventfds: ${descriptors().length}`);
  equal(results.reduce((sum, result) => sum + result.opened, 0) > 10_000, true);
});

Deno.test("HandleTable: threads open, close and guess handles; nothing is lost, nothing stays", async () => {
  const state = lastingState();
  const table = new HandleTable(state.memory, () => {});
  const results = await storm("handles", state.address, 150_000);
  for (const { error } of results) equal(error, null);
  equal(table.count, 0);
});
