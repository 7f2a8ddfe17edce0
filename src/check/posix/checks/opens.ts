/**
 * open(2): its flags against every kind of file, and files that are made without a name.
 *
 * @module
 */

import type { Add, Need } from "../check.ts";
import { AT, type ErrnoName, O, S } from "../linux_constants.ts";
import { ALICE, type Kind, KINDS, type Scope } from "../scope.ts";
import { sys } from "../system_calls.ts";
import { needsOf } from "./nodes.ts";

function opened(fd: number): number {
  if (fd >= 0) sys.close(fd);
  return fd;
}

const FLAGS: readonly (readonly [string, number, Partial<Record<Kind, ErrnoName>>])[] = [
  ["O_PATH", O.PATH, {}],
  ["O_PATH|O_NOFOLLOW", O.PATH | O.NOFOLLOW, {}],
  ["O_PATH|O_DIRECTORY", O.PATH | O.DIRECTORY, notDirectory()],
  ["O_DIRECTORY", O.RDONLY | O.DIRECTORY, notDirectory()],
  ["O_WRONLY", O.WRONLY | O.NONBLOCK, { dir: "EISDIR", fifo: "ENXIO", socket: "ENXIO" }],
  ["O_RDWR", O.RDWR | O.NONBLOCK, { dir: "EISDIR", socket: "ENXIO" }],
  ["O_RDONLY", O.RDONLY | O.NONBLOCK, { socket: "ENXIO" }],
  ["O_WRONLY|O_TRUNC", O.WRONLY | O.TRUNC | O.NONBLOCK, {
    dir: "EISDIR",
    fifo: "ENXIO",
    socket: "ENXIO",
  }],
  ["O_RDONLY|O_CREAT", O.RDONLY | O.CREAT | O.NONBLOCK, { dir: "EISDIR", socket: "ENXIO" }],
  ["O_NOFOLLOW", O.RDONLY | O.NOFOLLOW | O.NONBLOCK, { socket: "ENXIO", symlink: "ELOOP" }],
  ["O_CREAT|O_EXCL", O.RDWR | O.CREAT | O.EXCL, allExist()],
  ["O_CREAT|O_EXCL|O_NOFOLLOW", O.RDWR | O.CREAT | O.EXCL | O.NOFOLLOW, allExist()],
];

function notDirectory(): Partial<Record<Kind, ErrnoName>> {
  const all: Partial<Record<Kind, ErrnoName>> = {};
  for (const kind of KINDS) if (kind !== "dir") all[kind] = "ENOTDIR";
  return all;
}

function allExist(): Partial<Record<Kind, ErrnoName>> {
  const all: Partial<Record<Kind, ErrnoName>> = {};
  for (const kind of KINDS) all[kind] = "EEXIST";
  return all;
}

/** Devices are left out where a driver would be asked: the checks open no real one. */
function skipsDevice(kind: Kind, errno: ErrnoName | undefined, flags: number): boolean {
  return (kind === "block" || kind === "char") && errno === undefined && (flags & O.PATH) === 0;
}

function matrix(add: Add): void {
  for (const [name, flags, errors] of FLAGS) {
    for (const kind of KINDS) {
      const errno = errors[kind];
      if (skipsDevice(kind, errno, flags)) continue;
      add(
        `open ${name}: ${errno ?? "works"} on a ${kind}`,
        (t) => {
          t.make(kind, t.path("x"));
          if (kind === "symlink" && (flags & O.EXCL) === 0) {
            t.ok(sys.unlink(t.path("x")), "unlink");
            t.file("target");
            t.ok(sys.symlink("target", t.path("x")), "symlink");
          }
          t.times([[t.dir, ""]], () => {
            const result = opened(sys.open(t.path("x"), flags, 0o644));
            if (errno === undefined) t.ok(result, "open");
            else t.errno(result, errno, "open");
          });
        },
        ...needsOf(kind),
        ...(kind === "fifo" && errno === undefined ? FIFO_IO : []),
      );
    }
  }
  for (const kind of ["block", "char"] as const) {
    add(
      `open: ENXIO on a ${kind} device that no driver has`,
      (t) => {
        t.ok(
          sys.mknod(t.path("x"), (kind === "block" ? S.IFBLK : S.IFCHR) | 0o666, 0xeff01n),
          "mknod",
        );
        t.errno(opened(sys.open(t.path("x"), O.RDONLY)), ["ENXIO", "ENODEV"], "open");
      },
      "root",
      "mknod",
    );
    add(
      `open: a ${kind} device is reached only through its driver`,
      (t) => {
        t.make(kind, t.path("x"), 0o000, ALICE);
        t.errno(
          t.as({ ...ALICE, uid: 1 }, () => opened(sys.open(t.path("x"), O.RDWR))),
          "EACCES",
          "open",
        );
      },
      "root",
      "mknod",
    );
  }
}

/** What opening a FIFO takes. */
const FIFO_IO: readonly Need[] = ["fifo-io"];

function creation(add: Add): void {
  add("open O_CREAT: makes the target of a dangling symbolic link", (t) => {
    t.ok(sys.symlink("target", t.path("s")), "symlink");
    t.ok(opened(sys.open(t.path("s"), O.CREAT | O.WRONLY, 0o640)), "open");
    t.equal(t.lstat(t.path("target")).type, S.IFREG, "type");
  });
  add("open O_CREAT|O_EXCL: EEXIST on a dangling symbolic link, target not made", (t) => {
    t.ok(sys.symlink("target", t.path("s")), "symlink");
    t.errno(opened(sys.open(t.path("s"), O.CREAT | O.EXCL | O.WRONLY, 0o640)), "EEXIST", "open");
    t.errno(sys.lstat(t.path("target")), "ENOENT", "lstat");
  });
  add("open O_CREAT|O_NOFOLLOW: ELOOP on a dangling symbolic link", (t) => {
    t.ok(sys.symlink("target", t.path("s")), "symlink");
    const flags = O.CREAT | O.NOFOLLOW | O.WRONLY;
    t.errno(opened(sys.open(t.path("s"), flags, 0o640)), "ELOOP", "open");
  });
  add("open O_CREAT: a file that exists keeps its mode, owner and content", (t) => {
    t.file("x", 0o640);
    const { ino } = t.lstat(t.path("x"));
    t.ok(opened(sys.open(t.path("x"), O.CREAT | O.RDWR, 0o777)), "open");
    t.equal(t.lstat(t.path("x")).perm, 0o640, "mode");
    t.equal(t.lstat(t.path("x")).ino, ino, "inode");
    t.equal(t.content(t.path("x")), "content", "content");
  });
  add("open O_TRUNC: empties a file and keeps its inode and mode", (t) => {
    t.file("x", 0o640);
    const { ino } = t.lstat(t.path("x"));
    t.ok(opened(sys.open(t.path("x"), O.CREAT | O.TRUNC | O.RDWR, 0o777)), "open");
    const stat = t.lstat(t.path("x"));
    t.equal(`${stat.ino} ${stat.perm} ${stat.size}`, `${ino} ${0o640} 0`, "what is left");
  });
  add("open O_NOFOLLOW: only the last component counts", (t) => {
    t.directory("d");
    t.file("d/x");
    t.ok(sys.symlink("d", t.path("s")), "symlink");
    t.ok(opened(sys.open(t.path("s/x"), O.RDONLY | O.NOFOLLOW)), "open");
  });
  add("open O_EXCL: one of 100 creations of a name works", (t) => {
    let made = 0;
    for (let i = 0; i < 100; i++) {
      const fd = sys.open(t.path("x"), O.CREAT | O.EXCL | O.WRONLY, 0o644);
      if (fd >= 0) {
        made++;
        sys.close(fd);
      } else t.errno(fd, "EEXIST", "open");
    }
    t.equal(made, 1, "files made");
  });
  add("open fifo: a reader without waiting, then a writer, then bytes", (t) => {
    t.ok(sys.mkfifo(t.path("x")), "mkfifo");
    const reader = t.open(t.path("x"), O.RDONLY | O.NONBLOCK);
    const writer = t.open(t.path("x"), O.WRONLY | O.NONBLOCK);
    t.ok(sys.write(writer, "through"), "write");
    t.equal(t.text(sys.read(reader, 20)), "through", "read");
    t.equal(t.lstat(t.path("x")).size, 0, "size");
    t.errno(sys.lseek(reader, 0, 0), "ESPIPE", "lseek");
  }, "fifo-io");
  add("open O_PATH: stat and openat, but no read", (t) => {
    const fd = t.open(t.directory("d"), O.PATH);
    t.file("d/x");
    t.equal(t.fstat(fd).type, S.IFDIR, "type");
    t.adopt(sys.openat(fd, "x", O.RDONLY), "openat");
    t.errno(sys.getdents(fd), "EBADF", "getdents");
    t.errno(sys.fchmod(fd, 0o700), "EBADF", "fchmod");
  });
  add("openat: follows its directory through a rename", (t) => {
    const fd = t.open(t.directory("d"), O.RDONLY | O.DIRECTORY);
    t.file("d/x");
    t.ok(sys.rename(t.path("d"), t.path("e")), "rename");
    t.adopt(sys.openat(fd, "x", O.RDONLY), "openat");
    t.adopt(sys.openat(fd, "y", O.CREAT | O.WRONLY, 0o644), "openat");
    t.equal(t.names(t.path("e")).join(), "x,y", "names");
  });
  add("openat: ENOTDIR below a file", (t) => {
    const fd = t.open(t.file("x"), O.RDONLY);
    t.errno(sys.openat(fd, "y", O.RDONLY), "ENOTDIR", "openat");
  });
}

function running(add: Add): void {
  add("open: ETXTBSY for writing to a program that runs", async (t) => {
    await withRunning(t, () => {
      t.errno(opened(sys.open(t.path("program"), O.WRONLY)), "ETXTBSY", "open");
      t.errno(opened(sys.open(t.path("program"), O.RDWR)), "ETXTBSY", "open");
      t.errno(sys.truncate(t.path("program"), 0), "ETXTBSY", "truncate");
      t.ok(opened(sys.open(t.path("program"), O.RDONLY)), "open for reading");
    });
    t.ok(opened(sys.open(t.path("program"), O.WRONLY)), "open when it has ended");
  }, "execve");
  add("unlink and rename: a program that runs", async (t) => {
    await withRunning(t, () => {
      t.ok(sys.rename(t.path("program"), t.path("moved")), "rename");
      t.ok(sys.unlink(t.path("moved")), "unlink");
    });
  }, "execve");
}

async function withRunning(t: Scope, action: () => void): Promise<void> {
  const fd = t.open(t.path("program"), O.CREAT | O.WRONLY, 0o755);
  const program = Deno.readFileSync("/bin/cat");
  let done = 0;
  while (done < program.length) done += t.ok(sys.write(fd, program.subarray(done)), "write");
  t.close(fd);
  const child = new Deno.Command(t.path("program"), { stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.getReader();
  try {
    // The program answers once it runs.
    await writer.write(new Uint8Array([1]));
    await reader.read();
    action();
  } finally {
    await writer.close();
    await reader.cancel();
    await child.status;
  }
}

function nameless(add: Add): void {
  const make = (t: Scope, flags = 0) => t.open(t.dir, O.TMPFILE | O.RDWR | flags, 0o640);
  add("O_TMPFILE: a file without a name", (t) => {
    t.times([[t.dir, ""]], () => {
      const fd = make(t);
      t.equal(t.fstat(fd).nlink, 0, "link count");
      t.equal(t.fstat(fd).mode, S.IFREG | 0o640, "mode");
      t.ok(sys.write(fd, "text"), "write");
      t.equal(t.text(sys.pread(fd, 9, 0)), "text", "read");
    });
    t.equal(t.names(t.dir).length, 0, "names");
  }, "tmpfile");
  add(
    "O_TMPFILE: linkat gives it a name",
    (t) => {
      const fd = make(t);
      t.ok(sys.write(fd, "text"), "write");
      const from = `/proc/self/fd/${fd}`;
      t.ok(sys.linkat(AT.FDCWD, from, AT.FDCWD, t.path("x"), AT.SYMLINK_FOLLOW), "linkat");
      t.equal(t.content(t.path("x")), "text", "content");
      t.equal(t.fstat(fd).nlink, 1, "link count");
    },
    "tmpfile",
    "procfs",
  );
  add(
    "O_TMPFILE: linkat with AT_EMPTY_PATH",
    (t) => {
      const fd = make(t);
      t.ok(sys.linkat(fd, "", AT.FDCWD, t.path("x"), AT.EMPTY_PATH), "linkat");
      t.equal(t.lstat(t.path("x")).ino, t.fstat(fd).ino, "inode");
    },
    "tmpfile",
    "root",
  );
  add("O_TMPFILE: with O_EXCL it can never have a name", (t) => {
    const fd = make(t, O.EXCL);
    const from = `/proc/self/fd/${fd}`;
    t.errno(
      sys.linkat(AT.FDCWD, from, AT.FDCWD, t.path("x"), AT.SYMLINK_FOLLOW),
      "ENOENT",
      "linkat",
    );
  }, "tmpfile");
  add(
    "O_TMPFILE: owner and umask",
    (t) => {
      const fd = t.as(ALICE, () =>
        t.withUmask(0o027, () => {
          return t.open(t.dir, O.TMPFILE | O.RDWR, 0o666);
        }));
      const stat = t.fstat(fd);
      t.equal(`${stat.uid}:${stat.gid}`, `${ALICE.uid}:${ALICE.gid}`, "owner");
      t.equal(stat.perm, 0o640, "mode");
    },
    "tmpfile",
    "root",
  );
  add(
    "O_TMPFILE: EINVAL for reading only, EACCES without write permission",
    (t) => {
      t.errno(opened(sys.open(t.dir, O.TMPFILE | O.RDONLY, 0o600)), "EINVAL", "open");
      t.directory("d", 0o755);
      const result = t.as(ALICE, () => opened(sys.open(t.path("d"), O.TMPFILE | O.RDWR, 0o600)));
      t.errno(result, "EACCES", "open");
    },
    "tmpfile",
    "root",
  );
}

/** Adds the family. */
export function opensChecks(add: Add): void {
  matrix(add);
  creation(add);
  running(add);
  nameless(add);
}
