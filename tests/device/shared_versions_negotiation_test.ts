/** `--cache shared`: how a guest comes to the version table, and what becomes of it. */
import assert from "node:assert/strict";
import { Daemon, isRustPeer, until } from "../support/daemon.ts";
import { ROOT } from "../support/fuse_client.ts";
import { INIT, LINUX_INIT_FLAGS, OP } from "../support/fuse_wire.ts";
import { Guest, setUpRing } from "../support/guest.ts";
import { name, text, words } from "../support/little_endian.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { type SharedScene, SharedShare, TablePath } from "../support/shared_share.ts";
import { SHMEM } from "../support/shmem_frontend.ts";
import { TempTree } from "../support/temp_tree.ts";
import { errno } from "../support/libc.ts";
import {
  FIRST_SLOT,
  IN_PROGRESS,
  SHARED_VERSIONS,
  TABLE_REGION,
} from "../support/version_table.ts";
import { regionSizes, VersionedGuest } from "../support/versioned_guest.ts";
import { DAX_PROTOCOL } from "../support/shmem_frontend.ts";
import { mask, PROTOCOL, REQUEST } from "../support/vhost_messages.ts";

const SLOTS = 4096;
const MAGIC = 0x7265_5664_6572_6853n; // "ShredVer"

const shared = new SharedShare(1, ["--dax", "never"], SLOTS);
const withWindow = new SharedShare(1, ["--dax", "auto", "--dax-window", "16M"], SLOTS);

const oneRequest = {
  request: SHMEM.MAP,
  offset: 0,
  length: SLOTS * 8,
  fileOffset: 0,
  writable: false,
};

/** A session that works, with a table or without. */
function assertServed(guest: VersionedGuest, versioned: boolean): void {
  assert.equal(guest.isVersioned, versioned, "the flag in INIT's reply");
  const room = versioned ? 144 : 128;
  const reply = guest.fuse.ok(OP.LOOKUP, ROOT, name("f"), { room: 144 });
  assert.equal(reply.length, room, "size of an entry reply");
}

/** How often something is said on standard error. */
function timesSaid(daemon: Daemon, what: RegExp, from = 0): number {
  return daemon.stderr().slice(from).split("\n").filter((line) => what.test(line)).length;
}

shared.test("shared versions: the whole table, mapped for reading before INIT is answered", ({ tree, daemons }) => {
  tree.file("f");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath, { init: false });
  assert.deepEqual([...guest.regionSizes], [[TABLE_REGION, SLOTS * 8]], "regions");
  assert.equal(guest.tableRequests.length, 0, "nothing before INIT");
  guest.start();
  assert.deepEqual(guest.tableRequests, [oneRequest]);
  const { versions } = guest;
  assert.equal(versions.slot(0), MAGIC);
  assert.equal(versions.slot(1), 1n, "layout");
  assert.equal(versions.slotCount, SLOTS);
  assert.notEqual(versions.slot(3), 0n, "identity");
  assertServed(guest, true);
});

shared.test("shared versions: INIT is not answered until the front end has answered", ({ tree, daemons }) => {
  tree.file("f");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath, { init: false });
  const inner = guest.window.otherRegions.get(TABLE_REGION)!;
  let pending: ReturnType<typeof guest.fuse.submit> | null = null;
  let answered = false;
  guest.window.otherRegions.set(TABLE_REGION, (request, fd) => {
    // The window is not served while this runs, so the daemon waits.
    answered = guest.fuse.poll(pending!, 200);
    return inner(request, fd);
  });
  const flags = LINUX_INIT_FLAGS | SHARED_VERSIONS;
  const body = words(7, 45, 0x20000, Number(flags & 0xffff_ffffn), Number(flags >> 32n));
  pending = guest.fuse.submit(
    OP.INIT,
    0n,
    new Uint8Array([...body, ...new Uint8Array(44)]),
    { room: 64 },
  );
  assert.equal(guest.fuse.wait(pending).error, 0);
  assert.ok(!answered, "INIT was answered before SHMEM_MAP");
  assert.equal(guest.tableRequests.length, 1);
});

shared.test("shared versions: a front end that refuses the table gets auto and one warning", async ({ tree, daemons }) => {
  tree.file("f");
  const [daemon] = daemons as [Daemon];
  const from = daemon.stderr().length;
  using guest = VersionedGuest.connect(daemon.socketPath, { refusesTable: true });
  assert.equal(guest.tableRequests.length, 1, "asked once");
  assertServed(guest, false);
  assert.equal(guest.fuse.lookup(ROOT, "f").entryValid, 1n, "as in auto");
  const missing = guest.fuse.call(OP.LOOKUP, ROOT, name("x"), { room: 144 });
  assert.equal(missing.error, -errno.ENOENT);
  await until("a warning", () => timesSaid(daemon, /warn/i, from) > 0);
  assert.equal(timesSaid(daemon, /warn/i, from), 1, daemon.stderr().slice(from));
});

const withoutShmem: [string, bigint][] = [
  ["SHMEM", DAX_PROTOCOL & ~mask(PROTOCOL.SHMEM)],
  ["a back-end channel", mask(PROTOCOL.MQ, PROTOCOL.REPLY_ACK)],
];
for (const [what, protocolFeatures] of withoutShmem) {
  shared.test(`shared versions: a front end without ${what} is served as in auto`, ({ tree, daemons }) => {
    tree.file("f");
    using guest = Guest.connect(daemons[0]!.socketPath, { protocolFeatures, init: false });
    const init = guest.fuse.init(LINUX_INIT_FLAGS | SHARED_VERSIONS);
    assert.equal(init.flags & SHARED_VERSIONS, 0n);
    assert.equal(guest.fuse.lookup(ROOT, "f").entryValid, 1n);
    assert.equal(guest.fuse.fails(OP.LOOKUP, ROOT, name("x"), { room: 144 }), errno.ENOENT);
  });
}

shared.test("shared versions: SHMEM agreed on, and no channel given", ({ tree, daemons }) => {
  tree.file("f");
  using guest = Guest.connect(daemons[0]!.socketPath, {
    protocolFeatures: DAX_PROTOCOL,
    init: false,
  });
  const init = guest.fuse.init(LINUX_INIT_FLAGS | SHARED_VERSIONS);
  assert.equal(init.flags & SHARED_VERSIONS, 0n);
  assert.equal(guest.fuse.lookup(ROOT, "f").entryValid, 1n);
});

shared.test("shared versions: a channel that is hung up is a refusal", ({ tree, daemons }) => {
  tree.file("f");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath, { init: false });
  guest.window.hangUp();
  guest.start();
  assertServed(guest, false);
});

shared.test("shared versions: without INIT_EXT there are no flags2", ({ daemons }) => {
  using guest = VersionedGuest.connect(daemons[0]!.socketPath, { init: false });
  const init = guest.start((LINUX_INIT_FLAGS | SHARED_VERSIONS) & ~mask(INIT.INIT_EXT));
  assert.equal(init.flags & SHARED_VERSIONS, 0n);
  assert.deepEqual(guest.tableRequests, []);
});

shared.test("shared versions: each front end gets the same table", ({ tree, daemons }) => {
  tree.file("f");
  let identity = 0n;
  let version = 0n;
  for (let round = 0; round < 3; round += 1) {
    using guest = VersionedGuest.connect(daemons[0]!.socketPath);
    assertServed(guest, true);
    assert.deepEqual(guest.tableRequests, [oneRequest], `round ${round}`);
    if (round > 0) assert.equal(guest.versions.slot(3), identity, "the same table");
    identity = guest.versions.slot(3);
    const found = guest.walk("f");
    assert.ok(found.version >= version || round === 0);
    version = found.version;
  }
});

shared.test("shared versions: DESTROY and INIT again; INIT again", ({ tree, daemons }) => {
  tree.file("f");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  guest.walk("f");
  guest.fuse.ok(OP.DESTROY, 0n, new Uint8Array(0), { room: 0 });
  guest.start();
  assertServed(guest, true);
  const before = guest.walk("f");
  assert.equal(guest.versions.slot(before.index), before.version, "the mapping is of use");
  guest.start();
  assertServed(guest, true);
  const after = guest.walk("f");
  guest.fuse.setattr(after.entry.nodeid, { valid: 1, mode: 0o600 });
  assert.notEqual(guest.versions.slot(after.index), after.version);
  // A driver may come back without knowing of versions.
  guest.fuse.ok(OP.DESTROY, 0n, new Uint8Array(0), { room: 0 });
  guest.start(LINUX_INIT_FLAGS);
  assertServed(guest, false);
  assert.equal(guest.fuse.lookup(ROOT, "f").entryValid, 1n);
});

shared.test("shared versions: RESET_DEVICE in the midst, then a driver anew", ({ tree, daemons }) => {
  tree.file("f");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  guest.walk("f");
  const { frontend, queues } = guest.guest;
  frontend.set(REQUEST.RESET_DEVICE, new Uint8Array(0));
  frontend.set(REQUEST.SET_FEATURES, words(frontend.features));
  queues.forEach((queue, index) => {
    queue.startAt(0);
    setUpRing(frontend, index, queue);
  });
  queues.forEach((_, index) => frontend.enable(index, true));
  guest.start();
  assertServed(guest, true);
  const found = guest.walk("f");
  guest.fuse.setattr(found.entry.nodeid, { valid: 1, mode: 0o600 });
  assert.notEqual(guest.versions.slot(found.index), found.version);
});

withWindow.test("shared versions: together with a DAX window there are two regions", (scene) => {
  const { tree, daemons } = scene;
  tree.file("f", new Uint8Array(4 << 20));
  using guest = VersionedGuest.connect(daemons[0]!.socketPath, { init: false });
  assert.deepEqual([...guest.regionSizes], [[0, 16 << 20], [TABLE_REGION, SLOTS * 8]]);
  const dax = mask(INIT.MAP_ALIGNMENT, INIT.HAS_INODE_DAX);
  const init = guest.start(LINUX_INIT_FLAGS | dax | SHARED_VERSIONS);
  assert.ok((init.flags & mask(INIT.MAP_ALIGNMENT)) !== 0n, "DAX is agreed on");
  assertServed(guest, true);
  assert.ok(guest.tableRequests.length === 1);
  const found = guest.walk("f");
  const setup = words(
    0xffff_ffff_ffff_ffffn, // no handle
    0n,
    BigInt(2 << 20),
    3n, // read and write
    0n,
  );
  const reply = guest.fuse.call(OP.SETUPMAPPING, found.entry.nodeid, setup, { room: 0 });
  // Without views (root, /dev/fuse, Linux 6.9) no file is mapped, but the table is.
  if (reply.error === 0) assert.equal(guest.window.mapped.size, 1);
  assert.ok(guest.table !== null);
  assert.equal(guest.versions.slot(found.index), found.version, "mapping is no change");
});

withWindow.test("shared versions: a front end that refuses the table can have a window", ({ tree, daemons }) => {
  tree.file("f");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath, {
    refusesTable: true,
    initFlags: LINUX_INIT_FLAGS | mask(INIT.MAP_ALIGNMENT, INIT.HAS_INODE_DAX) | SHARED_VERSIONS,
  });
  assert.ok((guest.init!.flags & mask(INIT.MAP_ALIGNMENT)) !== 0n);
  assertServed(guest, false);
});

shared.test("shared versions: no window, no SETUPMAPPING", ({ tree, daemons }) => {
  tree.file("f");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  assert.equal(guest.init!.flags & mask(INIT.HAS_INODE_DAX), 0n);
  const { nodeid } = guest.walk("f").entry;
  const setup = words(0xffff_ffff_ffff_ffffn, 0n, BigInt(2 << 20), 3n, 0n);
  assert.equal(guest.fuse.fails(OP.SETUPMAPPING, nodeid, setup), errno.EOPNOTSUPP);
});

Deno.test({
  name: "shared versions: other modes have no table, and do not agree on the flag",
  ignore: ignoreWithoutRoot() || isRustPeer,
  fn: async () => {
    using tree = new TempTree();
    tree.file("f");
    await using daemon = await Daemon.start({
      sharedDir: tree.root,
      cache: "always",
      args: ["--dax-window", "16M"],
    });
    using guest = VersionedGuest.connect(daemon.socketPath);
    assert.deepEqual([...guest.regionSizes], [[0, 16 << 20]]);
    assertServed(guest, false);
  },
});

Deno.test({
  name: "shared versions: GET_SHMEM_CONFIG of a front end that has no window",
  ignore: ignoreWithoutRoot() || isRustPeer,
  fn: async () => {
    using tree = new TempTree();
    using table = new TablePath();
    await using daemon = await Daemon.start({
      sharedDir: tree.root,
      cache: "shared",
      args: ["--dax", "never", ...table.args(512)],
    });
    using guest = Guest.connect(daemon.socketPath, { protocolFeatures: DAX_PROTOCOL });
    const sizes = regionSizes(guest.frontend.ask(REQUEST.GET_SHMEM_CONFIG));
    assert.deepEqual([...sizes], [[TABLE_REGION, 4096]]);
  },
});

shared.test("shared versions: the files are the owner's alone, and the table starts behind its header", ({ tree, daemons }: SharedScene) => {
  tree.file("f", text("x"));
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  const indexes = [guest.walk().index, guest.walk("f").index];
  for (const index of indexes) assert.ok(index >= FIRST_SLOT);
  for (const index of indexes) assert.equal(guest.versions.slot(index) & IN_PROGRESS, 0n);
  for (const path of [shared.table.path, shared.table.registry]) {
    assert.equal(Deno.statSync(path).mode! & 0o777, 0o600, path);
  }
});
