/**
 * rename(2) and renameat2(2): every kind onto every kind, the flags, and the sticky bit.
 *
 * @module
 */

import type { Add } from "../check.ts";
import { type ErrnoName, O, RENAME, S } from "../linux_constants.ts";
import { ALICE, BOB, type Credentials, type Kind, KINDS, TYPE_BITS } from "../scope.ts";
import { sys } from "../system_calls.ts";
import { needsOf } from "./nodes.ts";

function outcome(from: Kind, to: Kind): ErrnoName | undefined {
  if (from === "dir" && to !== "dir") return "ENOTDIR";
  if (from !== "dir" && to === "dir") return "EISDIR";
  return undefined;
}

function matrix(add: Add): void {
  for (const from of KINDS) {
    const needs = needsOf(from);
    add(`rename: a ${from} to another directory`, (t) => {
      t.directory("d");
      t.directory("e");
      t.make(from, t.path("d/x"), 0o755);
      const { ino } = t.lstat(t.path("d/x"));
      t.times([[t.path("d"), "mc"], [t.path("e"), "mc"], [t.dir, ""]], () => {
        t.ok(sys.rename(t.path("d/x"), t.path("e/y")), "rename");
      });
      t.equal(t.lstat(t.path("e/y")).ino, ino, "inode");
      t.errno(sys.lstat(t.path("d/x")), "ENOENT", "lstat");
      if (from === "dir") t.equal(t.lstat(t.path("e/y/..")).ino, t.lstat(t.path("e")).ino, "..");
    }, ...needs);
    add(`rename: a ${from} onto itself does nothing`, (t) => {
      t.make(from, t.path("x"));
      t.times([[t.dir, ""], [t.path("x"), ""]], () => {
        t.ok(sys.rename(t.path("x"), t.path("x")), "rename");
      });
    }, ...needs);
    if (from !== "dir") {
      add(`rename: a ${from} onto another name of itself leaves both`, (t) => {
        t.make(from, t.path("x"));
        t.ok(sys.link(t.path("x"), t.path("y")), "link");
        t.ok(sys.rename(t.path("x"), t.path("y")), "rename");
        t.equal(t.lstat(t.path("x")).nlink, 2, "link count");
        t.equal(t.lstat(t.path("y")).nlink, 2, "link count");
      }, ...needs);
      add(`rename: replacing one name of a ${from} takes one from its link count`, (t) => {
        t.make(from, t.path("x"));
        t.ok(sys.link(t.path("x"), t.path("keep")), "link");
        t.file("new");
        t.times(
          [[t.path("keep"), "c"]],
          () => t.ok(sys.rename(t.path("new"), t.path("x")), "rename"),
        );
        t.equal(t.lstat(t.path("keep")).nlink, 1, "link count");
      }, ...needs);
    }
    add(`rename NOREPLACE: a ${from} to a new name`, (t) => {
      t.make(from, t.path("x"));
      t.ok(sys.renameat2(t.path("x"), t.path("y"), RENAME.NOREPLACE), "renameat2");
      t.equal(t.lstat(t.path("y")).type, TYPE_BITS[from], "type");
    }, ...needs);
    add(
      `rename EXCHANGE: ENOENT when a ${from} has no counterpart`,
      (t) => {
        t.make(from, t.path("x"));
        t.errno(sys.renameat2(t.path("x"), t.path("y"), RENAME.EXCHANGE), "ENOENT", "renameat2");
      },
      "exchange",
      ...needs,
    );
    add(
      `rename WHITEOUT: a ${from} leaves a 0:0 character device`,
      (t) => {
        t.make(from, t.path("x"));
        t.ok(sys.renameat2(t.path("x"), t.path("y"), RENAME.WHITEOUT), "renameat2");
        const stat = t.lstat(t.path("x"));
        t.equal(stat.type, S.IFCHR, "type");
        t.equal(`${stat.rdevMajor}:${stat.rdevMinor}`, "0:0", "rdev");
        t.equal(t.lstat(t.path("y")).type, TYPE_BITS[from], "type");
      },
      "whiteout",
      "root",
      ...needs,
    );
    for (const to of KINDS) {
      const both = [...needs, ...needsOf(to)];
      const expected = outcome(from, to);
      add(`rename: a ${from} over a ${to} ${expected ?? "replaces it"}`, (t) => {
        t.make(from, t.path("x"));
        t.make(to, t.path("y"));
        const x = t.lstat(t.path("x")), y = t.lstat(t.path("y"));
        if (expected !== undefined) {
          t.times([[t.dir, ""], [t.path("x"), ""], [t.path("y"), ""]], () => {
            t.errno(sys.rename(t.path("x"), t.path("y")), expected, "rename");
          });
          t.equal(t.lstat(t.path("y")).ino, y.ino, "inode");
        } else {
          t.times([[t.dir, "mc"]], () => t.ok(sys.rename(t.path("x"), t.path("y")), "rename"));
          t.equal(t.lstat(t.path("y")).ino, x.ino, "inode");
          t.errno(sys.lstat(t.path("x")), "ENOENT", "lstat");
        }
      }, ...both);
      add(`rename NOREPLACE: EEXIST for a ${from} over a ${to}`, (t) => {
        t.make(from, t.path("x"));
        t.make(to, t.path("y"));
        t.times([[t.dir, ""], [t.path("x"), ""], [t.path("y"), ""]], () => {
          t.errno(sys.renameat2(t.path("x"), t.path("y"), RENAME.NOREPLACE), "EEXIST", "renameat2");
        });
      }, ...both);
      add(
        `rename EXCHANGE: a ${from} and a ${to} change places`,
        (t) => {
          t.directory("d");
          t.directory("e");
          t.make(from, t.path("d/x"));
          t.make(to, t.path("e/y"));
          const x = t.lstat(t.path("d/x")), y = t.lstat(t.path("e/y"));
          t.times([[t.path("d"), "mc"], [t.path("e"), "mc"]], () => {
            t.ok(sys.renameat2(t.path("d/x"), t.path("e/y"), RENAME.EXCHANGE), "renameat2");
          });
          t.equal(t.lstat(t.path("d/x")).ino, y.ino, "inode");
          t.equal(t.lstat(t.path("e/y")).ino, x.ino, "inode");
          t.equal(t.lstat(t.path("d/x")).type, TYPE_BITS[to], "type");
        },
        "exchange",
        ...both,
      );
    }
  }
}

function trees(add: Add): void {
  for (const kind of KINDS) {
    add(`rename: ENOTEMPTY over a directory that holds a ${kind}`, (t) => {
      t.directory("x");
      t.make(kind, `${t.directory("y")}/z`);
      t.times([[t.dir, ""], [t.path("x"), ""], [t.path("y"), ""]], () => {
        t.errno(sys.rename(t.path("x"), t.path("y")), ["ENOTEMPTY", "EEXIST"], "rename");
      });
    }, ...needsOf(kind));
    add(`rename: a directory takes its ${kind} along`, (t) => {
      t.make(kind, `${t.directory("x")}/z`);
      const { ino } = t.lstat(t.path("x/z"));
      t.ok(sys.rename(t.path("x"), t.path("y")), "rename");
      t.equal(t.lstat(t.path("y/z")).ino, ino, "inode");
      t.errno(sys.lstat(t.path("x/z")), "ENOENT", "lstat");
    }, ...needsOf(kind));
  }
  for (const flags of [0, RENAME.NOREPLACE]) {
    add(`rename flags ${flags}: EINVAL into its own sub-directory`, (t) => {
      t.directory("x");
      t.directory("x/y");
      t.directory("x/y/z");
      t.errno(sys.renameat2(t.path("x"), t.path("x/new"), flags), "EINVAL", "one down");
      t.errno(sys.renameat2(t.path("x"), t.path("x/y/z/new"), flags), "EINVAL", "three down");
    });
  }
  add("rename: ENOTEMPTY or EINVAL onto its own ancestor", (t) => {
    t.directory("x");
    t.directory("x/y");
    t.errno(sys.rename(t.path("x/y"), t.path("x")), ["ENOTEMPTY", "EEXIST"], "rename");
    t.errno(sys.renameat2(t.path("x/y"), t.path("x"), RENAME.EXCHANGE), "EINVAL", "exchange");
  });
  for (const dots of [".", ".."]) {
    add(`rename: EBUSY or EINVAL with ${dots}`, (t) => {
      t.directory("d");
      t.errno(sys.rename(t.path(`d/${dots}`), t.path("e")), ["EBUSY", "EINVAL"], "from");
      t.errno(sys.rename(t.path("d"), t.path(`d/${dots}`)), ["EBUSY", "EINVAL"], "to");
    });
  }
  for (const flags of [RENAME.NOREPLACE | RENAME.EXCHANGE, RENAME.EXCHANGE | RENAME.WHITEOUT, 64]) {
    add(`rename flags ${flags}: EINVAL`, (t) => {
      t.file("x");
      t.file("y");
      t.errno(sys.renameat2(t.path("x"), t.path("y"), flags), "EINVAL", "renameat2");
    });
  }
  add("rename: sub-directories are counted in their new parent", (t) => {
    t.directory("d");
    t.directory("e");
    t.directory("d/x");
    const d = t.lstat(t.path("d")).nlink, e = t.lstat(t.path("e")).nlink;
    t.ok(sys.rename(t.path("d/x"), t.path("e/x")), "rename");
    if (d === 1) return; // This file system does not count sub-directories.
    t.equal(t.lstat(t.path("d")).nlink, d - 1, "link count of the old parent");
    t.equal(t.lstat(t.path("e")).nlink, e + 1, "link count of the new parent");
  });
  add("rename: an open file that is replaced lives on", (t) => {
    const fd = t.open(t.file("y"), O.RDWR);
    t.file("x");
    t.ok(sys.rename(t.path("x"), t.path("y")), "rename");
    t.equal(t.fstat(fd).nlink, 0, "link count");
    t.equal(t.text(sys.pread(fd, 100, 0)), "content", "content");
    t.ok(sys.pwrite(fd, "changed", 0), "pwrite");
    t.equal(t.content(t.path("y")), "content", "the new file");
  });
  add("rename: an open file follows its new name", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.ok(sys.rename(t.path("x"), t.path("y")), "rename");
    t.ok(sys.pwrite(fd, "changed", 0), "pwrite");
    t.equal(t.content(t.path("y")), "changed", "content");
  });
  add("rename: a symbolic link is moved, not followed", (t) => {
    t.file("x");
    t.ok(sys.symlink("x", t.path("s")), "symlink");
    t.file("y");
    t.ok(sys.rename(t.path("s"), t.path("y")), "rename");
    t.equal(sys.readlink(t.path("y")), "x", "readlink");
    t.file("z");
    t.ok(sys.rename(t.path("z"), t.path("y")), "rename");
    t.equal(t.lstat(t.path("y")).type, S.IFREG, "type");
    t.equal(t.content(t.path("x")), "content", "content of the target");
  });
  add("rename: 200 times back and forth loses nothing", (t) => {
    t.file("x");
    t.directory("d");
    const { ino } = t.lstat(t.path("x"));
    for (let i = 0; i < 200; i++) {
      t.ok(sys.rename(t.path("x"), t.path("d/y")), "rename");
      t.ok(sys.rename(t.path("d/y"), t.path("x")), "rename back");
    }
    t.equal(t.lstat(t.path("x")).ino, ino, "inode");
    t.equal(t.names(t.path("d")).length, 0, "leftovers");
  });
  add("rename: EACCES for a foreign directory to another parent without w on it", (t) => {
    t.directory("d", 0o777);
    t.directory("e", 0o777);
    t.directory("d/x", 0o755, BOB);
    t.as(ALICE, () => {
      t.errno(sys.rename(t.path("d/x"), t.path("e/x")), "EACCES", "to another parent");
      t.ok(sys.rename(t.path("d/x"), t.path("d/y")), "within the parent");
    });
  }, "root");
}

const ROOT: Credentials = { uid: 0, gid: 0, groups: [] };

/** A sticky directory: only the owner of the file or of the directory may take entries away. */
function sticky(add: Add): void {
  const users: readonly (readonly [string, Credentials])[] = [
    ["the caller", ALICE],
    ["another", BOB],
    ["root", ROOT],
  ];
  for (const kind of KINDS) {
    for (const [dirOwnerName, dirOwner] of users) {
      for (const [ownerName, owner] of users) {
        const allowed = dirOwner === ALICE || owner === ALICE;
        const of = `a ${kind} of ${ownerName} in a sticky directory of ${dirOwnerName}`;
        const verdict = allowed ? "allowed" : "EPERM";
        const needs = ["root", ...needsOf(kind)] as const;
        add(`sticky remove: ${verdict}, ${of}`, (t) => {
          const path = t.make(kind, `${t.directory("d", 0o1777, dirOwner)}/x`, 0o666, owner);
          const remove = () => kind === "dir" ? sys.rmdir(path) : sys.unlink(path);
          if (allowed) t.ok(t.as(ALICE, remove), "remove");
          else t.times([[t.path("d"), ""]], () => t.errno(t.as(ALICE, remove), "EPERM", "remove"));
        }, ...needs);
        add(`sticky rename away: ${verdict}, ${of}`, (t) => {
          const path = t.make(kind, `${t.directory("d", 0o1777, dirOwner)}/x`, 0o777, owner);
          const result = t.as(ALICE, () => sys.rename(path, t.path("d/y")));
          if (allowed) t.ok(result, "rename");
          else t.errno(result, "EPERM", "rename");
          const out = t.as(
            ALICE,
            () => sys.rename(t.path(`d/${allowed ? "y" : "x"}`), t.path("z")),
          );
          if (allowed) t.ok(out, "rename to another directory");
          else t.errno(out, "EPERM", "rename to another directory");
        }, ...needs);
        add(`sticky rename onto: ${verdict}, ${of}`, (t) => {
          const path = t.make(kind, `${t.directory("d", 0o1777, dirOwner)}/x`, 0o666, owner);
          t.make(kind === "dir" ? "dir" : "regular", t.path("new"), 0o777, ALICE);
          const result = t.as(ALICE, () => sys.rename(t.path("new"), path));
          if (allowed) t.ok(result, "rename");
          else t.errno(result, "EPERM", "rename");
        }, ...needs);
      }
    }
    add(
      `sticky: without the bit a foreign ${kind} may be removed`,
      (t) => {
        const path = t.make(kind, `${t.directory("d", 0o777, BOB)}/x`, 0o600, BOB);
        t.as(ALICE, () => t.ok(kind === "dir" ? sys.rmdir(path) : sys.unlink(path), "remove"));
      },
      "root",
      ...needsOf(kind),
    );
  }
}

/** Adds the family. */
export function renamesChecks(add: Add): void {
  matrix(add);
  trees(add);
  sticky(add);
}
