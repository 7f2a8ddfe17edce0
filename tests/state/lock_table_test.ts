import { equal, notEqual } from "node:assert/strict";
import { LOCK_OWNER_COUNT_MAX } from "../../src/state/layout.ts";
import { type LockListHead, LockTable } from "../../src/state/lock_table.ts";
import { FreshState, isOpen, someFd } from "./fresh_state.ts";

/** Inodes that keep only the head of their list. */
class Heads implements LockListHead {
  readonly #heads = new Map<number, number>();

  firstLock(nodeid: number): number {
    return this.#heads.get(nodeid) ?? 0;
  }

  setFirstLock(nodeid: number, lock: number): void {
    this.#heads.set(nodeid, lock);
  }
}

Deno.test("each (inode, owner) has its descriptor until it is removed", () => {
  using state = new FreshState();
  const table = new LockTable(state.memory);
  const heads = new Heads();
  const fds = new Map<string, number>();
  for (const nodeid of [3, 4]) {
    for (const [lo, hi] of [[1, 0], [1, 1], [2, 0]] as const) {
      const fd = someFd();
      notEqual(table.insert(heads, nodeid, lo, hi, fd), 0);
      fds.set(`${nodeid} ${lo} ${hi}`, fd);
    }
  }
  equal(table.count, 6);
  for (const [key, fd] of fds) {
    const [nodeid, lo, hi] = key.split(" ").map(Number) as [number, number, number];
    equal(table.fd(table.find(heads, nodeid, lo, hi)), fd);
  }
  equal(table.find(heads, 5, 1, 0), 0);
  const releases = table.releases;
  // The middle one, the first, one that is not there.
  table.remove(heads, 3, 1, 1);
  table.remove(heads, 3, 2, 0);
  table.remove(heads, 3, 9, 9);
  equal(isOpen(fds.get("3 1 1")!), false);
  equal(isOpen(fds.get("3 1 0")!), true);
  equal(table.fd(table.find(heads, 3, 1, 0)), fds.get("3 1 0"));
  equal(table.fd(table.find(heads, 4, 1, 1)), fds.get("4 1 1"));
  // Whoever waits for a lock must hear of each.
  equal(table.releases, releases + 2);
  table.removeList(heads.firstLock(4));
  equal(table.count, 1);
  table.removeList(heads.firstLock(3));
  equal(table.count, 0);
  for (const fd of fds.values()) equal(isOpen(fd), false);
});

Deno.test("a full table leaves the descriptor to the caller, and works again when one is removed", () => {
  using state = new FreshState();
  const table = new LockTable(state.memory);
  const heads = new Heads();
  // Not descriptors at all: closing them does nothing.
  for (let i = 1; i < LOCK_OWNER_COUNT_MAX; i++) {
    if (table.insert(heads, i, 1, 0, 1_000_000 + i) === 0) throw new Error(`full at ${i}`);
  }
  equal(table.insert(heads, 9, 2, 0, 2_000_000), 0);
  equal(table.find(heads, 9, 2, 0), 0);
  table.remove(heads, 500, 1, 0);
  notEqual(table.insert(heads, 9, 2, 0, 2_000_000), 0);
  equal(table.fd(table.find(heads, 9, 2, 0)), 2_000_000);
});

Deno.test("ranges are added up by owner, and go with it", () => {
  using state = new FreshState();
  const table = new LockTable(state.memory);
  const heads = new Heads();
  const [a, b, c] = [1, 2, 3].map((owner) => table.insert(heads, 4, owner, 0, someFd())) as [
    number,
    number,
    number,
  ];
  equal(table.nextUncounted(0), 0);
  table.addRanges(a, 2);
  table.addRanges(c, 2);
  table.addRanges(c, 2);
  equal(table.rangeCount, 6);
  equal(table.uncountedRanges, 6);
  equal(table.nextUncounted(0), a);
  equal(table.nextUncounted(a), c);
  equal(table.nextUncounted(c), 0);
  table.setRanges(c, 3);
  table.setRanges(b, 1);
  equal(table.rangeCount, 6);
  equal(table.uncountedRanges, 2);
  equal(table.nextUncounted(a), 0);
  table.addRanges(c, 2);
  table.remove(heads, 4, 3, 0);
  equal(table.rangeCount, 3);
  equal(table.uncountedRanges, 2);
  // Who comes after has nothing.
  equal(table.insert(heads, 4, 9, 0, someFd()), c);
  equal(table.nextUncounted(a), 0);
  table.removeList(heads.firstLock(4));
  equal(table.rangeCount, 0);
  equal(table.uncountedRanges, 0);
});
