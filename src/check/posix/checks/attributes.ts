/**
 * chmod, chown, truncate and the clearing of set-id bits.
 *
 * @module
 */

import type { Add } from "../check.ts";
import { O } from "../linux_constants.ts";
import { ALICE, ALICE_IN_TEAM, BOB, KINDS, type Scope, TEAM } from "../scope.ts";
import { sys } from "../system_calls.ts";
import { needsOf } from "./nodes.ts";

const MODES = [0o0, 0o111, 0o222, 0o444, 0o644, 0o777, 0o1777, 0o2755, 0o4755, 0o7777];

/** The kinds that carry permission bits of their own. */
const WITH_MODE = KINDS.filter((kind) => kind !== "symlink");

function chmod(add: Add): void {
  for (const kind of WITH_MODE) {
    const needs = needsOf(kind);
    for (const mode of MODES) {
      add(
        `chmod: ${mode.toString(8)} on a ${kind}`,
        (t) => {
          t.make(kind, t.path("x"), 0o600);
          const { type } = t.lstat(t.path("x"));
          t.times([[t.path("x"), "c"], [t.dir, ""]], () => {
            t.ok(sys.chmod(t.path("x"), mode), "chmod");
          });
          t.equal(t.lstat(t.path("x")).mode, type | mode, "mode");
        },
        "root",
        ...needs,
      );
    }
    add(`chmod: a ${kind} through a symbolic link`, (t) => {
      t.make(kind, t.path("x"), 0o600);
      t.ok(sys.symlink("x", t.path("s")), "symlink");
      const link = t.lstat(t.path("s"));
      t.times([[t.path("x"), "c"]], () => t.ok(sys.chmod(t.path("s"), 0o641), "chmod"));
      t.equal(t.lstat(t.path("s")).ctime, link.ctime, "ctime of the link");
      t.equal(t.lstat(t.path("x")).perm, 0o641, "mode");
      t.equal(t.lstat(t.path("s")).perm, 0o777, "mode of the link");
    }, ...needs);
    add(
      `chmod: EPERM for a user who does not own the ${kind}`,
      (t) => {
        t.make(kind, t.path("x"), 0o666, { ...BOB, gid: ALICE.gid });
        t.times([[t.path("x"), ""]], () => {
          t.errno(t.as(ALICE, () => sys.chmod(t.path("x"), 0o777)), "EPERM", "chmod");
        });
        t.equal(t.lstat(t.path("x")).perm, 0o666, "mode");
      },
      "root",
      ...needs,
    );
    add(
      `chmod: the owner of a ${kind} may`,
      (t) => {
        t.make(kind, t.path("x"), 0o000, ALICE);
        t.as(ALICE, () => t.ok(sys.chmod(t.path("x"), 0o5711), "chmod"));
        t.equal(t.lstat(t.path("x")).perm, 0o5711, "mode");
      },
      "root",
      ...needs,
    );
    add(
      `chmod: set-group-ID on a ${kind} of a foreign group is dropped`,
      (t) => {
        t.make(kind, t.path("x"), 0o600, { ...ALICE, gid: TEAM });
        t.as(ALICE, () => t.ok(sys.chmod(t.path("x"), 0o2755), "chmod"));
        t.equal(t.lstat(t.path("x")).perm, 0o755, "mode");
      },
      "root",
      ...needs,
    );
    add(
      `chmod: set-group-ID on a ${kind} of a supplementary group stays`,
      (t) => {
        t.make(kind, t.path("x"), 0o600, { ...ALICE, gid: TEAM });
        t.as(ALICE_IN_TEAM, () => t.ok(sys.chmod(t.path("x"), 0o2755), "chmod"));
        t.equal(t.lstat(t.path("x")).perm, 0o2755, "mode");
      },
      "root",
      ...needs,
    );
  }
  add("fchmod: through an fd, also after unlink", (t) => {
    const fd = t.open(t.file("x"), O.RDONLY);
    t.times([[fd, "c"]], () => t.ok(sys.fchmod(fd, 0o604), "fchmod"));
    t.ok(sys.unlink(t.path("x")), "unlink");
    t.ok(sys.fchmod(fd, 0o640), "fchmod");
    t.equal(t.fstat(fd).perm, 0o640, "mode");
  });
  add("fchmod: on a directory", (t) => {
    const fd = t.open(t.directory("d"), O.RDONLY | O.DIRECTORY);
    t.ok(sys.fchmod(fd, 0o2701), "fchmod");
    t.equal(t.lstat(t.path("d")).perm, 0o2701, "mode");
  });
}

function chown(add: Add): void {
  for (const kind of KINDS) {
    const needs = ["root", ...needsOf(kind)] as const;
    const changes: readonly (readonly [string, number, number])[] = [
      ["both", 123, 456],
      ["the owner", 123, -1],
      ["the group", -1, 456],
      ["to a large id", 0x7ffffffe, 0xfffffff0],
    ];
    for (const [what, uid, gid] of changes) {
      add(`lchown: ${what} of a ${kind}`, (t) => {
        t.make(kind, t.path("x"), 0o644, ALICE);
        t.times([[t.path("x"), "c"], [t.dir, ""]], () => {
          t.ok(sys.lchown(t.path("x"), uid, gid), "lchown");
        });
        const stat = t.lstat(t.path("x"));
        t.equal(stat.uid, uid === -1 ? ALICE.uid : uid, "uid");
        t.equal(stat.gid, gid === -1 ? ALICE.gid : gid >>> 0, "gid");
      }, ...needs);
    }
    add(`lchown: -1 and -1 change nothing of a ${kind}`, (t) => {
      t.make(kind, t.path("x"), 0o644, ALICE);
      t.ok(sys.lchown(t.path("x"), -1, -1), "lchown");
      t.equal(t.lstat(t.path("x")).uid, ALICE.uid, "uid");
      t.equal(t.lstat(t.path("x")).gid, ALICE.gid, "gid");
    }, ...needs);
    const refused: readonly (readonly [string, number, number, number])[] = [
      ["EPERM for a user giving away", ALICE.uid, BOB.uid, -1],
      ["EPERM for a user taking", BOB.uid, ALICE.uid, -1],
      ["EPERM for a user with a group not their own", ALICE.uid, -1, TEAM],
      ["EPERM for a user with another's", BOB.uid, -1, ALICE.gid],
    ];
    for (const [what, owner, uid, gid] of refused) {
      add(`lchown: ${what} ${kind}`, (t) => {
        t.make(kind, t.path("x"), 0o644, { ...ALICE, uid: owner });
        t.times([[t.path("x"), ""]], () => {
          t.errno(t.as(ALICE, () => sys.lchown(t.path("x"), uid, gid)), "EPERM", "lchown");
        });
      }, ...needs);
    }
    add(`lchown: the owner of a ${kind} may choose a supplementary group`, (t) => {
      t.make(kind, t.path("x"), 0o644, ALICE);
      t.times([[t.path("x"), "c"]], () => {
        t.as(ALICE_IN_TEAM, () => t.ok(sys.lchown(t.path("x"), ALICE.uid, TEAM), "lchown"));
      });
      t.equal(t.lstat(t.path("x")).gid, TEAM, "gid");
    }, ...needs);
    if (kind === "symlink") continue;
    add(`chown: follows a symbolic link to a ${kind}`, (t) => {
      t.make(kind, t.path("x"));
      t.ok(sys.symlink("x", t.path("s")), "symlink");
      t.ok(sys.chown(t.path("s"), 123, 456), "chown");
      t.equal(t.lstat(t.path("x")).uid, 123, "uid");
      t.equal(t.lstat(t.path("s")).uid, 0, "uid of the link");
      t.ok(sys.lchown(t.path("s"), 7, 8), "lchown");
      t.equal(t.lstat(t.path("x")).uid, 123, "uid after lchown of the link");
      t.equal(t.lstat(t.path("s")).gid, 8, "gid of the link");
    }, ...needs);
  }
  add("fchown: through an fd, also after unlink", (t) => {
    const fd = t.open(t.file("x"), O.RDONLY);
    t.ok(sys.fchown(fd, 11, 12), "fchown");
    t.ok(sys.unlink(t.path("x")), "unlink");
    t.ok(sys.fchown(fd, 13, -1), "fchown");
    t.equal(`${t.fstat(fd).uid}:${t.fstat(fd).gid}`, "13:12", "owner");
  }, "root");
}

/** Who writes, the mode before, the mode that must be left. */
const SET_ID_MODES: readonly (readonly [number, number])[] = [
  [0o6777, 0o777],
  [0o4777, 0o777],
  [0o2777, 0o777],
  [0o4755, 0o755],
  [0o4666, 0o666],
  [0o1777, 0o1777],
];

function setIdBits(add: Add): void {
  const writes: readonly (readonly [string, (t: Scope, path: string) => number])[] = [
    ["write", (_, path) => {
      const fd = sys.open(path, O.WRONLY);
      if (fd < 0) return fd;
      const result = sys.write(fd, "x");
      sys.close(fd);
      return result;
    }],
    ["pwrite through an fd that was open before", (t, path) => {
      const fd = t.open(path, O.RDWR);
      t.ok(sys.chmod(path, sys.geteuid() === ALICE.uid ? t.lstat(path).perm : 0o777), "chmod");
      return sys.pwrite(fd, "x", 3);
    }],
    ["truncate", (_, path) => sys.truncate(path, 2)],
    ["ftruncate", (_, path) => {
      const fd = sys.open(path, O.WRONLY);
      if (fd < 0) return fd;
      const result = sys.ftruncate(fd, 2);
      sys.close(fd);
      return result;
    }],
    ["open with O_TRUNC", (_, path) => {
      const fd = sys.open(path, O.WRONLY | O.TRUNC);
      if (fd >= 0) sys.close(fd);
      return fd;
    }],
    ["fallocate", (_, path) => {
      const fd = sys.open(path, O.WRONLY);
      if (fd < 0) return fd;
      const result = sys.fallocate(fd, 0, 0, 100);
      sys.close(fd);
      return result;
    }],
  ];
  for (const [name, write] of writes) {
    for (const [before, after] of SET_ID_MODES) {
      const writers = [["the owner", ALICE], ...(before & 2 ? [["others", BOB]] as const : [])];
      for (const [who, owner] of writers as readonly (readonly [string, typeof ALICE])[]) {
        if (name.startsWith("pwrite") && who === "others") continue;
        add(`set-id: ${name} by ${who} makes ${before.toString(8)} ${after.toString(8)}`, (t) => {
          t.file("x", before, owner);
          t.as(ALICE, () => t.ok(write(t, t.path("x")), name));
          t.equal(t.lstat(t.path("x")).perm, after, "mode");
        }, "root");
      }
    }
  }
  for (const [name, write] of writes.filter(([name]) => !name.startsWith("pwrite"))) {
    add(`set-id: ${name} by root leaves the bits`, (t) => {
      t.file("x", 0o6755, ALICE);
      t.ok(write(t, t.path("x")), name);
      t.equal(t.lstat(t.path("x")).perm, 0o6755, "mode");
    }, "root");
  }
  for (const mode of [0o6777, 0o4755, 0o2755]) {
    add(`set-id: chown by the owner clears ${mode.toString(8)} of a regular file`, (t) => {
      t.file("x", mode, ALICE);
      t.as(ALICE_IN_TEAM, () => t.ok(sys.chown(t.path("x"), -1, TEAM), "chown"));
      t.equal(t.lstat(t.path("x")).perm, mode & 0o777, "mode");
    }, "root");
    add(`set-id: chown by root clears ${mode.toString(8)} of a regular file`, (t) => {
      t.file("x", mode, ALICE);
      t.ok(sys.chown(t.path("x"), BOB.uid, BOB.gid), "chown");
      t.equal(t.lstat(t.path("x")).perm, mode & 0o777, "mode");
    }, "root");
    add(`set-id: chown leaves ${mode.toString(8)} of a directory`, (t) => {
      t.directory("d", mode, ALICE);
      t.ok(sys.chown(t.path("d"), BOB.uid, BOB.gid), "chown");
      t.equal(t.lstat(t.path("d")).perm, mode, "mode");
    }, "root");
  }
  add("set-id: chown leaves set-group-ID where the group may not execute", (t) => {
    t.file("x", 0o2644, ALICE);
    t.ok(sys.chown(t.path("x"), BOB.uid, BOB.gid), "chown");
    t.equal(t.lstat(t.path("x")).perm, 0o2644, "mode");
  }, "root");
}

function truncate(add: Add): void {
  const sizes = [0, 1, 6, 7, 8, 4095, 4096, 4097, 1 << 20, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 5];
  for (const size of sizes) {
    for (const call of ["truncate", "ftruncate"] as const) {
      add(`${call}: to ${size} bytes`, (t) => {
        const fd = t.open(t.file("x"), O.RDWR);
        const cut = () => {
          const result = call === "truncate"
            ? sys.truncate(t.path("x"), size)
            : sys.ftruncate(fd, size);
          t.ok(result, call);
        };
        // truncate to the size a file has need not mark its times; ftruncate must.
        if (call === "truncate" && size === 7) cut();
        else t.times([[t.path("x"), "mc"], [t.dir, ""]], cut);
        t.equal(t.lstat(t.path("x")).size, size, "size");
        t.equal(t.fstat(fd).size, size, "size through the fd");
        t.equal(t.text(sys.pread(fd, 7, 0)), "content".slice(0, size), "content kept");
        if (size > 8) {
          const tail = t.text(sys.pread(fd, 16, Math.max(7, size - 4)));
          t.equal(tail, "\0".repeat(Math.min(4, size - 7)), "content added");
        }
      });
    }
  }
  add("truncate: what was cut off reads as zeros after growing again", (t) => {
    t.file("x");
    t.ok(sys.truncate(t.path("x"), 3), "shrink");
    t.ok(sys.truncate(t.path("x"), 7), "grow");
    t.equal(t.content(t.path("x")), "con\0\0\0\0", "content");
  });
  add("truncate: the same size moves mtime and ctime of ftruncate", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.times([[fd, "mc"]], () => t.ok(sys.ftruncate(fd, 0), "ftruncate"));
  });
  for (const kind of KINDS.filter((k) => k !== "regular" && k !== "symlink")) {
    const expected = kind === "dir" ? "EISDIR" : "EINVAL";
    add(`truncate: ${expected} on a ${kind}`, (t) => {
      t.make(kind, t.path("x"));
      t.times([[t.path("x"), ""]], () => {
        t.errno(sys.truncate(t.path("x"), 0), expected, "truncate");
      });
    }, ...needsOf(kind));
  }
  add("truncate: EINVAL for a negative size", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.errno(sys.truncate(t.path("x"), -1), "EINVAL", "truncate");
    t.errno(sys.ftruncate(fd, -1), "EINVAL", "ftruncate");
    t.equal(t.lstat(t.path("x")).size, 7, "size");
  });
  add("truncate: EACCES without write permission", (t) => {
    t.file("x", 0o644, BOB);
    t.times([[t.path("x"), ""]], () => {
      t.errno(t.as(ALICE, () => sys.truncate(t.path("x"), 0)), "EACCES", "truncate");
    });
    t.file("y", 0o466, ALICE);
    t.errno(t.as(ALICE, () => sys.truncate(t.path("y"), 0)), "EACCES", "truncate of one's own");
  }, "root");
  add("ftruncate: an fd open for writing needs no permission any more", (t) => {
    t.file("x", 0o600, ALICE);
    const fd = t.as(ALICE, () => t.open(t.path("x"), O.RDWR));
    t.ok(sys.chmod(t.path("x"), 0), "chmod");
    t.as(ALICE, () => t.ok(sys.ftruncate(fd, 2), "ftruncate"));
    t.equal(t.fstat(fd).size, 2, "size");
  }, "root");
  add("ftruncate: EINVAL through an fd open for reading", (t) => {
    const fd = t.open(t.file("x"), O.RDONLY);
    t.errno(sys.ftruncate(fd, 0), ["EINVAL", "EBADF"], "ftruncate");
    t.equal(t.fstat(fd).size, 7, "size");
  });
}

/** Adds the family. */
export function attributesChecks(add: Add): void {
  chmod(add);
  chown(add);
  setIdBits(add);
  truncate(add);
}
