/**
 * Hard links, unlink, symbolic links.
 *
 * @module
 */

import type { Add } from "../check.ts";
import { AT, O, S } from "../linux_constants.ts";
import { ALICE, KINDS, TEAM, TYPE_BITS } from "../scope.ts";
import { sys } from "../system_calls.ts";
import { existing, needsOf } from "./nodes.ts";

function unlinking(add: Add): void {
  for (const kind of KINDS) {
    const needs = needsOf(kind);
    if (kind === "dir") {
      add("unlink: EISDIR on a directory", (t) => {
        t.directory("d");
        t.times([[t.dir, ""], [t.path("d"), ""]], () => {
          t.errno(sys.unlink(t.path("d")), ["EISDIR", "EPERM"], "unlink");
        });
      });
      add("link: EPERM on a directory", (t) => {
        t.directory("d");
        t.times([[t.dir, ""], [t.path("d"), ""]], () => {
          t.errno(sys.link(t.path("d"), t.path("e")), "EPERM", "link");
        });
      });
      continue;
    }
    add(`unlink: removes a ${kind} and moves the directory's times`, (t) => {
      t.make(kind, t.path("x"));
      t.times([[t.dir, "mc"]], () => t.ok(sys.unlink(t.path("x")), "unlink"));
      t.errno(sys.lstat(t.path("x")), "ENOENT", "lstat");
      t.errno(sys.unlink(t.path("x")), "ENOENT", "unlink again");
    }, ...needs);
    add(`unlink: a ${kind} with another name keeps it, its ctime moves`, (t) => {
      t.make(kind, t.path("x"));
      t.ok(sys.link(t.path("x"), t.path("y")), "link");
      t.times([[t.path("y"), "c"], [t.dir, "mc"]], () => t.ok(sys.unlink(t.path("x")), "unlink"));
      t.equal(t.lstat(t.path("y")).nlink, 1, "link count");
    }, ...needs);
    add(`link: a second name for a ${kind}`, (t) => {
      t.make(kind, t.path("x"));
      t.directory("d");
      t.times([[t.path("x"), "c"], [t.path("d"), "mc"], [t.dir, ""]], () => {
        t.ok(sys.link(t.path("x"), t.path("d/y")), "link");
      });
      const x = t.lstat(t.path("x")), y = t.lstat(t.path("d/y"));
      t.equal(y.ino, x.ino, "inode");
      t.equal(x.nlink, 2, "link count of the first");
      t.equal(y.nlink, 2, "link count of the second");
      t.equal(y.type, TYPE_BITS[kind], "type");
    }, ...needs);
    add(
      `link: changes through one name of a ${kind} show through the other`,
      (t) => {
        if (kind === "symlink") {
          t.make(kind, t.path("x"));
        } else t.make(kind, t.path("x"), 0o600);
        t.ok(sys.link(t.path("x"), t.path("y")), "link");
        if (kind !== "symlink") t.ok(sys.chmod(t.path("y"), 0o651), "chmod");
        t.ok(sys.lchown(t.path("y"), ALICE.uid, TEAM), "lchown");
        const x = t.lstat(t.path("x"));
        if (kind !== "symlink") t.equal(x.perm, 0o651, "mode");
        t.equal(`${x.uid}:${x.gid}`, `${ALICE.uid}:${TEAM}`, "owner");
      },
      "root",
      ...needs,
    );
  }
  existing(add, "link", (path) => {
    // The source lies outside the watched directory: "<check>/d/x" has its source beside "d".
    const source = path.replace(/(\/posix-[^/]+\/\d+)\/.*/, "$1/source");
    const fd = sys.open(source, O.CREAT | O.WRONLY, 0o644);
    if (fd >= 0) sys.close(fd);
    return sys.link(source, path);
  }, []);
  add("link: 300 names of one file count up and down", (t) => {
    t.file("x");
    for (let i = 0; i < 300; i++) t.ok(sys.link(t.path("x"), t.path(`l${i}`)), "link");
    t.equal(t.lstat(t.path("l150")).nlink, 301, "link count");
    for (let i = 0; i < 300; i++) t.ok(sys.unlink(t.path(`l${i}`)), "unlink");
    t.equal(t.lstat(t.path("x")).nlink, 1, "link count");
  });
  add("linkat: AT_SYMLINK_FOLLOW links the target, 0 the link", (t) => {
    t.file("x");
    t.ok(sys.symlink("x", t.path("s")), "symlink");
    const { FDCWD, SYMLINK_FOLLOW } = AT;
    t.ok(sys.linkat(FDCWD, t.path("s"), FDCWD, t.path("a"), SYMLINK_FOLLOW), "linkat");
    t.ok(sys.linkat(FDCWD, t.path("s"), FDCWD, t.path("b"), 0), "linkat");
    t.equal(t.lstat(t.path("a")).type, S.IFREG, "type");
    t.equal(t.lstat(t.path("b")).type, S.IFLNK, "type");
  });
  add("linkat: AT_EMPTY_PATH gives an open file a second name", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.ok(sys.linkat(fd, "", AT.FDCWD, t.path("y"), AT.EMPTY_PATH), "linkat");
    t.equal(t.lstat(t.path("y")).ino, t.fstat(fd).ino, "inode");
  }, "root");
  add("linkat: /proc/self/fd with AT_SYMLINK_FOLLOW gives a second name", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    const from = `/proc/self/fd/${fd}`;
    t.ok(sys.linkat(AT.FDCWD, from, AT.FDCWD, t.path("y"), AT.SYMLINK_FOLLOW), "linkat");
    t.equal(t.lstat(t.path("y")).nlink, 2, "link count");
  }, "procfs");
  add("link: ENOENT for an unlinked open file", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.ok(sys.unlink(t.path("x")), "unlink");
    t.errno(sys.linkat(fd, "", AT.FDCWD, t.path("y"), AT.EMPTY_PATH), "ENOENT", "linkat");
  }, "root");
}

function symlinks(add: Add): void {
  const targets: readonly (readonly [string, string])[] = [
    ["one byte", "x"],
    ["59 bytes", "s".repeat(59)],
    ["60 bytes", "s".repeat(60)],
    ["1000 bytes", "long/".repeat(200)],
    ["4095 bytes", "t".repeat(4095)],
    ["UTF-8", "süß/日本語/🙂"],
    ["only slashes", "///"],
  ];
  for (const [what, target] of targets) {
    add(`symlink: a target of ${what} is kept`, (t) => {
      t.ok(sys.symlink(target, t.path("x")), "symlink");
      t.equal(sys.readlink(t.path("x"), 8192), target, "readlink");
      t.equal(t.lstat(t.path("x")).size, new TextEncoder().encode(target).length, "size");
    });
  }
  add("symlink: ENAMETOOLONG for a target of 4096 bytes", (t) => {
    t.errno(sys.symlink("t".repeat(4096), t.path("x")), "ENAMETOOLONG", "symlink");
  });
  add("symlink: ENOENT for an empty target", (t) => {
    t.errno(sys.symlink("", t.path("x")), "ENOENT", "symlink");
  });
  add("readlink: cuts a target to the buffer", (t) => {
    t.ok(sys.symlink("abcdef", t.path("x")), "symlink");
    t.equal(sys.readlink(t.path("x"), 3), "abc", "readlink");
  });
  for (const kind of KINDS.filter((k) => k !== "symlink")) {
    add(`readlink: EINVAL on a ${kind}`, (t) => {
      t.make(kind, t.path("x"));
      t.errno(sys.readlink(t.path("x")), "EINVAL", "readlink");
    }, ...needsOf(kind));
  }
  add("symlink: the mode is 777 whatever the umask", (t) => {
    t.withUmask(0o777, () => t.ok(sys.symlink("x", t.path("x")), "symlink"));
    t.equal(t.lstat(t.path("x")).perm, 0o777, "mode");
  });
}

/** Adds the family. */
export function linksChecks(add: Add): void {
  unlinking(add);
  symlinks(add);
}
