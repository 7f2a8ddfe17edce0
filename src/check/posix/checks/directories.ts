/**
 * Reading directories: complete, typed, seekable and up to date.
 *
 * @module
 */

import type { Add } from "../check.ts";
import { DT, O, S, SEEK } from "../linux_constants.ts";
import { type Kind, KINDS, type Scope } from "../scope.ts";
import { type Dirent, sys } from "../system_calls.ts";
import { needsOf } from "./nodes.ts";

const decoder = new TextDecoder();
const nameOf = (entry: Dirent) => decoder.decode(entry.name);

const TYPES: Readonly<Record<Kind, number>> = {
  regular: DT.REG,
  dir: DT.DIR,
  fifo: DT.FIFO,
  block: DT.BLK,
  char: DT.CHR,
  socket: DT.SOCK,
  symlink: DT.LNK,
};

/**
 * Fills the check's directory. Many names are links of one file: a new inode for each costs some
 * file systems a millisecond when inodes have just been freed.
 */
function fill(t: Scope, count: number, name = (i: number) => `entry-${i}`): void {
  t.ok(count === 0 ? 0 : sys.mknod(t.path(name(0)), S.IFREG | 0o644), "mknod");
  for (let i = 1; i < count; i++) {
    const path = t.path(name(i));
    t.ok(count > 300 ? sys.link(t.path(name(0)), path) : sys.mknod(path, S.IFREG | 0o644), "fill");
  }
}

function openDirectory(t: Scope, path = t.dir): number {
  return t.open(path, O.RDONLY | O.DIRECTORY);
}

function assertOnce(t: Scope, entries: readonly Dirent[], expected: number): void {
  const names = entries.map(nameOf).filter((name) => name !== "." && name !== "..");
  t.equal(new Set(names).size, names.length, "names listed more than once");
  t.equal(names.length, expected, "entries");
}

function complete(add: Add): void {
  for (const count of [0, 1, 2, 100, 1000, 5000]) {
    for (const size of [512, 4096, 65536]) {
      add(`readdir: ${count} entries through a buffer of ${size}`, (t) => {
        fill(t, count);
        const entries = t.readAll(openDirectory(t), size);
        assertOnce(t, entries, count);
        const dots = entries.map(nameOf).filter((name) => name === "." || name === "..");
        t.equal(dots.sort().join(), ".,..", "dots");
      });
    }
  }
  add("readdir: 1000 files of their own, each to be found again", (t) => {
    for (let i = 0; i < 1000; i++) t.ok(sys.mkdir(t.path(`d${i}`)), "mkdir");
    const entries = t.entries(t.dir);
    assertOnce(t, entries, 1000);
    for (const entry of entries.filter((e) => nameOf(e).startsWith("d"))) {
      t.equal(t.lstat(t.path(nameOf(entry))).ino, entry.ino, `inode number of ${nameOf(entry)}`);
    }
  });
  for (const length of [1, 100, 255]) {
    add(`readdir: names of ${length} bytes`, (t) => {
      const count = length === 1 ? 26 : 300;
      fill(t, count, (i) => {
        return length === 1 ? String.fromCharCode(97 + i) : `${i}`.padStart(length, "x");
      });
      const entries = t.readAll(openDirectory(t), 4096);
      assertOnce(t, entries, count);
    });
  }
  for (const kind of KINDS) {
    add(`readdir: type and inode number of a ${kind}`, (t) => {
      t.make(kind, t.path("x"));
      const entry = t.value(t.entries(t.dir).find((e) => nameOf(e) === "x") ?? -2, "find x");
      t.equal(entry.type, TYPES[kind], "type");
      t.equal(entry.ino, t.lstat(t.path("x")).ino, "inode number");
    }, ...needsOf(kind));
  }
  add('readdir: "." and ".." are the directory and its parent', (t) => {
    t.directory("d");
    const entries = t.entries(t.path("d"));
    const ino = (name: string) => entries.find((e) => nameOf(e) === name)?.ino;
    t.equal(ino("."), t.lstat(t.path("d")).ino, ".");
    t.equal(ino(".."), t.lstat(t.dir).ino, "..");
  });
  add("readdir: EINVAL for a buffer without room for an entry", (t) => {
    fill(t, 1, () => "n".repeat(200));
    const fd = openDirectory(t);
    let result = sys.getdents(fd, 64);
    for (let i = 0; i < 3 && typeof result !== "number" && result.length > 0; i++) {
      result = sys.getdents(fd, 64);
    }
    t.errno(result, "EINVAL", "getdents");
  });
  add("readdir: ENOTDIR on a file", (t) => {
    t.errno(sys.getdents(t.open(t.file("x"), O.RDONLY)), "ENOTDIR", "getdents");
  });
}

function seeking(add: Add): void {
  for (const count of [3, 50, 2000]) {
    add(`seekdir: from every position of ${count} the rest is the same`, (t) => {
      fill(t, count);
      const fd = openDirectory(t);
      const all = t.readAll(fd, 4096);
      const step = Math.max(1, Math.floor(count / 50));
      for (let i = 0; i < all.length; i += step) {
        t.ok(Number(sys.lseek(fd, all[i]!.next, SEEK.SET)), "lseek");
        const rest = t.value(sys.getdents(fd, 1024), "getdents");
        if (i + 1 < all.length) {
          t.equal(nameOf(rest[0]!), nameOf(all[i + 1]!), `entry after position ${i}`);
        } else t.equal(rest.length, 0, "entries after the last");
      }
    });
  }
  add("rewinddir: shows what came and went", (t) => {
    fill(t, 10);
    const fd = openDirectory(t);
    assertOnce(t, t.readAll(fd), 10);
    t.file("new");
    t.ok(sys.unlink(t.path("entry-3")), "unlink");
    t.ok(sys.rename(t.path("entry-4"), t.path("renamed")), "rename");
    t.ok(Number(sys.lseek(fd, 0, SEEK.SET)), "lseek");
    const names = t.readAll(fd).map(nameOf);
    t.that(names.includes("new") && names.includes("renamed"), "a new name is missing");
    t.that(!names.includes("entry-3") && !names.includes("entry-4"), "an old name is listed");
  });
  add("readdir: a new open sees each change at once", (t) => {
    for (let i = 0; i < 50; i++) {
      t.file(`f${i}`);
      t.equal(t.names(t.dir).length, i + 1, "after making one");
    }
    for (let i = 0; i < 50; i++) {
      t.ok(sys.unlink(t.path(`f${i}`)), "unlink");
      t.equal(t.names(t.dir).length, 49 - i, "after removing one");
    }
  });
  add("readdir: two descriptors have their own positions", (t) => {
    fill(t, 100);
    const a = openDirectory(t), b = openDirectory(t);
    sys.getdents(a, 512);
    assertOnce(t, t.readAll(b), 100);
  });
  add("readdir: removing what was listed loses nothing of the rest", (t) => {
    fill(t, 1000);
    const fd = openDirectory(t);
    let removed = 0;
    for (;;) {
      const entries = t.value(sys.getdents(fd, 1024), "getdents");
      if (entries.length === 0) break;
      for (const name of entries.map(nameOf).filter((n) => n !== "." && n !== "..")) {
        t.ok(sys.unlink(t.path(name)), `unlink ${name}`);
        removed++;
      }
    }
    t.equal(removed, 1000, "removed");
    t.equal(t.names(t.dir).length, 0, "left");
  });
  add("readdir: entries that stay are listed once while others come and go", (t) => {
    fill(t, 500);
    const fd = openDirectory(t);
    const seen: string[] = [];
    for (let turn = 0;; turn++) {
      const entries = t.value(sys.getdents(fd, 1024), "getdents");
      if (entries.length === 0 || turn > 1000) break;
      seen.push(...entries.map(nameOf).filter((name) => name.startsWith("entry-")));
      t.ok(sys.mkdir(t.path(`other-${turn}`)), "mkdir");
      if (turn % 2) t.ok(sys.rmdir(t.path(`other-${turn}`)), "rmdir");
    }
    t.equal(new Set(seen).size, 500, "different entries");
    t.equal(seen.length, 500, "entries");
  });
}

/** Adds the family. */
export function directoriesChecks(add: Add): void {
  complete(add);
  seeking(add);
}
