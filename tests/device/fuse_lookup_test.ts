import assert from "node:assert/strict";
import { ROOT } from "../support/fuse_client.ts";
import { O, OP, readEntry, S } from "../support/fuse_wire.ts";
import { makeNode } from "../support/libc.ts";
import { concat, name, text, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

const served = new ServedTree(["--announce-submounts"]);
const getattrBody = words(0, 0, 0n);
/** What a nodeid that means nothing may be answered with. */
const STALE = [116, 9, 22, 2];

served.test("FUSE LOOKUP: attributes are those of the host", ({ guest, tree }) => {
  const path = tree.file("f", "twelve bytes");
  Deno.chmodSync(path, 0o4640);
  Deno.chownSync(path, 1234, 5678);
  Deno.utimeSync(path, 1_000_000_000, 1_100_000_000);
  const stat = Deno.lstatSync(path);
  const { attr, nodeid, entryValid, attrValid } = guest.fuse.lookup(ROOT, "f");
  assert.ok(nodeid > 1n);
  assert.equal(attr.ino, BigInt(stat.ino!));
  assert.equal(attr.size, 12n);
  assert.equal(attr.blocks, BigInt(stat.blocks!));
  assert.equal(attr.mode, stat.mode);
  assert.equal(attr.uid, 1234);
  assert.equal(attr.gid, 5678);
  assert.equal(attr.nlink, 1);
  assert.equal(attr.atime, 1_000_000_000n);
  assert.equal(attr.mtime, 1_100_000_000n);
  assert.equal(entryValid, 1n, "--cache auto: one second");
  assert.equal(attrValid, 1n);
});

served.test("FUSE LOOKUP: a missing name is ENOENT or a negative entry", ({ guest }) => {
  const reply = guest.fuse.call(OP.LOOKUP, ROOT, name("missing"), { room: 128 });
  if (reply.error === 0) assert.equal(readEntry(reply.body).nodeid, 0n);
  else assert.equal(reply.error, -2);
});

served.test("FUSE LOOKUP: hard links and repeated lookups are one nodeid", ({ guest, tree }) => {
  tree.file("a", "x");
  Deno.linkSync(tree.path("a"), tree.path("b"));
  const first = guest.fuse.lookup(ROOT, "a");
  assert.equal(guest.fuse.lookup(ROOT, "b").nodeid, first.nodeid);
  assert.equal(guest.fuse.lookup(ROOT, "a").nodeid, first.nodeid);
  assert.equal(first.attr.nlink, 2);
});

served.test("FUSE LOOKUP: every file type is reported and none is opened", ({ guest, tree }) => {
  makeNode(tree.path("fifo"), S.IFIFO | 0o600);
  makeNode(tree.path("socket"), S.IFSOCK | 0o600);
  makeNode(tree.path("char"), S.IFCHR | 0o600, 0x103);
  makeNode(tree.path("block"), S.IFBLK | 0o600, 0x700);
  Deno.symlinkSync("nowhere", tree.path("link"));
  tree.directory("dir");
  const types = { fifo: S.IFIFO, socket: S.IFSOCK, char: S.IFCHR, block: S.IFBLK, link: S.IFLNK };
  for (const [entry, type] of Object.entries(types)) {
    assert.equal(guest.fuse.lookup(ROOT, entry).attr.mode & S.IFMT, type, entry);
  }
  assert.equal(guest.fuse.lookup(ROOT, "char").attr.rdev, 0x103);
  assert.equal(guest.fuse.lookup(ROOT, "link").attr.size, 7n);
});

for (
  const [what, raw, allowed] of [
    ["with a slash", text("a/b\0"), [22, 2, 13]],
    ["that climbs with a slash", text("../etc\0"), [22, 2, 13]],
    ["that is an absolute path", text("/etc/passwd\0"), [22, 2, 13]],
    ["that is empty", text("\0"), [22, 2]],
    ["without its NUL", text("abc"), [22, 5]],
    ["with a NUL inside", text("a\0b\0"), [22, 2, 5]],
    ["of 256 bytes", name("n".repeat(256)), [36]],
    ["of 4096 bytes", name("n".repeat(4096)), [36, 22, 12]],
    ["that is missing altogether", new Uint8Array(0), [22, 5]],
  ] as const
) {
  served.test(`FUSE LOOKUP: a name ${what} is refused`, ({ guest, tree }) => {
    tree.file("abc");
    tree.file("a", "outside");
    const reply = guest.fuse.call(OP.LOOKUP, ROOT, raw, { room: 128 });
    if (reply.error === 0 && what === "with a NUL inside") {
      // A guest cannot mean more than the part before the NUL.
      assert.equal(readEntry(reply.body).attr.size, 7n);
      return;
    }
    assert.ok((allowed as readonly number[]).includes(-reply.error), `error ${reply.error}`);
  }, { notOnRust: what.startsWith("with") || what.startsWith("that is missing") });
}

served.test("FUSE LOOKUP: a name of 255 bytes and one that is not UTF-8", ({ guest, tree }) => {
  tree.file("n".repeat(255), "long");
  assert.equal(guest.fuse.lookup(ROOT, "n".repeat(255)).attr.size, 4n);
  const raw = new Uint8Array([0xff, 0xfe, 0x80, 0x41]);
  guest.fuse.ok(OP.MKDIR, ROOT, concat(words(0o755, 0), name(raw)), { room: 128 });
  assert.equal(guest.fuse.lookup(ROOT, raw).attr.mode & S.IFMT, S.IFDIR);
  guest.fuse.ok(OP.RMDIR, ROOT, name(raw));
  assert.equal([...Deno.readDirSync(tree.root)].length, 1);
});

served.test("FUSE LOOKUP: '..' at the root stays at the root", ({ guest, tree }) => {
  tree.file("f");
  const root = guest.fuse.getattr(ROOT);
  for (const entry of ["..", "."]) {
    const reply = guest.fuse.call(OP.LOOKUP, ROOT, name(entry), { room: 128 });
    if (reply.error !== 0) assert.ok([-22, -2].includes(reply.error), `${entry}: ${reply.error}`);
    else assert.equal(readEntry(reply.body).attr.ino, root.ino, entry);
  }
});

served.test("FUSE LOOKUP: '..' of a directory never leaves the shared directory", ({ guest, tree }) => {
  tree.directory("a/b");
  const { fuse } = guest;
  let node = fuse.walk("a", "b");
  const inside = new Set(
    [ROOT, fuse.walk("a"), node].map((nodeid) => fuse.getattr(nodeid).ino),
  );
  for (let step = 0; step < 5; step += 1) {
    const reply = fuse.call(OP.LOOKUP, node, name(".."), { room: 128 });
    if (reply.error !== 0) return;
    const entry = readEntry(reply.body);
    assert.ok(inside.has(entry.attr.ino), `step ${step} left the tree: inode ${entry.attr.ino}`);
    node = entry.nodeid;
  }
});

served.test("FUSE LOOKUP: a symlink is never followed, last or in between", ({ guest, tree }) => {
  tree.file("dir/secret", "s");
  Deno.symlinkSync("/", tree.path("slash"));
  Deno.symlinkSync("dir", tree.path("inner"));
  const { fuse } = guest;
  for (const link of ["slash", "inner"]) {
    const entry = fuse.lookup(ROOT, link);
    assert.equal(entry.attr.mode & S.IFMT, S.IFLNK);
    const below = fuse.fails(OP.LOOKUP, entry.nodeid, name("etc"));
    assert.ok([20, 40].includes(below), `ENOTDIR or ELOOP, not ${below}`);
    assert.ok([40, 22, 9].includes(fuse.fails(OP.OPEN, entry.nodeid, words(0, 0))), "OPEN");
    assert.ok([20, 40, 9].includes(fuse.fails(OP.OPENDIR, entry.nodeid, words(0, 0))), "OPENDIR");
  }
});

served.test("FUSE LOOKUP: a directory swapped for a symlink on the host is not followed", ({ guest, tree }) => {
  tree.file("dir/f", "x");
  const dir = guest.fuse.lookup(ROOT, "dir").nodeid;
  Deno.renameSync(tree.path("dir"), tree.path("moved"));
  Deno.symlinkSync("/etc", tree.path("dir"));
  assert.equal(guest.fuse.lookup(dir, "f").attr.size, 1n, "the nodeid is still the old directory");
  assert.equal(guest.fuse.fails(OP.LOOKUP, dir, name("passwd")), 2);
});

served.test("FUSE LOOKUP: below a file is ENOTDIR", ({ guest, tree }) => {
  tree.file("f");
  assert.equal(guest.fuse.fails(OP.LOOKUP, guest.fuse.walk("f"), name("x")), 20);
});

served.test("FUSE FORGET: the count decides, to the last one", ({ guest, tree }) => {
  tree.file("f", "x");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  for (let count = 1; count < 10; count += 1) fuse.lookup(ROOT, "f");
  guest.forget(nodeid, 4n);
  guest.forget(nodeid, 5n);
  assert.equal(fuse.getattr(nodeid).size, 1n, "one lookup is left");
  guest.forget(nodeid, 1n);
  assert.ok(STALE.includes(fuse.fails(OP.GETATTR, nodeid, getattrBody)), "none is left");
  fuse.getattr(fuse.lookup(ROOT, "f").nodeid);
});

served.test("FUSE FORGET: below zero, of nobody and of the root harm nobody", ({ guest, tree }) => {
  tree.file("f", "x");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  guest.forget(nodeid, 0xffff_ffff_ffff_ffffn);
  guest.forget(nodeid, 1n);
  guest.forget(0n);
  guest.forget(ROOT, 1n << 40n);
  guest.forget(0xdead_beefn, 3n);
  guest.forget(0xffff_ffff_ffff_ffffn, 0n);
  fuse.getattr(ROOT);
  assert.equal(fuse.getattr(fuse.lookup(ROOT, "f").nodeid).size, 1n);
}, { notOnRust: true });

served.test("FUSE FORGET: an open file outlives its nodeid", ({ guest, tree }) => {
  tree.file("f", "content");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid);
  guest.forget(nodeid);
  // Linux never does this; whatever the answer is, it must be an answer.
  fuse.call(OP.READ, nodeid, words(fh, 0n, 16, 0, 0n, 0, 0), { room: 16 });
  fuse.call(OP.RELEASE, nodeid, words(fh, 0, 0, 0n), { room: 0 });
  fuse.lookup(ROOT, "f");
});

served.test("FUSE FORGET: a short one is dropped", ({ guest }) => {
  guest.hiprio.send(OP.FORGET, 2n, new Uint8Array(0));
  guest.hiprio.send(OP.FORGET, 2n, new Uint8Array(4));
  guest.fuse.getattr(ROOT);
}, { notOnRust: true });

served.test("FUSE BATCH_FORGET: several nodes at once, on both kinds of queue", ({ guest, tree }) => {
  const { fuse } = guest;
  for (const client of [guest.hiprio, fuse]) {
    const nodes = ["a", "b", "c"].map((entry) => {
      tree.file(entry, entry);
      return fuse.lookup(ROOT, entry).nodeid;
    });
    fuse.lookup(ROOT, "c");
    const items = nodes.map((nodeid) => words(nodeid, 1n));
    client.send(OP.BATCH_FORGET, 0n, concat(words(3, 0), ...items));
    assert.ok(STALE.includes(fuse.fails(OP.GETATTR, nodes[0]!, getattrBody)));
    assert.ok(STALE.includes(fuse.fails(OP.GETATTR, nodes[1]!, getattrBody)));
    assert.equal(fuse.getattr(nodes[2]!).size, 1n, "c was looked up twice");
    guest.forget(nodes[2]!);
  }
});

served.test("FUSE BATCH_FORGET: a count that lies", ({ guest }) => {
  guest.hiprio.send(OP.BATCH_FORGET, 0n, concat(words(1000, 0), words(5n, 1n)));
  guest.hiprio.send(OP.BATCH_FORGET, 0n, words(0xffff_ffff, 0));
  guest.hiprio.send(OP.BATCH_FORGET, 0n, words(0, 0));
  guest.fuse.getattr(ROOT);
}, { notOnRust: true });

served.test("FUSE: every opcode with a forged nodeid is an error", ({ guest, tree }) => {
  tree.file("f");
  const { fuse } = guest;
  const forged = [0n, 2n, 0x1_0000_0000n, 0x7fff_ffff_ffff_ffffn, 0xffff_ffff_ffff_ffffn];
  const bodies: [number, Uint8Array][] = [
    [OP.LOOKUP, name("f")],
    [OP.GETATTR, getattrBody],
    [OP.SETATTR, new Uint8Array(88).fill(0).with(0, 1)],
    [OP.READLINK, new Uint8Array(0)],
    [OP.SYMLINK, concat(name("s"), name("t"))],
    [OP.MKNOD, concat(words(0o100644, 0, 0, 0), name("n"))],
    [OP.MKDIR, concat(words(0o755, 0), name("n"))],
    [OP.UNLINK, name("f")],
    [OP.RMDIR, name("f")],
    [OP.OPEN, words(0, 0)],
    [OP.OPENDIR, words(0, 0)],
    [OP.CREATE, concat(words(O.RDWR | O.CREAT, 0o644, 0, 0), name("n"))],
    [OP.STATX, words(0, 0, 0n, 0, 0xfff)],
  ];
  for (const nodeid of forged) {
    for (const [opcode, body] of bodies) {
      const error = fuse.fails(opcode, nodeid, body);
      assert.ok([...STALE, 38].includes(error), `opcode ${opcode} on ${nodeid}: errno ${error}`);
    }
    const link = fuse.fails(OP.LINK, ROOT, concat(words(nodeid), name("l")));
    assert.ok(STALE.includes(link), `LINK of ${nodeid}: errno ${link}`);
    const rename = concat(words(nodeid), name("f"), name("g"));
    assert.ok(STALE.includes(fuse.fails(OP.RENAME, ROOT, rename)), `RENAME into ${nodeid}`);
  }
  assert.deepEqual([...Deno.readDirSync(tree.root)].map((entry) => entry.name), ["f"]);
});

served.test("FUSE READLINK: the target as it is, without NUL", ({ guest, tree }) => {
  Deno.symlinkSync("../some/where", tree.path("l"));
  tree.file("f");
  const { fuse } = guest;
  assert.deepEqual(fuse.ok(OP.READLINK, fuse.walk("l")), text("../some/where"));
  assert.ok([22, 2].includes(fuse.fails(OP.READLINK, fuse.walk("f"))), "not a symlink");
  Deno.symlinkSync("t".repeat(4000), tree.path("long"));
  assert.equal(fuse.ok(OP.READLINK, fuse.walk("long")).length, 4000);
});
