/**
 * FUSE 7.45 as the tests speak it: opcodes, flags, and readers for the replies. Written from the
 * layout of linux/fuse.h, not from the daemon.
 *
 * @module
 */
import { concat, name, padded8, viewOf, words } from "./little_endian.ts";

/** enum fuse_opcode. */
export const OP = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;

/** Bits of INIT, both words as one number. */
export const INIT = {
  ASYNC_READ: 0n,
  POSIX_LOCKS: 1n,
  ATOMIC_O_TRUNC: 3n,
  EXPORT_SUPPORT: 4n,
  BIG_WRITES: 5n,
  DONT_MASK: 6n,
  FLOCK_LOCKS: 10n,
  AUTO_INVAL_DATA: 12n,
  DO_READDIRPLUS: 13n,
  READDIRPLUS_AUTO: 14n,
  ASYNC_DIO: 15n,
  WRITEBACK_CACHE: 16n,
  PARALLEL_DIROPS: 18n,
  POSIX_ACL: 20n,
  MAX_PAGES: 22n,
  MAP_ALIGNMENT: 26n,
  SUBMOUNTS: 27n,
  HANDLE_KILLPRIV_V2: 28n,
  SETXATTR_EXT: 29n,
  INIT_EXT: 30n,
  SECURITY_CTX: 32n,
  HAS_INODE_DAX: 33n,
  CREATE_SUPP_GROUP: 34n,
  ALLOW_IDMAP: 40n,
} as const;

/** What a Linux 7.2 virtiofs guest offers in INIT (every bit of the table that it sets). */
export const LINUX_INIT_FLAGS = [
  0,
  1,
  3,
  4,
  5,
  6,
  7,
  8,
  9,
  10,
  11,
  12,
  13,
  14,
  15,
  16,
  17,
  18,
  19,
  20,
  21,
  22,
  23,
  24,
  25,
  27,
  28,
  29,
  30,
  32,
  34,
  35,
  36,
  38,
  39,
  40,
  42,
].reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);

/** fuse_setattr_in.valid. */
export const FATTR = {
  MODE: 1,
  UID: 2,
  GID: 4,
  SIZE: 8,
  ATIME: 16,
  MTIME: 32,
  FH: 64,
  ATIME_NOW: 128,
  MTIME_NOW: 256,
  LOCKOWNER: 512,
  CTIME: 1024,
  KILL_SUIDGID: 2048,
} as const;

/** Open flags of Linux on x86-64 and arm64 alike. */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
} as const;

/** File types in st_mode. */
export const S = {
  IFMT: 0o170000,
  IFSOCK: 0o140000,
  IFLNK: 0o120000,
  IFREG: 0o100000,
  IFBLK: 0o060000,
  IFDIR: 0o040000,
  IFCHR: 0o020000,
  IFIFO: 0o010000,
} as const;

/** struct fuse_attr. */
export interface Attr {
  readonly ino: bigint;
  readonly size: bigint;
  readonly blocks: bigint;
  readonly atime: bigint;
  readonly mtime: bigint;
  readonly ctime: bigint;
  readonly mtimensec: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly blksize: number;
  readonly flags: number;
}

/** struct fuse_entry_out. */
export interface Entry {
  readonly nodeid: bigint;
  readonly generation: bigint;
  readonly entryValid: bigint;
  readonly attrValid: bigint;
  readonly attr: Attr;
}

/** Reads a fuse_attr. */
export function readAttr(bytes: Uint8Array, at = 0): Attr {
  const view = viewOf(bytes);
  return {
    ino: view.getBigUint64(at, true),
    size: view.getBigUint64(at + 8, true),
    blocks: view.getBigUint64(at + 16, true),
    atime: view.getBigUint64(at + 24, true),
    mtime: view.getBigUint64(at + 32, true),
    ctime: view.getBigUint64(at + 40, true),
    mtimensec: view.getUint32(at + 52, true),
    mode: view.getUint32(at + 60, true),
    nlink: view.getUint32(at + 64, true),
    uid: view.getUint32(at + 68, true),
    gid: view.getUint32(at + 72, true),
    rdev: view.getUint32(at + 76, true),
    blksize: view.getUint32(at + 80, true),
    flags: view.getUint32(at + 84, true),
  };
}

/** Reads a fuse_entry_out. */
export function readEntry(bytes: Uint8Array, at = 0): Entry {
  const view = viewOf(bytes);
  return {
    nodeid: view.getBigUint64(at, true),
    generation: view.getBigUint64(at + 8, true),
    entryValid: view.getBigUint64(at + 16, true),
    attrValid: view.getBigUint64(at + 24, true),
    attr: readAttr(bytes, at + 40),
  };
}

/** One record of READDIR, or of READDIRPLUS when it has an entry. */
export interface Dirent {
  readonly ino: bigint;
  readonly off: bigint;
  readonly type: number;
  readonly name: string;
  readonly entry: Entry | null;
}

/** Takes a READDIR or READDIRPLUS reply apart; throws where a guest would answer EIO. */
export function readDirents(bytes: Uint8Array, plus: boolean): Dirent[] {
  const view = viewOf(bytes);
  const list: Dirent[] = [];
  let at = 0;
  while (at < bytes.length) {
    const entry = plus ? readEntry(bytes, at) : null;
    const dirent = at + (plus ? 128 : 0);
    const length = view.getUint32(dirent + 16, true);
    if (length < 1 || length > 4095) throw new Error(`directory entry with name length ${length}`);
    const raw = bytes.subarray(dirent + 24, dirent + 24 + length);
    if (raw.length !== length || raw.includes(0x2f)) {
      throw new Error("bad name in a directory entry");
    }
    list.push({
      ino: view.getBigUint64(dirent, true),
      off: view.getBigUint64(dirent + 8, true),
      type: view.getUint32(dirent + 20, true),
      name: new TextDecoder().decode(raw),
      entry,
    });
    at = dirent + Math.ceil((24 + length) / 8) * 8;
  }
  return list;
}

/** struct fuse_init_in of 7.36 and later; minors below that send the first 16 bytes only. */
export function initBody(major: number, minor: number, flags: bigint): Uint8Array {
  const low = Number(flags & 0xffff_ffffn);
  if (minor < 36) return words(major, minor, 0x20000, low);
  return concat(words(major, minor, 0x20000, low, Number(flags >> 32n)), new Uint8Array(44));
}

/** What the daemon answered to INIT. */
export interface InitReply {
  readonly major: number;
  readonly minor: number;
  readonly flags: bigint;
  readonly maxWrite: number;
  readonly maxPages: number;
  readonly mapAlignment: number;
  readonly timeGran: number;
}

/** Reads a fuse_init_out of any compatible length; what is missing counts as zero. */
export function readInit(bytes: Uint8Array): InitReply {
  const view = viewOf(concat(bytes, new Uint8Array(64)));
  const flags = BigInt(view.getUint32(12, true));
  const extended = (flags >> INIT.INIT_EXT) & 1n;
  return {
    major: view.getUint32(0, true),
    minor: view.getUint32(4, true),
    flags: flags | (extended * BigInt(view.getUint32(32, true)) << 32n),
    maxWrite: view.getUint32(20, true),
    timeGran: view.getUint32(24, true),
    maxPages: view.getUint16(28, true),
    mapAlignment: view.getUint16(30, true),
  };
}

/** Fields of a SETATTR; what is not named is 0. */
export interface SetattrFields {
  readonly valid: number;
  readonly fh?: bigint;
  readonly size?: bigint;
  readonly atime?: bigint;
  readonly mtime?: bigint;
  readonly atimensec?: number;
  readonly mtimensec?: number;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** struct fuse_setattr_in. */
export function setattrBody(fields: SetattrFields): Uint8Array {
  return concat(
    words(fields.valid, 0, fields.fh ?? 0n, fields.size ?? 0n, 0n),
    words(fields.atime ?? 0n, fields.mtime ?? 0n, 0n),
    words(fields.atimensec ?? 0, fields.mtimensec ?? 0, 0),
    words(fields.mode ?? 0, 0, fields.uid ?? 0, fields.gid ?? 0, 0),
  );
}

/** The extension that Linux always sends when SECURITY_CTX was agreed on: no label at all. */
export function emptySecurityContext(): Uint8Array {
  return words(8, 0);
}

/** A security label as an extension block. */
export function securityContext(attribute: string, label: Uint8Array): Uint8Array {
  const context = padded8(concat(words(label.length, 0), name(attribute), label));
  return concat(words(8 + context.length, 1), context);
}

/** The CREATE_SUPP_GROUP extension with the given groups. */
export function supplementaryGroups(...groups: number[]): Uint8Array {
  const body = concat(words(groups.length), words(...groups));
  const size = Math.ceil((8 + body.length) / 8) * 8;
  return padded8(concat(words(size, 32), body));
}
