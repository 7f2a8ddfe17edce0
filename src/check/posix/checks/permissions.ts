/**
 * Permission bits against who asks: the whole matrix of modes, classes and access.
 *
 * @module
 */

import type { Add } from "../check.ts";
import { ACCESS, AT, O } from "../linux_constants.ts";
import { ALICE, ALICE_IN_TEAM, BOB, type Credentials, KINDS, type Scope, TEAM } from "../scope.ts";
import { sys } from "../system_calls.ts";
import { needsOf } from "./nodes.ts";

interface Class {
  readonly name: string;
  /** Where the three bits of the class lie in a mode. */
  readonly shift: number;
  readonly owner: Credentials;
  readonly caller: Credentials;
}

const CLASSES: readonly Class[] = [
  { name: "owner", shift: 6, owner: ALICE, caller: ALICE },
  { name: "group", shift: 3, owner: { ...BOB, gid: ALICE.gid }, caller: ALICE },
  { name: "supplementary group", shift: 3, owner: { ...BOB, gid: TEAM }, caller: ALICE_IN_TEAM },
  { name: "others", shift: 0, owner: BOB, caller: ALICE },
];

/** A mode that gives a class these bits and every other class the opposite. */
function modeFor(shift: number, bits: number): number {
  let mode = bits << shift;
  for (const other of [0, 3, 6]) if (other !== shift) mode |= (7 & ~bits) << other;
  return mode;
}

function opened(fd: number): number {
  if (fd >= 0) sys.close(fd);
  return fd;
}

function verdict(t: Scope, result: number, allowed: boolean, what: string): void {
  if (allowed) t.ok(result, what);
  else t.errno(result, "EACCES", what);
}

function files(add: Add): void {
  const flags = [["reading", O.RDONLY, 4], ["writing", O.WRONLY, 2], ["both", O.RDWR, 6]] as const;
  for (const { name, shift, owner, caller } of CLASSES) {
    for (let bits = 0; bits < 8; bits++) {
      const mode = modeFor(shift, bits);
      const octal = mode.toString(8).padStart(3, "0");
      for (const [what, flag, wanted] of flags) {
        const allowed = (bits & wanted) === wanted;
        add(
          `open for ${what}: ${allowed ? "allowed" : "EACCES"} for ${name}, mode ${octal}`,
          (t) => {
            t.file("x", mode, owner);
            const result = t.as(caller, () => opened(sys.open(t.path("x"), flag)));
            verdict(t, result, allowed, "open");
          },
          "root",
        );
      }
      add(`access: each mask for ${name}, mode ${octal}`, (t) => {
        t.file("x", mode, owner);
        for (let mask = 0; mask < 8; mask++) {
          const result = t.as(caller, () => sys.access(t.path("x"), mask));
          verdict(t, result, (bits & mask) === mask, `access ${mask}`);
        }
      }, "root");
      for (const kind of KINDS.filter((k) => k !== "regular" && k !== "symlink")) {
        add(
          `access: each mask for ${name} on a ${kind}, mode ${octal}`,
          (t) => {
            t.make(kind, t.path("x"), mode, owner);
            for (let mask = 0; mask < 8; mask++) {
              const result = t.as(caller, () => sys.faccessat(t.path("x"), mask, AT.EACCESS));
              verdict(t, result, (bits & mask) === mask, `faccessat ${mask}`);
            }
          },
          "root",
          ...needsOf(kind),
        );
      }
      add(`directory: list, search and create for ${name}, mode ${octal}`, (t) => {
        t.directory("d", 0o755);
        t.file("d/x");
        t.ok(sys.chown(t.path("d"), owner.uid, owner.gid), "chown");
        t.ok(sys.chmod(t.path("d"), mode), "chmod");
        const [list, search, create] = t.as(caller, () => [
          opened(sys.open(t.path("d"), O.RDONLY | O.DIRECTORY)),
          sys.access(t.path("d/x"), ACCESS.F),
          sys.mkdir(t.path("d/new")),
        ]);
        verdict(t, list!, (bits & 4) !== 0, "open to list");
        verdict(t, search!, (bits & 1) !== 0, "search");
        verdict(t, create!, (bits & 3) === 3, "create");
      }, "root");
      add(`open O_CREAT of a file that exists: ${name}, mode ${octal}`, (t) => {
        t.file("x", mode, owner);
        const flag = O.CREAT | O.WRONLY;
        const result = t.as(caller, () => opened(sys.open(t.path("x"), flag, 0o666)));
        verdict(t, result, (bits & 2) !== 0, "open");
      }, "root");
      add(`open O_TRUNC: ${name}, mode ${octal}`, (t) => {
        t.file("x", mode, owner);
        const flag = O.WRONLY | O.TRUNC;
        const result = t.as(caller, () => opened(sys.open(t.path("x"), flag)));
        verdict(t, result, (bits & 2) !== 0, "open");
        t.equal(t.lstat(t.path("x")).size, bits & 2 ? 0 : 7, "size");
      }, "root");
    }
  }
}

function special(add: Add): void {
  add("permissions: root reads and writes a file of mode 0", (t) => {
    t.file("x", 0, ALICE);
    t.open(t.path("x"), O.RDWR);
    t.ok(sys.access(t.path("x"), ACCESS.R | ACCESS.W), "access");
  }, "root");
  add("permissions: root executes only where somebody may", (t) => {
    t.file("x", 0o644, ALICE);
    t.errno(sys.access(t.path("x"), ACCESS.X), "EACCES", "access");
    t.ok(sys.chmod(t.path("x"), 0o645), "chmod");
    t.ok(sys.access(t.path("x"), ACCESS.X), "access");
  }, "root");
  add("permissions: root searches a directory of mode 0", (t) => {
    t.directory("d", 0, ALICE);
    t.file("d/x");
    t.equal(t.names(t.path("d")).join(), "x", "names");
  }, "root");
  add("permissions: a new file may be written whatever its mode says", (t) => {
    t.as(ALICE, () => {
      const fd = t.open(t.path("x"), O.CREAT | O.EXCL | O.RDWR, 0o000);
      t.ok(sys.write(fd, "text"), "write");
      t.equal(t.text(sys.pread(fd, 9, 0)), "text", "read");
      t.errno(opened(sys.open(t.path("x"), O.RDONLY)), "EACCES", "open again");
    });
    t.equal(t.lstat(t.path("x")).perm, 0, "mode");
  }, "root");
  add("permissions: an open fd outlives a chmod and a chown", (t) => {
    t.file("x", 0o600, ALICE);
    const fd = t.as(ALICE, () => t.open(t.path("x"), O.RDWR));
    t.ok(sys.chown(t.path("x"), 0, 0), "chown");
    t.ok(sys.chmod(t.path("x"), 0), "chmod");
    t.as(ALICE, () => {
      t.ok(sys.pwrite(fd, "C", 0), "pwrite");
      t.equal(t.text(sys.pread(fd, 7, 0)), "Content", "pread");
    });
  }, "root");
  add("permissions: a chmod acts at once for others, both ways", (t) => {
    t.file("x", 0o600, BOB);
    for (let i = 0; i < 5; i++) {
      t.errno(t.as(ALICE, () => opened(sys.open(t.path("x"), O.RDONLY))), "EACCES", "closed");
      t.ok(sys.chmod(t.path("x"), 0o604), "chmod");
      t.ok(t.as(ALICE, () => opened(sys.open(t.path("x"), O.RDONLY))), "opened");
      t.ok(sys.chmod(t.path("x"), 0o600), "chmod");
    }
  }, "root");
  add("permissions: a chmod of the directory acts at once", (t) => {
    t.directory("d", 0o755, BOB);
    t.file("d/x");
    for (let i = 0; i < 5; i++) {
      t.ok(t.as(ALICE, () => sys.access(t.path("d/x"), ACCESS.R)), "open");
      t.ok(sys.chmod(t.path("d"), 0o700), "chmod");
      t.errno(t.as(ALICE, () => sys.access(t.path("d/x"), ACCESS.R)), "EACCES", "closed");
      t.ok(sys.chmod(t.path("d"), 0o755), "chmod");
    }
  }, "root");
  add("permissions: files of two users side by side keep their owners", (t) => {
    for (let i = 0; i < 50; i++) {
      const who = i % 2 ? ALICE : BOB;
      t.as(who, () => t.ok(sys.mkdir(t.path(`d${i}`)), "mkdir"));
    }
    for (let i = 0; i < 50; i++) {
      const stat = t.lstat(t.path(`d${i}`));
      t.equal(stat.uid, (i % 2 ? ALICE : BOB).uid, `owner of ${i}`);
      t.equal(stat.gid, (i % 2 ? ALICE : BOB).gid, `group of ${i}`);
    }
  }, "root");
  for (const count of [2, 16, 100]) {
    add(`permissions: the last of ${count} supplementary groups counts`, (t) => {
      const groups = Array.from({ length: count }, (_, i) => 40000 + i);
      const caller = { ...ALICE, groups };
      t.file("x", 0o060, { ...BOB, gid: 40000 + count - 1 });
      t.directory("d", 0o070, { ...BOB, gid: 40000 + count - 1 });
      t.as(caller, () => {
        t.ok(opened(sys.open(t.path("x"), O.RDWR)), "open");
        t.ok(sys.access(t.path("d"), ACCESS.R | ACCESS.W | ACCESS.X), "access");
      });
    }, "root");
  }
}

/** Adds the family. */
export function permissionsChecks(add: Add): void {
  files(add);
  special(add);
}
