/**
 * What stat(2) and its like say, as values.
 *
 * @module
 */

import { S_IFMT } from "../../wire/linux.ts";
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
  const { attr } = inode;
  return {
    mode: attr.mode,
    type: attr.mode & S_IFMT,
    perm: attr.mode & 0o7777,
    nlink: attr.nlink,
    uid: attr.uid,
    gid: attr.gid,
    ino: BigInt(attr.ino),
    size: attr.size,
    blocks: attr.blocks,
    blksize: attr.blksize,
    atime: nanoseconds(attr.atime, attr.atimeNsec),
    mtime: nanoseconds(attr.mtime, attr.mtimeNsec),
    ctime: nanoseconds(attr.ctime, attr.ctimeNsec),
    rdevMajor: (attr.rdev >>> 8) & 0xfff,
    rdevMinor: (attr.rdev & 0xff) | ((attr.rdev >>> 12) & 0xfff00),
    dev: "0:0",
  };
}

/** A device number in the kernel's 32-bit encoding (linux/kdev_t.h: new_encode_dev). */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

function nanoseconds(seconds: number, nsec: number): bigint {
  return BigInt(seconds) * 1_000_000_000n + BigInt(nsec);
}
