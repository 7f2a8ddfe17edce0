/** `--cache shared`: versions in replies. */
import assert from "node:assert/strict";
import { type FuseClient, readBody, ROOT } from "../support/fuse_client.ts";
import { type Entry, O, OP, S } from "../support/fuse_wire.ts";
import { Guest } from "../support/guest.ts";
import { concat, name, text, words } from "../support/little_endian.ts";
import { SharedShare } from "../support/shared_share.ts";
import { errno } from "../support/libc.ts";
import {
  type EntryVersion,
  IN_PROGRESS,
  ONE_DAY,
  readVersionedEntry,
  type VersionedEntry,
} from "../support/version_table.ts";
import { VersionedGuest } from "../support/versioned_guest.ts";

const one = new SharedShare(1);
const two = new SharedShare(2);

/** The ways to get an entry, each of something new. */
const ENTRY_REPLIES: Record<string, (guest: VersionedGuest, parent: bigint) => VersionedEntry> = {
  LOOKUP: (guest) => guest.walk("d", "present"),
  MKNOD: (guest, parent) =>
    guest.make(OP.MKNOD, parent, concat(words(S.IFREG | 0o644, 0, 0, 0), name("node"))),
  MKDIR: (guest, parent) => guest.mkdir(parent, "directory"),
  SYMLINK: (guest, parent) => guest.make(OP.SYMLINK, parent, concat(name("symlink"), name("to"))),
  LINK: (guest, parent) => guest.link(guest.walk("d", "present").entry.nodeid, parent, "link"),
  CREATE: (guest, parent) => guest.create(parent, "created"),
  TMPFILE: (guest, parent) => guest.create(parent, "/", { flags: O.RDWR, opcode: OP.TMPFILE }),
};

/** A version in a reply holds now, if nobody changes anything. */
function assertHolds(guest: VersionedGuest, found: EntryVersion, what: string): void {
  guest.versions.assertInRange(found.index, what);
  assert.equal(found.version, guest.versions.slot(found.index), `${what}: version`);
  assert.equal(found.version & IN_PROGRESS, 0n, `${what}: nothing is in progress`);
}

function assertValidity(entry: Entry, seconds: bigint, what: string): void {
  assert.equal(entry.entryValid, seconds, `${what}: validity of the name`);
  assert.equal(entry.attrValid, seconds, `${what}: validity of the attributes`);
}

for (const [what, reply] of Object.entries(ENTRY_REPLIES)) {
  one.test(`shared versions: ${what} answers with index, version and a day`, ({ tree, daemons }) => {
    tree.file("d/present", "x");
    using guest = VersionedGuest.connect(daemons[0]!.socketPath);
    const parent = guest.walk("d").entry.nodeid;
    const found = reply(guest, parent);
    // LINK changes what it answers with: that version may be of the midst of it, and is then not to be kept.
    if (what !== "LINK" || (found.version & IN_PROGRESS) === 0n) assertHolds(guest, found, what);
    assert.equal(guest.versions.slot(found.index) & IN_PROGRESS, 0n, "all is done");
    assertValidity(found.entry, ONE_DAY, what);
  });
}

one.test("shared versions: '.' of the root is how a guest learns its slot", ({ daemons }) => {
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  const root = guest.lookup(ROOT, ".");
  assert.equal(root.entry.nodeid, ROOT);
  assert.equal(root.entry.attr.mode & S.IFMT, S.IFDIR);
  assertHolds(guest, root, "the root");
  guest.mkdir(ROOT, "d");
  assert.notEqual(guest.versions.slot(root.index), root.version, "a name more");
});

one.test("shared versions: a missing name is an entry without a node, for a day", ({ daemons }) => {
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  const missing = guest.lookup(ROOT, "missing");
  assert.equal(missing.entry.nodeid, 0n);
  assert.equal(missing.entry.entryValid, ONE_DAY);
  assert.equal(missing.index, 0, "what is not there has no slot");
  const { index, version } = guest.lookup(ROOT, ".");
  guest.create(ROOT, "missing");
  assert.notEqual(guest.versions.slot(index), version, "the directory's slot tells");
});

one.test("shared versions: errors are the header alone", ({ tree, daemons }) => {
  tree.file("f");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  const file = guest.walk("f").entry.nodeid;
  const { fuse } = guest;
  assert.equal(fuse.fails(OP.LOOKUP, file, name("x"), { room: 144 }), errno.ENOTDIR);
  assert.equal(fuse.fails(OP.LOOKUP, 0xdeadn, name("x"), { room: 144 }) > 0, true);
  const mkdir = concat(words(0o755, 0), name("f"));
  assert.equal(fuse.fails(OP.MKDIR, ROOT, mkdir, { room: 144 }), errno.EEXIST);
});

one.test("shared versions: room for a plain entry only is no reason to write beyond it", ({ tree, daemons }) => {
  tree.file("f");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  const short = guest.fuse.call(OP.LOOKUP, ROOT, name("f"), { room: 128 });
  assert.ok(short.error !== 0 || short.body.length <= 128);
  assert.equal(guest.walk("f").entry.attr.size, 0n, "the session goes on");
});

two.test("shared versions: one inode has one index in every reply of every daemon", ({ tree, daemons }) => {
  tree.file("d/present", "x");
  using first = VersionedGuest.connect(daemons[0]!.socketPath);
  using second = VersionedGuest.connect(daemons[1]!.socketPath);
  assert.equal(first.walk().index, second.walk().index, "the root");
  const parent = first.walk("d");
  assert.equal(second.walk("d").index, parent.index, "d");
  const names: Record<string, string> = {
    MKNOD: "node",
    MKDIR: "directory",
    SYMLINK: "symlink",
    LINK: "link",
    CREATE: "created",
  };
  const indexes = new Set([first.walk().index, parent.index]);
  for (const [opcode, entry] of Object.entries(names)) {
    const made = ENTRY_REPLIES[opcode]!(first, parent.entry.nodeid);
    const found = second.walk("d", entry);
    assert.equal(found.index, made.index, opcode);
    assert.equal(found.entry.attr.ino, made.entry.attr.ino, opcode);
    assertHolds(second, found, opcode);
    indexes.add(made.index);
  }
  assert.equal(first.walk("d", "link").index, second.walk("d", "present").index, "a second name");
  // The root, d, present (by its link), and four that are new.
  assert.equal(indexes.size, 7, "no two inodes share a slot");
  const listed = second.readdirplus(second.walk("d").entry.nodeid);
  for (const { dirent, index } of listed) {
    if (dirent.name === "." || dirent.name === "..") continue;
    assert.equal(index, first.walk("d", dirent.name).index, dirent.name);
  }
});

one.test("shared versions: READDIRPLUS has a version in each record", ({ tree, daemons }) => {
  for (let index = 0; index < 60; index += 1) {
    tree.file(`d/${"n".repeat(1 + index % 17)}${index}`, "x".repeat(index));
  }
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  const { nodeid } = guest.walk("d").entry;
  for (const size of [4096, 700, 65_536]) {
    const records = guest.readdirplus(nodeid, size);
    const names = records.map(({ dirent }) => dirent.name).filter((entry) =>
      !/^\.\.?$/.test(entry)
    );
    const expected = [...Deno.readDirSync(tree.path("d"))].map((entry) => entry.name);
    assert.deepEqual(names.sort(), expected.sort(), `in pieces of ${size}`);
    for (const { dirent, ...version } of records) {
      if (dirent.entry!.nodeid === 0n) {
        assert.match(dirent.name, /^\.\.?$/, "only these have no node");
        continue;
      }
      assertHolds(guest, version, dirent.name);
      assertValidity(dirent.entry!, ONE_DAY, dirent.name);
      assert.equal(
        dirent.entry!.attr.size,
        BigInt(Deno.statSync(tree.path("d", dirent.name)).size),
      );
      assert.equal(version.index, guest.walk("d", dirent.name).index, dirent.name);
    }
  }
});

one.test("shared versions: READDIR is as it always was", ({ tree, daemons }) => {
  tree.file("a");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  const fh = guest.fuse.opendir(ROOT);
  const names = guest.fuse.readdirAll(ROOT, fh).map((entry) => entry.name).sort();
  assert.deepEqual(names, [".", "..", "a"]);
});

/** Replies of a session without the flag: sizes of auto, and a second. */
function assertPlainAsAuto(fuse: FuseClient): void {
  const found = fuse.lookup(ROOT, "f");
  assertValidity(found, 1n, "LOOKUP");
  assertValidity(fuse.mkdir(ROOT, crypto.randomUUID()), 1n, "MKDIR");
  assertValidity(fuse.create(ROOT, "created", { flags: O.RDWR | O.CREAT }).entry, 1n, "CREATE");
  const missing = fuse.call(OP.LOOKUP, ROOT, name("missing"), { room: 128 });
  assert.equal(missing.error, -errno.ENOENT, "a missing name");
  const fh = fuse.opendir(ROOT);
  for (const { name: entry, entry: plus } of fuse.readdirAll(ROOT, fh, { plus: true })) {
    if (plus!.nodeid !== 0n) assertValidity(plus!, 1n, entry);
  }
}

two.test("shared versions: a guest without the flag gets what auto says, while others share", ({ tree, daemons }) => {
  tree.file("f", "x");
  using sharing = VersionedGuest.connect(daemons[0]!.socketPath);
  const root = sharing.walk();
  {
    using stock = Guest.connect(daemons[1]!.socketPath);
    assertPlainAsAuto(stock.fuse);
  }
  assert.notEqual(sharing.versions.slot(root.index), root.version, "what it did is seen");
  assert.ok(sharing.walk("created").index > 0);
  // The same daemon serves one after the other.
  {
    using sharingThere = VersionedGuest.connect(daemons[1]!.socketPath);
    assert.equal(sharingThere.walk("f").index, sharing.walk("f").index);
  }
  using tableless = VersionedGuest.connect(daemons[1]!.socketPath, { initFlags: 0n | 1n << 13n });
  assert.ok(!tableless.isVersioned);
  assert.deepEqual(tableless.tableRequests, [], "no table for who does not ask");
  assertPlainAsAuto(tableless.fuse);
});

two.test("shared versions: a stock guest's changes of files it opened are seen", ({ tree, daemons }) => {
  tree.file("f", "x");
  using sharing = VersionedGuest.connect(daemons[0]!.socketPath);
  using stock = Guest.connect(daemons[1]!.socketPath);
  const found = sharing.walk("f");
  const { nodeid } = stock.fuse.lookup(ROOT, "f");
  const fh = stock.fuse.open(nodeid, O.RDWR);
  stock.fuse.write(nodeid, fh, 0n, text("yy"));
  assert.notEqual(sharing.versions.slot(found.index), found.version);
  assert.equal(sharing.walk("f").entry.attr.size, 2n);
});

one.test("shared versions: replies in one piece with other requests in flight", ({ tree, daemons }) => {
  for (let index = 0; index < 40; index += 1) tree.file(`f${index}`, "x".repeat(index));
  using guest = VersionedGuest.connect(daemons[0]!.socketPath, { queueSize: 256 });
  const { fuse } = guest;
  const pending = Array.from(
    { length: 40 },
    (_, index) => fuse.submit(OP.LOOKUP, ROOT, name(`f${index}`), { room: 144 }),
  );
  const fh = fuse.opendir(ROOT);
  fuse.ok(OP.READDIRPLUS, ROOT, readBody(fh, 0n, 4096), { room: 4096 });
  const indexes = pending.map((each, index) => {
    const reply = fuse.wait(each);
    assert.equal(reply.error, 0);
    const found = readVersionedEntry(reply.body);
    assert.equal(found.entry.attr.size, BigInt(index));
    assertHolds(guest, found, `f${index}`);
    return found.index;
  });
  assert.equal(new Set(indexes).size, 40);
});
