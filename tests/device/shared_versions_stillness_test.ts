/** `--cache shared`: what moves no slot, and what failed requests leave. */
import assert from "node:assert/strict";
import { createBody, readBody, writeBody } from "../support/fuse_client.ts";
import { FATTR, O, OP, S, setattrBody } from "../support/fuse_wire.ts";
import { concat, name, text, words } from "../support/little_endian.ts";
import { SharedShare } from "../support/shared_share.ts";
import { CHANGE, IN_PROGRESS } from "../support/version_table.ts";
import { VersionedGuest } from "../support/versioned_guest.ts";
import { Changer, makeScenery, Watcher } from "./change_scene.ts";

const share = new SharedShare(2, ["--dax", "never", "--xattr", "--posix-lock", "--flock"]);

const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;
const LK_FLOCK = 1;
const lock = (fh: bigint, type: number, flags = 0) =>
  words(fh, 1n, 0n, 0x7fff_ffff_ffff_ffffn, type, 77, flags, 0);

share.test("shared versions: reading moves nothing", ({ tree, daemons }) => {
  makeScenery(tree);
  using watching = VersionedGuest.connect(daemons[0]!.socketPath);
  using guest = VersionedGuest.connect(daemons[1]!.socketPath);
  const changer = new Changer(guest.fuse);
  const watcher = new Watcher(watching);
  const { fuse } = guest;
  watcher.assertMoves(() => {
    const node = changer.node("d/a");
    const directory = changer.node("d");
    guest.lookup(directory, "missing");
    fuse.getattr(node);
    const fh = changer.open(node);
    const second = changer.open(node, O.RDONLY);
    fuse.getattr(node, fh);
    assert.equal(fuse.read(node, second, 0n, 100).length, 11);
    fuse.ok(OP.SETLK, node, lock(fh, F_WRLCK));
    fuse.ok(OP.GETLK, node, lock(fh, F_RDLCK));
    fuse.ok(OP.SETLK, node, lock(fh, F_UNLCK));
    fuse.ok(OP.SETLKW, node, lock(fh, F_WRLCK, LK_FLOCK));
    fuse.ok(OP.SETLK, node, lock(fh, F_UNLCK, LK_FLOCK));
    fuse.ok(OP.LSEEK, node, words(fh, 0n, 4, 0));
    fuse.ok(OP.FSYNC, node, words(fh, 0, 0));
    fuse.ok(OP.FSYNC, node, words(fh, 1, 0));
    fuse.call(OP.FLUSH, node, words(fh, 0, 0, 1n));
    fuse.release(node, second);
    fuse.release(node, fh);
    fuse.ok(OP.READLINK, changer.node("d/symlink"));
    fuse.call(OP.ACCESS, node, words(4, 0));
    fuse.ok(OP.STATFS, node);
    fuse.ok(OP.LISTXATTR, node, words(0, 0));
    assert.equal(-fuse.call(OP.GETXATTR, node, concat(words(0, 0), name("user.x"))).error, 61);
    const dirHandle = fuse.opendir(directory);
    fuse.readdirAll(directory, dirHandle);
    fuse.ok(OP.FSYNCDIR, directory, words(dirHandle, 0, 0));
    fuse.release(directory, dirHandle, OP.RELEASEDIR);
    guest.readdirplus(directory);
    fuse.call(OP.SYNCFS, 1n, words(0n));
    guest.guest.forget(node, 1n);
    fuse.ok(OP.DESTROY, 0n, new Uint8Array(0), { room: 0 });
  }, []);
});

share.test("shared versions: opening an existing file with CREATE leaves the file alone", ({ tree, daemons }) => {
  makeScenery(tree);
  using watching = VersionedGuest.connect(daemons[0]!.socketPath);
  using guest = VersionedGuest.connect(daemons[1]!.socketPath);
  const watcher = new Watcher(watching);
  const directory = guest.walk("d").entry.nodeid;
  const found = watching.walk("d", "a");
  guest.create(directory, "a", { flags: O.RDWR | O.CREAT });
  assert.equal(guest.versions.slot(watcher.slots.get("d/a")!), found.version);
});

share.test("shared versions: a session that ends by hanging up moves nothing", ({ tree, daemons }) => {
  makeScenery(tree);
  using watching = VersionedGuest.connect(daemons[0]!.socketPath);
  const watcher = new Watcher(watching);
  watcher.assertMoves(() => {
    using guest = VersionedGuest.connect(daemons[1]!.socketPath);
    const changer = new Changer(guest.fuse);
    changer.open(changer.node("d/a"));
    changer.node("e/c");
  }, []);
});

/** Requests that fail, and the errno; what they name may be counted as changed or not, but never half. */
const FAILURES: Record<string, (guest: Changer) => [number, bigint, Uint8Array]> = {
  "UNLINK of nothing": (guest) => [OP.UNLINK, guest.node("d"), name("nothing")],
  "UNLINK of a directory": (guest) => [OP.UNLINK, guest.node("e"), name("empty")],
  "UNLINK in a file": (guest) => [OP.UNLINK, guest.node("d/a"), name("x")],
  "RMDIR of a file": (guest) => [OP.RMDIR, guest.node("d"), name("a")],
  "RMDIR of what is not empty": (guest) => [OP.RMDIR, guest.node(""), name("d")],
  "RENAME of nothing": (guest) => [
    OP.RENAME,
    guest.node("d"),
    concat(words(guest.node("e")), name("nothing"), name("c")),
  ],
  "RENAME of a file over a directory": (guest) => [
    OP.RENAME,
    guest.node("d"),
    concat(words(guest.node("e")), name("a"), name("empty")),
  ],
  "RENAME to a node that there is not": (guest) => [
    OP.RENAME,
    guest.node("d"),
    concat(words(0xdeadn), name("a"), name("b")),
  ],
  "RENAME2 NOREPLACE over a file": (guest) => [
    OP.RENAME2,
    guest.node("d"),
    concat(words(guest.node("e"), 1, 0), name("a"), name("c")),
  ],
  "RENAME2 EXCHANGE with nothing": (guest) => [
    OP.RENAME2,
    guest.node("d"),
    concat(words(guest.node("e"), 2, 0), name("a"), name("nothing")),
  ],
  "RENAME2 with flags that there are not": (guest) => [
    OP.RENAME2,
    guest.node("d"),
    concat(words(guest.node("e"), 0x80, 0), name("a"), name("c")),
  ],
  "LINK over a file": (guest) => [
    OP.LINK,
    guest.node("e"),
    concat(words(guest.node("d/a")), name("c")),
  ],
  "LINK of a directory": (guest) => [
    OP.LINK,
    guest.node("e"),
    concat(words(guest.node("d")), name("x")),
  ],
  "MKDIR over a file": (guest) => [
    OP.MKDIR,
    guest.node("d"),
    concat(words(0o755, 0), name("a")),
  ],
  "MKNOD over a file": (guest) => [
    OP.MKNOD,
    guest.node("d"),
    concat(words(S.IFREG | 0o644, 0, 0, 0), name("a")),
  ],
  "SYMLINK over a file": (guest) => [OP.SYMLINK, guest.node("d"), concat(name("a"), name("t"))],
  "CREATE with O_EXCL over a file": (guest) => [OP.CREATE, guest.node("d"), createBody("a")],
  "CREATE with O_TRUNC of a directory": (guest) => [
    OP.CREATE,
    guest.node("e"),
    createBody("empty", { flags: O.RDWR | O.CREAT | O.TRUNC }),
  ],
  "CREATE with O_TRUNC through a symlink": (guest) => [
    OP.CREATE,
    guest.node("d"),
    createBody("symlink", { flags: O.RDWR | O.CREAT | O.TRUNC }),
  ],
  "OPEN with O_TRUNC of a directory": (guest) => [
    OP.OPEN,
    guest.node("d"),
    words(O.RDWR | O.TRUNC, 0),
  ],
  "SETATTR of a directory's size": (guest) => [
    OP.SETATTR,
    guest.node("d"),
    setattrBody({ valid: FATTR.SIZE, size: 1n }),
  ],
  "SETATTR of an impossible size": (guest) => [
    OP.SETATTR,
    guest.node("d/a"),
    setattrBody({ valid: FATTR.SIZE, size: 1n << 63n }),
  ],
  "WRITE by a handle for reading": (guest) => [
    OP.WRITE,
    guest.node("d/a"),
    writeBody(guest.open(guest.node("d/a"), O.RDONLY), 0n, text("x")),
  ],
  "WRITE by no handle": (guest) => [OP.WRITE, guest.node("d/a"), writeBody(77n, 0n, text("x"))],
  "WRITE by another file's handle": (guest) => [
    OP.WRITE,
    guest.node("d/a"),
    writeBody(guest.open(guest.node("e/c"), O.RDONLY), 0n, text("x")),
  ],
  "FALLOCATE of nothing": (guest) => {
    const node = guest.node("d/a");
    return [OP.FALLOCATE, node, words(guest.open(node), 0n, 0n, 0, 0)];
  },
  "COPY_FILE_RANGE with flags": (guest) => {
    const [from, to] = [guest.node("d/a"), guest.node("e/c")];
    return [
      OP.COPY_FILE_RANGE,
      from,
      words(guest.open(from), 0n, to, guest.open(to), 0n, 5n, 1n),
    ];
  },
  "COPY_FILE_RANGE to a node that there is not": (guest) => {
    const from = guest.node("d/a");
    return [OP.COPY_FILE_RANGE, from, words(guest.open(from), 0n, 0xdeadn, 5n, 0n, 5n, 0n)];
  },
  "SETXATTR of a name space that there is not": (guest) => [
    OP.SETXATTR,
    guest.node("d/a"),
    concat(words(1, 0), name("nonsense.x"), text("x")),
  ],
  "REMOVEXATTR of nothing": (guest) => [OP.REMOVEXATTR, guest.node("d/a"), name("user.nothing")],
  "UNLINK without a name": (guest) => [OP.UNLINK, guest.node("d"), new Uint8Array(0)],
  "UNLINK of '..'": (guest) => [OP.UNLINK, guest.node("d"), name("..")],
  "RENAME without a second name": (guest) => [
    OP.RENAME,
    guest.node("d"),
    concat(words(guest.node("e")), name("a")),
  ],
};

for (const [what, request] of Object.entries(FAILURES)) {
  share.test(`shared versions: ${what} fails and leaves no change in progress`, ({ tree, daemons }) => {
    makeScenery(tree);
    using watching = VersionedGuest.connect(daemons[0]!.socketPath);
    using guest = VersionedGuest.connect(daemons[1]!.socketPath);
    const watcher = new Watcher(watching);
    const [opcode, node, body] = request(new Changer(guest.fuse));
    const before = watching.versions.snapshot();
    const reply = guest.fuse.call(opcode, node, body);
    assert.ok(reply.error < 0, "it fails");
    assert.equal(reply.body.length, 0);
    const moved = watching.versions.movedSince(before);
    for (const [path, index] of watcher.slots) {
      const by = moved.get(index) ?? 0n;
      assert.ok(by === 0n || by === CHANGE, `${path} moved by ${by}`);
      assert.equal(watching.versions.slot(index) & IN_PROGRESS, 0n, path);
      if (path.startsWith("bystander") || path === "other") assert.equal(by, 0n, path);
    }
  });
}

share.test("shared versions: what does not exist any more is not in progress either", ({ tree, daemons }) => {
  makeScenery(tree);
  using watching = VersionedGuest.connect(daemons[0]!.socketPath);
  using guest = VersionedGuest.connect(daemons[1]!.socketPath);
  const watcher = new Watcher(watching);
  const changer = new Changer(guest.fuse);
  const node = changer.node("d/a");
  const fh = changer.open(node);
  watcher.assertMoves(() => void changer.ok(OP.UNLINK, changer.node("d"), name("a")), ["d", "d/a"]);
  // The file lives as long as its handles, and so do its slot and the reasons to move it.
  watcher.assertMoves(
    () => void changer.ok(OP.WRITE, node, writeBody(fh, 0n, text("after"))),
    ["d/a"],
  );
  assert.deepEqual(guest.fuse.ok(OP.READ, node, readBody(fh, 0n, 5), { room: 5 }), text("after"));
});
