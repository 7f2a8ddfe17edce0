import assert from "node:assert/strict";
import { isRustPeer } from "../support/daemon.ts";
import { ROOT } from "../support/fuse_client.ts";
import { FATTR, O, OP, S, setattrBody } from "../support/fuse_wire.ts";
import { viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

const served = new ServedTree();

served.test("FUSE GETATTR: by nodeid and by handle, also when unlinked", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid, O.RDWR);
  assert.equal(fuse.getattr(nodeid, fh).size, 3n);
  Deno.removeSync(tree.path("f"));
  assert.equal(fuse.getattr(nodeid).nlink, 0);
  assert.equal(fuse.getattr(nodeid, fh).nlink, 0);
});

served.test("FUSE GETATTR: changes on the host are seen", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { nodeid } = guest.fuse.lookup(ROOT, "f");
  tree.file("f", "longer");
  assert.equal(guest.fuse.getattr(nodeid).size, 6n);
});

served.test("FUSE GETATTR: a short body is an error", ({ guest }) => {
  assert.ok([22, 5].includes(guest.fuse.fails(OP.GETATTR, ROOT, words(0))));
}, { notOnRust: true });

served.test("FUSE SETATTR: mode, owner and group, each alone", ({ guest, tree }) => {
  tree.file("f");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  assert.equal(fuse.setattr(nodeid, { valid: FATTR.MODE, mode: 0o100751 }).mode, 0o100751);
  assert.equal(fuse.setattr(nodeid, { valid: FATTR.UID, uid: 1000, gid: 9 }).uid, 1000);
  const attr = fuse.setattr(nodeid, { valid: FATTR.GID, uid: 9, gid: 2000 });
  assert.equal(attr.gid, 2000);
  assert.equal(attr.uid, 1000, "the owner was not asked for");
  const stat = Deno.lstatSync(tree.path("f"));
  assert.deepEqual([stat.uid, stat.gid, stat.mode! & 0o7777], [1000, 2000, 0o751]);
});

served.test("FUSE SETATTR: size with and without a handle", ({ guest, tree }) => {
  tree.file("f", "0123456789");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  assert.equal(fuse.setattr(nodeid, { valid: FATTR.SIZE, size: 4n }).size, 4n);
  const fh = fuse.open(nodeid, O.RDWR);
  assert.equal(fuse.setattr(nodeid, { valid: FATTR.SIZE | FATTR.FH, fh, size: 9n }).size, 9n);
  assert.equal(Deno.readTextFileSync(tree.path("f")), "0123\0\0\0\0\0");
  const negative = fuse.fails(
    OP.SETATTR,
    nodeid,
    setattrBody({ valid: FATTR.SIZE, size: 1n << 63n }),
  );
  assert.ok([22, 27].includes(negative), `errno ${negative}`);
});

served.test("FUSE SETATTR: size of an unlinked open file", ({ guest, tree }) => {
  tree.file("f", "0123456789");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid, O.RDWR);
  Deno.removeSync(tree.path("f"));
  assert.equal(fuse.setattr(nodeid, { valid: FATTR.SIZE | FATTR.FH, fh, size: 3n }).size, 3n);
  assert.equal(fuse.setattr(nodeid, { valid: FATTR.MODE, mode: 0o100600 }).mode, 0o100600);
});

served.test("FUSE SETATTR: times given, now, and one without the other", ({ guest, tree }) => {
  const path = tree.file("f");
  Deno.utimeSync(path, 1000, 1000);
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const first = fuse.setattr(nodeid, {
    valid: FATTR.ATIME | FATTR.MTIME,
    atime: 111n,
    mtime: 222n,
    mtimensec: 123_456_789,
  });
  assert.deepEqual([first.atime, first.mtime, first.mtimensec], [111n, 222n, 123_456_789]);
  const second = fuse.setattr(nodeid, { valid: FATTR.MTIME, mtime: 333n });
  assert.deepEqual([second.atime, second.mtime], [111n, 333n]);
  const now = BigInt(Math.floor(Date.now() / 1000));
  const third = fuse.setattr(nodeid, {
    valid: FATTR.ATIME | FATTR.ATIME_NOW | FATTR.MTIME | FATTR.MTIME_NOW,
  });
  assert.ok(third.atime >= now - 1n && third.mtime >= now - 1n, "now");
  const before1970 = fuse.setattr(nodeid, { valid: FATTR.MTIME, mtime: -5n });
  assert.equal(BigInt.asIntN(64, before1970.mtime), -5n);
});

served.test("FUSE SETATTR: of a symlink changes the link, not its target", ({ guest, tree }) => {
  const target = tree.file("target");
  Deno.utimeSync(target, 5, 5);
  Deno.symlinkSync("target", tree.path("link"));
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "link");
  assert.equal(fuse.setattr(nodeid, { valid: FATTR.UID, uid: 77 }).uid, 77);
  assert.equal(fuse.setattr(nodeid, { valid: FATTR.MTIME, mtime: 99n }).mtime, 99n);
  assert.equal(Deno.lstatSync(target).uid, 0);
  assert.equal(Deno.lstatSync(target).mtime!.getTime(), 5000);
});

served.test("FUSE SETATTR: nothing to set, and bits that do not exist", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  assert.equal(fuse.setattr(nodeid, { valid: 0 }).size, 3n);
  fuse.call(OP.SETATTR, nodeid, setattrBody({ valid: 0xffff_8000 }), { room: 104 });
  assert.equal(fuse.getattr(nodeid).size, 3n);
});

served.test("FUSE SETATTR: a forged handle is EBADF and a directory cannot be truncated", ({ guest, tree }) => {
  tree.file("f", "abc");
  tree.directory("d");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const forged = setattrBody({ valid: FATTR.SIZE | FATTR.FH, fh: 0xdead_beefn, size: 0n });
  const error = fuse.fails(OP.SETATTR, nodeid, forged);
  assert.ok([9, 116, 22].includes(error), `errno ${error}`);
  const truncated = fuse.fails(
    OP.SETATTR,
    fuse.walk("d"),
    setattrBody({ valid: FATTR.SIZE, size: 0n }),
  );
  assert.ok([21, 22].includes(truncated), `errno ${truncated}`);
  assert.equal(Deno.lstatSync(tree.path("f")).size, 3);
});

served.test("FUSE SETATTR: chown drops setuid and setgid as on the host", ({ guest, tree }) => {
  Deno.chmodSync(tree.file("f"), 0o6755);
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const attr = fuse.setattr(nodeid, { valid: FATTR.UID, uid: 1000 }, { uid: 0 });
  assert.equal(attr.mode & 0o7777, 0o755);
});

served.test("FUSE STATX: the kernel's statx, birth time included", ({ guest, tree }) => {
  const stat = Deno.lstatSync(tree.file("f", "hello"));
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const reply = fuse.ok(OP.STATX, nodeid, words(0, 0, 0n, 0, 0xfff), { room: 288 });
  assert.equal(reply.length, 288);
  const statx = viewOf(reply.subarray(32));
  assert.equal(statx.getUint32(0, true) & 0x7ff, 0x7ff, "mask has the basic stats");
  assert.ok((statx.getUint32(0, true) & 0x800) !== 0, "mask has the birth time");
  assert.equal(statx.getUint16(28, true), stat.mode);
  assert.equal(statx.getBigUint64(32, true), BigInt(stat.ino!));
  assert.equal(statx.getBigUint64(40, true), 5n);
  const birth = Number(statx.getBigInt64(80, true));
  assert.ok(Math.abs(birth - Date.now() / 1000) < 60, `birth time ${birth}`);
  const fh = fuse.open(nodeid);
  const byHandle = fuse.ok(OP.STATX, nodeid, words(1, 0, fh, 0, 0xfff), { room: 288 });
  assert.equal(viewOf(byHandle).getBigUint64(32 + 40, true), 5n);
}, { notOnRust: isRustPeer });

served.test("FUSE GETATTR: the type of every node stays what it is", ({ guest, tree }) => {
  tree.directory("d");
  Deno.symlinkSync("d", tree.path("l"));
  const { fuse } = guest;
  assert.equal(fuse.getattr(fuse.walk("d")).mode & S.IFMT, S.IFDIR);
  assert.equal(fuse.getattr(fuse.walk("l")).mode & S.IFMT, S.IFLNK);
  assert.equal(fuse.getattr(ROOT).mode & S.IFMT, S.IFDIR);
});
