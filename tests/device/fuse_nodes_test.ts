import assert from "node:assert/strict";
import { isRustPeer } from "../support/daemon.ts";
import { createBody, type FuseClient, ROOT } from "../support/fuse_client.ts";
import {
  emptySecurityContext,
  INIT,
  O,
  OP,
  readEntry,
  S,
  securityContext,
  supplementaryGroups,
} from "../support/fuse_wire.ts";
import { concat, name, text, viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

const served = new ServedTree(["--xattr"]);
const withAcl = new ServedTree(["--posix-acl=always"]);

const bad = ["", ".", "..", "a/b", "/", "n".repeat(256)];
const names = (path: string) => [...Deno.readDirSync(path)].map((entry) => entry.name).sort();
const mknodBody = (entry: string | Uint8Array, mode: number, rdev = 0, umask = 0) =>
  concat(words(mode, rdev, umask, 0), name(entry));
const rename2 = (newdir: bigint, flags: number, from: string, to: string) =>
  concat(words(newdir, flags, 0), name(from), name(to));

served.test("FUSE CREATE: a new file with its attributes and a handle", ({ guest, tree }) => {
  const { fuse } = guest;
  Deno.chmodSync(tree.root, 0o777);
  const { entry, fh } = fuse.create(ROOT, "f", { mode: 0o100640 }, { uid: 1000, gid: 1001 });
  assert.equal(entry.attr.mode, 0o100640);
  assert.deepEqual([entry.attr.uid, entry.attr.gid], [1000, 1001]);
  assert.equal(fuse.write(entry.nodeid, fh, 0n, text("data")), 4);
  assert.equal(Deno.readTextFileSync(tree.path("f")), "data");
  fuse.release(entry.nodeid, fh);
  assert.equal(fuse.lookup(ROOT, "f").nodeid, entry.nodeid);
});

served.test("FUSE CREATE: O_EXCL on an existing name, and without it", ({ guest, tree }) => {
  tree.file("f", "old");
  const { fuse } = guest;
  assert.equal(fuse.fails(OP.CREATE, ROOT, createBody("f")), 17);
  const opened = fuse.create(ROOT, "f", { flags: O.RDWR | O.CREAT });
  assert.equal(opened.entry.attr.size, 3n);
  fuse.create(ROOT, "f", { flags: O.RDWR | O.CREAT | O.TRUNC });
  assert.equal(Deno.lstatSync(tree.path("f")).size, 0);
});

served.test("FUSE CREATE: never through a symlink, never of a special file", ({ guest, tree }) => {
  const target = tree.path("..", `outside-${crypto.randomUUID()}`);
  Deno.symlinkSync(target, tree.path("dangling"));
  tree.file("inside");
  Deno.symlinkSync("inside", tree.path("link"));
  const { fuse } = guest;
  fuse.mknod(ROOT, "fifo", S.IFIFO | 0o666);
  for (const entry of ["dangling", "link", "fifo"]) {
    // ESTALE: a Linux guest then looks again, and finds what it is.
    assert.equal(
      fuse.fails(OP.CREATE, ROOT, createBody(entry, { flags: O.RDWR | O.CREAT })),
      116,
      entry,
    );
    assert.equal(fuse.fails(OP.CREATE, ROOT, createBody(entry)), 17, entry);
  }
  assert.throws(() => Deno.lstatSync(target), Deno.errors.NotFound);
});

served.test("FUSE MKNOD: regular files, FIFOs, sockets and devices", ({ guest, tree }) => {
  const { fuse } = guest;
  Deno.chmodSync(tree.root, 0o777);
  for (
    const [entry, mode, rdev] of [
      ["r", S.IFREG | 0o640, 0],
      ["p", S.IFIFO | 0o600, 0],
      ["s", S.IFSOCK | 0o777, 0],
      ["c", S.IFCHR | 0o644, 0x103],
      ["b", S.IFBLK | 0o644, 0x0010_0705],
    ] as const
  ) {
    // Devices are for root: the host asks the caller for CAP_MKNOD.
    const owner = rdev === 0 ? { uid: 12, gid: 34 } : { uid: 0, gid: 34 };
    const { attr } = fuse.mknod(ROOT, entry, mode, { rdev, ...owner });
    assert.equal(attr.mode, mode, entry);
    assert.equal(attr.rdev, rdev, entry);
    const stat = Deno.lstatSync(tree.path(entry));
    assert.deepEqual([stat.uid, stat.gid], [owner.uid, owner.gid]);
  }
  assert.equal(fuse.fails(OP.MKNOD, ROOT, mknodBody("r", S.IFREG | 0o600)), 17);
});

for (const type of ["IFIFO", "IFSOCK", "IFCHR", "IFBLK"] as const) {
  served.test(`FUSE OPEN: a node of type ${type} is refused and does not block`, ({ guest }) => {
    const { nodeid } = guest.fuse.mknod(ROOT, "node", S[type] | 0o666, { rdev: 0x103 });
    for (const flags of [O.RDONLY, O.WRONLY, O.RDWR]) {
      assert.ok(guest.fuse.fails(OP.OPEN, nodeid, words(flags, 0)) > 0);
    }
    assert.ok(guest.fuse.fails(OP.OPENDIR, nodeid, words(0, 0)) > 0);
  });
}

served.test("FUSE MKDIR: mode, owner, sticky bit, inherited group", ({ guest, tree }) => {
  const { fuse } = guest;
  Deno.chmodSync(tree.root, 0o777);
  const entry = fuse.mkdir(ROOT, "d", 0o1775, { uid: 100, gid: 200 });
  assert.equal(entry.attr.mode, S.IFDIR | 0o1775);
  assert.deepEqual([entry.attr.uid, entry.attr.gid], [100, 200]);
  assert.equal(entry.attr.nlink, 2);
  Deno.chownSync(tree.path("d"), 100, 300);
  Deno.chmodSync(tree.path("d"), 0o2775);
  const inner = fuse.mkdir(entry.nodeid, "inner", 0o755, { uid: 100, gid: 200 });
  assert.equal(inner.attr.gid, 300, "the directory's group");
  assert.equal(inner.attr.mode & 0o7777, 0o2755, "setgid is inherited");
});

served.test("FUSE SYMLINK: any target, owner of the caller", ({ guest, tree }) => {
  const { fuse } = guest;
  Deno.chmodSync(tree.root, 0o777);
  const make = (entry: string, target: string) =>
    readEntry(fuse.ok(OP.SYMLINK, ROOT, concat(name(entry), name(target)), {
      room: 128,
      uid: 5,
      gid: 6,
    }));
  const { attr } = make("l", "/absolute/../thing");
  assert.equal(attr.mode & S.IFMT, S.IFLNK);
  assert.deepEqual([attr.uid, attr.gid, attr.size], [5, 6, 18n]);
  assert.equal(Deno.readLinkSync(tree.path("l")), "/absolute/../thing");
  make("long", "t".repeat(4095));
  assert.equal(fuse.fails(OP.SYMLINK, ROOT, concat(name("l"), name("x"))), 17);
  const empty = fuse.fails(OP.SYMLINK, ROOT, concat(name("e"), name("")));
  assert.ok([2, 22].includes(empty), `errno ${empty}`);
  assert.ok(fuse.fails(OP.SYMLINK, ROOT, name("no-target")) > 0);
}, { notOnRust: true });

served.test("FUSE LINK: the same node once more", ({ guest, tree }) => {
  tree.file("f", "abc");
  tree.directory("d");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const dir = fuse.walk("d");
  const body = concat(words(nodeid), name("g"));
  const entry = readEntry(fuse.ok(OP.LINK, dir, body, { room: 128 }));
  assert.equal(entry.nodeid, nodeid);
  assert.equal(entry.attr.nlink, 2);
  assert.equal(fuse.fails(OP.LINK, dir, body), 17);
  assert.equal(fuse.fails(OP.LINK, ROOT, concat(words(dir), name("x"))), 1, "a directory: EPERM");
  // Two lookups are held, one of them through LINK.
  guest.forget(nodeid, 1n);
  assert.equal(fuse.getattr(nodeid).nlink, 2);
});

served.test("FUSE UNLINK and RMDIR: the usual errors", ({ guest, tree }) => {
  tree.file("d/f");
  tree.directory("e");
  const { fuse } = guest;
  const dir = fuse.walk("d");
  assert.equal(fuse.fails(OP.RMDIR, ROOT, name("d")), 39);
  assert.ok([21, 1].includes(fuse.fails(OP.UNLINK, ROOT, name("d"))));
  assert.equal(fuse.fails(OP.RMDIR, dir, name("f")), 20);
  assert.equal(fuse.fails(OP.UNLINK, dir, name("nothing")), 2);
  fuse.ok(OP.UNLINK, dir, name("f"));
  fuse.ok(OP.RMDIR, ROOT, name("d"));
  fuse.ok(OP.RMDIR, ROOT, name("e"));
  assert.deepEqual(names(tree.root), []);
});

served.test("FUSE RENAME: over a file, into a directory, not into itself", ({ guest, tree }) => {
  tree.file("a", "a");
  tree.file("b", "b");
  tree.directory("d/e");
  const { fuse } = guest;
  const node = fuse.walk("a");
  const dir = fuse.walk("d");
  fuse.ok(OP.RENAME, ROOT, concat(words(ROOT), name("a"), name("b")));
  assert.equal(Deno.readTextFileSync(tree.path("b")), "a");
  fuse.ok(OP.RENAME, ROOT, concat(words(dir), name("b"), name("c")));
  assert.equal(fuse.lookup(dir, "c").nodeid, node, "the node keeps its identity");
  assert.equal(fuse.fails(OP.RENAME, ROOT, concat(words(ROOT), name("x"), name("y"))), 2);
  const inner = fuse.walk("d", "e");
  assert.equal(fuse.fails(OP.RENAME, ROOT, concat(words(inner), name("d"), name("d"))), 22);
});

served.test("FUSE RENAME2: NOREPLACE, EXCHANGE, WHITEOUT and flags that do not exist", ({ guest, tree }) => {
  tree.file("a", "a");
  tree.file("b", "b");
  const { fuse } = guest;
  assert.equal(fuse.fails(OP.RENAME2, ROOT, rename2(ROOT, 1, "a", "b")), 17);
  fuse.ok(OP.RENAME2, ROOT, rename2(ROOT, 1, "a", "c"));
  fuse.ok(OP.RENAME2, ROOT, rename2(ROOT, 2, "b", "c"));
  assert.equal(Deno.readTextFileSync(tree.path("b")), "a");
  assert.equal(Deno.readTextFileSync(tree.path("c")), "b");
  assert.equal(fuse.fails(OP.RENAME2, ROOT, rename2(ROOT, 3, "b", "c")), 22);
  assert.equal(fuse.fails(OP.RENAME2, ROOT, rename2(ROOT, 2, "b", "nothing")), 2);
  fuse.ok(OP.RENAME2, ROOT, rename2(ROOT, 4, "b", "d"));
  const whiteout = Deno.lstatSync(tree.path("b"));
  assert.ok(whiteout.isCharDevice && whiteout.rdev === 0, "a whiteout is left");
});

served.test("FUSE RENAME2: a flag that does not exist is EINVAL", ({ guest, tree }) => {
  tree.file("a");
  assert.equal(guest.fuse.fails(OP.RENAME2, ROOT, rename2(ROOT, 0x80, "a", "b")), 22);
  assert.deepEqual(names(tree.root), ["a"]);
}, { notOnRust: true });

for (
  const [opcode, what, body] of [
    [OP.CREATE, "CREATE", (entry: Uint8Array) => createBody(entry)],
    [OP.MKNOD, "MKNOD", (entry: Uint8Array) => mknodBody(entry, S.IFREG | 0o644)],
    [OP.MKDIR, "MKDIR", (entry: Uint8Array) => concat(words(0o755, 0), name(entry))],
    [OP.SYMLINK, "SYMLINK", (entry: Uint8Array) => concat(name(entry), name("t"))],
    [OP.UNLINK, "UNLINK", (entry: Uint8Array) => name(entry)],
    [OP.RMDIR, "RMDIR", (entry: Uint8Array) => name(entry)],
    [
      OP.RENAME,
      "RENAME from",
      (entry: Uint8Array) => concat(words(ROOT), name(entry), name("new")),
    ],
    [OP.RENAME, "RENAME to", (entry: Uint8Array) => concat(words(ROOT), name("f"), name(entry))],
    [OP.LINK, "LINK", (entry: Uint8Array) => concat(words(2n), name(entry))],
  ] as const
) {
  served.test(`FUSE ${what}: names that are none are refused`, ({ guest, tree }) => {
    tree.file("f", "x");
    tree.directory("a");
    guest.fuse.lookup(ROOT, "f");
    for (const entry of bad) {
      const error = guest.fuse.fails(opcode, ROOT, body(text(entry)));
      assert.ok(
        [22, 2, 17, 16, 21, 20, 36, 39, 13, 1, 116, 9].includes(error),
        `'${entry}': errno ${error}`,
      );
    }
    assert.deepEqual(names(tree.root), ["a", "f"]);
    assert.deepEqual(names(tree.path("a")), []);
  }, { notOnRust: true });
}

served.test(
  "FUSE RENAME, SYMLINK: a second name that is missing or lacks its NUL",
  ({ guest, tree }) => {
    tree.file("f");
    const { fuse } = guest;
    for (
      const body of [
        concat(words(ROOT), name("f")),
        concat(words(ROOT), name("f"), text("g")),
        concat(words(ROOT), text("f")),
        words(ROOT),
        words(1),
      ]
    ) {
      assert.ok([22, 5].includes(fuse.fails(OP.RENAME, ROOT, body)));
    }
    assert.ok([22, 5].includes(fuse.fails(OP.SYMLINK, ROOT, concat(name("s"), text("t")))));
    assert.deepEqual(names(tree.root), ["f"]);
  },
  { notOnRust: true },
);

served.test("FUSE TMPFILE: a file without a name that LINK can give one", ({ guest, tree }) => {
  const { fuse } = guest;
  Deno.chmodSync(tree.root, 0o777);
  const body = createBody("/", { flags: O.RDWR, mode: 0o100600 });
  const reply = fuse.ok(OP.TMPFILE, ROOT, body, { room: 144, uid: 7, gid: 8 });
  assert.equal(reply.length, 144);
  const entry = readEntry(reply);
  const fh = viewOf(reply).getBigUint64(128, true);
  assert.equal(entry.attr.nlink, 0);
  assert.deepEqual([entry.attr.uid, entry.attr.gid], [7, 8]);
  assert.deepEqual(names(tree.root), []);
  fuse.write(entry.nodeid, fh, 0n, text("data"));
  const link = concat(words(entry.nodeid), name("given"));
  assert.equal(readEntry(fuse.ok(OP.LINK, ROOT, link, { room: 128 })).nodeid, entry.nodeid);
  assert.equal(Deno.readTextFileSync(tree.path("given")), "data");
}, { notOnRust: true });

// --- who the caller is -------------------------------------------------------------------------

/** The four ways to make something, each returning the attributes as the guest sees them. */
function makers(
  fuse: FuseClient,
): Record<string, (extension: Uint8Array, umask: number) => number[]> {
  const options = (extension: Uint8Array) => ({ uid: 1000, gid: 1000, extension });
  const read = (entry: { attr: { uid: number; gid: number; mode: number } }) => [
    entry.attr.uid,
    entry.attr.gid,
    entry.attr.mode & 0o7777,
  ];
  return {
    CREATE: (extension, umask) =>
      read(fuse.create(ROOT, "new", { mode: 0o100666, umask }, options(extension)).entry),
    MKNOD: (extension, umask) =>
      read(fuse.mknod(ROOT, "new", S.IFREG | 0o666, { ...options(extension), umask })),
    MKDIR: (extension, umask) => {
      const body = concat(words(0o777, umask), name("new"));
      return read(readEntry(fuse.ok(OP.MKDIR, ROOT, body, { ...options(extension), room: 128 })));
    },
    SYMLINK: (extension) => {
      const body = concat(name("new"), name("t"));
      return read(readEntry(fuse.ok(OP.SYMLINK, ROOT, body, { ...options(extension), room: 128 })));
    },
  };
}

for (const how of ["CREATE", "MKNOD", "MKDIR", "SYMLINK"]) {
  served.test(`FUSE ${how}: a directory of root is closed to user 1000`, ({ guest, tree }) => {
    assert.throws(() => makers(guest.fuse)[how]!(new Uint8Array(0), 0), /error of opcode/);
    assert.deepEqual(names(tree.root), []);
    // The refusal must not have left the thread with the wrong user.
    guest.fuse.mkdir(ROOT, "by-root", 0o700);
    assert.equal(Deno.lstatSync(tree.path("by-root")).uid, 0);
  });

  served.test(`FUSE ${how}: CREATE_SUPP_GROUP opens a directory of that group`, ({ guest, tree }) => {
    Deno.chownSync(tree.root, 0, 4444);
    Deno.chmodSync(tree.root, 0o770);
    const make = makers(guest.fuse)[how]!;
    assert.throws(() => make(new Uint8Array(0), 0), /error of opcode/, "not without the group");
    const [uid, gid] = make(supplementaryGroups(4444), 0);
    assert.deepEqual([uid, gid], [1000, 1000]);
    // And the group is gone again for the next request.
    Deno.removeSync(tree.path("new"), { recursive: true });
    assert.throws(() => make(new Uint8Array(0), 0), /error of opcode/, "not afterwards");
    Deno.chownSync(tree.root, 0, 0);
  });

  served.test(`FUSE ${how}: extensions that lie are an error`, ({ guest, tree }) => {
    const make = makers(guest.fuse)[how]!;
    Deno.chmodSync(tree.root, 0o777);
    for (
      const extension of [
        words(1000, 32, 1, 4444), // longer than what is there
        words(4, 32), // shorter than its own header
        words(16, 32, 1000, 4444), // more groups than fit
        words(0, 0),
        words(16, 0xffff, 0, 0),
      ]
    ) {
      let made = true;
      try {
        make(extension, 0);
      } catch (error) {
        made = false;
        assert.match(`${error}`, /error of opcode/);
      }
      // An unknown kind of extension may be skipped; the others say more than they hold.
      if (made) Deno.removeSync(tree.path("new"), { recursive: true });
    }
    guest.fuse.getattr(ROOT);
  }, { notOnRust: true });
}

served.test("FUSE CREATE: the umask is the guest's business without DONT_MASK", ({ guest }) => {
  const { entry } = guest.fuse.create(ROOT, "f", { mode: 0o100666, umask: 0o077 });
  assert.equal(entry.attr.mode & 0o777, 0o666);
  assert.equal(guest.fuse.mkdir(ROOT, "d", 0o777).attr.mode & 0o777, 0o777);
});

for (const how of ["CREATE", "MKNOD", "MKDIR"]) {
  withAcl.test(`FUSE ${how}: with DONT_MASK the umask is applied here`, ({ guest, tree }) => {
    Deno.chmodSync(tree.root, 0o777);
    const [, , mode] = makers(guest.fuse)[how]!(new Uint8Array(0), 0o027);
    assert.equal(mode, how === "MKDIR" ? 0o750 : 0o640);
  });
}

withAcl.test("FUSE INIT: --posix-acl agrees on POSIX_ACL, DONT_MASK and SETXATTR_EXT", ({ guest }) => {
  const { flags } = guest.fuse.init();
  for (const bit of [INIT.POSIX_ACL, INIT.DONT_MASK, INIT.SETXATTR_EXT]) {
    assert.ok((flags >> bit) & 1n, `bit ${bit}`);
  }
});

const labelled = new ServedTree(["--security-label=always"]);
for (const how of ["CREATE", "MKNOD", "MKDIR", "SYMLINK"]) {
  labelled.test(`FUSE ${how}: the empty security context that Linux always sends`, ({ guest, tree }) => {
    Deno.chmodSync(tree.root, 0o777);
    const [uid] = makers(guest.fuse)[how]!(emptySecurityContext(), 0);
    assert.equal(uid, 1000);
    if (isRustPeer) return;
    Deno.removeSync(tree.path("new"), { recursive: true });
    const both = concat(emptySecurityContext(), supplementaryGroups(4444));
    assert.equal(makers(guest.fuse)[how]!(both, 0)[0], 1000, "and a group behind it");
  });
}

labelled.test(
  "FUSE CREATE: a security label that lies is an error or ignored, not a crash",
  ({ guest }) => {
    const good = securityContext("security.selinux", text("label\0"));
    for (let size = 8; size < good.length; size += 8) {
      guest.fuse.call(OP.CREATE, ROOT, createBody(`f${size}`), {
        extension: good.slice(0, size),
        room: 144,
      });
    }
    guest.fuse.getattr(ROOT);
  },
  { notOnRust: true },
);
