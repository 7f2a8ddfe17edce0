/** `--cache shared`: which request moves which slot, and by exactly how much. */
import assert from "node:assert/strict";
import { createBody, writeBody } from "../support/fuse_client.ts";
import { FATTR, O, OP, readEntry, S, setattrBody } from "../support/fuse_wire.ts";
import { Guest } from "../support/guest.ts";
import { concat, name, text, viewOf, words } from "../support/little_endian.ts";
import { type SharedScene, SharedShare } from "../support/shared_share.ts";
import { readEntryVersion } from "../support/version_table.ts";
import { VersionedGuest } from "../support/versioned_guest.ts";
import { Changer, makeScenery, Watcher } from "./change_scene.ts";

const share = new SharedShare(2, ["--dax", "never", "--xattr"]);
const killpriv = new SharedShare(2, ["--dax", "never", "--killpriv-v2"]);

const NOREPLACE = 1;
const EXCHANGE = 2;
const WHITEOUT = 4;
/** FUSE_WRITE_KILL_SUIDGID, FUSE_OPEN_KILL_SUIDGID. */
const WRITE_KILL_SUIDGID = 4;
const OPEN_KILL_SUIDGID = 1;

const named = (directory: bigint, ...names: string[]) =>
  concat(words(directory), ...names.map(name));
const rename2 = (directory: bigint, flags: number, ...names: string[]) =>
  concat(words(directory, flags, 0), ...names.map(name));
const setXattr = (attribute: string, value: string) =>
  concat(words(value.length, 0), name(attribute), text(value));
const fallocate = (fh: bigint, offset: bigint, length: bigint, mode: number) =>
  words(fh, offset, length, mode, 0);

/** Does what has to be done before, and returns the request. */
type Change = (guest: Changer) => () => void;

function rename(from: [string, string], to: [string, string], flags?: number): Change {
  return (guest) => {
    const [source, target] = [guest.node(from[0]), guest.node(to[0])];
    return () => {
      if (flags === undefined) guest.ok(OP.RENAME, source, named(target, from[1], to[1]));
      else guest.ok(OP.RENAME2, source, rename2(target, flags, from[1], to[1]));
    };
  };
}

function copy(opcode: number, from: string, to: string): Change {
  return (guest) => {
    const [source, target] = [guest.node(from), guest.node(to)];
    const [reader, writer] = [guest.open(source), guest.open(target)];
    const body = words(reader, 0n, target, writer, 100n, 7n, 0n);
    return () => assert.equal(viewOf(guest.ok(opcode, source, body)).getUint32(0, true), 7);
  };
}

function setattr(path: string, fields: Parameters<typeof setattrBody>[0], open = false): Change {
  return (guest) => {
    const node = guest.node(path);
    const fh = open ? guest.open(node) : 0n;
    return () => void guest.ok(OP.SETATTR, node, setattrBody({ ...fields, fh }));
  };
}

/** By request: what is done, and what it changes. */
const CHANGES: Record<string, [Change, string[]]> = {
  "SETATTR of the mode": [setattr("d/a", { valid: FATTR.MODE, mode: 0o600 }), ["d/a"]],
  "SETATTR of the owner": [setattr("d/a", { valid: FATTR.UID, uid: 7 }), ["d/a"]],
  "SETATTR of the size": [setattr("d/a", { valid: FATTR.SIZE, size: 3n }), ["d/a"]],
  "SETATTR of the size of an open file": [
    setattr("d/a", { valid: FATTR.SIZE | FATTR.FH, size: 3n }, true),
    ["d/a"],
  ],
  "SETATTR of times": [
    setattr("d/a", { valid: FATTR.ATIME | FATTR.MTIME, mtime: 1n, atime: 1n }),
    ["d/a"],
  ],
  "SETATTR of a directory": [setattr("d", { valid: FATTR.MODE, mode: 0o700 }), ["d"]],
  "SETATTR of the root": [setattr("", { valid: FATTR.MODE, mode: 0o755 }), [""]],
  "SETATTR of a symlink": [setattr("d/symlink", { valid: FATTR.GID, gid: 9 }), ["d/symlink"]],
  "SETATTR by one of two names": [
    setattr("d/hard", { valid: FATTR.MODE, mode: 0o600 }),
    ["e/c"],
  ],
  SYMLINK: [(guest) => {
    const node = guest.node("d");
    return () => void guest.ok(OP.SYMLINK, node, concat(name("new"), name("a")));
  }, ["d"]],
  MKNOD: [(guest) => {
    const node = guest.node("d");
    const body = concat(words(S.IFREG | 0o644, 0, 0, 0), name("new"));
    return () => void guest.ok(OP.MKNOD, node, body);
  }, ["d"]],
  MKDIR: [(guest) => {
    const node = guest.node("d");
    return () => void guest.ok(OP.MKDIR, node, concat(words(0o755, 0), name("new")));
  }, ["d"]],
  UNLINK: [(guest) => {
    const node = guest.node("d");
    return () => void guest.ok(OP.UNLINK, node, name("a"));
  }, ["d", "d/a"]],
  "UNLINK of a name of a file that others know by another name": [(guest) => {
    const node = guest.node("d");
    return () => void guest.ok(OP.UNLINK, node, name("hard"));
  }, ["d", "e/c"]],
  "UNLINK of a symlink": [(guest) => {
    const node = guest.node("d");
    return () => void guest.ok(OP.UNLINK, node, name("symlink"));
  }, ["d", "d/symlink"]],
  RMDIR: [(guest) => {
    const node = guest.node("e");
    return () => void guest.ok(OP.RMDIR, node, name("empty"));
  }, ["e", "e/empty"]],
  "RENAME in a directory": [rename(["d", "a"], ["d", "new"]), ["d", "d/a"]],
  "RENAME in a directory over a file": [rename(["d", "a"], ["d", "b"]), ["d", "d/a", "d/b"]],
  "RENAME to another directory": [rename(["d", "a"], ["e", "new"]), ["d", "e", "d/a"]],
  "RENAME to another directory over a file": [
    rename(["d", "a"], ["e", "c"]),
    ["d", "e", "d/a", "e/c"],
  ],
  "RENAME over one of two names": [rename(["d", "a"], ["d", "hard"]), ["d", "d/a", "e/c"]],
  "RENAME of a directory": [rename(["d", "sub"], ["e", "new"]), ["d", "e", "d/sub"]],
  "RENAME of a directory over an empty one": [
    rename(["d", "sub"], ["e", "empty"]),
    ["d", "e", "d/sub", "e/empty"],
  ],
  "RENAME of one name of a file to another": [
    rename(["d", "hard"], ["e", "c"]),
    ["d", "e", "e/c"],
  ],
  "RENAME2 without flags, over a file": [
    rename(["d", "a"], ["e", "c"], 0),
    ["d", "e", "d/a", "e/c"],
  ],
  "RENAME2 NOREPLACE": [rename(["d", "a"], ["e", "new"], NOREPLACE), ["d", "e", "d/a"]],
  "RENAME2 EXCHANGE": [rename(["d", "a"], ["e", "c"], EXCHANGE), ["d", "e", "d/a", "e/c"]],
  "RENAME2 EXCHANGE in a directory": [rename(["d", "a"], ["d", "b"], EXCHANGE), [
    "d",
    "d/a",
    "d/b",
  ]],
  "RENAME2 EXCHANGE of a file and a directory": [
    rename(["d", "a"], ["e", "empty"], EXCHANGE),
    ["d", "e", "d/a", "e/empty"],
  ],
  "RENAME2 WHITEOUT": [rename(["d", "a"], ["e", "new"], WHITEOUT), ["d", "e", "d/a"]],
  LINK: [(guest) => {
    const [node, directory] = [guest.node("d/a"), guest.node("e")];
    return () => void guest.ok(OP.LINK, directory, named(node, "new"));
  }, ["e", "d/a"]],
  "OPEN with O_TRUNC": [(guest) => {
    const node = guest.node("d/a");
    return () => void guest.ok(OP.OPEN, node, words(O.RDWR | O.TRUNC, 0));
  }, ["d/a"]],
  "CREATE of a new file": [(guest) => {
    const node = guest.node("d");
    return () => void guest.ok(OP.CREATE, node, createBody("new"));
  }, ["d"]],
  "CREATE with O_TRUNC of an existing file": [(guest) => {
    const node = guest.node("d");
    const body = createBody("a", { flags: O.RDWR | O.CREAT | O.TRUNC });
    return () => void guest.ok(OP.CREATE, node, body);
  }, ["d", "d/a"]],
  "CREATE with O_TRUNC by one of two names": [(guest) => {
    const node = guest.node("d");
    const body = createBody("hard", { flags: O.RDWR | O.CREAT | O.TRUNC });
    return () => void guest.ok(OP.CREATE, node, body);
  }, ["d", "e/c"]],
  WRITE: [(guest) => {
    const node = guest.node("d/a");
    const fh = guest.open(node);
    return () => void guest.ok(OP.WRITE, node, writeBody(fh, 2n, text("xyz")));
  }, ["d/a"]],
  SETXATTR: [(guest) => {
    const node = guest.node("d/a");
    return () => void guest.ok(OP.SETXATTR, node, setXattr("user.x", "1"));
  }, ["d/a"]],
  REMOVEXATTR: [(guest) => {
    const node = guest.node("d/a");
    guest.ok(OP.SETXATTR, node, setXattr("user.x", "1"));
    return () => void guest.ok(OP.REMOVEXATTR, node, name("user.x"));
  }, ["d/a"]],
  FALLOCATE: [(guest) => {
    const node = guest.node("d/a");
    const fh = guest.open(node);
    return () => void guest.ok(OP.FALLOCATE, node, fallocate(fh, 0n, 9999n, 0));
  }, ["d/a"]],
  "FALLOCATE that punches a hole": [(guest) => {
    const node = guest.node("d/a");
    const fh = guest.open(node);
    return () => void guest.ok(OP.FALLOCATE, node, fallocate(fh, 0n, 4096n, 3));
  }, ["d/a"]],
  COPY_FILE_RANGE: [copy(OP.COPY_FILE_RANGE, "d/a", "e/c"), ["e/c"]],
  COPY_FILE_RANGE_64: [copy(OP.COPY_FILE_RANGE_64, "d/a", "e/c"), ["e/c"]],
  "COPY_FILE_RANGE in one file": [copy(OP.COPY_FILE_RANGE, "d/a", "d/a"), ["d/a"]],
};

/** Of set-user-id files, with --killpriv-v2. */
const KILLPRIV: Record<string, [Change, string[]]> = {
  "WRITE that clears set-user-id": [(guest) => {
    const node = guest.node("d/a");
    const fh = guest.open(node);
    const body = writeBody(fh, 0n, text("x"), 1, WRITE_KILL_SUIDGID);
    return () => void guest.ok(OP.WRITE, node, body, { uid: 1000, gid: 1000 });
  }, ["d/a"]],
  "SETATTR of the size that clears set-user-id": [
    setattr("d/a", { valid: FATTR.SIZE | FATTR.KILL_SUIDGID, size: 1n }),
    ["d/a"],
  ],
  "OPEN with O_TRUNC that clears set-user-id": [(guest) => {
    const node = guest.node("d/a");
    const body = words(O.RDWR | O.TRUNC, OPEN_KILL_SUIDGID);
    return () => void guest.ok(OP.OPEN, node, body, { uid: 1000, gid: 1000 });
  }, ["d/a"]],
  "CREATE with O_TRUNC that clears set-user-id": [(guest) => {
    const node = guest.node("d");
    const flags = words(O.RDWR | O.CREAT | O.TRUNC, 0o100644, 0, OPEN_KILL_SUIDGID);
    return () => void guest.ok(OP.CREATE, node, concat(flags, name("a")));
  }, ["d", "d/a"]],
  "chown that clears set-user-id": [setattr("d/a", { valid: FATTR.UID, uid: 7 }), ["d/a"]],
};

/** The changing guest: of the same kind as the watching one, or one that knows of no versions. */
function changers({ daemons }: SharedScene): (() => { guest: Disposable; changer: Changer })[] {
  const [, { socketPath }] = daemons as [unknown, { socketPath: string }];
  return [
    () => {
      const guest = VersionedGuest.connect(socketPath);
      return { guest, changer: new Changer(guest.fuse) };
    },
    () => {
      const guest = Guest.connect(socketPath);
      return { guest, changer: new Changer(guest.fuse) };
    },
  ];
}

function testChange(on: SharedShare, what: string, change: Change, moves: string[]): void {
  on.test(`shared versions: ${what} changes ${moves.map((one) => one || "the root").join(", ")}`, (scene) => {
    for (const [kind, connect] of changers(scene).entries()) {
      for (const entry of Deno.readDirSync(scene.tree.root)) {
        Deno.removeSync(scene.tree.path(entry.name), { recursive: true });
      }
      makeScenery(scene.tree);
      if (on === killpriv) Deno.chmodSync(scene.tree.path("d/a"), 0o6777);
      using watching = VersionedGuest.connect(scene.daemons[0]!.socketPath);
      const { guest, changer } = connect();
      using _ = guest;
      const act = change(changer);
      const watcher = new Watcher(watching);
      try {
        watcher.assertMoves(act, moves);
      } catch (error) {
        throw new Error(`of a guest ${kind === 0 ? "with" : "without"} versions`, { cause: error });
      }
    }
  });
}

for (const [what, [change, moves]] of Object.entries(CHANGES)) {
  testChange(share, what, change, moves);
}
for (const [what, [change, moves]] of Object.entries(KILLPRIV)) {
  testChange(killpriv, what, change, moves);
}

share.test("shared versions: TMPFILE changes nothing; linked later it changes as any file", ({ tree, daemons }) => {
  makeScenery(tree);
  using watching = VersionedGuest.connect(daemons[0]!.socketPath);
  using guest = VersionedGuest.connect(daemons[1]!.socketPath);
  const watcher = new Watcher(watching);
  const changer = new Changer(guest.fuse);
  const directory = changer.node("d");
  let made = { nodeid: 0n, index: 0 };
  watcher.assertMoves(() => {
    const body = createBody("/", { flags: O.RDWR, mode: 0o100600 });
    const reply = changer.ok(OP.TMPFILE, directory, body);
    made = { nodeid: readEntry(reply).nodeid, index: readEntryVersion(reply, 144).index };
  }, []);
  watcher.slots.set("the file without a name", made.index);
  watcher.assertMoves(
    () => void changer.ok(OP.LINK, directory, named(made.nodeid, "given")),
    ["d", "the file without a name"],
  );
  assert.equal(watching.walk("d", "given").index, made.index);
});

share.test("shared versions: each of several changes counts", ({ tree, daemons }) => {
  makeScenery(tree);
  using watching = VersionedGuest.connect(daemons[0]!.socketPath);
  using guest = VersionedGuest.connect(daemons[1]!.socketPath, { queueSize: 256 });
  const watcher = new Watcher(watching);
  const changer = new Changer(guest.fuse);
  const node = changer.node("d/a");
  const fh = changer.open(node);
  watcher.assertMoves(
    () => {
      const pending = Array.from(
        { length: 20 },
        () => guest.fuse.submit(OP.WRITE, node, writeBody(fh, 0n, text("xyz")), { room: 8 }),
      );
      for (const each of pending) assert.equal(guest.fuse.wait(each).error, 0);
    },
    ["d/a"],
    20n,
  );
});
