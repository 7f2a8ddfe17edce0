/**
 * How paths are walked: every path call against every way a path can be wrong, or right in an
 * unusual manner, and who may walk it.
 *
 * @module
 */

import type { Add } from "../check.ts";
import { ALICE, ALICE_IN_TEAM, BOB, type Kind, type Scope, TEAM } from "../scope.ts";
import { PATH_CALLS, type PathCall, prepare } from "../path_calls.ts";
import { sys } from "../system_calls.ts";

const LONGEST = "n".repeat(255);
const NOT_DIRECTORIES: readonly Kind[] = ["regular", "fifo", "block", "char", "socket"];

/** Pads a path with "./" and slashes to exactly `size` bytes before its last name. */
function padded(t: Scope, name: string, size: number): string {
  const missing = size - t.dir.length - 1 - name.length;
  return `${t.dir}/${"./".repeat(missing >> 1)}${missing % 2 === 1 ? "/" : ""}${name}`;
}

function missingPaths(add: Add, call: PathCall): void {
  const { name, needs } = call;
  for (const kind of NOT_DIRECTORIES) {
    const device = kind === "block" || kind === "char";
    add(
      `${name}: ENOTDIR when a component is a ${kind}`,
      (t) => {
        t.make(kind, t.path("a"));
        t.errno(call.call(t, t.path("a/b")), "ENOTDIR", name);
        t.errno(call.call(t, t.path("a/b/c")), "ENOTDIR", name);
      },
      ...needs,
      ...(device ? ["root", "mknod"] as const : []),
    );
  }
  add(`${name}: ENOTDIR when a component is a symbolic link to a file`, (t) => {
    t.file("f");
    t.ok(sys.symlink("f", t.path("a")), "symlink");
    t.errno(call.call(t, t.path("a/b")), "ENOTDIR", name);
  }, ...needs);
  add(`${name}: ENOENT when a component is missing`, (t) => {
    t.errno(call.call(t, t.path("a/b")), "ENOENT", name);
    t.directory("a");
    t.errno(call.call(t, t.path("a/b/c")), "ENOENT", name);
  }, ...needs);
  add(`${name}: ENOENT when a component dangles`, (t) => {
    t.make("symlink", t.path("a"));
    t.errno(call.call(t, t.path("a/b")), "ENOENT", name);
  }, ...needs);
  add(`${name}: ENOENT for the empty path`, (t) => {
    t.errno(call.call(t, ""), "ENOENT", name);
  }, ...needs);
  add(`${name}: ENOENT in a directory that was removed while open`, (t) => {
    const fd = t.open(t.directory("d"), 0);
    t.ok(sys.rmdir(t.path("d")), "rmdir");
    t.errno(call.call(t, `/proc/self/fd/${fd}/x`), "ENOENT", name);
  }, ...needs);
  if (call.target !== "none") {
    add(`${name}: ENOENT when the file is missing`, (t) => {
      t.errno(call.call(t, t.path("a")), "ENOENT", name);
    }, ...needs);
  }
  if (call.target !== "none" && call.follows) {
    add(`${name}: ENOENT at the end of a dangling symbolic link`, (t) => {
      t.make("symlink", t.path("a"));
      t.errno(call.call(t, t.path("a")), "ENOENT", name);
    }, ...needs);
  }
}

function longPaths(add: Add, call: PathCall): void {
  const { name, needs } = call;
  add(`${name}: a name of 255 bytes`, (t) => {
    prepare(t, call, t.path(LONGEST));
    t.ok(call.call(t, t.path(LONGEST)), name);
  }, ...needs);
  add(`${name}: ENAMETOOLONG for a name of 256 bytes`, (t) => {
    t.errno(call.call(t, t.path(LONGEST + "n")), "ENAMETOOLONG", name);
  }, ...needs);
  add(`${name}: a component of 255 bytes, ENAMETOOLONG for one of 256`, (t) => {
    t.directory(LONGEST);
    prepare(t, call, t.path(`${LONGEST}/x`));
    t.ok(call.call(t, t.path(`${LONGEST}/x`)), name);
    t.errno(call.call(t, t.path(`${LONGEST}n/x`)), "ENAMETOOLONG", name);
  }, ...needs);
  add(`${name}: a path of 4095 bytes`, (t) => {
    prepare(t, call, t.path("x"));
    t.ok(call.call(t, padded(t, "x", 4095)), name);
  }, ...needs);
  add(`${name}: ENAMETOOLONG for a path of 4096 bytes`, (t) => {
    prepare(t, call, t.path("x"));
    t.errno(call.call(t, padded(t, "x", 4096)), "ENAMETOOLONG", name);
  }, ...needs);
  add(`${name}: fifteen directories of 200 bytes deep`, (t) => {
    let path = t.dir;
    for (let depth = 0; depth < 15; depth++) {
      path += `/${"d".repeat(199)}${depth % 10}`;
      t.ok(sys.mkdir(path), "mkdir");
    }
    prepare(t, call, `${path}/x`);
    t.ok(call.call(t, `${path}/x`), name);
  }, ...needs);
}

function symbolicLinks(add: Add, call: PathCall): void {
  const { name, needs } = call;
  add(`${name}: through a symbolic link to a directory`, (t) => {
    prepare(t, call, t.directory("d") + "/x");
    t.ok(sys.symlink("d", t.path("relative")), "symlink");
    t.ok(sys.symlink(t.path("relative"), t.path("absolute")), "symlink");
    t.ok(call.call(t, t.path("absolute/x")), name);
  }, ...needs);
  add(`${name}: through ".." and "."`, (t) => {
    t.directory("d");
    prepare(t, call, t.path("x"));
    t.ok(call.call(t, t.path("d/.././/d/../x")), name);
  }, ...needs);
  add(`${name}: ELOOP when a component links to itself`, (t) => {
    t.ok(sys.symlink("a", t.path("a")), "symlink");
    t.errno(call.call(t, t.path("a/x")), "ELOOP", name);
  }, ...needs);
  add(`${name}: ELOOP when two components link to each other`, (t) => {
    t.ok(sys.symlink("b", t.path("a")), "symlink");
    t.ok(sys.symlink("a", t.path("b")), "symlink");
    t.errno(call.call(t, t.path("a/x")), "ELOOP", name);
    t.errno(call.call(t, t.path("b/x")), "ELOOP", name);
  }, ...needs);
  add(`${name}: 40 symbolic links in a row, ELOOP for 41`, (t) => {
    prepare(t, call, t.directory("l0") + "/x");
    for (let i = 1; i <= 41; i++) t.ok(sys.symlink(`l${i - 1}`, t.path(`l${i}`)), "symlink");
    t.errno(call.call(t, t.path("l41/x")), "ELOOP", name);
    t.ok(call.call(t, t.path("l40/x")), name);
  }, ...needs);
  if (call.follows) {
    add(`${name}: ELOOP when the file links to itself`, (t) => {
      t.ok(sys.symlink("a", t.path("a")), "symlink");
      t.errno(call.call(t, t.path("a")), "ELOOP", name);
    }, ...needs);
    add(`${name}: follows a symbolic link at the end`, (t) => {
      prepare(t, call, t.path("x"));
      t.ok(sys.symlink("x", t.path("a")), "symlink");
      t.ok(call.call(t, t.path("a")), name);
      t.lstat(t.path("x"));
      t.equal(sys.readlink(t.path("a")), "x", "the link itself");
    }, ...needs);
  }
}

function trailingSlashes(add: Add, call: PathCall): void {
  const { name, needs } = call;
  if (call.target === "regular" || call.target === "symlink") {
    add(`${name}: ENOTDIR for a file with a trailing slash`, (t) => {
      t.file("x");
      t.errno(call.call(t, t.path("x/")), "ENOTDIR", name);
    }, ...needs);
  } else if (call.target === "dir" || name === "mkdir") {
    add(`${name}: a directory with trailing slashes`, (t) => {
      prepare(t, call, t.path("x"));
      t.ok(call.call(t, t.path("x//")), name);
    }, ...needs);
  } else {
    add(`${name}: refuses a new name with a trailing slash`, (t) => {
      t.errno(call.call(t, t.path("x/")), ["ENOENT", "EISDIR", "ENOTDIR"], name);
      t.errno(sys.lstat(t.path("x")), "ENOENT", "lstat");
    }, ...needs);
  }
}

/** Owner, group and mode of the directory, who walks it, and whether that works. */
const WALKS: readonly (readonly [string, number, number, number, typeof ALICE, boolean])[] = [
  ["the owner with only x and w", ALICE.uid, ALICE.gid, 0o300, ALICE, true],
  ["the owner without x", ALICE.uid, ALICE.gid, 0o677, ALICE, false],
  ["the owner without any, others with all", ALICE.uid, ALICE.gid, 0o077, ALICE, false],
  ["the group with only x and w", BOB.uid, ALICE.gid, 0o030, ALICE, true],
  ["the group without x", BOB.uid, ALICE.gid, 0o767, ALICE, false],
  ["a supplementary group with only x and w", BOB.uid, TEAM, 0o030, ALICE_IN_TEAM, true],
  ["a supplementary group without x", BOB.uid, TEAM, 0o767, ALICE_IN_TEAM, false],
  ["others with only x and w", BOB.uid, BOB.gid, 0o003, ALICE, true],
  ["others without x", BOB.uid, BOB.gid, 0o776, ALICE, false],
  ["others, the group alone having x", BOB.uid, TEAM, 0o770, ALICE, false],
];

function searchPermission(add: Add, call: PathCall): void {
  const { name, needs } = call;
  for (const [who, uid, gid, mode, walker, works] of WALKS) {
    add(
      `${name}: ${works ? "search" : "EACCES on search"} by ${who}`,
      (t) => {
        const dir = t.directory("d");
        prepare(t, call, `${dir}/x`);
        if (call.target !== "none") t.ok(sys.lchown(`${dir}/x`, ALICE.uid, ALICE.gid), "lchown");
        t.ok(sys.chown(dir, uid, gid), "chown");
        t.ok(sys.chmod(dir, mode), "chmod");
        const result = t.as(walker, () => call.call(t, `${dir}/x`));
        if (works) t.ok(result, name);
        else t.errno(result, "EACCES", name);
      },
      "root",
      ...needs,
    );
  }
  if (!call.writesParent) return;
  const writers: readonly (readonly [string, number, number, number, typeof ALICE])[] = [
    ["the owner without w", ALICE.uid, ALICE.gid, 0o577, ALICE],
    ["the group without w", BOB.uid, ALICE.gid, 0o757, ALICE],
    ["a supplementary group without w", BOB.uid, TEAM, 0o757, ALICE_IN_TEAM],
    ["others without w", BOB.uid, BOB.gid, 0o775, ALICE],
  ];
  for (const [who, uid, gid, mode, writer] of writers) {
    add(
      `${name}: EACCES in a directory of ${who}`,
      (t) => {
        const dir = t.directory("d");
        prepare(t, call, `${dir}/x`);
        if (call.target !== "none") t.ok(sys.lchown(`${dir}/x`, ALICE.uid, ALICE.gid), "lchown");
        t.ok(sys.chown(dir, uid, gid), "chown");
        t.ok(sys.chmod(dir, mode), "chmod");
        t.times([[dir, ""]], () => {
          t.errno(t.as(writer, () => call.call(t, `${dir}/x`)), "EACCES", name);
        });
        t.equal(t.names(dir).join(), call.target === "none" ? "" : "x", "names");
      },
      "root",
      ...needs,
    );
  }
}

/** Adds the family. */
export function namesChecks(add: Add): void {
  for (const call of PATH_CALLS) {
    missingPaths(add, call);
    longPaths(add, call);
    symbolicLinks(add, call);
    trailingSlashes(add, call);
    searchPermission(add, call);
  }
}
