/**
 * Everything that somebody on the host may do to a directory, and which inodes that changes.
 *
 * @module
 */

import { close, LibcError, makeNode, mapShared, open, setXattr } from "../support/libc.ts";

const libc = Deno.dlopen("libc.so.6", {
  renameat2: { parameters: ["i32", "buffer", "i32", "buffer", "u32"], result: "i32" },
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  msync: { parameters: ["usize", "usize", "i32"], result: "i32" },
}).symbols;

const AT_FDCWD = -100;
const RENAME_EXCHANGE = 2;
const O_RDWR = 2;
const O_TRUNC = 0o1000;
const MS_SYNC = 4;
const PAGE = 4096;

function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}

/** An inode as a test speaks of it: "minor:major:number", the number below 2^53. */
export type InodeName = string;

/** The name of what is at a path now. */
export function inodeAt(path: string): InodeName {
  const { dev, ino } = Deno.lstatSync(path);
  // makedev(3), for devices whose numbers are below 2^12 and 2^8.
  return inodeName(dev & 0xff | (dev >>> 12 & 0xfff00), dev >>> 8 & 0xfff, ino!, 0);
}

export function inodeName(devLo: number, devHi: number, inoLo: number, inoHi: number): InodeName {
  return `${devLo}:${devHi}:${inoHi * 2 ** 32 + inoLo}`;
}

/** A change. Each is made in a directory of its own, which is empty before. */
export interface HostChange {
  readonly name: string;
  /** What has to be there before. */
  readonly prepare?: (directory: string) => void;
  /** Paths (relative, "." is the directory) of inodes that change, looked up before. */
  readonly before?: readonly string[];
  readonly make: (directory: string) => void;
  /** And those looked up after. */
  readonly after?: readonly string[];
  /** Inodes that do not change. Where inotify reports them all the same, it is not looked at. */
  readonly unchanged?: readonly string[];
}

function file(directory: string): void {
  Deno.writeTextFileSync(`${directory}/f`, "before");
}

function twoFiles(directory: string): void {
  file(directory);
  Deno.writeTextFileSync(`${directory}/g`, "other");
}

function twoDirectories(directory: string): void {
  Deno.mkdirSync(`${directory}/a`);
  Deno.mkdirSync(`${directory}/b`);
  Deno.writeTextFileSync(`${directory}/a/f`, "moves");
}

function withOpen(path: string, flags: number, use: (fd: number) => void): void {
  const fd = open(path, flags);
  try {
    use(fd);
  } finally {
    close(fd);
  }
}

/** A shared mapping of a file's first page, which is all that keeps the file open. */
export class FileMapping implements Disposable {
  readonly #mapping;

  constructor(path: string) {
    const fd = open(path, O_RDWR);
    this.#mapping = mapShared(fd, PAGE);
    close(fd);
  }

  /** A store, and msync(2). */
  store(): void {
    new Uint8Array(this.#mapping.buffer)[0]! ^= 1;
    succeeded("msync", libc.msync(BigInt(this.#mapping.address), BigInt(PAGE), MS_SYNC));
  }

  [Symbol.dispose](): void {
    this.#mapping.unmap();
  }
}

function succeeded(call: string, result: number): void {
  if (result !== 0) throw new LibcError(call, -result);
}

function setTestXattr(path: string): void {
  succeeded("setxattr", setXattr(path, "user.test", new Uint8Array([1])));
}

/** renameat2(2) with RENAME_EXCHANGE. */
export function exchange(one: string, other: string): void {
  const result = libc.renameat2(
    AT_FDCWD,
    cString(one),
    AT_FDCWD,
    cString(other),
    RENAME_EXCHANGE,
  );
  succeeded("renameat2", result);
}

export const HOST_CHANGES: readonly HostChange[] = [
  { name: "create", make: file, before: ["."], after: ["f"] },
  {
    name: "mknod",
    make: (dir) => makeNode(`${dir}/p`, 0o010644), // a fifo
    before: ["."],
    after: ["p"],
  },
  {
    name: "write",
    prepare: file,
    before: ["f"],
    make: (dir) => {
      using file = Deno.openSync(`${dir}/f`, { write: true });
      file.writeSync(new Uint8Array([1]));
    },
    unchanged: ["."],
  },
  {
    name: "append",
    prepare: file,
    before: ["f"],
    make: (dir) => Deno.writeTextFileSync(`${dir}/f`, "more", { append: true }),
    unchanged: ["."],
  },
  {
    name: "truncate",
    prepare: file,
    before: ["f"],
    make: (dir) => Deno.truncateSync(`${dir}/f`, 2),
    unchanged: ["."],
  },
  {
    name: "open with O_TRUNC",
    prepare: file,
    before: ["f"],
    make: (dir) => close(open(`${dir}/f`, O_RDWR | O_TRUNC)),
    unchanged: ["."],
  },
  {
    name: "fallocate",
    prepare: file,
    before: ["f"],
    make: (dir) =>
      withOpen(`${dir}/f`, O_RDWR, (fd) => succeeded("fallocate", libc.fallocate(fd, 0, 0n, 100n))),
  },
  {
    name: "stores through a mapping, when that is gone",
    prepare: (dir) => Deno.writeFileSync(`${dir}/f`, new Uint8Array(PAGE)),
    before: ["f"],
    make: (dir) => {
      using mapping = new FileMapping(`${dir}/f`);
      mapping.store();
    },
    unchanged: ["."],
  },
  {
    name: "chmod",
    prepare: file,
    before: ["f"],
    make: (dir) => Deno.chmodSync(`${dir}/f`, 0o600),
    unchanged: ["."],
  },
  {
    name: "chmod of the directory",
    before: ["."],
    make: (dir) => Deno.chmodSync(dir, 0o700),
  },
  {
    name: "chown",
    prepare: file,
    before: ["f"],
    // To whom it belongs: anybody may do that, and ctime changes.
    make: (dir) => Deno.chownSync(`${dir}/f`, Deno.uid(), Deno.gid()),
    unchanged: ["."],
  },
  {
    name: "utimes",
    prepare: file,
    before: ["f"],
    make: (dir) => Deno.utimeSync(`${dir}/f`, 1, 2),
    unchanged: ["."],
  },
  {
    name: "setxattr",
    prepare: file,
    before: ["f"],
    make: (dir) => setTestXattr(`${dir}/f`),
    unchanged: ["."],
  },
  {
    name: "setxattr of the directory",
    before: ["."],
    make: (dir) => setTestXattr(dir),
  },
  {
    name: "link",
    prepare: file,
    before: [".", "f"],
    make: (dir) => Deno.linkSync(`${dir}/f`, `${dir}/g`),
  },
  {
    name: "symlink",
    before: ["."],
    make: (dir) => Deno.symlinkSync("target", `${dir}/l`),
    after: ["l"],
  },
  {
    name: "rename",
    prepare: file,
    before: [".", "f"],
    make: (dir) => Deno.renameSync(`${dir}/f`, `${dir}/g`),
  },
  {
    name: "rename across directories",
    prepare: twoDirectories,
    before: ["a", "b", "a/f"],
    make: (dir) => Deno.renameSync(`${dir}/a/f`, `${dir}/b/g`),
    unchanged: ["."],
  },
  {
    name: "rename of a directory across directories",
    prepare: (dir) => {
      twoDirectories(dir);
      Deno.mkdirSync(`${dir}/a/d`);
    },
    before: ["a", "b", "a/d"],
    make: (dir) => Deno.renameSync(`${dir}/a/d`, `${dir}/b/d`),
  },
  {
    name: "rename over",
    prepare: twoFiles,
    before: [".", "f", "g"],
    make: (dir) => Deno.renameSync(`${dir}/f`, `${dir}/g`),
  },
  {
    name: "exchange",
    prepare: (dir) => {
      twoDirectories(dir);
      Deno.writeTextFileSync(`${dir}/b/g`, "other");
    },
    before: ["a", "b", "a/f", "b/g"],
    make: (dir) => exchange(`${dir}/a/f`, `${dir}/b/g`),
  },
  {
    name: "unlink",
    prepare: file,
    before: [".", "f"],
    make: (dir) => Deno.removeSync(`${dir}/f`),
  },
  {
    name: "unlink of one name of two",
    prepare: (dir) => {
      file(dir);
      Deno.linkSync(`${dir}/f`, `${dir}/g`);
    },
    before: [".", "f"],
    make: (dir) => Deno.removeSync(`${dir}/g`),
  },
  {
    name: "mkdir",
    before: ["."],
    make: (dir) => Deno.mkdirSync(`${dir}/d`),
    after: ["d"],
  },
  {
    name: "rmdir",
    prepare: (dir) => Deno.mkdirSync(`${dir}/d`),
    before: [".", "d"],
    make: (dir) => Deno.removeSync(`${dir}/d`),
  },
  {
    name: "mkdir -p, and a file at its end at once",
    before: ["."],
    make: (dir) => {
      Deno.mkdirSync(`${dir}/1/2/3/4/5`, { recursive: true });
      Deno.writeTextFileSync(`${dir}/1/2/3/4/5/f`, "deep");
    },
    after: ["1", "1/2", "1/2/3", "1/2/3/4", "1/2/3/4/5", "1/2/3/4/5/f"],
  },
  {
    name: "a write in a directory that was renamed just before",
    prepare: twoDirectories,
    before: ["a/f"],
    make: (dir) => {
      Deno.renameSync(`${dir}/a`, `${dir}/c`);
      Deno.renameSync(`${dir}/c`, `${dir}/b/c`);
      Deno.writeTextFileSync(`${dir}/b/c/f`, "changed", { append: true });
    },
  },
  {
    name: "a write in each of two directories that were exchanged just before",
    prepare: (dir) => {
      twoDirectories(dir);
      Deno.mkdirSync(`${dir}/a/d`);
      Deno.writeTextFileSync(`${dir}/a/d/f`, "");
      Deno.writeTextFileSync(`${dir}/b/g`, "");
    },
    before: ["a/d/f", "b/g"],
    make: (dir) => {
      exchange(`${dir}/a/d`, `${dir}/b`);
      Deno.writeTextFileSync(`${dir}/b/f`, "changed", { append: true });
      Deno.writeTextFileSync(`${dir}/a/d/g`, "changed", { append: true });
    },
  },
];
