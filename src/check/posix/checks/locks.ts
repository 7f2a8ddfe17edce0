/**
 * Locks: open file description locks and flock between two opens of one file. These conflict
 * within one process just as classic record locks do between two.
 *
 * @module
 */

import type { Add } from "../check.ts";
import { F, LOCK, O } from "../linux_constants.ts";
import { KINDS, type Scope } from "../scope.ts";
import { type LockRange, sys } from "../system_calls.ts";

const TYPES = [["read", F.RDLCK], ["write", F.WRLCK]] as const;

/** Two opens of one file. */
function pair(t: Scope): [number, number] {
  t.file("x");
  return [t.open(t.path("x"), O.RDWR), t.open(t.path("x"), O.RDWR)];
}

function lock(fd: number, type: number, start: number, length: number): number {
  return sys.fcntlLock(fd, F.OFD_SETLK, { type, start, length });
}

function blocker(t: Scope, fd: number, type: number, start: number, length: number): LockRange {
  return t.value(sys.getLock(fd, { type, start, length }), "F_OFD_GETLK");
}

const RANGES: readonly (readonly [string, number, number, boolean])[] = [
  ["the same range", 100, 50, true],
  ["a range around it", 50, 200, true],
  ["a range inside", 110, 10, true],
  ["the first byte", 0, 101, true],
  ["the last byte", 149, 10, true],
  ["to the end of the file", 149, 0, true],
  ["the whole file", 0, 0, true],
  ["the range before", 0, 100, false],
  ["the range behind", 150, 50, false],
  ["all behind", 150, 0, false],
  ["far away", 2 ** 40, 100, false],
];

function records(add: Add): void {
  for (const [heldName, held] of TYPES) {
    for (const [wantedName, wanted] of TYPES) {
      for (const [where, start, length, overlaps] of RANGES) {
        const conflicts = overlaps && (held === F.WRLCK || wanted === F.WRLCK);
        const verdict = conflicts ? "EAGAIN" : "granted";
        const claim = `${verdict} for ${wantedName} against ${heldName}, ${where}`;
        add(`record lock: ${claim}`, (t) => {
          const [a, b] = pair(t);
          t.ok(lock(a, held, 100, 50), "first lock");
          const found = blocker(t, b, wanted, start, length);
          t.equal(found.type, conflicts ? held : F.UNLCK, "type of the lock in the way");
          if (conflicts) t.equal(`${found.start}+${found.length}`, "100+50", "where it is");
          const result = lock(b, wanted, start, length);
          if (conflicts) t.errno(result, ["EAGAIN", "EACCES"], "second lock");
          else t.ok(result, "second lock");
          t.ok(lock(a, F.UNLCK, 0, 0), "unlock");
          t.ok(lock(b, wanted, start, length), "second lock after unlocking");
        }, "locks");
      }
    }
  }
  add("record lock: unlocking the middle leaves both ends", (t) => {
    const [a, b] = pair(t);
    t.ok(lock(a, F.WRLCK, 0, 300), "lock");
    t.ok(lock(a, F.UNLCK, 100, 100), "unlock");
    t.ok(lock(b, F.WRLCK, 100, 100), "the middle");
    t.errno(lock(b, F.WRLCK, 99, 1), "EAGAIN", "the first part");
    t.errno(lock(b, F.WRLCK, 200, 1), "EAGAIN", "the last part");
  }, "locks");
  add("record lock: a write lock over one's read lock replaces it, and back", (t) => {
    const [a, b] = pair(t);
    t.ok(lock(a, F.RDLCK, 0, 10), "read lock");
    t.ok(lock(b, F.RDLCK, 0, 10), "another's read lock");
    t.errno(lock(a, F.WRLCK, 0, 10), "EAGAIN", "upgrade");
    t.ok(lock(b, F.UNLCK, 0, 10), "unlock");
    t.ok(lock(a, F.WRLCK, 0, 10), "upgrade");
    t.errno(lock(b, F.RDLCK, 0, 10), "EAGAIN", "another's read lock");
    t.ok(lock(a, F.RDLCK, 0, 10), "downgrade");
    t.ok(lock(b, F.RDLCK, 0, 10), "another's read lock");
  }, "locks");
  add("record lock: closing the descriptor gives it back", (t) => {
    const [a, b] = pair(t);
    t.ok(lock(a, F.WRLCK, 0, 0), "lock");
    t.close(a);
    t.ok(lock(b, F.WRLCK, 0, 0), "lock");
  }, "locks");
  add("record lock: a dup keeps it after the first close", (t) => {
    const [a, b] = pair(t);
    const copy = t.adopt(sys.dup(a), "dup");
    t.ok(lock(a, F.WRLCK, 0, 0), "lock");
    t.close(a);
    t.errno(lock(b, F.WRLCK, 0, 0), "EAGAIN", "while the dup lives");
    t.close(copy);
    t.ok(lock(b, F.WRLCK, 0, 0), "after the last close");
  }, "locks");
  add("record lock: EBADF for a write lock on a reader and a read lock on a writer", (t) => {
    t.file("x");
    t.errno(lock(t.open(t.path("x"), O.RDONLY), F.WRLCK, 0, 0), "EBADF", "write lock");
    t.errno(lock(t.open(t.path("x"), O.WRONLY), F.RDLCK, 0, 0), "EBADF", "read lock");
  }, "locks");
  add("record lock: EINVAL for a range before the start", (t) => {
    const [a] = pair(t);
    t.errno(lock(a, F.RDLCK, -1, 5), "EINVAL", "start -1");
    t.errno(lock(a, F.RDLCK, 5, -6), "EINVAL", "length -6 at 5");
    t.ok(lock(a, F.RDLCK, 5, -5), "length -5 at 5");
  }, "locks");
  add("record lock: two files do not know each other", (t) => {
    const [a] = pair(t);
    t.file("y");
    t.ok(lock(a, F.WRLCK, 0, 0), "lock");
    t.ok(lock(t.open(t.path("y"), O.RDWR), F.WRLCK, 0, 0), "lock of another");
  }, "locks");
  add("record lock: holds through another name and after unlink", (t) => {
    const [a, b] = pair(t);
    t.ok(sys.link(t.path("x"), t.path("y")), "link");
    const c = t.open(t.path("y"), O.RDWR);
    t.ok(lock(a, F.WRLCK, 0, 0), "lock");
    t.errno(lock(c, F.WRLCK, 0, 0), "EAGAIN", "through the other name");
    t.ok(sys.unlink(t.path("x")), "unlink");
    t.errno(lock(b, F.WRLCK, 0, 0), "EAGAIN", "after unlink");
  }, "locks");
  add("record lock: of a process against one of an open file", (t) => {
    const [a, b] = pair(t);
    t.ok(sys.fcntlLock(a, F.SETLK, { type: F.WRLCK, start: 0, length: 10 }), "F_SETLK");
    t.ok(sys.fcntlLock(b, F.SETLK, { type: F.WRLCK, start: 5, length: 10 }), "F_SETLK again");
    t.errno(lock(b, F.WRLCK, 0, 10), "EAGAIN", "F_OFD_SETLK");
    t.close(b);
    const c = t.open(t.path("x"), O.RDWR);
    t.ok(lock(c, F.WRLCK, 0, 10), "after any close of the process");
  }, "locks");
  add("record lock: 200 pieces of one file", (t) => {
    const [a, b] = pair(t);
    for (let i = 0; i < 200; i++) t.ok(lock(i % 2 ? a : b, F.WRLCK, i * 10, 10), "lock");
    for (let i = 0; i < 200; i++) {
      t.errno(lock(i % 2 ? b : a, F.RDLCK, i * 10, 1), "EAGAIN", "lock");
    }
  }, "locks");
}

function whole(add: Add): void {
  const kinds = [["shared", LOCK.SH], ["exclusive", LOCK.EX]] as const;
  for (const [heldName, held] of kinds) {
    for (const [wantedName, wanted] of kinds) {
      const conflicts = held === LOCK.EX || wanted === LOCK.EX;
      const verdict = conflicts ? "EAGAIN" : "granted";
      for (const kind of KINDS.filter((k) => k === "regular" || k === "dir")) {
        add(`flock: ${verdict} for ${wantedName} against ${heldName} on a ${kind}`, (t) => {
          t.make(kind, t.path("x"));
          const a = t.open(t.path("x"), O.RDONLY), b = t.open(t.path("x"), O.RDONLY);
          t.ok(sys.flock(a, held), "first");
          const result = sys.flock(b, wanted | LOCK.NB);
          if (conflicts) t.errno(result, "EAGAIN", "second");
          else t.ok(result, "second");
          t.ok(sys.flock(a, LOCK.UN), "unlock");
          t.ok(sys.flock(b, wanted | LOCK.NB), "second after unlocking");
        }, "locks");
      }
    }
  }
  add("flock: closing gives it back, a dup keeps it", (t) => {
    const [a, b] = pair(t);
    const copy = t.adopt(sys.dup(a), "dup");
    t.ok(sys.flock(a, LOCK.EX), "lock");
    t.close(a);
    t.errno(sys.flock(b, LOCK.SH | LOCK.NB), "EAGAIN", "while the dup lives");
    t.close(copy);
    t.ok(sys.flock(b, LOCK.EX | LOCK.NB), "after the last close");
  }, "locks");
  add("flock: from exclusive to shared and back", (t) => {
    const [a, b] = pair(t);
    t.ok(sys.flock(a, LOCK.EX), "exclusive");
    t.ok(sys.flock(a, LOCK.SH | LOCK.NB), "shared");
    t.ok(sys.flock(b, LOCK.SH | LOCK.NB), "another's shared");
    t.errno(sys.flock(a, LOCK.EX | LOCK.NB), "EAGAIN", "exclusive");
  }, "locks");
  add("flock: EINVAL for no operation", (t) => {
    const [a] = pair(t);
    t.errno(sys.flock(a, LOCK.NB), "EINVAL", "flock");
  }, "locks");
  add("flock: does not conflict with record locks", (t) => {
    const [a, b] = pair(t);
    t.ok(sys.flock(a, LOCK.EX), "flock");
    t.ok(lock(b, F.WRLCK, 0, 0), "record lock");
  }, "locks");
}

/** Adds the family. */
export function locksChecks(add: Add): void {
  records(add);
  whole(add);
}
