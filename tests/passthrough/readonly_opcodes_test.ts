import { deepEqual, equal } from "node:assert/strict";
import { Opcode } from "../../src/wire/fuse.ts";
import { FATTR, INIT, LINUX_INIT_FLAGS, O, OP, S, setattrBody } from "../support/fuse_wire.ts";
import { getXattr, setXattr } from "../support/libc.ts";
import { concat, name, text, words } from "../support/little_endian.ts";
import { ShareClient } from "./share_client.ts";

const ROOT = 1n;
const LONG_AGO = new Date("2001-02-03T04:05:06Z");
const EBADF = 9;
const ENOTTY = 25;
const EROFS = 30;
const ENOSYS = 38;
const EOPNOTSUPP = 95;
const F_RDLCK = 0;
const F_WRLCK = 1;

/** What the requests are about. */
interface Place {
  /** A file "file", open to read, and the directory "sub", open, too. */
  readonly file: bigint;
  readonly fh: bigint;
  readonly sub: bigint;
  readonly directoryFh: bigint;
  readonly link: bigint;
}

/** One request: the errno that is expected, the inode, the body. */
type Case = [expected: number, nodeid: bigint, body: Uint8Array];
/** Not sent: the session's own, or no request of a guest. */
const NOT_SENT = null;

/** struct fuse_lk_in; the last word says that it is a flock(2). */
const lock = (fh: bigint, type: number, flock = 0) => words(fh, 5n, 0n, 9n, type, 0, flock, 0);
const read = (fh: bigint) => words(fh, 0n, 4096, 0, 0n, 0, 0);
const create = (entry: string, flags: number) => concat(words(flags, 0o644, 0, 0), name(entry));

/** Every opcode of fuse.h: a new one has to be thought about here. */
const CASES: Record<keyof typeof Opcode, ((place: Place) => Case[]) | typeof NOT_SENT> = {
  INIT: NOT_SENT,
  DESTROY: NOT_SENT,
  INTERRUPT: NOT_SENT,
  NOTIFY_REPLY: NOT_SENT,
  FORGET: NOT_SENT,
  BATCH_FORGET: NOT_SENT,
  LOOKUP: () => [[0, ROOT, name("file")], [0, ROOT, name("sub")]],
  GETATTR: ({ file }) => [[0, file, words(0, 0, 0n)]],
  STATX: ({ file }) => [[0, file, words(0, 0, 0n, 0, 0xfff)]],
  STATFS: () => [[0, ROOT, new Uint8Array()]],
  READLINK: ({ link }) => [[0, link, new Uint8Array()]],
  SETATTR: ({ file, fh }) => [
    ...Object.values(FATTR).map((valid): Case => [EROFS, file, setattrBody({ valid, fh })]),
    [EROFS, file, setattrBody({ valid: 0 })],
    [EROFS, file, setattrBody({ valid: 0xffff_ffff, fh })],
  ],
  SYMLINK: () => [[EROFS, ROOT, concat(name("new"), name("target"))]],
  MKNOD: () =>
    [S.IFREG, S.IFIFO, S.IFCHR].map((type) => [
      EROFS,
      ROOT,
      concat(words(type | 0o644, 0x103, 0, 0), name("new")),
    ]),
  MKDIR: () => [[EROFS, ROOT, concat(words(0o755, 0), name("new"))]],
  UNLINK: () => [[EROFS, ROOT, name("file")], [EROFS, ROOT, name("none")]],
  RMDIR: () => [[EROFS, ROOT, name("sub")]],
  RENAME: ({ sub }) => [[EROFS, ROOT, concat(words(sub), name("file"), name("new"))]],
  RENAME2: ({ sub }) =>
    [0, 1, 2, 4].map((flags) => [
      EROFS,
      ROOT,
      concat(words(sub, flags, 0), name("file"), name("inner")),
    ]),
  LINK: ({ file }) => [[EROFS, ROOT, concat(words(file), name("new"))]],
  OPEN: ({ file }) => [
    [0, file, words(O.RDONLY, 0)],
    [0, file, words(O.RDONLY | O.CREAT | O.EXCL, 0)],
    ...[O.WRONLY, O.RDWR, 3, O.TRUNC, O.WRONLY | O.APPEND, O.RDWR | O.TRUNC].map(
      (flags): Case => [EROFS, file, words(flags, 0)],
    ),
    [EROFS, file, words(O.RDONLY | O.TRUNC, 1)],
  ],
  CREATE: () => [
    [EROFS, ROOT, create("new", O.RDWR | O.CREAT)],
    [EROFS, ROOT, create("new", O.RDONLY | O.CREAT)],
    [EROFS, ROOT, create("file", O.RDONLY | O.CREAT)],
    [EROFS, ROOT, create("file", O.RDWR | O.CREAT | O.TRUNC)],
  ],
  TMPFILE: () => [[EROFS, ROOT, create("/", O.RDWR)]],
  READ: ({ file, fh }) => [[0, file, read(fh)]],
  WRITE: ({ file, fh }) => [
    [EROFS, file, concat(words(fh, 0n, 1, 0, 0n, 0, 0), text("x"))],
    [EROFS, file, words(fh, 0n, 0, 0, 0n, 0, 0)],
  ],
  FALLOCATE: ({ file, fh }) =>
    [0, 1, 3, 0x10].map((mode) => [EROFS, file, words(fh, 0n, 9999n, mode, 0)]),
  COPY_FILE_RANGE: ({ file, fh }) => [[EROFS, file, words(fh, 0n, file, fh, 10n, 5n, 0n)]],
  COPY_FILE_RANGE_64: ({ file, fh }) => [[EROFS, file, words(fh, 0n, file, fh, 10n, 5n, 0n)]],
  LSEEK: ({ file, fh }) => [[0, file, words(fh, 0n, 4, 0)]],
  FSYNC: ({ file, fh }) => [[0, file, words(fh, 0, 0)]],
  FSYNCDIR: ({ sub, directoryFh }) => [[0, sub, words(directoryFh, 0, 0)]],
  SYNCFS: () => [[0, ROOT, words(0, 0)]],
  FLUSH: ({ file, fh }) => [[0, file, words(fh, 0, 0, 0n)]],
  RELEASE: NOT_SENT,
  RELEASEDIR: NOT_SENT,
  OPENDIR: ({ sub }) => [[0, sub, words(O.RDWR | O.TRUNC | O.CREAT, 0)]],
  READDIR: ({ sub, directoryFh }) => [[0, sub, read(directoryFh)]],
  READDIRPLUS: ({ sub, directoryFh }) => [[0, sub, read(directoryFh)]],
  SETXATTR: ({ file, sub, link }) =>
    [file, sub, link].flatMap((node) =>
      ["user.a", "user.new", "trusted.a", "security.capability", "system.posix_acl_access"].map(
        (attribute): Case => [EROFS, node, concat(words(1, 0), name(attribute), text("1"))],
      )
    ),
  REMOVEXATTR: ({ file }) => [[EROFS, file, name("user.a")], [EROFS, file, name("user.none")]],
  GETXATTR: ({ file }) => [[0, file, concat(words(99, 0), name("user.a"))]],
  LISTXATTR: ({ file }) => [[0, file, words(99, 0)]],
  GETLK: ({ file, fh }) => [[0, file, lock(fh, F_WRLCK)]],
  // Locks are not kept with the file. To write-lock one it would have to be open for writing (fcntl(2)).
  SETLK: ({ file, fh }) => [
    [0, file, lock(fh, F_RDLCK)],
    [EBADF, file, lock(fh, F_WRLCK)],
    [0, file, lock(fh, F_RDLCK, 1)],
  ],
  SETLKW: ({ file, fh }) => [[0, file, lock(fh, F_RDLCK)], [EBADF, file, lock(fh, F_WRLCK)]],
  ACCESS: ({ file }) => [[ENOSYS, file, words(2, 0)]],
  BMAP: ({ file }) => [[ENOSYS, file, words(0n, 512, 0)]],
  IOCTL: ({ file, fh }) => [[ENOTTY, file, words(fh, 0, 0x4008_6602, 0n, 8, 0)]],
  POLL: ({ file, fh }) => [[ENOSYS, file, words(fh, 0n, 0, 0)]],
  // Without a window; with one: tests/device/dax_window_test.ts.
  SETUPMAPPING: ({ file, fh }) => [[EOPNOTSUPP, file, words(fh, 0n, 4096n, 2n, 0n)]],
  REMOVEMAPPING: ({ file }) => [[EOPNOTSUPP, file, words(1, 0n, 4096n)]],
};

/**
 * All that the host can tell without reading. Of a symlink's times the last access is left out: nothing keeps readlink(2)
 * from noting it.
 */
function describe(path: string): unknown[] {
  const info = Deno.lstatSync(path);
  const { mode, size, nlink, uid, gid, ino, mtime, ctime, atime } = info;
  const times = [mtime, ctime, info.isSymlink ? null : atime].map((time) => time?.getTime());
  const xattr = info.isSymlink ? null : getXattr(path, "user.a");
  return [path, mode, size, nlink, uid, gid, ino, times, xattr];
}

Deno.test("--readonly: no opcode changes anything, not even times of last access", async () => {
  await using share = await ShareClient.start(
    { readonly: true, xattr: true, posixLocks: true, flockLocks: true },
    { flags: LINUX_INIT_FLAGS | 1n << INIT.POSIX_LOCKS | 1n << INIT.FLOCK_LOCKS },
  );
  const { tree } = share;
  const path = tree.file("file", "content");
  setXattr(path, "user.a", text("value"));
  tree.file("sub/inner", "content");
  Deno.symlinkSync("file", tree.path("link"));
  // Long ago: the host then notes the next access (relatime).
  for (const entry of ["file", "sub/inner", "sub", ""]) {
    Deno.utimeSync(tree.path(entry), LONG_AGO, LONG_AGO);
  }
  const sub = (await share.lookup(ROOT, "sub")).nodeid;
  const file = (await share.lookup(ROOT, "file")).nodeid;
  const place: Place = {
    sub,
    file,
    link: (await share.lookup(ROOT, "link")).nodeid,
    fh: await share.open(file, O.RDONLY),
    directoryFh: await share.open(sub, 0, OP.OPENDIR),
  };
  const describeAll = () =>
    ["", "file", "sub", "sub/inner", "link"].map((entry) => describe(tree.path(entry)));
  const before = describeAll();
  for (const [opcodeName, cases] of Object.entries(CASES)) {
    const opcode = Opcode[opcodeName as keyof typeof Opcode];
    for (const [expected, nodeid, body] of cases?.(place) ?? []) {
      const { error } = await share.call(opcode, nodeid, body);
      equal(error, expected, `${opcodeName} ${body}`);
      deepEqual(describeAll(), before, opcodeName);
    }
  }
  equal(Deno.readTextFileSync(path), "content");
  deepEqual([...Deno.readDirSync(tree.root)].map((one) => one.name).sort(), [
    "file",
    "link",
    "sub",
  ]);
});
