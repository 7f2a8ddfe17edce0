import { deepEqual, equal, notDeepEqual, ok } from "node:assert/strict";
import { libc } from "../../src/sys/libc.ts";
import { unmapAddress } from "../../src/sys/native_memory.ts";
import { CHANGE, CHANGES_IN_PROGRESS } from "../../src/wire/shared_versions.ts";
import { dieAtWrite } from "./sudden_death.ts";
import { type Daemon, leftovers, slotsOf, TableFiles } from "./table_files.ts";

const DEV = 7;
/** Held by the survivor all the time. */
const SHARED_INO = 1000;
/** Held by the one that dies. */
const OWN_INO = 2000;
const NEW_INO = 3000;

/** A daemon that will die, with two inodes. */
class Mortal {
  readonly daemon: Daemon;
  readonly own: number;
  readonly shared: number;

  constructor(files: TableFiles) {
    this.daemon = files.daemon();
    const { registry } = this.daemon.thread;
    this.own = registry.acquire(DEV, 0, OWN_INO, 0);
    this.shared = registry.acquire(DEV, 0, SHARED_INO, 0);
  }
}

interface Scenario {
  readonly what: string;
  /** Fewest writes: a scenario that does less tests nothing. */
  readonly writes: number;
  readonly before?: (files: TableFiles) => void;
  readonly life: (mortal: Mortal) => void;
}

const SCENARIOS: readonly Scenario[] = [
  {
    what: "an inode is given a slot",
    writes: 4,
    life: ({ daemon }) => daemon.thread.registry.acquire(DEV, 0, NEW_INO, 0),
  },
  {
    what: "a reference more to an inode that others use",
    writes: 3,
    life: ({ daemon }) => daemon.thread.registry.acquire(DEV, 0, SHARED_INO, 0),
  },
  {
    what: "the last reference is given back",
    writes: 3,
    life: ({ daemon, own }) => daemon.thread.registry.release(own),
  },
  {
    what: "the last reference of this daemon is given back",
    writes: 3,
    life: ({ daemon, shared }) => daemon.thread.registry.release(shared),
  },
  {
    what: "a change of two inodes, with the directory's names locked",
    writes: 10,
    life: ({ daemon, own, shared }) => {
      const { log, registry, slots } = daemon.thread;
      registry.lockNames(shared);
      for (const [i, slot] of [own, shared].entries()) {
        log.enter(i, slot);
        slots.begin(slot);
      }
      for (const [i, slot] of [own, shared].entries()) {
        slots.end(slot);
        log.strike(i);
      }
      registry.unlockNames(shared);
    },
  },
  {
    what: "a change by somebody on the host",
    writes: 3,
    life: ({ daemon }) => daemon.versions.changed(DEV, 0, SHARED_INO, 0),
  },
  {
    what: "everything has changed",
    writes: 56,
    life: ({ daemon }) => daemon.versions.allChanged(),
  },
  {
    what: "sweeping up after another",
    writes: 8,
    before: (files) => {
      const other = files.daemon();
      const { log, registry, slots } = other.thread;
      const slot = registry.acquire(DEV, 0, SHARED_INO, 0);
      registry.lockNames(slot);
      log.enter(0, slot);
      slots.begin(slot);
      other.kill();
    },
    life: ({ daemon }) => daemon.versions.sweep(),
  },
  { what: "an orderly end", writes: 4, life: ({ daemon }) => daemon.versions.close() },
];

for (const { what, writes, before, life } of SCENARIOS) {
  Deno.test(`a daemon that dies at any instruction leaves nothing behind: ${what}`, () => {
    let at = 1;
    for (let died = true; died; at++) {
      using files = new TableFiles(64);
      using survivor = files.daemon();
      const { registry, slots } = survivor.thread;
      const shared = registry.acquire(DEV, 0, SHARED_INO, 0);
      const mortal = new Mortal(files);
      equal(mortal.shared, shared);
      before?.(files);
      died = dieAtWrite(at, () => life(mortal));
      const where = `write ${at}${died ? "" : " (after the end)"}`;
      if (died || what !== "an orderly end") mortal.daemon.kill();
      // A daemon that is not dead yet is not swept.
      survivor.versions.sweep();
      equal(leftovers(survivor, [survivor]).join("\n"), "", where);
      deepEqual(slotsOf(survivor), [shared], where);
      equal(registry.find(DEV, 0, SHARED_INO, 0), shared, where);
      equal(registry.find(DEV, 0, OWN_INO, 0), 0, where);
      // And the table works: all of its slots are there.
      const low = slots.low(shared);
      slots.begin(shared);
      slots.end(shared);
      equal(slots.low(shared), (low + CHANGE) >>> 0, where);
      for (let ino = 1; ino <= 55; ino++) ok(registry.acquire(DEV, 0, 5000 + ino, 0) !== 0, where);
      equal(registry.acquire(DEV, 0, 6000, 0), 0, where);
    }
    ok(at - 2 >= writes, `only ${at - 2} writes`);
  });
}

Deno.test("a daemon that dies while it is given its number: the number is free for the next", () => {
  for (let at = 1, died = true; died; at++) {
    using files = new TableFiles(64);
    using survivor = files.daemon();
    let daemon: Daemon | null = null;
    died = dieAtWrite(at, () => daemon = files.daemon());
    if (died) forget(files.path, survivor);
    else daemon!.kill();
    survivor.versions.sweep();
    deepEqual(leftovers(survivor, [survivor]), [], `write ${at}`);
    using next = files.daemon();
    equal(next.owner, 1);
  }
});

Deno.test("guests that a daemon leaves behind do not take the slots' last versions for good", () => {
  using files = new TableFiles(64);
  using survivor = files.daemon();
  const { slots } = survivor.thread;
  for (const end of ["killed", "closed", "released"]) {
    const mortal = new Mortal(files);
    const before = [slots.low(mortal.own), slots.high(mortal.own)];
    if (end === "killed") mortal.daemon.kill();
    if (end === "closed") mortal.daemon[Symbol.dispose]();
    if (end === "released") mortal.daemon.thread.registry.release(mortal.own);
    survivor.versions.sweep();
    // From here on nobody counts changes of the inode in this slot.
    notDeepEqual([slots.low(mortal.own), slots.high(mortal.own)], before, end);
    mortal.daemon[Symbol.dispose]();
  }
});

Deno.test("whoever finds a lock that a dead daemon holds goes on by itself", () => {
  using files = new TableFiles(64);
  using survivor = files.daemon();
  const { registry } = survivor.thread;
  const shared = registry.acquire(DEV, 0, SHARED_INO, 0);
  const uses: readonly [string, (mortal: Mortal) => void, () => void][] = [
    ["a bucket", ({ daemon }) => {
      // The lock is taken with the first write.
      ok(dieAtWrite(2, () => daemon.thread.registry.acquire(DEV, 0, NEW_INO, 0)));
    }, () => registry.find(DEV, 0, SHARED_INO, 0)],
    ["the names of a directory", ({ daemon }) => daemon.thread.registry.lockNames(shared), () => {
      registry.lockNames(shared);
      registry.unlockNames(shared);
    }],
  ];
  for (const [what, lock, use] of uses) {
    const mortal = new Mortal(files);
    lock(mortal);
    mortal.daemon.kill();
    const { sweeps } = survivor;
    use();
    equal(survivor.sweeps, sweeps + 1, what);
    deepEqual(leftovers(survivor, [survivor]), [], what);
  }
});

Deno.test("a change of the living is not ended with that of the dead; what is left of the dead is, later", () => {
  using files = new TableFiles(64);
  using survivor = files.daemon();
  const { log, registry, slots } = survivor.thread;
  const shared = registry.acquire(DEV, 0, SHARED_INO, 0);
  const mortal = new Mortal(files);
  for (const { thread } of [survivor, mortal.daemon]) {
    thread.log.enter(0, shared);
    thread.slots.begin(shared);
  }
  mortal.daemon.kill();
  using third = files.daemon();
  for (const daemon of [survivor, third]) {
    equal(daemon.versions.sweep(), 0);
    equal(slots.low(shared) & CHANGES_IN_PROGRESS, 2);
    // His references are back all the same.
    equal(registry.find(DEV, 0, OWN_INO, 0), 0);
  }
  slots.end(shared);
  log.strike(0);
  equal(slots.low(shared) & CHANGES_IN_PROGRESS, 1);
  equal(third.versions.sweep(), 1);
  deepEqual(leftovers(survivor, [survivor, third]), []);
});

Deno.test("two dead daemons with changes of one inode", () => {
  using files = new TableFiles(64);
  using survivor = files.daemon();
  const { registry, slots } = survivor.thread;
  const shared = registry.acquire(DEV, 0, SHARED_INO, 0);
  const before = slots.low(shared);
  const mortals = [new Mortal(files), new Mortal(files)];
  for (const { daemon } of mortals) {
    daemon.thread.log.enter(0, shared);
    daemon.thread.slots.begin(shared);
  }
  for (const { daemon } of mortals) daemon.kill();
  equal(survivor.versions.sweep(), 2);
  deepEqual(leftovers(survivor, [survivor]), []);
  ok(slots.low(shared) > before);
});

Deno.test("an orderly end is not counted as a death", () => {
  using files = new TableFiles(64);
  using survivor = files.daemon();
  files.daemon()[Symbol.dispose]();
  equal(survivor.sweeps, 0);
  files.daemon().kill();
  equal(survivor.versions.sweep(), 1);
  equal(survivor.sweeps, 1);
  // A number that is taken over is a death, too.
  files.daemon().kill();
  using next = files.daemon();
  equal(next.owner, 1);
  equal(survivor.sweeps, 2);
});

/** Takes away what a daemon that was never finished has open and mapped of a table's files: all but `other`'s. */
function forget(path: string, other: Daemon): void {
  const { place } = other.versions;
  const kept = new Set([place.registryAddress, place.tableAddress]);
  for (const line of Deno.readTextFileSync("/proc/self/maps").split("\n")) {
    const [start = 0, end = 0] = line.split(" ")[0]!.split("-").map((hex) => parseInt(hex, 16));
    if (line.includes(` ${path}`) && !kept.has(start)) unmapAddress(start, end - start);
  }
  for (const { name } of [...Deno.readDirSync("/proc/self/fd")]) {
    if (Number(name) === place.registryFd || Number(name) === place.guestFd) continue;
    try {
      if (Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith(path)) libc.close(Number(name));
    } catch {
      // The directory's own descriptor, gone by now.
    }
  }
}
