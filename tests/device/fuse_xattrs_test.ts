import assert from "node:assert/strict";
import { ROOT } from "../support/fuse_client.ts";
import { OP } from "../support/fuse_wire.ts";
import { getXattr, setXattr } from "../support/libc.ts";
import { concat, name, text, viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

const served = new ServedTree(["--xattr"]);
const plain = new ServedTree();
const get = (attribute: string, size: number) => concat(words(size, 0), name(attribute));
/** The short form: SETXATTR_EXT is only agreed on with --posix-acl. */
const set = (attribute: string, value: Uint8Array, flags = 0, size = value.length) =>
  concat(words(size, flags), name(attribute), value);

served.test("FUSE SETXATTR, GETXATTR: both ways", ({ guest, tree }) => {
  const path = tree.file("f");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const value = new Uint8Array([0, 255, 1, 2, 0]);
  fuse.ok(OP.SETXATTR, nodeid, set("user.a", value), { room: 0 });
  assert.deepEqual(getXattr(path, "user.a"), value);
  assert.equal(setXattr(path, "user.b", text("host")), 0);
  assert.deepEqual(fuse.ok(OP.GETXATTR, nodeid, get("user.b", 100), { room: 100 }), text("host"));
});

served.test("FUSE GETXATTR: size 0 asks for the size, a small size is ERANGE", ({ guest, tree }) => {
  setXattr(tree.file("f"), "user.a", text("0123456789"));
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const reply = fuse.ok(OP.GETXATTR, nodeid, get("user.a", 0), { room: 8 });
  assert.equal(reply.length, 8);
  assert.equal(viewOf(reply).getUint32(0, true), 10);
  assert.equal(fuse.fails(OP.GETXATTR, nodeid, get("user.a", 9), { room: 9 }), 34);
  assert.equal(fuse.ok(OP.GETXATTR, nodeid, get("user.a", 10), { room: 10 }).length, 10);
  assert.equal(fuse.fails(OP.GETXATTR, nodeid, get("user.none", 10), { room: 10 }), 61);
});

served.test("FUSE LISTXATTR: names with their NULs", ({ guest, tree }) => {
  const path = tree.file("f");
  setXattr(path, "user.one", text("1"));
  setXattr(path, "user.two", text("2"));
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const list = fuse.ok(OP.LISTXATTR, nodeid, words(1000, 0), { room: 1000 });
  const names = new TextDecoder().decode(list).split("\0").filter((entry) => entry !== "");
  for (const expected of ["user.one", "user.two"]) assert.ok(names.includes(expected));
  const size = viewOf(fuse.ok(OP.LISTXATTR, nodeid, words(0, 0), { room: 8 })).getUint32(0, true);
  // Another implementation may answer an upper bound to the question for the size.
  assert.ok(size >= list.length);
  assert.equal(fuse.fails(OP.LISTXATTR, nodeid, words(5, 0), { room: 5 }), 34);
});

served.test("FUSE SETXATTR: CREATE, REPLACE, REMOVEXATTR", ({ guest, tree }) => {
  tree.file("f");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  assert.equal(fuse.fails(OP.SETXATTR, nodeid, set("user.a", text("x"), 2)), 61);
  fuse.ok(OP.SETXATTR, nodeid, set("user.a", text("x"), 1), { room: 0 });
  assert.equal(fuse.fails(OP.SETXATTR, nodeid, set("user.a", text("x"), 1)), 17);
  fuse.ok(OP.REMOVEXATTR, nodeid, name("user.a"), { room: 0 });
  assert.equal(fuse.fails(OP.REMOVEXATTR, nodeid, name("user.a")), 61);
});

served.test("FUSE SETXATTR: on a symlink and a FIFO it does not reach anything else", ({ guest, tree }) => {
  const target = tree.file("target");
  Deno.symlinkSync("target", tree.path("link"));
  const { fuse } = guest;
  fuse.mknod(ROOT, "fifo", 0o010644);
  for (const entry of ["link", "fifo"]) {
    const { nodeid } = fuse.lookup(ROOT, entry);
    // user.* is only for files and directories; trusted.* is for anything.
    assert.ok(fuse.fails(OP.SETXATTR, nodeid, set("user.a", text("x"))) > 0);
    const trusted = fuse.call(OP.SETXATTR, nodeid, set("trusted.a", text("x")), { room: 0 });
    if (trusted.error === 0) {
      const body = get("trusted.a", 10);
      assert.deepEqual(fuse.ok(OP.GETXATTR, nodeid, body, { room: 10 }), text("x"));
    }
  }
  assert.equal(getXattr(target, "trusted.a"), null);
  assert.equal(getXattr(target, "user.a"), null);
});

served.test("FUSE SETXATTR: sizes that lie, names that are none", ({ guest, tree }) => {
  const path = tree.file("f");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const long = fuse.call(OP.SETXATTR, nodeid, set("user.a", text("x"), 0, 5000), { room: 0 });
  assert.ok(long.error < 0, "a value that is not there");
  assert.ok(fuse.fails(OP.SETXATTR, nodeid, words(1, 0)) > 0);
  assert.ok(fuse.fails(OP.SETXATTR, nodeid, concat(words(1, 0), text("user.a"))) > 0);
  assert.ok([22, 34, 95].includes(fuse.fails(OP.SETXATTR, nodeid, set("", text("x")))));
  const name256 = fuse.fails(OP.SETXATTR, nodeid, set("user." + "n".repeat(300), text("x")));
  assert.ok([34, 22, 36].includes(name256), `errno ${name256}`);
  const huge = fuse.fails(OP.SETXATTR, nodeid, set("user.a", new Uint8Array(65_537)));
  assert.ok([7, 28, 34, 22].includes(huge), `errno ${huge}`);
  const room = fuse.call(OP.GETXATTR, nodeid, get("user.a", 0xffff_ffff), { room: 64 });
  assert.ok(room.error < 0);
  assert.equal(getXattr(path, "user.a"), null);
}, { notOnRust: true });

plain.test("FUSE xattrs: without --xattr all four are ENOSYS", ({ guest, tree }) => {
  const path = tree.file("f");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  assert.equal(fuse.fails(OP.SETXATTR, nodeid, set("user.a", text("x"))), 38);
  assert.equal(fuse.fails(OP.GETXATTR, nodeid, get("user.a", 10)), 38);
  assert.equal(fuse.fails(OP.LISTXATTR, nodeid, words(10, 0)), 38);
  assert.equal(fuse.fails(OP.REMOVEXATTR, nodeid, name("user.a")), 38);
  assert.equal(getXattr(path, "user.a"), null);
});

const withAcl = new ServedTree(["--posix-acl=always"]);

withAcl.test("FUSE SETXATTR: the long form once SETXATTR_EXT was agreed on", ({ guest, tree }) => {
  const path = tree.file("f");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const body = concat(words(5, 0, 0, 0), name("user.a"), text("value"));
  fuse.ok(OP.SETXATTR, nodeid, body, { room: 0 });
  assert.deepEqual(getXattr(path, "user.a"), text("value"));
});
