import assert from "node:assert/strict";
import { createBody, type FuseClient, ROOT } from "../support/fuse_client.ts";
import { isRustPeer } from "../support/daemon.ts";
import { FATTR, O, OP, securityContext } from "../support/fuse_wire.ts";
import { getXattr, setXattr } from "../support/libc.ts";
import { concat, name, text, viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

const EPERM = 1;
const ERANGE = 34;
const ENODATA = 61;
const EOPNOTSUPP = 95;

function set(fuse: FuseClient, nodeid: bigint, attribute: string, value = "v"): number {
  const body = concat(words(value.length, 0), name(attribute), text(value));
  return Math.abs(fuse.call(OP.SETXATTR, nodeid, body, { room: 0 }).error);
}

function get(fuse: FuseClient, nodeid: bigint, attribute: string): string | number {
  const body = concat(words(100, 0), name(attribute));
  const { error, body: value } = fuse.call(OP.GETXATTR, nodeid, body, { room: 100 });
  return error < 0 ? -error : new TextDecoder().decode(value);
}

function remove(fuse: FuseClient, nodeid: bigint, attribute: string): number {
  return Math.abs(fuse.call(OP.REMOVEXATTR, nodeid, name(attribute), { room: 0 }).error);
}

/** The names in a list, with the host's own labels left out. */
function list(fuse: FuseClient, nodeid: bigint): string[] {
  const names = fuse.ok(OP.LISTXATTR, nodeid, words(4096, 0), { room: 4096 });
  const size = viewOf(fuse.ok(OP.LISTXATTR, nodeid, words(0, 0), { room: 8 })).getUint32(0, true);
  // Rust virtiofsd answers an upper bound.
  if (isRustPeer) assert.ok(size >= names.length);
  else assert.equal(size, names.length, "the size that was announced");
  return new TextDecoder().decode(names).split("\0").filter((one) => one !== "").sort();
}

const all = new ServedTree(["--xattrmap", ":map::user.virtiofs.:"]);

all.test("--xattrmap map of everything: the guest's names are apart from the host's", ({ guest, tree }) => {
  const path = tree.file("f");
  setXattr(path, "user.host", text("h"));
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  for (const attribute of ["user.a", "trusted.b", "security.c", "nonsense"]) {
    assert.equal(set(fuse, nodeid, attribute), 0, attribute);
    assert.deepEqual(getXattr(path, `user.virtiofs.${attribute}`), text("v"));
    assert.equal(getXattr(path, attribute), null);
    assert.equal(get(fuse, nodeid, attribute), "v");
  }
  assert.deepEqual(list(fuse, nodeid), ["nonsense", "security.c", "trusted.b", "user.a"]);
  assert.equal(get(fuse, nodeid, "user.host"), ENODATA);
  assert.equal(remove(fuse, nodeid, "user.host"), ENODATA);
  assert.equal(remove(fuse, nodeid, "user.a"), 0);
  assert.deepEqual(list(fuse, nodeid), ["nonsense", "security.c", "trusted.b"]);
  assert.deepEqual(getXattr(path, "user.host"), text("h"));
});

all.test("--xattrmap: LISTXATTR into little room", ({ guest, tree }) => {
  const path = tree.file("f");
  for (let i = 0; i < 20; i++) setXattr(path, `user.hidden-${i}`, text("h"));
  setXattr(path, "user.virtiofs.user.a", text("v"));
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  // The host's list is far longer than what the guest has room for, and sees.
  const names = fuse.ok(OP.LISTXATTR, nodeid, words(7, 0), { room: 7 });
  assert.deepEqual(names, text("user.a\0"));
  assert.equal(fuse.fails(OP.LISTXATTR, nodeid, words(6, 0), { room: 6 }), ERANGE);
}, { notOnRust: true });

all.test("--xattrmap: a name that becomes too long is ERANGE", ({ guest, tree }) => {
  tree.file("f");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const room = 255 - "user.virtiofs.".length;
  assert.equal(set(fuse, nodeid, "n".repeat(room)), 0);
  assert.deepEqual(list(fuse, nodeid), ["n".repeat(room)]);
  for (const size of [room + 1, 255, 256, 5000]) {
    assert.equal(set(fuse, nodeid, "n".repeat(size)), ERANGE, `${size} bytes`);
  }
});

all.test("--xattrmap: mapped file capabilities go when the file is changed", ({ guest, tree }) => {
  const { fuse } = guest;
  const changes: Record<string, (nodeid: bigint) => void> = {
    WRITE: (nodeid) => fuse.write(nodeid, fuse.open(nodeid, O.RDWR), 0n, text("x")),
    SETATTR_SIZE: (nodeid) => fuse.setattr(nodeid, { valid: FATTR.SIZE, size: 1n }),
    SETATTR_UID: (nodeid) => fuse.setattr(nodeid, { valid: FATTR.UID, uid: 5 }),
    OPEN_TRUNC: (nodeid) => fuse.open(nodeid, O.RDWR | O.TRUNC),
  };
  for (const [how, change] of Object.entries(changes)) {
    const path = tree.file(how, "program");
    const { nodeid } = fuse.lookup(ROOT, how);
    assert.equal(set(fuse, nodeid, "security.capability"), 0);
    assert.equal(set(fuse, nodeid, "security.other"), 0);
    fuse.read(nodeid, fuse.open(nodeid, O.RDONLY), 0n, 7);
    assert.notEqual(getXattr(path, "user.virtiofs.security.capability"), null);
    change(nodeid);
    assert.equal(getXattr(path, "user.virtiofs.security.capability"), null, how);
    assert.notEqual(getXattr(path, "user.virtiofs.security.other"), null);
  }
  // Rust virtiofsd removes them when the file is only opened.
}, { notOnRust: true });

const part = new ServedTree(["--xattrmap", "/map/trusted./user.virtiofs./"]);

part.test("--xattrmap map of a part: the others pass, the hiding place is closed", ({ guest, tree }) => {
  const path = tree.file("f");
  setXattr(path, "trusted.host", text("h"));
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  assert.equal(set(fuse, nodeid, "trusted.a"), 0);
  assert.equal(set(fuse, nodeid, "user.b"), 0);
  assert.deepEqual(getXattr(path, "user.virtiofs.trusted.a"), text("v"));
  assert.deepEqual(getXattr(path, "user.b"), text("v"));
  assert.equal(set(fuse, nodeid, "user.virtiofs.trusted.c"), EPERM);
  assert.equal(get(fuse, nodeid, "user.virtiofs.trusted.a"), ENODATA);
  assert.equal(remove(fuse, nodeid, "user.virtiofs.trusted.a"), EPERM);
  assert.equal(get(fuse, nodeid, "trusted.host"), ENODATA);
  assert.deepEqual(list(fuse, nodeid), ["trusted.a", "user.b"]);
});

const kinds = new ServedTree([
  "--xattrmap",
  ` :unsupported:client:user.u.:: |bad|all|user.bad.|user.bad.|\n:unsupported:server::user.gone.:
    !prefix!server!!user.in.!  :ok:all:user.:user.: :bad:all:::`,
]);

kinds.test("--xattrmap: each type and scope, the first rule that matches", ({ guest, tree }) => {
  const path = tree.file("f");
  const onHost = ["user.ok", "user.u.x", "user.bad.x", "user.gone.x", "user.in.short", "trusted.t"];
  for (const attribute of onHost) assert.equal(setXattr(path, attribute, text("h")), 0);
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  assert.deepEqual(list(fuse, nodeid), ["short", "user.ok", "user.u.x"]);
  assert.equal(get(fuse, nodeid, "user.ok"), "h");
  assert.equal(get(fuse, nodeid, "user.u.x"), EOPNOTSUPP);
  assert.equal(get(fuse, nodeid, "user.bad.x"), ENODATA);
  assert.equal(set(fuse, nodeid, "user.bad.x"), EPERM);
  assert.equal(set(fuse, nodeid, "user.u.x"), EOPNOTSUPP);
  assert.equal(get(fuse, nodeid, "user.gone.x"), "h");
  assert.equal(get(fuse, nodeid, "short"), ENODATA);
  assert.equal(set(fuse, nodeid, "trusted.t", "guest"), EPERM);
  assert.equal(remove(fuse, nodeid, "user.bad.x"), EPERM);
  for (const attribute of onHost) assert.deepEqual(getXattr(path, attribute), text("h"));
});

const labels = new ServedTree([
  "--security-label=always",
  "--xattrmap",
  ":map:security.:user.virtiofs.:",
]);

labels.test("--xattrmap: a label that comes with CREATE has its mapped name", ({ guest, tree }) => {
  const extension = securityContext("security.label", text("l"));
  guest.fuse.ok(OP.CREATE, ROOT, createBody("new"), { extension, room: 144 });
  assert.deepEqual(getXattr(tree.path("new"), "user.virtiofs.security.label"), text("l"));
});

labels.test("--xattrmap: a label with a name that is refused makes no file", ({ guest, tree }) => {
  const extension = securityContext("user.virtiofs.security.label", text("l"));
  assert.equal(
    guest.fuse.fails(OP.CREATE, ROOT, createBody("new"), { extension, room: 144 }),
    EPERM,
  );
  assert.deepEqual([...Deno.readDirSync(tree.root)], []);
}, { notOnRust: true });

const acl = new ServedTree(["--xattrmap", ":prefix:client:posix:system.: :ok:all:::"]);

acl.test("--xattrmap is no way to ACLs that were not agreed on", ({ guest, tree }) => {
  tree.file("f");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  for (const attribute of ["system.posix_acl_access", "posix_acl_access"]) {
    assert.equal(get(fuse, nodeid, attribute), EOPNOTSUPP);
    assert.equal(set(fuse, nodeid, attribute), EOPNOTSUPP);
  }
}, { notOnRust: true });
