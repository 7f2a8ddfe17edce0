/**
 * What a guest tells of files, in the shape of Deno.FileInfo and Deno.DirEntry.
 *
 * @module
 */

import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } from "../wire/linux.ts";
import type { DirectoryEntry } from "./vfs/directory_entry.ts";
import type { Stat } from "./vfs/stat.ts";

/** Attributes of a file. Times have milliseconds as dates, and nanoseconds since 1970 beside them. */
export interface GuestFileInfo {
  /** Whether it is a regular file. */
  readonly isFile: boolean;
  /** Whether it is a directory. */
  readonly isDirectory: boolean;
  /** Whether it is a symbolic link. */
  readonly isSymlink: boolean;
  /** Whether it is a block device. */
  readonly isBlockDevice: boolean;
  /** Whether it is a character device. */
  readonly isCharDevice: boolean;
  /** Whether it is a named pipe. */
  readonly isFifo: boolean;
  /** Whether it is a socket. */
  readonly isSocket: boolean;
  /** In bytes. */
  readonly size: number;
  /** When the data was changed last. */
  readonly mtime: Date;
  /** When the data was read last. */
  readonly atime: Date;
  /** When data or attributes were changed last. */
  readonly ctime: Date;
  /** `mtime` in nanoseconds since 1970. */
  readonly mtimeNs: bigint;
  /** `atime` in nanoseconds since 1970. */
  readonly atimeNs: bigint;
  /** `ctime` in nanoseconds since 1970. */
  readonly ctimeNs: bigint;
  /** The host's inode number. */
  readonly ino: bigint;
  /** Type and permission bits. */
  readonly mode: number;
  /** How many names the file has. */
  readonly nlink: number;
  /** The owner. */
  readonly uid: number;
  /** The group. */
  readonly gid: number;
  /** Of a device: its numbers. */
  readonly rdev: { readonly major: number; readonly minor: number };
  /** The size that input and output are best done in, in bytes. */
  readonly blksize: number;
  /** In units of 512 bytes. */
  readonly blocks: number;
}

/** One name in a directory. */
export interface GuestDirEntry {
  /** Decoded as UTF-8, with U+FFFD where it is none. */
  readonly name: string;
  /** The name as it is. */
  readonly nameBytes: Uint8Array;
  /** Whether it is a regular file. */
  readonly isFile: boolean;
  /** Whether it is a directory. */
  readonly isDirectory: boolean;
  /** Whether it is a symbolic link. */
  readonly isSymlink: boolean;
  /** The host's inode number. */
  readonly ino: bigint;
}

const decoder = new TextDecoder();

/** The attributes as a {@linkcode GuestFileInfo}. */
export function fileInfo(stat: Stat): GuestFileInfo {
  return {
    isFile: stat.type === S_IFREG,
    isDirectory: stat.type === S_IFDIR,
    isSymlink: stat.type === S_IFLNK,
    isBlockDevice: stat.type === S_IFBLK,
    isCharDevice: stat.type === S_IFCHR,
    isFifo: stat.type === S_IFIFO,
    isSocket: stat.type === S_IFSOCK,
    size: stat.size,
    mtime: new Date(stat.mtimeMs),
    atime: new Date(stat.atimeMs),
    ctime: new Date(stat.ctimeMs),
    mtimeNs: stat.mtime,
    atimeNs: stat.atime,
    ctimeNs: stat.ctime,
    ino: stat.ino,
    mode: stat.mode,
    nlink: stat.nlink,
    uid: stat.uid,
    gid: stat.gid,
    rdev: { major: stat.rdevMajor, minor: stat.rdevMinor },
    blksize: stat.blksize,
    blocks: stat.blocks,
  };
}

/** The entry as a {@linkcode GuestDirEntry}, or null for "." and "..". */
export function dirEntry(entry: DirectoryEntry): GuestDirEntry | null {
  const name = decoder.decode(entry.name);
  if (name === "." || name === "..") return null;
  const type = entry.type << 12;
  return {
    name,
    nameBytes: entry.name,
    isFile: type === S_IFREG,
    isDirectory: type === S_IFDIR,
    isSymlink: type === S_IFLNK,
    ino: BigInt(entry.ino),
  };
}
