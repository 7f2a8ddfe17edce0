/**
 * The libc calls that the workloads need and Deno does not have, bound for these tests alone: nothing
 * here is shared with `src/`, so that a mistake there cannot hide here.
 *
 * Every function returns a result >= 0, or a negative errno. Paths may be bytes. The flag values are
 * those of x86-64 (User Mode Linux exists for x86 only).
 *
 * @module
 */

const library = Deno.dlopen("libc.so.6", {
  __errno_location: { parameters: [], result: "pointer" },
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  fsync: { parameters: ["i32"], result: "i32" },
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  mmap: { parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "usize" },
  munmap: { parameters: ["usize", "usize"], result: "i32" },
  msync: { parameters: ["usize", "usize", "i32"], result: "i32" },
  flock: { parameters: ["i32", "i32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  renameat2: { parameters: ["i32", "buffer", "i32", "buffer", "u32"], result: "i32" },
  linkat: { parameters: ["i32", "buffer", "i32", "buffer", "i32"], result: "i32" },
  symlink: { parameters: ["buffer", "buffer"], result: "i32" },
  readlink: { parameters: ["buffer", "buffer", "usize"], result: "isize" },
  mknod: { parameters: ["buffer", "u32", "u64"], result: "i32" },
  mkdir: { parameters: ["buffer", "u32"], result: "i32" },
  mkdirat: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  openat: { parameters: ["i32", "buffer", "i32", "u32"], result: "i32" },
  rmdir: { parameters: ["buffer"], result: "i32" },
  unlink: { parameters: ["buffer"], result: "i32" },
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
  statvfs: { parameters: ["buffer", "buffer"], result: "i32" },
  setxattr: { parameters: ["buffer", "buffer", "buffer", "usize", "i32"], result: "i32" },
  getxattr: { parameters: ["buffer", "buffer", "buffer", "usize"], result: "isize" },
  listxattr: { parameters: ["buffer", "buffer", "usize"], result: "isize" },
  removexattr: { parameters: ["buffer", "buffer"], result: "i32" },
  utimensat: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" },
  copy_file_range: {
    parameters: ["i32", "buffer", "i32", "buffer", "usize", "u32"],
    result: "isize",
  },
  syscall: { parameters: ["i64", "i32", "buffer", "usize"], result: "i64" },
});
const c = library.symbols;

const errnoView = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(c.__errno_location()!, 4));

function status(result: number | bigint): number {
  return Number(result) === -1 ? -errnoView[0]! : Number(result);
}

const encoder = new TextEncoder();

/** A path or name: text, or raw bytes. */
export type Path = string | Uint8Array;

function cString(path: Path): Uint8Array<ArrayBuffer> {
  const bytes = typeof path === "string" ? encoder.encode(path) : path;
  const terminated = new Uint8Array(bytes.length + 1);
  terminated.set(bytes);
  return terminated;
}

/** Joins a directory given as text and a name given as bytes. */
export function joinBytes(dir: string, name: Uint8Array): Uint8Array {
  const prefix = encoder.encode(dir + "/");
  const joined = new Uint8Array(prefix.length + name.length);
  joined.set(prefix);
  joined.set(name, prefix.length);
  return joined;
}

/** errno values that the workloads name. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  EACCES: 13,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EROFS: 30,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ENODATA: 61,
  EOPNOTSUPP: 95,
  ESTALE: 116,
} as const;

/** open(2) flags. */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  DIRECT: 0o40000,
  DIRECTORY: 0o200000,
  NOFOLLOW: 0o400000,
  PATH: 0o10000000,
  TMPFILE: 0o20200000,
} as const;

/** lseek(2) origins. */
export const SEEK = { SET: 0, CUR: 1, END: 2, DATA: 3, HOLE: 4 } as const;
/** fallocate(2) modes. */
export const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2, COLLAPSE_RANGE: 8, ZERO_RANGE: 16 } as const;
/** renameat2(2) flags. */
export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;
/** mmap(2) protections and flags. */
export const MAP = { PROT_READ: 1, PROT_WRITE: 2, SHARED: 1, PRIVATE: 2, MS_SYNC: 4 } as const;
/** flock(2) operations. */
export const LOCK = { SH: 1, EX: 2, NB: 4, UN: 8 } as const;
/** fcntl(2) lock commands and types. */
export const FCNTL = {
  GETLK: 5,
  SETLK: 6,
  OFD_GETLK: 36,
  OFD_SETLK: 37,
  RDLCK: 0,
  WRLCK: 1,
  UNLCK: 2,
} as const;
/** File types of mknod(2). */
export const S = {
  IFMT: 0o170000,
  IFSOCK: 0o140000,
  IFBLK: 0o60000,
  IFCHR: 0o20000,
  IFIFO: 0o10000,
};
/** statx(2) mask bits. */
export const STATX = { BASIC_STATS: 0x7ff, BTIME: 0x800 } as const;

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

export function open(path: Path, flags: number, mode = 0): number {
  return status(c.open(cString(path), flags, mode));
}

export function openat(dirFd: number, name: Path, flags: number, mode = 0): number {
  return status(c.openat(dirFd, cString(name), flags, mode));
}

export function close(fd: number): number {
  return status(c.close(fd));
}

export function pread(fd: number, buffer: Uint8Array<ArrayBuffer>, offset: number): number {
  return status(c.pread(fd, buffer, BigInt(buffer.length), BigInt(offset)));
}

export function pwrite(fd: number, buffer: Uint8Array<ArrayBuffer>, offset: number): number {
  return status(c.pwrite(fd, buffer, BigInt(buffer.length), BigInt(offset)));
}

export function write(fd: number, buffer: Uint8Array<ArrayBuffer>): number {
  return status(c.write(fd, buffer, BigInt(buffer.length)));
}

export function lseek(fd: number, offset: number, origin: number): number {
  return status(c.lseek(fd, BigInt(offset), origin));
}

export function ftruncate(fd: number, size: number): number {
  return status(c.ftruncate(fd, BigInt(size)));
}

export function fallocate(fd: number, mode: number, offset: number, length: number): number {
  return status(c.fallocate(fd, mode, BigInt(offset), BigInt(length)));
}

export function fsync(fd: number): number {
  return status(c.fsync(fd));
}

export function fchmod(fd: number, mode: number): number {
  return status(c.fchmod(fd, mode));
}

/** A mapping of a file, or a negative errno. `bytes` must not be touched after `unmap()`. */
export interface Mapping {
  readonly bytes: Uint8Array<ArrayBuffer>;
  sync(): number;
  unmap(): number;
}

export function mmap(
  fd: number,
  length: number,
  protection: number,
  flags: number,
): Mapping | number {
  const address = BigInt.asIntN(64, BigInt(c.mmap(0n, BigInt(length), protection, flags, fd, 0n)));
  if (address === -1n) return -errnoView[0]!;
  const pointer = Deno.UnsafePointer.create(address)!;
  return {
    bytes: new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, length)),
    sync: () => status(c.msync(address, BigInt(length), MAP.MS_SYNC)),
    unmap: () => status(c.munmap(address, BigInt(length))),
  };
}

export function flock(fd: number, operation: number): number {
  return status(c.flock(fd, operation));
}

/** fcntl(2) with a struct flock; the type found is in `lockType` of the result for the GETLK commands. */
export function fcntlLock(
  fd: number,
  command: number,
  type: number,
  start: number,
  length: number,
): { result: number; lockType: number } {
  const struct = new DataView(new ArrayBuffer(32));
  struct.setInt16(0, type, true);
  struct.setBigInt64(8, BigInt(start), true);
  struct.setBigInt64(16, BigInt(length), true);
  // fcntl is variadic; on x86-64 a pointer is passed in the same register either way.
  const result = status(c.fcntl(fd, command, struct.buffer));
  return { result, lockType: struct.getInt16(0, true) };
}

export function rename(from: Path, to: Path, flags = 0): number {
  return status(c.renameat2(AT_FDCWD, cString(from), AT_FDCWD, cString(to), flags));
}

export function link(from: Path, to: Path): number {
  return status(c.linkat(AT_FDCWD, cString(from), AT_FDCWD, cString(to), 0));
}

/** Gives an O_TMPFILE descriptor a name, the way open(2) shows. */
export function linkDescriptor(fd: number, to: Path): number {
  const AT_SYMLINK_FOLLOW = 0x400;
  const from = cString(`/proc/self/fd/${fd}`);
  return status(c.linkat(AT_FDCWD, from, AT_FDCWD, cString(to), AT_SYMLINK_FOLLOW));
}

export function symlink(target: Path, path: Path): number {
  return status(c.symlink(cString(target), cString(path)));
}

export function readlink(path: Path): Uint8Array | number {
  const buffer = new Uint8Array(8192);
  const length = status(c.readlink(cString(path), buffer, BigInt(buffer.length)));
  return length < 0 ? length : buffer.slice(0, length);
}

export function mknod(path: Path, mode: number, device = 0): number {
  return status(c.mknod(cString(path), mode, BigInt(device)));
}

export function mkdir(path: Path, mode: number): number {
  return status(c.mkdir(cString(path), mode));
}

export function mkdirat(dirFd: number, name: Path, mode: number): number {
  return status(c.mkdirat(dirFd, cString(name), mode));
}

export function rmdir(path: Path): number {
  return status(c.rmdir(cString(path)));
}

export function unlink(path: Path): number {
  return status(c.unlink(cString(path)));
}

/** What statx(2) tells; times in nanoseconds. */
export interface Status {
  readonly mask: number;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly inode: bigint;
  readonly size: number;
  readonly blocks: number;
  readonly birthNs: bigint;
  readonly changeNs: bigint;
  readonly modifyNs: bigint;
  readonly accessNs: bigint;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

function readStatus(view: DataView): Status {
  const time = (at: number) =>
    view.getBigInt64(at, true) * 1_000_000_000n + BigInt(view.getUint32(at + 8, true));
  return {
    mask: view.getUint32(0, true),
    links: view.getUint32(16, true),
    uid: view.getUint32(20, true),
    gid: view.getUint32(24, true),
    mode: view.getUint16(28, true),
    inode: view.getBigUint64(32, true),
    size: Number(view.getBigUint64(40, true)),
    blocks: Number(view.getBigUint64(48, true)),
    accessNs: time(64),
    birthNs: time(80),
    changeNs: time(96),
    modifyNs: time(112),
    deviceMajor: view.getUint32(128, true),
    deviceMinor: view.getUint32(132, true),
  };
}

/** statx(2) of a path (its last component is not followed), or a negative errno. */
export function statx(path: Path, mask: number = STATX.BASIC_STATS): Status | number {
  const buffer = new ArrayBuffer(256);
  const result = status(c.statx(AT_FDCWD, cString(path), AT_SYMLINK_NOFOLLOW, mask, buffer));
  return result < 0 ? result : readStatus(new DataView(buffer));
}

/** statx(2) of a descriptor, or a negative errno. */
export function fstatx(fd: number): Status | number {
  const AT_EMPTY_PATH = 0x1000;
  const buffer = new ArrayBuffer(256);
  const result = status(c.statx(fd, cString(""), AT_EMPTY_PATH, STATX.BASIC_STATS, buffer));
  return result < 0 ? result : readStatus(new DataView(buffer));
}

/** What statvfs(3) tells. */
export interface FileSystemStatus {
  readonly fragmentSize: number;
  readonly blocks: number;
  readonly blocksAvailable: number;
  readonly files: number;
  readonly nameMax: number;
}

/** statvfs(3). */
export function statvfs(path: Path): FileSystemStatus {
  const buffer = new ArrayBuffer(112);
  const result = status(c.statvfs(cString(path), buffer));
  if (result < 0) throw new Error(`statvfs failed with errno ${-result}`);
  const view = new DataView(buffer);
  return {
    fragmentSize: Number(view.getBigUint64(8, true)),
    blocks: Number(view.getBigUint64(16, true)),
    blocksAvailable: Number(view.getBigUint64(32, true)),
    files: Number(view.getBigUint64(40, true)),
    nameMax: Number(view.getBigUint64(80, true)),
  };
}

export function setxattr(path: Path, name: string, value: Uint8Array, flags = 0): number {
  const copy = new Uint8Array(value);
  return status(c.setxattr(cString(path), cString(name), copy, BigInt(copy.length), flags));
}

export function getxattr(path: Path, name: string, size = 65536): Uint8Array | number {
  const buffer = new Uint8Array(Math.max(size, 1));
  const length = status(c.getxattr(cString(path), cString(name), buffer, BigInt(size)));
  return length < 0 || size === 0 ? length : buffer.slice(0, length);
}

export function listxattr(path: Path): string[] | number {
  const buffer = new Uint8Array(65536);
  const length = status(c.listxattr(cString(path), buffer, BigInt(buffer.length)));
  if (length < 0) return length;
  return new TextDecoder().decode(buffer.subarray(0, length)).split("\0").filter((x) => x !== "");
}

export function removexattr(path: Path, name: string): number {
  return status(c.removexattr(cString(path), cString(name)));
}

/** Sets access and modification time in nanoseconds. */
export function utimens(path: Path, accessNs: bigint, modifyNs: bigint): number {
  const times = new BigInt64Array([
    accessNs / 1_000_000_000n,
    accessNs % 1_000_000_000n,
    modifyNs / 1_000_000_000n,
    modifyNs % 1_000_000_000n,
  ]);
  return status(c.utimensat(AT_FDCWD, cString(path), times.buffer, AT_SYMLINK_NOFOLLOW));
}

export function copyFileRange(
  from: number,
  fromOffset: number,
  to: number,
  toOffset: number,
  length: number,
): number {
  const offset = (value: number) => new BigInt64Array([BigInt(value)]).buffer;
  return status(
    c.copy_file_range(from, offset(fromOffset), to, offset(toOffset), BigInt(length), 0),
  );
}

const SYS_GETDENTS64 = 217n;

/** The names in an open directory from its present position, as bytes, `.` and `..` left out. */
export function readNames(fd: number, bufferSize = 32768): Uint8Array[] | number {
  const names: Uint8Array[] = [];
  for (;;) {
    const batch = readSomeNames(fd, bufferSize);
    if (typeof batch === "number") return batch;
    if (batch.length === 0) return names;
    for (const { name } of batch) {
      if (!isDotOrDotDot(name)) names.push(name);
    }
  }
}

/** One getdents64(2): what fits in the buffer, `.` and `..` included; empty at the end. */
export function readSomeNames(
  fd: number,
  bufferSize: number,
): { name: Uint8Array; nextOffset: number; type: number }[] | number {
  const buffer = new Uint8Array(bufferSize);
  const length = status(c.syscall(SYS_GETDENTS64, fd, buffer, BigInt(bufferSize)));
  if (length < 0) return length;
  const view = new DataView(buffer.buffer);
  const entries = [];
  for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
    const end = buffer.indexOf(0, at + 19);
    entries.push({
      name: buffer.slice(at + 19, end),
      nextOffset: Number(view.getBigInt64(at + 8, true)),
      type: view.getUint8(at + 18),
    });
  }
  return entries;
}

function isDotOrDotDot(name: Uint8Array): boolean {
  return name.length <= 2 && name.every((byte) => byte === 46);
}
