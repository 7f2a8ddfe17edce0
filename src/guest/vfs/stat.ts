/**
 * What stat(2) and its like say, as values.
 *
 * @module
 */

import { S_IFMT } from "../../wire/linux.ts";
import type { Attr } from "../client/replies.ts";
import type { Inode } from "./inode.ts";

/** What statx(2) says of a file; times are nanoseconds since 1970. */
export interface Stat {
  readonly mode: number;
  readonly type: number;
  readonly perm: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly ino: bigint;
  readonly size: number;
  readonly blocks: number;
  readonly blksize: number;
  readonly atime: bigint;
  readonly mtime: bigint;
  readonly ctime: bigint;
  /** The times again, in whole milliseconds. */
  readonly atimeMs: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
  /** One device for the whole volume. */
  readonly dev: string;
}

/** What statvfs(3) says. */
export interface StatVfs {
  /** Best size of input and output, in bytes. */
  readonly bsize: number;
  /** The unit of the block counts, in bytes. */
  readonly frsize: number;
  /** Blocks in all. */
  readonly blocks: number;
  /** Free blocks. */
  readonly bfree: number;
  /** Free blocks for users without privilege. */
  readonly bavail: number;
  /** Inodes in all. */
  readonly files: number;
  /** Free inodes. */
  readonly ffree: number;
  /** The longest name, in bytes. */
  readonly namemax: number;
}

/** The attributes of an inode as they are known now. */
export function statOf(inode: Inode): Stat {
  return new AttributeSnapshot(inode.attr);
}

/** Attributes as they were. The 64-bit numbers are made when they are looked at: most who ask want a size or a type, and each costs 60 ns. */
class AttributeSnapshot implements Stat {
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly blocks: number;
  readonly blksize: number;
  readonly #ino: number;
  readonly #rdev: number;
  readonly #atime: number;
  readonly #atimeNsec: number;
  readonly #mtime: number;
  readonly #mtimeNsec: number;
  readonly #ctime: number;
  readonly #ctimeNsec: number;

  constructor(attr: Attr) {
    this.mode = attr.mode;
    this.nlink = attr.nlink;
    this.uid = attr.uid;
    this.gid = attr.gid;
    this.size = attr.size;
    this.blocks = attr.blocks;
    this.blksize = attr.blksize;
    this.#ino = attr.ino;
    this.#rdev = attr.rdev;
    this.#atime = attr.atime;
    this.#atimeNsec = attr.atimeNsec;
    this.#mtime = attr.mtime;
    this.#mtimeNsec = attr.mtimeNsec;
    this.#ctime = attr.ctime;
    this.#ctimeNsec = attr.ctimeNsec;
  }

  get type(): number {
    return this.mode & S_IFMT;
  }

  get perm(): number {
    return this.mode & 0o7777;
  }

  get ino(): bigint {
    return BigInt(this.#ino);
  }

  get atime(): bigint {
    return nanoseconds(this.#atime, this.#atimeNsec);
  }

  get mtime(): bigint {
    return nanoseconds(this.#mtime, this.#mtimeNsec);
  }

  get ctime(): bigint {
    return nanoseconds(this.#ctime, this.#ctimeNsec);
  }

  get atimeMs(): number {
    return milliseconds(this.#atime, this.#atimeNsec);
  }

  get mtimeMs(): number {
    return milliseconds(this.#mtime, this.#mtimeNsec);
  }

  get ctimeMs(): number {
    return milliseconds(this.#ctime, this.#ctimeNsec);
  }

  get rdevMajor(): number {
    return (this.#rdev >>> 8) & 0xfff;
  }

  get rdevMinor(): number {
    return (this.#rdev & 0xff) | ((this.#rdev >>> 12) & 0xfff00);
  }

  get dev(): string {
    return "0:0";
  }
}

/** A device number in the kernel's 32-bit encoding (linux/kdev_t.h: new_encode_dev). */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

function milliseconds(seconds: number, nsec: number): number {
  return seconds * 1000 + Math.floor(nsec / 1_000_000);
}

function nanoseconds(seconds: number, nsec: number): bigint {
  return BigInt(seconds) * 1_000_000_000n + BigInt(nsec);
}
