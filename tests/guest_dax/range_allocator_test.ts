/**
 * The range allocator against a naive one.
 *
 * A failure prints its seed: VIRTIOFSD_TS_SEED=N VIRTIOFSD_TS_STEPS=M deno test -A tests/guest_dax/range_allocator_test.ts
 */

import { deepEqual, equal } from "node:assert/strict";
import { RangeAllocator, type RangeFile } from "../../mod.ts";
import { EAGAIN, EIO } from "../../src/sys/errno.ts";
import { randomNumbers, seedOf, STEPS } from "../intervals/random.ts";
import { NaiveAllocator } from "./naive_allocator.ts";

const SIZE = 4096;

/** The window as the daemon sees it: what is mapped where. */
class FakeWindow {
  readonly mapped = new Map<number, { nodeid: number; fileOffset: number; writable: boolean }>();
  readonly log: string[] = [];
  /** What the next request comes to. */
  failing = 0;

  setup(nodeid: number, fileOffset: number, at: number, length: number, writable: boolean): number {
    const status = this.#status();
    equal(length, SIZE);
    this.log.push(`map ${nodeid}:${fileOffset} at ${at}${writable ? " rw" : ""} = ${status}`);
    if (status === 0) this.mapped.set(at, { nodeid, fileOffset, writable });
    return status;
  }

  remove(nodeid: number, offsets: readonly number[], length: number): number {
    const status = this.#status();
    equal(length, SIZE);
    equal(offsets.length >= 1 && offsets.length <= 256, true);
    this.log.push(`unmap ${nodeid}: ${offsets} = ${status}`);
    for (const at of offsets) this.mapped.delete(at);
    return status;
  }

  #status(): number {
    const status = this.failing;
    this.failing = 0;
    return status;
  }
}

/** What has to hold between steps. */
function checkInvariants(ranges: RangeAllocator, window: FakeWindow, files: RangeFile[]): void {
  const free = ranges.freeRanges();
  const busy = ranges.busyRanges();
  equal(free.length, ranges.freeCount);
  equal(busy.length, ranges.busyCount);
  equal(new Set([...free, ...busy]).size, ranges.rangeCount, "each range in exactly one list");
  equal(free.length + busy.length, ranges.rangeCount, "each range in exactly one list");
  for (const range of free) equal(ranges.rangeInfo(range), null);
  let inTrees = 0;
  for (const file of files) {
    let count = 0;
    let before = -1;
    const end = Number.MAX_SAFE_INTEGER;
    for (let node = file.tree.first(0, end); node !== 0; node = file.tree.next(node, 0, end)) {
      const info = ranges.rangeInfo(node - 1)!;
      equal(info.nodeid, file.nodeid, "tree and range agree");
      equal(info.fileOffset > before, true, "no two ranges show the same piece");
      before = info.fileOffset;
      count++;
    }
    equal(count, file.count);
    inTrees += count;
  }
  equal(inTrees, busy.length, "tree and list agree");
  for (const range of busy) {
    const info = ranges.rangeInfo(range)!;
    equal(info.references >= 1, true, "no mapping without a reference");
    equal(info.windowOffset, range * SIZE, "window offsets are disjoint");
    const { nodeid, fileOffset, writable } = info;
    deepEqual(window.mapped.get(info.windowOffset), { nodeid, fileOffset, writable });
  }
  equal(window.mapped.size, busy.length, "nothing else is mapped");
}

Deno.test("random steps come to the same as with the naive allocator", () => {
  const seed = seedOf();
  const next = randomNumbers(seed);
  let what = "";
  try {
    for (let step = 0; step < STEPS;) {
      // A new window every now and then, of 0 to 23 ranges and some bytes.
      const windowSize = next(24) * SIZE + next(SIZE);
      const window = new FakeWindow();
      const naiveWindow = new FakeWindow();
      let kicks = 0;
      const ranges = new RangeAllocator({
        windowSize,
        rangeSize: SIZE,
        mapper: window,
        onKick: () => kicks++,
      });
      const naive = new NaiveAllocator(windowSize, SIZE, naiveWindow);
      const files = [10, 11, 12].map((nodeid) => ranges.addFile(nodeid));
      const held: number[] = [];
      const woken: string[] = [];
      const cancels: (() => void)[] = [];
      for (const until = step + 500; step < until && step < STEPS; step++) {
        const which = next(files.length);
        const file = files[which]!;
        const offset = next(12 * SIZE);
        const writable = next(2) === 1;
        const inline = next(3) > 0;
        window.failing = naiveWindow.failing = next(30) === 0 ? -EIO : 0;
        const action = next(20);
        what = `step ${step}: action ${action}, file ${which}, offset ${offset}`;
        if (action < 10) {
          const range = ranges.acquire(file, offset, writable, inline);
          equal(range, naive.acquire(file.nodeid, offset, writable, inline), what);
          if (range >= 0) {
            held.push(range);
            equal(ranges.windowOffset(range, offset), range * SIZE + offset % SIZE);
          }
        } else if (action < 16) {
          if (held.length > 0) {
            const range = held.splice(next(held.length), 1)[0]!;
            ranges.release(range);
            naive.release(range);
          }
        } else if (action === 16) {
          equal(ranges.work(), naive.work(), what);
        } else if (action === 17) {
          const start = next(2) === 0 ? 0 : next(12) * SIZE;
          const end = start + 1 + next(12 * SIZE);
          equal(ranges.remove(file, start, end), naive.remove(file.nodeid, start, end), what);
        } else if (action === 18) {
          const name = `waiter ${step}`;
          cancels.push(ranges.wait(() => woken.push(name)));
          naive.wait(name);
        } else if (cancels.length > 0) {
          const at = next(cancels.length);
          cancels[at]!();
          naive.cancel(at);
        }
        window.failing = naiveWindow.failing = 0;
        deepEqual(ranges.freeRanges(), naive.free, what);
        deepEqual(ranges.busyRanges(), naive.busy, what);
        deepEqual(woken, naive.woken, what);
        equal(ranges.waiterCount, naive.waiters.length, what);
        equal(ranges.isKicked, naive.kicked, what);
        equal(kicks, naive.kicks, what);
        equal(window.log.splice(0).join("\n"), naiveWindow.log.splice(0).join("\n"), what);
        checkInvariants(ranges, window, files);
      }
    }
  } catch (error) {
    throw new Error(`${what}; again with VIRTIOFSD_TS_SEED=${seed} VIRTIOFSD_TS_STEPS=${STEPS}`, {
      cause: error,
    });
  }
});

Deno.test("an inode's mappings are removed in batches of 256", () => {
  const window = new FakeWindow();
  const ranges = new RangeAllocator({ windowSize: 600 * SIZE, rangeSize: SIZE, mapper: window });
  const file = ranges.addFile(5);
  for (let i = 0; i < 600; i++) ranges.release(ranges.acquire(file, i * SIZE, false, false));
  window.log.length = 0;
  const used = ranges.acquire(file, 300 * SIZE, false);
  equal(ranges.remove(file), 1, "one is in use");
  equal(window.log.length, 3);
  equal(file.count, 1);
  ranges.release(used);
  equal(ranges.remove(file), 0);
  equal(window.mapped.size, 0);
});

Deno.test("the worker keeps a fifth free, ten at a time, the oldest first, and leaves what is in use", () => {
  const window = new FakeWindow();
  let kicks = 0;
  const options = { windowSize: 100 * SIZE, rangeSize: SIZE, mapper: window };
  const ranges = new RangeAllocator({ ...options, onKick: () => kicks++ });
  const file = ranges.addFile(5);
  const first = ranges.acquire(file, 0, false);
  for (let i = 1; i < 80; i++) ranges.release(ranges.acquire(file, i * SIZE, false, false));
  equal(kicks, 0, "20 of 100 are free");
  for (let i = 80; i < 100; i++) ranges.release(ranges.acquire(file, i * SIZE, false, false));
  equal(kicks, 1);
  equal(ranges.work(), true, "ten are free now");
  equal(ranges.isMapped(file, 0), true, "it is in use");
  equal(ranges.isMapped(file, 10 * SIZE), false);
  equal(ranges.isMapped(file, 11 * SIZE), true);
  equal(kicks, 2);
  equal(ranges.work(), false);
  equal(ranges.freeCount, 20);
  ranges.release(first);
});

Deno.test("one waiter is woken for each range that becomes free, the first first", () => {
  const window = new FakeWindow();
  const ranges = new RangeAllocator({ windowSize: 2 * SIZE, rangeSize: SIZE, mapper: window });
  const file = ranges.addFile(5);
  const held = [ranges.acquire(file, 0, false), ranges.acquire(file, SIZE, false)];
  ranges.work();
  equal(ranges.acquire(file, 2 * SIZE, false), -EAGAIN);
  const woken: number[] = [];
  for (let i = 0; i < 3; i++) ranges.wait(() => woken.push(i));
  equal(ranges.isKicked, true);
  ranges.work();
  deepEqual(woken, [], "all are in use");
  ranges.release(held[0]!);
  equal(ranges.isKicked, true, "one is idle, and somebody waits");
  ranges.work();
  deepEqual(woken, [0]);
  ranges.release(held[1]!);
  ranges.remove(file);
  deepEqual(woken, [0, 1]);
});
