import assert from "node:assert/strict";
import { isRustPeer } from "../support/daemon.ts";
import { createBody, type FuseClient, ROOT } from "../support/fuse_client.ts";
import {
  FATTR,
  O,
  OP,
  readAttr,
  readEntry,
  S,
  setattrBody,
  supplementaryGroups,
} from "../support/fuse_wire.ts";
import { concat, name, viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

const EACCES = 13;
/** Rust virtiofsd answers EIO, which looks like a broken disk. */
const DENIED = isRustPeer ? 5 : 1;
const NO_ID = 0xffff_ffff;

/** Who owns it, as the host sees it. */
function owner(path: string): number[] {
  const { uid, gid } = Deno.lstatSync(path);
  return [uid!, gid!];
}

/** What GETATTR, STATX, LOOKUP and READDIRPLUS say of an owner; they have to agree. */
function shownOwner(fuse: FuseClient, entry: string): number[] {
  const { nodeid, attr } = fuse.lookup(ROOT, entry);
  const found = [attr.uid, attr.gid];
  const again = fuse.getattr(nodeid);
  assert.deepEqual([again.uid, again.gid], found, "GETATTR");
  const statx = fuse.call(OP.STATX, nodeid, words(0, 0, 0n, 0, 0xfff), { room: 288 });
  // Rust virtiofsd has no STATX.
  if (statx.error === 0) {
    const view = viewOf(statx.body);
    const [uid, gid] = [view.getUint32(32 + 20, true), view.getUint32(32 + 24, true)];
    assert.deepEqual([uid, gid], found, "STATX");
  }
  const fh = fuse.opendir(ROOT);
  const listed = fuse.readdirAll(ROOT, fh, { plus: true }).find((one) => one.name === entry);
  assert.deepEqual([listed?.entry?.attr.uid, listed?.entry?.attr.gid], found, "READDIRPLUS");
  fuse.release(ROOT, fh, OP.RELEASEDIR);
  return found;
}

/** Everything that makes an inode, as a user and group of the guest. Returns the attributes in the reply, or the errno. */
const MAKERS: Record<
  string,
  (fuse: FuseClient, uid: number, gid: number, extension: Uint8Array) => number[] | number
> = {
  CREATE: (fuse, uid, gid, extension) =>
    made(fuse, OP.CREATE, createBody("new"), { uid, gid, extension, room: 144 }),
  MKNOD: (fuse, uid, gid, extension) => {
    const body = concat(words(S.IFREG | 0o644, 0, 0, 0), name("new"));
    return made(fuse, OP.MKNOD, body, { uid, gid, extension });
  },
  MKDIR: (fuse, uid, gid, extension) =>
    made(fuse, OP.MKDIR, concat(words(0o755, 0), name("new")), { uid, gid, extension }),
  SYMLINK: (fuse, uid, gid, extension) =>
    made(fuse, OP.SYMLINK, concat(name("new"), name("target")), { uid, gid, extension }),
};

function made(
  fuse: FuseClient,
  opcode: number,
  body: Uint8Array,
  options: { uid: number; gid: number; extension: Uint8Array; room?: number },
): number[] | number {
  const reply = fuse.call(opcode, ROOT, body, { room: 128, ...options });
  if (reply.error !== 0) return -reply.error;
  const { attr } = readEntry(reply.body);
  return [attr.uid, attr.gid];
}

function chown(fuse: FuseClient, nodeid: bigint, uid: number, gid: number): number[] | number {
  const body = setattrBody({ valid: FATTR.UID | FATTR.GID, uid, gid });
  const reply = fuse.call(OP.SETATTR, nodeid, body, { room: 104 });
  if (reply.error !== 0) return -reply.error;
  const attr = readAttr(reply.body, 16);
  return [attr.uid, attr.gid];
}

const NO_EXTENSION = new Uint8Array(0);

const mapped = new ServedTree([
  ...["--translate-uid", "map:1000:51000:1000", "--translate-gid", "map:1000:61000:1000"],
  ...["--translate-uid", "forbid-guest:0:10", "--translate-gid", "forbid-guest:0:10"],
]);

mapped.test("--translate: owners on the host are shown as the guest's", ({ guest, tree }) => {
  const cases: [string, number, number, number[]][] = [
    ["first", 51000, 61000, [1000, 1000]],
    ["last", 51999, 61999, [1999, 1999]],
    ["before", 50999, 60999, [50999, 60999]],
    ["behind", 52000, 62000, [52000, 62000]],
    ["apart", 51007, 5, [1007, 5]],
  ];
  for (const [entry, uid, gid] of cases) Deno.chownSync(tree.file(entry), uid, gid);
  for (const [entry, , , shown] of cases) {
    assert.deepEqual(shownOwner(guest.fuse, entry), shown, entry);
  }
});

for (const [how, make] of Object.entries(MAKERS)) {
  mapped.test(`--translate: ${how} by a mapped user, as the mapped user`, ({ guest, tree }) => {
    Deno.chmodSync(tree.root, 0o777);
    assert.deepEqual(make(guest.fuse, 1000, 1999, NO_EXTENSION), [1000, 1999]);
    assert.deepEqual(owner(tree.path("new")), [51000, 61999]);
    // The thread is itself again.
    tree.directory("later");
    guest.fuse.setattr(guest.fuse.walk("later"), { valid: FATTR.MODE, mode: 0o700 });
  });

  mapped.test(`--translate: ${how} by a forbidden user or group is refused`, ({ guest, tree }) => {
    Deno.chmodSync(tree.root, 0o777);
    assert.equal(make(guest.fuse, 0, 1000, NO_EXTENSION), DENIED);
    assert.equal(make(guest.fuse, 1000, 9, NO_EXTENSION), DENIED);
    assert.deepEqual([...Deno.readDirSync(tree.root)], []);
    assert.deepEqual(make(guest.fuse, 10, 10, NO_EXTENSION), [10, 10]);
  });

  mapped.test(`--translate: ${how} with the parent's group, which is mapped, too`, ({ guest, tree }) => {
    Deno.chownSync(tree.root, 0, 61004);
    Deno.chmodSync(tree.root, 0o770);
    assert.equal(make(guest.fuse, 1000, 1000, supplementaryGroups(1005)), EACCES);
    assert.deepEqual(make(guest.fuse, 1000, 1000, supplementaryGroups(1004)), [1000, 1000]);
    Deno.chownSync(tree.root, 0, 0);
  });
}

mapped.test("--translate: SETATTR gives to the mapped user, and to nobody that is forbidden", ({ guest, tree }) => {
  const path = tree.file("f");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  assert.deepEqual(chown(fuse, nodeid, 1500, 1501), [1500, 1501]);
  assert.deepEqual(owner(path), [51500, 61501]);
  assert.equal(chown(fuse, nodeid, 0, 1501), DENIED);
  assert.equal(chown(fuse, nodeid, 1500, 3), DENIED);
  assert.deepEqual(owner(path), [51500, 61501]);
  // One of the two, and "leave it" for the other.
  fuse.setattr(nodeid, { valid: FATTR.GID, gid: 77 });
  assert.deepEqual(owner(path), [51500, 77]);
  fuse.setattr(nodeid, { valid: FATTR.UID, uid: NO_ID });
  assert.deepEqual(owner(path), [51500, 77]);
});

const squashed = new ServedTree([
  ...["--translate-uid", "squash-guest:0:4001:4294967295"],
  ...["--translate-gid", "squash-guest:0:4002:4294967295"],
  ...["--translate-uid", "host:4001:1000:1", "--translate-gid", "squash-host:4000:100:10"],
]);

squashed.test("--translate: squash, and another way back", ({ guest, tree }) => {
  Deno.chmodSync(tree.root, 0o777);
  assert.deepEqual(MAKERS.MKDIR!(guest.fuse, 0, 0, NO_EXTENSION), [1000, 100]);
  assert.deepEqual(owner(tree.path("new")), [4001, 4002]);
  const { nodeid } = guest.fuse.lookup(ROOT, "new");
  assert.deepEqual(chown(guest.fuse, nodeid, 7, 8), [1000, 100]);
  assert.deepEqual(owner(tree.path("new")), [4001, 4002]);
});

const preset = new ServedTree(["--squash-all", "4001:4002", "--translate-uid", "host:4001:1000:1"]);

preset.test(
  "--squash-all: everything belongs to one user and group of the host",
  ({ guest, tree }) => {
    Deno.chmodSync(tree.root, 0o777);
    for (const [uid, gid] of [[0, 0], [1000, 5], [0xffff_fffe, 0xffff_fffe]] as const) {
      for (const make of Object.values(MAKERS)) {
        assert.deepEqual(make(guest.fuse, uid, gid, NO_EXTENSION), [1000, 4002]);
        assert.deepEqual(owner(tree.path("new")), [4001, 4002]);
        Deno.removeSync(tree.path("new"));
      }
    }
    // A request that says nobody in particular stays that (idmapped mounts): EINVAL.
    assert.equal(MAKERS.MKDIR!(guest.fuse, NO_ID, NO_ID, NO_EXTENSION), 22);
    Deno.chownSync(tree.file("f"), 9, 9);
    assert.deepEqual(shownOwner(guest.fuse, "f"), [9, 9]);
  },
  { notOnRust: true },
);

const denied = new ServedTree([
  ...["--translate-uid", "map:1000:51000:10", "--translate-gid", "map:1000:51000:10"],
  "--deny-unmapped",
]);

denied.test("--deny-unmapped: only ids with a rule are used or shown", ({ guest, tree }) => {
  Deno.chmodSync(tree.root, 0o777);
  const { fuse } = guest;
  for (const [how, make] of Object.entries(MAKERS)) {
    for (const [uid, gid] of [[0, 1000], [1000, 0], [999, 1000], [1010, 1000], [51000, 1000]]) {
      assert.equal(make(fuse, uid!, gid!, NO_EXTENSION), DENIED, `${how} as ${uid}:${gid}`);
    }
  }
  assert.deepEqual(MAKERS.MKDIR!(fuse, 1000, 1009, NO_EXTENSION), [1000, 1009]);
  assert.deepEqual(owner(tree.path("new")), [51000, 51009]);
  const { nodeid } = fuse.lookup(ROOT, "new");
  assert.equal(chown(fuse, nodeid, 65534, 1000), DENIED);
  assert.deepEqual(chown(fuse, nodeid, 1001, NO_ID), [1001, 1009]);
  Deno.chownSync(tree.file("f"), 1000, 0);
  assert.deepEqual(shownOwner(fuse, "f"), [65534, 65534]);
  // What else the guest may do is not the ids' business.
  const file = fuse.walk("f");
  fuse.release(file, fuse.open(file, O.RDWR));
}, { notOnRust: true });
