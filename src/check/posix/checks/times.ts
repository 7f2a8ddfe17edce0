/**
 * Timestamps: utimensat and which calls move which time.
 *
 * @module
 */

import type { Add } from "../check.ts";
import { AT, type ErrnoName, O, UTIME } from "../linux_constants.ts";
import { ALICE, BOB, KINDS, type Scope } from "../scope.ts";
import { sys, type TimeSpec } from "../system_calls.ts";
import { needsOf } from "./nodes.ts";

const SECOND = 1_000_000_000n;
const NOW: TimeSpec = [0, UTIME.NOW];
const OMIT: TimeSpec = [0, UTIME.OMIT];

const MOMENTS: readonly (readonly [string, number, number])[] = [
  ["the epoch", 0, 0],
  ["a nanosecond later", 0, 1],
  ["999999999 ns", 1, 999_999_999],
  ["2001", 1_000_000_000, 123_456_789],
  ["the last of 31 bits", 2 ** 31 - 1, 5],
  ["2038", 2 ** 31, 7],
  ["the last of 32 bits", 2 ** 32 - 1, 9],
  ["2106", 2 ** 32, 11],
  ["2400", 13_569_465_600, 13],
];

const OLD_MOMENTS: readonly (readonly [string, number, number])[] = [
  ["a second before the epoch", -1, 0],
  ["a nanosecond before the epoch", -1, 999_999_999],
  ["1969", -86_400, 500],
  ["1901", -(2 ** 31) + 1, 3],
];

function setting(add: Add): void {
  for (const [list, needs] of [[MOMENTS, []], [OLD_MOMENTS, ["old-times"]]] as const) {
    for (const [name, seconds, nanoseconds] of list) {
      for (const kind of KINDS) {
        add(
          `utimensat: ${name} on a ${kind}`,
          (t) => {
            t.make(kind, t.path("x"));
            const time = BigInt(seconds) * SECOND + BigInt(nanoseconds);
            const times = [[seconds, nanoseconds], [seconds, nanoseconds]] as const;
            t.tick();
            const { ctime } = t.lstat(t.path("x"));
            t.ok(sys.utimensat(t.path("x"), times, AT.SYMLINK_NOFOLLOW), "utimensat");
            const stat = t.lstat(t.path("x"));
            t.equal(stat.atime, time, "atime");
            t.equal(stat.mtime, time, "mtime");
            t.that(stat.ctime > ctime, "ctime did not move on");
          },
          ...needs,
          ...needsOf(kind),
        );
      }
    }
  }
  for (const kind of KINDS) {
    const needs = needsOf(kind);
    const x = (t: Scope) => t.make(kind, t.path("x"));
    const set = (t: Scope, atime: TimeSpec, mtime: TimeSpec) =>
      t.ok(sys.utimensat(t.path("x"), [atime, mtime], AT.SYMLINK_NOFOLLOW), "utimensat");
    add(`utimensat: atime and mtime of a ${kind} are set apart`, (t) => {
      x(t);
      set(t, [10, 20], [30, 40]);
      const stat = t.lstat(t.path("x"));
      t.equal(stat.atime, 10n * SECOND + 20n, "atime");
      t.equal(stat.mtime, 30n * SECOND + 40n, "mtime");
    }, ...needs);
    add(`utimensat: UTIME_OMIT leaves one time of a ${kind}`, (t) => {
      x(t);
      set(t, [10, 20], [30, 40]);
      t.times([[t.path("x"), "ac"]], () => set(t, [50, 60], OMIT));
      t.times([[t.path("x"), "mc"]], () => set(t, OMIT, [70, 80]));
    }, ...needs);
    add(`utimensat: UTIME_NOW on one time of a ${kind}`, (t) => {
      x(t);
      set(t, [10, 20], [30, 40]);
      t.times([[t.path("x"), "mc"]], () => set(t, OMIT, NOW));
      t.times([[t.path("x"), "ac"]], () => set(t, NOW, OMIT));
      t.that(t.lstat(t.path("x")).atime > 1_600_000_000n * SECOND, "atime is not now");
    }, ...needs);
    add(`utimensat: no times means now on a ${kind}`, (t) => {
      x(t);
      t.times([[t.path("x"), "amc"]], () => {
        t.ok(sys.utimensat(t.path("x"), null, AT.SYMLINK_NOFOLLOW), "utimensat");
      });
      const stat = t.lstat(t.path("x"));
      const apart = stat.atime - stat.mtime;
      // A network file system may stamp one here and the other there.
      t.that(apart < 60n * SECOND && apart > -60n * SECOND, `atime is ${apart} ns off mtime`);
    }, ...needs);
    add(`utimensat: twice UTIME_OMIT changes nothing of a ${kind}`, (t) => {
      x(t);
      t.times([[t.path("x"), ""]], () => set(t, OMIT, OMIT));
    }, ...needs);
    if (kind === "symlink") continue;
    add(`utimensat: follows a symbolic link to a ${kind}`, (t) => {
      x(t);
      t.ok(sys.symlink("x", t.path("s")), "symlink");
      const link = t.lstat(t.path("s"));
      t.ok(sys.utimensat(t.path("s"), [[10, 20], [30, 40]]), "utimensat");
      t.equal(t.lstat(t.path("x")).mtime, 30n * SECOND + 40n, "mtime");
      t.equal(t.lstat(t.path("s")).mtime, link.mtime, "mtime of the link");
    }, ...needs);
  }
}

function permission(add: Add): void {
  const given: readonly [TimeSpec, TimeSpec] = [[1, 2], [3, 4]];
  const cases: readonly (readonly [
    string,
    number,
    typeof ALICE,
    readonly [TimeSpec, TimeSpec] | null,
    ErrnoName | undefined,
  ])[] = [
    ["the owner may set given times", 0o000, ALICE, given, undefined],
    ["the owner may set now", 0o000, ALICE, null, undefined],
    ["a writer may set now", 0o666, BOB, null, undefined],
    ["a writer may set UTIME_NOW twice", 0o666, BOB, [NOW, NOW], undefined],
    ["EPERM for a writer with given times", 0o666, BOB, given, "EPERM"],
    ["EPERM for a writer with UTIME_NOW and UTIME_OMIT", 0o666, BOB, [NOW, OMIT], "EPERM"],
    ["EPERM for a writer with UTIME_OMIT and a time", 0o666, BOB, [OMIT, [3, 4]], "EPERM"],
    ["EACCES for a reader with now", 0o644, BOB, null, "EACCES"],
    ["EACCES for a reader with UTIME_NOW twice", 0o644, BOB, [NOW, NOW], "EACCES"],
    ["EPERM for a reader with given times", 0o644, BOB, given, "EPERM"],
    ["anyone may omit both", 0o600, BOB, [OMIT, OMIT], undefined],
  ];
  for (const kind of KINDS.filter((k) => k !== "symlink")) {
    for (const [what, mode, caller, times, expected] of cases) {
      add(
        `utimensat: ${what}, on a ${kind}`,
        (t) => {
          t.make(kind, t.path("x"), mode, ALICE);
          const call = () => t.as(caller, () => sys.utimensat(t.path("x"), times));
          if (expected === undefined) t.ok(call(), "utimensat");
          else t.times([[t.path("x"), ""]], () => t.errno(call(), expected, "utimensat"));
        },
        "root",
        ...needsOf(kind),
      );
    }
  }
  for (const nanoseconds of [-1, 1_000_000_000, 0x40000000]) {
    add(`utimensat: EINVAL for ${nanoseconds} ns`, (t) => {
      t.file("x");
      t.times([[t.path("x"), ""]], () => {
        t.errno(sys.utimensat(t.path("x"), [[1, nanoseconds], [1, 1]]), "EINVAL", "atime");
        t.errno(sys.utimensat(t.path("x"), [[1, 1], [1, nanoseconds]]), "EINVAL", "mtime");
      });
    });
  }
  add("futimens: through an fd, also after unlink", (t) => {
    const fd = t.open(t.file("x"), O.RDONLY);
    t.ok(sys.unlink(t.path("x")), "unlink");
    t.ok(sys.futimens(fd, [[10, 20], [30, 40]]), "futimens");
    t.equal(t.fstat(fd).mtime, 30n * SECOND + 40n, "mtime");
    t.times([[fd, "mc"]], () => t.ok(sys.futimens(fd, [OMIT, NOW]), "futimens"));
  });
}

function moving(add: Add): void {
  const open = (t: Scope, flags: number) => t.open(t.path("x"), flags);
  add("times: write moves mtime and ctime", (t) => {
    t.file("x");
    const fd = open(t, O.RDWR);
    t.times([[t.path("x"), "mc"], [t.dir, ""]], () => t.ok(sys.pwrite(fd, "z", 0), "pwrite"));
  });
  add("times: write of nothing moves nothing", (t) => {
    t.file("x");
    const fd = open(t, O.RDWR);
    t.times([[t.path("x"), ""]], () => t.ok(sys.write(fd, ""), "write"));
  });
  add("times: appending moves mtime and ctime", (t) => {
    t.file("x");
    const fd = open(t, O.WRONLY | O.APPEND);
    t.times([[fd, "mc"]], () => t.ok(sys.write(fd, "more"), "write"));
  });
  add("times: a write that was made keeps its time over close, fsync and a new open", (t) => {
    t.file("x");
    const fd = open(t, O.RDWR);
    t.tick();
    t.ok(sys.pwrite(fd, "z", 0), "pwrite");
    const { mtime } = t.fstat(fd);
    t.tick();
    t.ok(sys.fsync(fd), "fsync");
    t.close(fd);
    t.equal(t.lstat(t.path("x")).mtime, mtime, "mtime after close");
    t.equal(t.fstat(open(t, O.RDONLY)).mtime, mtime, "mtime after open");
  });
  add("times: mtime set by hand survives a close after writing", (t) => {
    t.file("x");
    const fd = open(t, O.RDWR);
    t.ok(sys.pwrite(fd, "z", 0), "pwrite");
    t.ok(sys.futimens(fd, [[10, 20], [30, 40]]), "futimens");
    t.close(fd);
    t.equal(t.lstat(t.path("x")).mtime, 30n * SECOND + 40n, "mtime");
  });
  add("times: reading moves neither mtime nor ctime", (t) => {
    t.file("x");
    const before = t.lstat(t.path("x"));
    t.tick();
    t.content(t.path("x"));
    const after = t.lstat(t.path("x"));
    t.equal(after.mtime, before.mtime, "mtime");
    t.equal(after.ctime, before.ctime, "ctime");
    t.that(after.atime >= before.atime, "atime went back");
  });
  add("times: listing a directory moves neither mtime nor ctime", (t) => {
    t.file("x");
    const before = t.lstat(t.dir);
    t.tick();
    t.names(t.dir);
    t.equal(t.lstat(t.dir).mtime, before.mtime, "mtime");
    t.equal(t.lstat(t.dir).ctime, before.ctime, "ctime");
  });
  add("times: open, stat, access and close move nothing", (t) => {
    t.file("x");
    t.times([[t.path("x"), ""], [t.dir, ""]], () => {
      t.close(open(t, O.RDWR));
      t.close(open(t, O.WRONLY | O.CREAT));
      t.stat(t.path("x"));
      t.ok(sys.access(t.path("x"), 4), "access");
    });
  });
  add("times: O_TRUNC moves mtime and ctime of the file only", (t) => {
    t.file("x");
    t.times([[t.path("x"), "mc"], [t.dir, ""]], () => t.close(open(t, O.WRONLY | O.TRUNC)));
  });
  add("times: O_CREAT of a new file moves the directory's", (t) => {
    t.times([[t.dir, "mc"]], () => t.close(open(t, O.WRONLY | O.CREAT)));
  });
  add("times: fallocate that grows moves mtime and ctime", (t) => {
    t.file("x");
    const fd = open(t, O.RDWR);
    t.times([[fd, "mc"]], () => t.ok(sys.fallocate(fd, 0, 0, 9000), "fallocate"));
  });
  add("times: copy_file_range moves mtime and ctime of the target only", (t) => {
    const source = t.open(t.file("s"), O.RDWR);
    t.file("x");
    const fd = open(t, O.RDWR);
    const before = t.fstat(source);
    t.times([[fd, "mc"]], () => t.ok(sys.copyFileRange(source, 0, fd, 0, 7), "copy"));
    t.equal(t.fstat(source).mtime, before.mtime, "mtime of the source");
  });
  add("times: setxattr moves ctime only", (t) => {
    t.file("x");
    t.times([[t.path("x"), "c"]], () => t.ok(sys.setxattr(t.path("x"), "user.a", "1"), "setxattr"));
    t.times([[t.path("x"), "c"]], () => t.ok(sys.removexattr(t.path("x"), "user.a"), "remove"));
  }, "xattr");
}

/** Adds the family. */
export function timesChecks(add: Add): void {
  setting(add);
  permission(add);
  moving(add);
}
