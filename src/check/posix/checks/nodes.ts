/**
 * Making files: mkdir, mknod, mkfifo, open with O_CREAT and symlink; and rmdir.
 *
 * @module
 */

import type { Add, Need } from "../check.ts";
import { O, S } from "../linux_constants.ts";
import { type Creator, CREATORS } from "../path_calls.ts";
import { ALICE, ALICE_IN_TEAM, BOB, type Kind, KINDS, TEAM } from "../scope.ts";
import { TYPE_BITS } from "../scope.ts";
import { makedev, sys } from "../system_calls.ts";

/** What making a file of this kind needs. */
export function needsOf(kind: Kind): Need[] {
  return kind === "block" || kind === "char" ? ["root", "mknod"] : [];
}

const UMASKS = [0o000, 0o022, 0o077, 0o377, 0o777];
const MODES = [0o000, 0o111, 0o644, 0o755, 0o777];

function newFiles(add: Add, creator: Creator): void {
  const { name, call, type } = creator;
  const needs: Need[] = creator.rootOnly ? ["root", "mknod"] : [];
  if (creator.takesMode) {
    for (const mask of UMASKS) {
      for (const mode of MODES) {
        add(`${name}: mode ${mode.toString(8)} under umask ${mask.toString(8)}`, (t) => {
          t.withUmask(mask, () => t.ok(call(t.path("x"), mode), name));
          t.equal(t.lstat(t.path("x")).mode, type | (mode & ~mask), "mode");
        }, ...needs);
      }
    }
  }
  add(`${name}: moves mtime and ctime of the directory only`, (t) => {
    t.directory("d");
    t.times([[t.path("d"), "mc"], [t.dir, ""]], () => t.ok(call(t.path("d/x"), 0o644), name));
  }, ...needs);
  add(`${name}: the new file's times are of now`, (t) => {
    const before = t.lstat(t.dir).ctime;
    t.tick();
    t.ok(call(t.path("x"), 0o644), name);
    const { atime, mtime, ctime } = t.lstat(t.path("x"));
    t.that(atime > before && mtime > before && ctime > before, "times are older than the call");
    t.equal(mtime, ctime, "mtime beside ctime");
  }, ...needs);
  add(`${name}: the new file's link count, size and device number`, (t) => {
    t.ok(call(t.path("x"), 0o644), name);
    const stat = t.lstat(t.path("x"));
    t.that(type === S.IFDIR ? stat.nlink <= 2 : stat.nlink === 1, `link count ${stat.nlink}`);
    if (type !== S.IFDIR) t.equal(stat.size, type === S.IFLNK ? 6 : 0, "size");
    const device = type === S.IFCHR || type === S.IFBLK;
    t.equal(`${stat.rdevMajor}:${stat.rdevMinor}`, device ? "1:2" : "0:0", "rdev");
    t.equal(stat.dev, t.lstat(t.dir).dev, "file system");
  }, ...needs);
  if (!creator.rootOnly) {
    add(`${name}: owner and group are the caller's`, (t) => {
      t.as(ALICE, () => t.ok(call(t.path("x"), 0o644), name));
      const stat = t.lstat(t.path("x"));
      t.equal(`${stat.uid}:${stat.gid}`, `${ALICE.uid}:${ALICE.gid}`, "owner");
    }, "root");
    add(`${name}: in a set-group-ID directory the group is the directory's`, (t) => {
      t.directory("d", 0o2777, { ...BOB, gid: TEAM });
      t.as(ALICE, () => t.ok(call(t.path("d/x"), 0o755), name));
      const stat = t.lstat(t.path("d/x"));
      t.equal(`${stat.uid}:${stat.gid}`, `${ALICE.uid}:${TEAM}`, "owner");
      if (type !== S.IFLNK) {
        t.equal(stat.perm & 0o2000, type === S.IFDIR ? 0o2000 : 0, "set-group-ID bit");
      }
    }, "root");
    add(`${name}: works under credentials with a supplementary group of the directory`, (t) => {
      t.directory("d", 0o2070, { ...BOB, gid: TEAM });
      t.as(ALICE_IN_TEAM, () => t.ok(call(t.path("d/x"), 0o755), name));
      t.equal(t.lstat(t.path("d/x")).gid, TEAM, "group");
    }, "root");
  } else {
    add(`${name}: EPERM for a user`, (t) => {
      t.errno(t.as(ALICE, () => call(t.path("x"), 0o644)), "EPERM", name);
    }, ...needs);
  }
  if (type === S.IFREG) {
    for (const mode of [0o2755, 0o2770]) {
      add(`${name}: set-group-ID ${mode.toString(8)} of a group one is not in is dropped`, (t) => {
        t.directory("d", 0o2777, { ...BOB, gid: TEAM });
        t.as(ALICE, () => t.ok(call(t.path("d/x"), mode), name));
        t.equal(t.lstat(t.path("d/x")).perm & 0o2000, 0, "set-group-ID bit");
      }, "root");
      add(`${name}: set-group-ID ${mode.toString(8)} of a supplementary group stays`, (t) => {
        t.directory("d", 0o2777, { ...BOB, gid: TEAM });
        t.as(ALICE_IN_TEAM, () => t.withUmask(0, () => t.ok(call(t.path("d/x"), mode), name)));
        t.equal(t.lstat(t.path("d/x")).perm, mode, "mode");
      }, "root");
    }
  }
  existing(add, name, call, needs);
}

/** EEXIST for a call that makes a file, over each kind. */
export function existing(
  add: Add,
  name: string,
  call: (path: string, mode: number) => number,
  needs: readonly Need[],
): void {
  for (const kind of KINDS) {
    add(
      `${name}: EEXIST over a ${kind}, which stays as it is`,
      (t) => {
        t.directory("d");
        t.make(kind, t.path("d/x"), 0o640);
        const before = t.lstat(t.path("d/x"));
        t.times([[t.path("d"), ""], [t.path("d/x"), ""]], () => {
          t.errno(call(t.path("d/x"), 0o644), "EEXIST", name);
        });
        const after = t.lstat(t.path("d/x"));
        t.equal(after.ino, before.ino, "inode");
        t.equal(after.mode, before.mode, "mode");
      },
      ...needs,
      ...needsOf(kind),
    );
  }
  for (const dots of [".", "..", "d/.", "d/.."]) {
    add(`${name}: EEXIST for ${dots}`, (t) => {
      t.directory("d");
      t.errno(call(t.path(dots), 0o644), ["EEXIST"], name);
    }, ...needs);
  }
}

function deviceNumbers(add: Add): void {
  const majors = [1, 255, 256, 4095], minors = [0, 3, 255, 256, 65535, 65536, 1048575];
  for (const kind of ["char", "block"] as const) {
    for (const major of majors) {
      for (const minor of minors) {
        add(
          `mknod ${kind}: device ${major}:${minor} is kept`,
          (t) => {
            const mode = TYPE_BITS[kind] | 0o600;
            t.ok(sys.mknod(t.path("x"), mode, makedev(major, minor)), "mknod");
            const stat = t.lstat(t.path("x"));
            t.equal(`${stat.rdevMajor}:${stat.rdevMinor}`, `${major}:${minor}`, "rdev");
            t.ok(sys.chmod(t.path("x"), 0o644), "chmod");
            t.equal(t.lstat(t.path("x")).rdevMinor, minor, "minor after chmod");
          },
          "root",
          "mknod",
        );
      }
    }
  }
  add("mknod: EPERM or EINVAL for a directory", (t) => {
    t.errno(sys.mknod(t.path("x"), S.IFDIR | 0o755), ["EPERM", "EINVAL"], "mknod");
  });
  add("mknod: EINVAL for a symbolic link type", (t) => {
    t.errno(sys.mknod(t.path("x"), S.IFLNK | 0o755), "EINVAL", "mknod");
  });
  add("mknod: type 0 makes a regular file", (t) => {
    t.ok(sys.mknod(t.path("x"), 0o600), "mknod");
    t.equal(t.lstat(t.path("x")).type, S.IFREG, "type");
  });
}

function directories(add: Add): void {
  add("mkdir: set-group-ID is inherited and handed on", (t) => {
    t.directory("d", 0o2755);
    t.ok(sys.mkdir(t.path("d/e"), 0o700), "mkdir");
    t.ok(sys.mkdir(t.path("d/e/f"), 0o700), "mkdir");
    t.equal(t.lstat(t.path("d/e/f")).perm, 0o2700, "mode");
  });
  add("mkdir: the sticky bit of the mode is taken, set-user-ID is not", (t) => {
    t.withUmask(0, () => t.ok(sys.mkdir(t.path("d"), 0o1777), "mkdir"));
    t.equal(t.lstat(t.path("d")).perm, 0o1777, "mode");
  });
  add("mkdir and rmdir: the parent's link count follows its sub-directories", (t) => {
    t.directory("d");
    const start = t.lstat(t.path("d")).nlink;
    for (let i = 0; i < 5; i++) t.ok(sys.mkdir(t.path(`d/${i}`)), "mkdir");
    const counted = start > 1;
    t.equal(t.lstat(t.path("d")).nlink, counted ? start + 5 : 1, "link count");
    for (let i = 0; i < 5; i++) t.ok(sys.rmdir(t.path(`d/${i}`)), "rmdir");
    t.equal(t.lstat(t.path("d")).nlink, start, "link count");
  });
  add("rmdir: removes an empty directory", (t) => {
    t.directory("d");
    t.times([[t.dir, "mc"]], () => t.ok(sys.rmdir(t.path("d")), "rmdir"));
    t.errno(sys.lstat(t.path("d")), "ENOENT", "lstat");
  });
  for (const kind of KINDS) {
    const needs = needsOf(kind);
    add(`rmdir: ENOTEMPTY when it holds a ${kind}`, (t) => {
      t.make(kind, `${t.directory("d")}/x`);
      t.times([[t.dir, ""], [t.path("d"), ""]], () => {
        t.errno(sys.rmdir(t.path("d")), ["ENOTEMPTY", "EEXIST"], "rmdir");
      });
      t.ok(kind === "dir" ? sys.rmdir(t.path("d/x")) : sys.unlink(t.path("d/x")), "remove");
      t.ok(sys.rmdir(t.path("d")), "rmdir");
    }, ...needs);
    if (kind === "dir") continue;
    add(`rmdir: ENOTDIR on a ${kind}`, (t) => {
      t.make(kind, t.path("x"));
      t.times([[t.dir, ""], [t.path("x"), ""]], () => {
        t.errno(sys.rmdir(t.path("x")), "ENOTDIR", "rmdir");
      });
    }, ...needs);
  }
  add("rmdir: ENOTDIR on a symbolic link to a directory", (t) => {
    t.directory("d");
    t.ok(sys.symlink("d", t.path("x")), "symlink");
    t.errno(sys.rmdir(t.path("x")), "ENOTDIR", "rmdir");
  });
  add('rmdir: EINVAL for ".", ENOTEMPTY for ".."', (t) => {
    t.directory("d");
    t.errno(sys.rmdir(t.path("d/.")), "EINVAL", "rmdir .");
    t.errno(sys.rmdir(t.path("d/..")), ["ENOTEMPTY", "EEXIST"], "rmdir ..");
  });
  add("rmdir: an open directory lives on, empty and without names", (t) => {
    const fd = t.open(t.directory("d"), O.RDONLY | O.DIRECTORY);
    t.ok(sys.rmdir(t.path("d")), "rmdir");
    t.equal(t.fstat(fd).nlink, 0, "link count");
    t.errno(sys.openat(fd, "x", O.CREAT | O.WRONLY, 0o644), "ENOENT", "create in it");
    t.errno(sys.mkdirat(fd, "x", 0o755), "ENOENT", "mkdir in it");
    const names = sys.getdents(fd);
    t.that(typeof names === "number" || names.length <= 2, "entries are left");
  });
}

/** Adds the family. */
export function nodesChecks(add: Add): void {
  for (const creator of CREATORS) newFiles(add, creator);
  deviceNumbers(add);
  directories(add);
}
