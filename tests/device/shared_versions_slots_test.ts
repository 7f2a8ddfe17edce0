/** `--cache shared`: the life of slots: given, given back, taken back from the dead, and used up. */
import assert from "node:assert/strict";
import { type Daemon, isRustPeer, pause, until } from "../support/daemon.ts";
import { ROOT, writeBody } from "../support/fuse_client.ts";
import { FATTR, O, OP, setattrBody } from "../support/fuse_wire.ts";
import { Lease } from "../support/lease.ts";
import { name, text, words } from "../support/little_endian.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { startSharing, TablePath } from "../support/shared_share.ts";
import { TempTree } from "../support/temp_tree.ts";
import { errno } from "../support/libc.ts";
import { FIRST_SLOT, IN_PROGRESS, ONE_DAY, readVersionedEntry } from "../support/version_table.ts";
import { VersionedGuest } from "../support/versioned_guest.ts";

/** A table that can be filled. */
const FEW = 64;

/** How long survivors may take to notice a death. */
const SWEEP_MS = 10_000;

const MODE = { valid: FATTR.MODE, mode: 0o600 } as const;

/** A tree with many files, its table, and daemons that are this test's alone. */
class FewSlots implements AsyncDisposable {
  readonly tree = new TempTree();
  readonly table = new TablePath();
  readonly daemons: Daemon[] = [];

  constructor(files = 100) {
    for (let index = 0; index < files; index += 1) this.tree.file(`f${index}`, `${index}`);
  }

  async daemon(): Promise<Daemon> {
    const daemon = await startSharing(this.tree, this.table, undefined, FEW);
    this.daemons.push(daemon);
    return daemon;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.daemons) await daemon.kill();
    this.table[Symbol.dispose]();
    this.tree[Symbol.dispose]();
  }
}

function slotTest(what: string, body: (few: FewSlots) => Promise<void>): void {
  const ignore = ignoreWithoutRoot() || isRustPeer;
  Deno.test({ name: `shared versions: ${what}`, ignore }, async () => {
    await using few = new FewSlots();
    await body(few);
  });
}

/** Looks up f0, f1, … until one has no slot; returns those that have, by index. */
function fill(
  guest: VersionedGuest,
): Map<number, { file: string; nodeid: bigint; version: bigint }> {
  const held = new Map<number, { file: string; nodeid: bigint; version: bigint }>();
  // The root has a slot from when a guest first asks for it.
  guest.walk();
  for (let at = 0;; at += 1) {
    const file = `f${at}`;
    const { entry, index, version } = guest.lookup(ROOT, file);
    if (index === 0) {
      assert.equal(entry.attrValid, 0n, "what has no slot is not to be kept");
      guest.guest.forget(entry.nodeid);
      return held;
    }
    guest.versions.assertInRange(index, file);
    assert.ok(!held.has(index), `${file} has the slot of ${held.get(index)?.file}`);
    held.set(index, { file, nodeid: entry.nodeid, version });
  }
}

/** Is there room for a file more? Gives it back. */
function hasRoom(guest: VersionedGuest, file = "f99"): boolean {
  const { entry, index } = guest.lookup(ROOT, file);
  guest.guest.forget(entry.nodeid);
  return index !== 0;
}

slotTest(
  "beyond a full table inodes have no slot, and are served without validity",
  async (few) => {
    const daemon = await few.daemon();
    using guest = VersionedGuest.connect(daemon.socketPath);
    const held = fill(guest);
    assert.ok(held.size >= FEW / 2 - FIRST_SLOT && held.size < FEW, `${held.size} had room`);
    const without = guest.lookup(ROOT, "f98");
    assert.deepEqual([without.index, without.version], [0, 0n]);
    assert.equal(without.entry.attrValid, 0n);
    assert.equal(
      without.entry.entryValid,
      ONE_DAY,
      "the directory has a slot: it vouches for the name",
    );
    // A directory without a slot vouches for no name, be it there or missing.
    const directory = guest.mkdir(ROOT, "d");
    assert.equal(directory.index, 0);
    const made = guest.create(directory.entry.nodeid, "x");
    assert.deepEqual([made.index, made.entry.entryValid, made.entry.attrValid], [0, 0n, 0n]);
    const missing = guest.fuse.call(OP.LOOKUP, directory.entry.nodeid, name("y"), { room: 144 });
    if (missing.error === 0) assert.equal(readVersionedEntry(missing.body).entry.entryValid, 0n);
    else assert.equal(missing.error, -errno.ENOENT);
    for (const { dirent, index } of guest.readdirplus(ROOT, 65_536)) {
      if (dirent.entry!.nodeid === 0n) continue;
      assert.equal(dirent.entry!.attrValid, index === 0 ? 0n : ONE_DAY, dirent.name);
    }
    // They work as files do.
    guest.fuse.write(made.entry.nodeid, made.fh, 0n, text("xyz"));
    assert.equal(guest.fuse.getattr(made.entry.nodeid).size, 3n);
  },
);

slotTest("the last FORGET gives a slot to somebody else, with another version", async (few) => {
  const daemon = await few.daemon();
  using guest = VersionedGuest.connect(daemon.socketPath);
  const held = fill(guest);
  assert.ok(!hasRoom(guest));
  const [[index, { file, nodeid, version }]] = [...held] as [
    [number, NonNullable<ReturnType<typeof held.get>>],
  ];
  // A second reference, and only one of them goes.
  guest.lookup(ROOT, file);
  guest.guest.forget(nodeid, 1n);
  guest.fuse.getattr(ROOT);
  assert.ok(!hasRoom(guest), "one reference is left");
  guest.guest.forget(nodeid, 1n);
  await until("the slot is free", () => hasRoom(guest));
  const next = guest.lookup(ROOT, "f99");
  assert.equal(next.index, index, "the only one that is free");
  assert.ok(next.version > version, "values only grow: who still trusts the old one must not");
  assert.ok(!hasRoom(guest, "f98"));
  const again = guest.lookup(ROOT, file);
  assert.equal(again.index, 0, "it came too late");
});

slotTest("a slot that two daemons hold is free when both have let go", async (few) => {
  const daemons = [await few.daemon(), await few.daemon()];
  using one = VersionedGuest.connect(daemons[0]!.socketPath);
  using other = VersionedGuest.connect(daemons[1]!.socketPath);
  const held = fill(one);
  const [index, { file, nodeid }] = [...held][0]!;
  const there = other.lookup(ROOT, file);
  assert.equal(there.index, index);
  one.guest.forget(nodeid);
  await pause(100);
  assert.ok(!hasRoom(one), "the other still holds it");
  assert.ok(!hasRoom(other, "f98"));
  assert.equal(one.lookup(ROOT, file).index, index, "and it can be shared again");
  one.guest.forget(nodeid);
  other.guest.forget(there.entry.nodeid);
  await until("the slot is free", () => hasRoom(one));
});

slotTest("what a guest held goes when its session ends: by hanging up, by DESTROY", async (few) => {
  const daemons = [await few.daemon(), await few.daemon()];
  using other = VersionedGuest.connect(daemons[1]!.socketPath);
  for (const end of ["hang-up", "DESTROY", "INIT"]) {
    using guest = VersionedGuest.connect(daemons[0]!.socketPath);
    fill(guest);
    assert.ok(!hasRoom(other), end);
    if (end === "hang-up") guest[Symbol.dispose]();
    else if (end === "INIT") guest.start();
    else guest.fuse.ok(OP.DESTROY, 0n, new Uint8Array(0), { room: 0 });
    await until(`room after ${end}`, () => hasRoom(other));
    const again = fill(other);
    assert.ok(again.size >= FEW / 2 - FIRST_SLOT, `${again.size} after ${end}`);
    for (const { nodeid } of again.values()) other.guest.forget(nodeid);
    other.fuse.getattr(ROOT);
  }
});

slotTest(
  "an inode without a slot here, with one there: changes are told all the same",
  async (few) => {
    const daemons = [await few.daemon(), await few.daemon()];
    using there = VersionedGuest.connect(daemons[1]!.socketPath);
    const [root, file] = [there.walk(), there.walk("f50")];
    using here = VersionedGuest.connect(daemons[0]!.socketPath);
    fill(here);
    // The daemon here learns of f50 by its slot, or does without: its changes move the slot either way.
    const { nodeid } = here.lookup(ROOT, "f50").entry;
    here.fuse.setattr(nodeid, MODE);
    assert.notEqual(there.versions.slot(file.index), file.version);
    assert.equal(there.versions.slot(root.index), root.version);
  },
);

slotTest(
  "a slot that is had later: changes by who knew the inode without one are told",
  async (few) => {
    const daemons = [await few.daemon(), await few.daemon()];
    using here = VersionedGuest.connect(daemons[0]!.socketPath);
    const held = fill(here);
    const unversioned = here.lookup(ROOT, "f98");
    assert.equal(unversioned.index, 0);
    const fh = here.fuse.open(unversioned.entry.nodeid, O.RDWR);
    // Room is made; the other daemon's guest gets a slot for the file that is without one here.
    const [, { nodeid }] = [...held][0]!;
    here.guest.forget(nodeid);
    using there = VersionedGuest.connect(daemons[1]!.socketPath);
    await until("a slot for f98", () => there.lookup(ROOT, "f98").index !== 0);
    const changes: Record<string, () => void> = {
      WRITE: () => void here.fuse.write(unversioned.entry.nodeid, fh, 0n, text("x")),
      SETATTR: () => void here.fuse.setattr(unversioned.entry.nodeid, MODE),
      UNLINK: () => void here.fuse.ok(OP.UNLINK, ROOT, name("f98")),
      "WRITE of what has no name": () =>
        void here.fuse.ok(OP.WRITE, unversioned.entry.nodeid, writeBody(fh, 0n, text("y"))),
    };
    const { index } = there.walk("f98");
    for (const [what, change] of Object.entries(changes)) {
      const before = there.versions.slot(index);
      change();
      assert.ok(there.versions.slot(index) > before, `${what} is told`);
      assert.equal(there.versions.slot(index) & IN_PROGRESS, 0n);
    }
  },
);

slotTest("a daemon that is killed: survivors take back what it held", async (few) => {
  const daemons = [await few.daemon(), await few.daemon()];
  using other = VersionedGuest.connect(daemons[1]!.socketPath);
  const root = other.walk();
  {
    using guest = VersionedGuest.connect(daemons[0]!.socketPath);
    fill(guest);
    assert.ok(!hasRoom(other));
    daemons[0]!.signal("SIGKILL");
    await daemons[0]!.finished;
  }
  await until("room again", () => hasRoom(other), SWEEP_MS);
  const held = fill(other);
  assert.ok(held.size >= FEW / 2 - FIRST_SLOT, `${held.size} found room`);
  assert.equal(other.walk().index, root.index, "what the survivor held it holds");
  assert.equal(other.versions.slot(root.index) & IN_PROGRESS, 0n);
});

slotTest(
  "a daemon that is killed in the midst of a change: no slot stays in progress",
  async (few) => {
    const daemons = [await few.daemon(), await few.daemon()];
    using other = VersionedGuest.connect(daemons[1]!.socketPath);
    const { index, version, entry } = other.walk("f7");
    using lease = new Lease(few.tree.path("f7"));
    {
      using guest = VersionedGuest.connect(daemons[0]!.socketPath);
      const { nodeid } = guest.walk("f7").entry;
      guest.fuse.submit(OP.OPEN, nodeid, words(O.RDWR | O.TRUNC, 0), { room: 16 });
      await until("the change begins", () => other.versions.slot(index) === version + 1n);
      daemons[0]!.signal("SIGKILL");
      await daemons[0]!.finished;
    }
    lease.giveUp();
    const { versions } = other;
    await until(
      "nothing is in progress",
      () => (versions.slot(index) & IN_PROGRESS) === 0n,
      SWEEP_MS,
    );
    assert.ok(versions.slot(index) > version, "it may have changed something");
    const now = versions.slot(index);
    other.fuse.ok(OP.SETATTR, entry.nodeid, setattrBody(MODE), { room: 104 });
    assert.equal(versions.slot(index), now + 4096n, "and counts as before");
  },
);

slotTest("all daemons killed: the next one uses the table again", async (few) => {
  const [first, second] = [await few.daemon(), await few.daemon()];
  let identity = 0n;
  {
    using one = VersionedGuest.connect(first.socketPath);
    using other = VersionedGuest.connect(second.socketPath);
    fill(one);
    other.walk("f0");
    identity = one.versions.slot(3);
    for (const daemon of [first, second]) daemon.signal("SIGKILL");
    await Promise.all([first.finished, second.finished]);
  }
  const third = await few.daemon();
  using guest = VersionedGuest.connect(third.socketPath);
  await until("room again", () => hasRoom(guest), SWEEP_MS);
  const held = fill(guest);
  assert.ok(held.size >= FEW / 2 - FIRST_SLOT, `${held.size} found room`);
  assert.equal(guest.versions.slot(3), identity, "the same table");
});
