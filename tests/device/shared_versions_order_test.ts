/** `--cache shared`: a version is never newer than what it is said of, and a change is told before it is answered. */
import assert from "node:assert/strict";
import { type Pending, ROOT, writeBody } from "../support/fuse_client.ts";
import { FATTR, O, OP, readAttr, setattrBody } from "../support/fuse_wire.ts";
import { Lease } from "../support/lease.ts";
import { concat, name, text, words } from "../support/little_endian.ts";
import { SharedShare } from "../support/shared_share.ts";
import { until } from "../support/daemon.ts";
import { CHANGE, IN_PROGRESS, readVersionedEntry } from "../support/version_table.ts";
import { VersionedGuest } from "../support/versioned_guest.ts";

const share = new SharedShare(2, ["--dax", "never"]);
const oneDaemon = new SharedShare(1, ["--dax", "never", "--num-request-queues", "2"]);

const MODE = { valid: FATTR.MODE, mode: 0o600 } as const;

/** How many writes a storm has, and how many are with the daemon at once. */
const WRITES = 3_000;
const AT_ONCE = 20;

/** Rounds of the storm in which 50 requests go to each daemon at once. */
const BATCHES = 100;

/** Requests of one kind in a row, always several at the daemon, while something else goes on. */
function storm(
  writer: VersionedGuest,
  count: number,
  submit: (index: number) => Pending,
  meanwhile: (answered: number) => void,
): void {
  const pending: Pending[] = [];
  let sent = 0;
  let answered = 0;
  while (answered < count) {
    while (sent < count && pending.length < AT_ONCE) pending.push(submit(sent++));
    while (pending.length > 0 && writer.fuse.poll(pending[0]!, 0)) {
      assert.equal(writer.fuse.wait(pending.shift()!).error, 0);
      answered += 1;
    }
    meanwhile(answered);
  }
}

share.test("shared versions: LOOKUP in a storm of another guest's writes", ({ tree, daemons }) => {
  tree.file("f");
  using writer = VersionedGuest.connect(daemons[0]!.socketPath, { queueSize: 256 });
  using reader = VersionedGuest.connect(daemons[1]!.socketPath);
  const { index, version: first, entry } = reader.walk("f");
  const { nodeid } = writer.walk("f").entry;
  const fh = writer.fuse.open(nodeid, O.RDWR);
  const done = (version: bigint) => (version - first) / CHANGE;
  let exact = 0;
  let before = 0;
  // Each write appends one byte, so a version says what the size has to be.
  storm(
    writer,
    WRITES,
    (at) => writer.fuse.submit(OP.WRITE, nodeid, writeBody(fh, BigInt(at), text("x")), { room: 8 }),
    (answered) => {
      const told = reader.versions.slot(index);
      assert.ok(done(told) >= BigInt(answered), `${answered} answered, ${done(told)} told`);
      const { version, entry: { attr } } = reader.walk("f");
      assert.ok(attr.size >= done(version), `size ${attr.size} under version ${done(version)}`);
      assert.ok(version >= told, "a version is of the time of asking, or later");
      if ((version & IN_PROGRESS) === 0n && reader.versions.slot(index) === version) {
        assert.equal(attr.size, done(version), "nothing was going on");
        exact += 1;
      }
      const asked = reader.versions.slot(index);
      const now = reader.fuse.getattr(entry.nodeid);
      assert.ok(now.size >= done(asked), `GETATTR: size ${now.size}, ${done(asked)} told before`);
      if ((asked & IN_PROGRESS) === 0n && reader.versions.slot(index) === asked) {
        assert.equal(now.size, done(asked), "nothing was going on");
      }
      before += 1;
    },
  );
  assert.equal(done(reader.versions.slot(index)), BigInt(WRITES));
  assert.equal(reader.walk("f").entry.attr.size, BigInt(WRITES));
  assert.ok(before > 20, `${before} looks, ${exact} of them when nothing was going on`);
});

share.test("shared versions: many LOOKUPs at the same time as many writes", ({ tree, daemons }) => {
  tree.file("f");
  using writer = VersionedGuest.connect(daemons[0]!.socketPath, { queueSize: 256 });
  using reader = VersionedGuest.connect(daemons[1]!.socketPath, { queueSize: 256 });
  const { version: first } = reader.walk("f");
  const { nodeid } = writer.walk("f").entry;
  const fh = writer.fuse.open(nodeid, O.RDWR);
  let inTheMidst = 0;
  let size = 0n;
  // This process sleeps while the daemons work, so that they have the processors.
  // More of them if the machine has run one after the other so far.
  for (let round = 0; round < BATCHES || (inTheMidst === 0 && round < 50 * BATCHES); round += 1) {
    const looks: Pending[] = [];
    const writes: Pending[] = [];
    for (let at = 0; at < 50; at += 1) {
      looks.push(reader.fuse.add(OP.LOOKUP, ROOT, name("f"), { room: 144 }));
      writes.push(writer.fuse.add(OP.WRITE, nodeid, writeBody(fh, size++, text("x")), { room: 8 }));
    }
    reader.guest.queues[1]!.publish();
    writer.guest.queues[1]!.publish();
    for (const each of looks) {
      const { version, entry: { attr } } = readVersionedEntry(reader.fuse.wait(each).body);
      const told = (version - first) / CHANGE;
      assert.ok(attr.size >= told, `round ${round}: size ${attr.size} under version ${told}`);
      if ((version & IN_PROGRESS) !== 0n || attr.size !== told) inTheMidst += 1;
    }
    for (const each of writes) assert.equal(writer.fuse.wait(each).error, 0);
  }
  assert.ok(
    inTheMidst > 0,
    "some were asked for in the midst of a write, or saw more than had been told",
  );
});

share.test("shared versions: READDIRPLUS in a storm of another guest's writes", ({ tree, daemons }) => {
  tree.file("d/f");
  using writer = VersionedGuest.connect(daemons[0]!.socketPath, { queueSize: 256 });
  using reader = VersionedGuest.connect(daemons[1]!.socketPath);
  const { version: first } = reader.walk("d", "f");
  const directory = reader.walk("d").entry.nodeid;
  const { nodeid } = writer.walk("d", "f").entry;
  const fh = writer.fuse.open(nodeid, O.RDWR);
  storm(
    writer,
    WRITES,
    (at) => writer.fuse.submit(OP.WRITE, nodeid, writeBody(fh, BigInt(at), text("x")), { room: 8 }),
    () => {
      const record = reader.readdirplus(directory).find(({ dirent }) => dirent.name === "f")!;
      const told = (record.version - first) / CHANGE;
      const { size } = record.dirent.entry!.attr;
      assert.ok(size >= told, `size ${size} under version ${told}`);
    },
  );
});

share.test("shared versions: names in a storm of another guest's MKNOD", ({ tree, daemons }) => {
  tree.directory("d");
  using writer = VersionedGuest.connect(daemons[0]!.socketPath, { queueSize: 256 });
  using reader = VersionedGuest.connect(daemons[1]!.socketPath);
  const { index, version: first, entry: { nodeid: directory } } = reader.walk("d");
  const { nodeid } = writer.walk("d").entry;
  const count = 1_000;
  storm(
    writer,
    count,
    (at) => {
      const body = concat(words(0o100644, 0, 0, 0), name(`f${at}`));
      return writer.fuse.submit(OP.MKNOD, nodeid, body, { room: 144 });
    },
    (answered) => {
      const told = Number((reader.versions.slot(index) - first) / CHANGE);
      assert.ok(told >= answered);
      // All that were told of before asking are there.
      if (told > 0) {
        const { entry } = reader.lookup(directory, `f${told - 1}`);
        assert.notEqual(entry.nodeid, 0n, `f${told - 1} after ${told} changes`);
        reader.guest.forget(entry.nodeid);
      }
      const before = reader.versions.slot(index);
      const next = Number((before - first) / CHANGE);
      const missing = reader.lookup(directory, `f${next}`);
      if (missing.entry.nodeid !== 0n) reader.guest.forget(missing.entry.nodeid);
      if (before !== reader.versions.slot(index) || (before & IN_PROGRESS) !== 0n) return;
      assert.equal(missing.entry.nodeid, 0n, `f${next} is not there yet`);
    },
  );
});

oneDaemon.test("shared versions: two queues of one daemon count as two daemons do", ({ tree, daemons }) => {
  tree.file("f");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath, {
    requestQueues: 2,
    queueSize: 256,
  });
  const { index, version: first, entry: { nodeid } } = guest.walk("f");
  const pending: [number, Pending][] = [];
  const [a, b] = guest.guest.clients;
  for (let round = 0; round < 200; round += 1) {
    for (const client of [a!, b!]) {
      for (let at = 0; at < 10; at += 1) {
        const body = setattrBody({ ...MODE, mode: 0o600 + at });
        pending.push([
          client === a ? 0 : 1,
          client.submit(OP.SETATTR, nodeid, body, { room: 104 }),
        ]);
      }
    }
    for (const [client, each] of pending.splice(0)) {
      assert.equal(guest.guest.clients[client]!.wait(each).error, 0);
    }
  }
  assert.equal(guest.versions.slot(index) - first, 4_000n * CHANGE);
});

// --- in the midst of a change ----------------------------------------------------------------

share.test("shared versions: while a change is in progress replies say so", async ({ tree, daemons }) => {
  const path = tree.file("f", "before");
  using writer = VersionedGuest.connect(daemons[0]!.socketPath);
  using reader = VersionedGuest.connect(daemons[1]!.socketPath);
  const { index, version: first, entry } = reader.walk("f");
  const { nodeid } = writer.walk("f").entry;
  using lease = new Lease(path);
  const opening = writer.fuse.submit(OP.OPEN, nodeid, words(O.RDWR | O.TRUNC, 0), { room: 16 });
  await until("the change begins", () => reader.versions.slot(index) === first + 1n);
  assert.ok(!writer.fuse.poll(opening, 50), "it waits for the lease");
  const found = reader.walk("f");
  assert.equal(found.version, first + 1n, "a version of the midst of it");
  assert.equal(found.entry.attr.size, 6n);
  assert.equal(found.index, index);
  const [record] = reader.readdirplus(reader.walk().entry.nodeid)
    .filter(({ dirent }) => dirent.name === "f");
  assert.equal(record!.version, first + 1n);
  // Another change in the midst of it.
  const body = setattrBody(MODE);
  readAttr(reader.fuse.ok(OP.SETATTR, entry.nodeid, body, { room: 104 }), 16);
  assert.equal(reader.versions.slot(index), first + CHANGE + 1n);
  lease.giveUp();
  assert.equal(writer.fuse.wait(opening).error, 0);
  assert.equal(reader.versions.slot(index), first + 2n * CHANGE);
  const after = reader.walk("f");
  assert.deepEqual([after.version, after.entry.attr.size], [first + 2n * CHANGE, 0n]);
});
