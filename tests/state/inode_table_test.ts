import { deepEqual, equal, notEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { InodeKey, InodeTable } from "../../src/state/inode_table.ts";
import { libc } from "../../src/sys/libc.ts";
import { property } from "../virtqueue/property.ts";
import { FreshState, isOpen, NOTHING_ELSE, someFd } from "./fresh_state.ts";

function keyOf(ino: number, other: Partial<InodeKey> = {}): InodeKey {
  const key = new InodeKey();
  key.inoLo = ino;
  key.devLo = 5;
  key.devHi = 254;
  key.mountId = 30;
  key.mode = 0o100644;
  return Object.assign(key, other);
}

function rooted(state: FreshState): InodeTable {
  const table = new InodeTable(state.memory, NOTHING_ELSE);
  table.insertRoot(keyOf(2), -1);
  return table;
}

type Step =
  | { readonly kind: "lookup"; readonly ino: number }
  | { readonly kind: "find"; readonly ino: number; readonly lookups: number }
  | { readonly kind: "forget"; readonly ino: number; readonly count: number }
  | { readonly kind: "addLookup" | "acquire" | "release"; readonly ino: number };

const ino = fc.integer({ min: 100, max: 112 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("lookup" as const), ino }) },
  fc.record({ kind: fc.constant("find" as const), ino, lookups: fc.integer({ min: 1, max: 3 }) }),
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("forget" as const), ino, count: fc.nat(4) }),
  },
  fc.record({
    kind: fc.constantFrom("addLookup" as const, "acquire" as const, "release" as const),
    ino,
  }),
);

/** What a slot should be, as plain as it can be said. */
interface Known {
  readonly nodeid: number;
  readonly fd: number;
  lookups: number;
  pins: number;
}

property(
  "InodeTable with descriptors: lookups, forgets, pins and descriptors agree with a plain map",
  import.meta.url,
  fc.array(step, { minLength: 1, maxLength: 120 }),
  (steps) => {
    using state = new FreshState();
    const table = rooted(state);
    const known = new Map<number, Known>();
    const lingering: Known[] = [];
    const gone: number[] = [];
    const all: number[] = [];
    for (const step of steps) {
      const entry = known.get(step.ino);
      if (step.kind === "lookup") {
        const fd = someFd();
        all.push(fd);
        const nodeid = table.insert(keyOf(step.ino), fd);
        equal(table.inserted, entry === undefined);
        if (entry === undefined) {
          known.set(step.ino, { nodeid, fd, lookups: 1, pins: 0 });
        } else {
          equal(nodeid, entry.nodeid);
          entry.lookups++;
          closeOwn(fd, all);
        }
      } else if (step.kind === "find") {
        equal(table.find(keyOf(step.ino), step.lookups), entry?.nodeid ?? 0);
        if (entry !== undefined) entry.lookups += step.lookups;
      } else if (step.kind === "forget") {
        if (entry === undefined) continue;
        table.forget(entry.nodeid, step.count);
        entry.lookups = Math.max(0, entry.lookups - step.count);
        if (entry.lookups === 0) {
          known.delete(step.ino);
          if (entry.pins > 0) lingering.push(entry);
          else gone.push(entry.fd);
        }
      } else if (step.kind === "acquire") {
        if (entry === undefined) continue;
        equal(table.acquire(entry.nodeid), true);
        entry.pins++;
      } else if (step.kind === "addLookup") {
        // On a forgotten inode that a request still holds it must fail, and change nothing.
        for (const held of lingering) equal(table.addLookup(held.nodeid), false);
        if (entry === undefined || entry.pins === 0) continue;
        equal(table.addLookup(entry.nodeid), true);
        entry.lookups++;
      } else {
        const held = lingering[0] ?? entry;
        if (held === undefined || held.pins === 0) continue;
        table.release(held.nodeid);
        held.pins--;
        if (held.lookups === 0 && held.pins === 0) {
          lingering.splice(lingering.indexOf(held), 1);
          gone.push(held.fd);
        }
      }
      equal(table.count, 1 + known.size + lingering.length);
      equal(table.fdCount, known.size + lingering.length);
      for (const [ino, { nodeid, fd }] of known) {
        equal(table.fd(nodeid), fd);
        equal(table.mode(nodeid), 0o100644);
        equal(table.guess(5, 254, ino, 0) > 0, true);
      }
      for (const { nodeid, fd } of lingering) {
        equal(table.fd(nodeid), fd);
        equal(isOpen(fd), true);
      }
    }
    // A number may have been given out again since; those that nobody took must be closed.
    const inUse = new Set([...known.values(), ...lingering].map((entry) => entry.fd));
    for (const fd of gone) if (!inUse.has(fd)) equal(isOpen(fd), false);
    for (const { nodeid, pins } of [...known.values(), ...lingering]) {
      for (let i = 0; i < pins; i++) table.release(nodeid);
    }
    table.forgetAll();
    equal(table.count, 1);
    equal(table.fdCount, 0);
    for (const fd of all) equal(isOpen(fd), false);
  },
);

/** Closes the descriptor that the table did not take. */
function closeOwn(fd: number, all: number[]): void {
  libc.close(fd);
  all.splice(all.lastIndexOf(fd), 1);
}

Deno.test("a forgotten inode that a request holds stays open until the request is done", () => {
  using state = new FreshState();
  const table = rooted(state);
  const fd = someFd();
  const nodeid = table.insert(keyOf(7), fd);
  table.acquire(nodeid);
  table.forget(nodeid, 1);
  equal(table.find(keyOf(7), 1), 0);
  equal(table.addLookup(nodeid), false);
  // A second FORGET of the same lookup must not take the request's pin.
  table.forget(nodeid, 1);
  equal(isOpen(fd), true);
  equal(table.fd(nodeid), fd);
  table.release(nodeid);
  equal(isOpen(fd), false);
  equal(table.acquire(nodeid), false);
});

Deno.test("a forgotten inode that is looked up again while held is another slot", () => {
  using state = new FreshState();
  const table = rooted(state);
  const first = table.insert(keyOf(7), someFd());
  table.acquire(first);
  table.forget(first, 1);
  const second = table.insert(keyOf(7), someFd());
  notEqual(second, first);
  table.release(first);
  equal(table.find(keyOf(7), 1), second);
  table.forgetAll();
  equal(table.count, 1);
});

Deno.test("a slot that is used again has another generation", () => {
  using state = new FreshState();
  const table = rooted(state);
  const generations = new Set<number>();
  let nodeid = 0;
  for (let i = 0; i < 5; i++) {
    const now = table.insert(keyOf(50 + i), -1);
    if (nodeid !== 0) equal(now, nodeid);
    nodeid = now;
    generations.add(table.generation(nodeid));
    table.forget(nodeid, 1);
  }
  equal(generations.size, 5);
});

Deno.test("the root cannot be forgotten", () => {
  using state = new FreshState();
  const table = rooted(state);
  table.forget(1, 2 ** 40);
  table.forgetAll();
  equal(table.acquire(1), true);
  table.release(1);
});

Deno.test("nodeids that no table has are not acquired, nor do they make it grow", () => {
  using state = new FreshState();
  const table = rooted(state);
  for (const nodeid of [0, -1, 2, 3, 2 ** 24, 2 ** 32 - 1, 2 ** 53, Infinity, 2 ** 60]) {
    equal(table.acquire(nodeid), false, `nodeid ${nodeid}`);
    table.forget(nodeid, 1);
  }
});

Deno.test("a release without acquire is our own mistake and asserts", () => {
  using state = new FreshState();
  const table = rooted(state);
  const nodeid = table.insert(keyOf(7), -1);
  table.forget(nodeid, 1);
  throws(() => table.release(nodeid), /released once/);
});

Deno.test("an inode is told apart by number, device, mount, and a reused number by its file handle", () => {
  using state = new FreshState();
  const table = rooted(state);
  const byFd = table.insert(keyOf(7), someFd());
  equal(table.find(keyOf(7), 1), byFd);
  for (const other of [{ inoHi: 1 }, { devLo: 6 }, { devHi: 1 }, { mountId: 31 }]) {
    equal(table.find(keyOf(7, other), 1), 0, JSON.stringify(other));
  }
  const handle = new Uint8Array(60);
  handle.set([1, 2, 3, 4, 5, 6, 7, 8]);
  const withHandle = { handle, handleSize: 8, handleType: 1 };
  const byHandle = table.insert(keyOf(8, withHandle), -1);
  equal(table.find(keyOf(8, withHandle), 1), byHandle);
  // Without a handle it may be a new file of the same number.
  equal(table.find(keyOf(8), 1), 0);
  const reused = handle.slice();
  reused[7] = 9;
  equal(table.find(keyOf(8, { ...withHandle, handle: reused }), 1), 0);
  equal(table.find(keyOf(8, { ...withHandle, handleType: 2 }), 1), 0);
  deepEqual(Array.from({ length: 8 }, (_, i) => table.handleByte(byHandle, i)), [
    ...handle.slice(0, 8),
  ]);
  table.forgetAll();
});

Deno.test("100,000 inodes: all found while the hash grows, half forgotten, slots used again", () => {
  using state = new FreshState();
  const table = rooted(state);
  const handle = new Uint8Array(60);
  const count = 100_000;
  // Numbers as file systems give them: in rows, and with a high half.
  const key = (i: number): InodeKey =>
    keyOf(1000 + i * 3, { inoHi: i % 5, handle, handleSize: 4, handleType: 1 });
  const nodeids = Array.from({ length: count }, (_, i) => table.insert(key(i), -1));
  equal(new Set(nodeids).size, count);
  equal(table.count, count + 1);
  for (let i = 0; i < count; i++) {
    if (table.find(key(i), 1) !== nodeids[i]) {
      equal(table.find(key(i), 1), nodeids[i], `inode ${i}`);
    }
  }
  for (let i = 0; i < count; i += 2) table.forget(nodeids[i]!, 2);
  equal(table.count, count / 2 + 1);
  for (let i = 0; i < count; i++) {
    const expected = i % 2 === 0 ? 0 : nodeids[i];
    if (table.find(key(i), 1) !== expected) equal(table.find(key(i), 1), expected, `inode ${i}`);
  }
  const freed = new Set(nodeids.filter((_, i) => i % 2 === 0));
  for (let i = 0; i < count / 2; i++) equal(freed.delete(table.insert(key(count + i), -1)), true);
  table.forgetAll();
  equal(table.count, 1);
});

Deno.test("lookup counts go beyond 2^32", () => {
  using state = new FreshState();
  const table = rooted(state);
  const fd = someFd();
  const nodeid = table.insert(keyOf(7), fd);
  for (let i = 0; i < 3; i++) table.find(keyOf(7), 2 ** 31);
  table.forget(nodeid, 2 ** 32);
  table.forget(nodeid, 2 ** 31);
  equal(isOpen(fd), true);
  table.forget(nodeid, 1);
  equal(isOpen(fd), false);
});
