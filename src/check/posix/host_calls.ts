/**
 * The host's system calls for the POSIX checks, straight to libc. Every function returns what the call
 * returned, or the negative errno. This binding is the suite's own, so that the checks judge
 * src/ from outside.
 *
 * @module
 */

import { c, errnoView } from "../../sys/posix_libc.ts";
import type {
  Dirent,
  LockRange,
  Mapping,
  Path,
  Stat,
  StatVfs,
  SystemCalls,
  TimeSpec,
} from "./system_calls.ts";
import { AT, F, S, SYS } from "./linux_constants.ts";

function checked(result: number): number {
  return result < 0 ? -errnoView[0]! : result;
}

const encoder = new TextEncoder();

function cString(text: Path): Uint8Array<ArrayBuffer> {
  if (typeof text === "string") return encoder.encode(text + "\0");
  const bytes = new Uint8Array(text.length + 1);
  bytes.set(text);
  return bytes;
}

function bytesOf(data: Path): Uint8Array<ArrayBuffer> {
  return typeof data === "string" ? encoder.encode(data) : new Uint8Array(data);
}

const statxBuffer = new Uint8Array(256);
const statxView = new DataView(statxBuffer.buffer);

function timeAt(offset: number): bigint {
  return statxView.getBigInt64(offset, true) * 1_000_000_000n +
    BigInt(statxView.getUint32(offset + 8, true));
}

function decodeStatx(): Stat {
  const v = statxView;
  const mode = v.getUint16(28, true);
  return {
    mode,
    type: mode & S.IFMT,
    perm: mode & 0o7777,
    nlink: v.getUint32(16, true),
    uid: v.getUint32(20, true),
    gid: v.getUint32(24, true),
    ino: v.getBigUint64(32, true),
    size: Number(v.getBigUint64(40, true)),
    blocks: Number(v.getBigUint64(48, true)),
    blksize: v.getUint32(4, true),
    atime: timeAt(64),
    ctime: timeAt(96),
    mtime: timeAt(112),
    rdevMajor: v.getUint32(128, true),
    rdevMinor: v.getUint32(132, true),
    dev: `${v.getUint32(136, true)}:${v.getUint32(140, true)}`,
  };
}

function flockStruct(lock: LockRange): DataView<ArrayBuffer> {
  const v = new DataView(new ArrayBuffer(32));
  v.setInt16(0, lock.type, true);
  v.setInt16(2, lock.whence ?? 0, true);
  v.setBigInt64(8, BigInt(lock.start), true);
  v.setBigInt64(16, BigInt(lock.length), true);
  return v;
}

function timespecs(times: readonly [TimeSpec, TimeSpec] | null): Uint8Array<ArrayBuffer> | null {
  if (times === null) return null;
  const v = new DataView(new ArrayBuffer(32));
  times.forEach(([seconds, nanoseconds], i) => {
    v.setBigInt64(i * 16, BigInt(seconds), true);
    v.setBigInt64(i * 16 + 8, BigInt(nanoseconds), true);
  });
  return new Uint8Array(v.buffer);
}

const pointers = new WeakMap<Mapping, Deno.PointerObject>();

/** The host's own. */
export const hostCalls: SystemCalls = {
  open: (path: Path, flags: number, mode = 0) =>
    checked(c.openat(AT.FDCWD, cString(path), flags | 0o2000000, mode)),
  openat: (fd: number, path: Path, flags: number, mode = 0) =>
    checked(c.openat(fd, cString(path), flags | 0o2000000, mode)),
  close: (fd: number) => checked(c.close(fd)),
  dup: (fd: number) => checked(c.dup(fd)),
  mkdir: (path: Path, mode = 0o755) => checked(c.mkdirat(AT.FDCWD, cString(path), mode)),
  mkdirat: (fd: number, path: Path, mode: number) => checked(c.mkdirat(fd, cString(path), mode)),
  mknod: (path: Path, mode: number, dev: bigint = 0n) =>
    checked(c.mknodat(AT.FDCWD, cString(path), mode, dev)),
  mkfifo: (path: Path, mode = 0o644) => checked(c.mkfifo(cString(path), mode)),
  symlink: (target: Path, path: Path) => checked(c.symlink(cString(target), cString(path))),
  link: (from: Path, to: Path) =>
    checked(c.linkat(AT.FDCWD, cString(from), AT.FDCWD, cString(to), 0)),
  linkat: (fromFd: number, from: Path, toFd: number, to: Path, flags: number) =>
    checked(c.linkat(fromFd, cString(from), toFd, cString(to), flags)),
  unlink: (path: Path) => checked(c.unlinkat(AT.FDCWD, cString(path), 0)),
  unlinkat: (fd: number, path: Path, flags: number) =>
    checked(c.unlinkat(fd, cString(path), flags)),
  rmdir: (path: Path) => checked(c.rmdir(cString(path))),
  rename: (from: Path, to: Path) =>
    checked(c.renameat(AT.FDCWD, cString(from), AT.FDCWD, cString(to))),
  renameat2: (from: Path, to: Path, flags: number) =>
    checked(c.renameat2(AT.FDCWD, cString(from), AT.FDCWD, cString(to), flags)),
  readlink: (path: Path, size = 4096): number | string => {
    const buffer = new Uint8Array(size);
    const n = checked(c.readlink(cString(path), buffer, size));
    return n < 0 ? n : new TextDecoder().decode(buffer.subarray(0, n));
  },
  chmod: (path: Path, mode: number) => checked(c.chmod(cString(path), mode)),
  fchmod: (fd: number, mode: number) => checked(c.fchmod(fd, mode)),
  fchmodat: (fd: number, path: Path, mode: number) =>
    checked(c.fchmodat(fd, cString(path), mode, 0)),
  chown: (path: Path, uid: number, gid: number) =>
    checked(c.fchownat(AT.FDCWD, cString(path), uid >>> 0, gid >>> 0, 0)),
  lchown: (path: Path, uid: number, gid: number) =>
    checked(c.fchownat(AT.FDCWD, cString(path), uid >>> 0, gid >>> 0, AT.SYMLINK_NOFOLLOW)),
  fchown: (fd: number, uid: number, gid: number) => checked(c.fchown(fd, uid >>> 0, gid >>> 0)),
  truncate: (path: Path, size: number | bigint) => checked(c.truncate(cString(path), size)),
  ftruncate: (fd: number, size: number | bigint) => checked(c.ftruncate(fd, size)),
  utimensat: (path: Path, times: readonly [TimeSpec, TimeSpec] | null, flags = 0) =>
    checked(c.utimensat(AT.FDCWD, cString(path), timespecs(times), flags)),
  futimens: (fd: number, times: readonly [TimeSpec, TimeSpec] | null) =>
    checked(c.futimens(fd, timespecs(times))),
  stat: (path: Path): Stat | number => {
    const r = checked(c.statx(AT.FDCWD, cString(path), 0, 0x7ff, statxBuffer));
    return r < 0 ? r : decodeStatx();
  },
  lstat: (path: Path): Stat | number => {
    const flags = AT.SYMLINK_NOFOLLOW;
    const r = checked(c.statx(AT.FDCWD, cString(path), flags, 0x7ff, statxBuffer));
    return r < 0 ? r : decodeStatx();
  },
  fstat: (fd: number): Stat | number => {
    const r = checked(c.statx(fd, cString(""), AT.EMPTY_PATH, 0x7ff, statxBuffer));
    return r < 0 ? r : decodeStatx();
  },
  access: (path: Path, mode: number) => checked(c.faccessat(AT.FDCWD, cString(path), mode, 0)),
  faccessat: (path: Path, mode: number, flags: number) =>
    checked(c.faccessat(AT.FDCWD, cString(path), mode, flags)),
  read: (fd: number, size: number): Uint8Array | number => {
    const buffer = new Uint8Array(size);
    const n = checked(c.read(fd, buffer, size));
    return n < 0 ? n : buffer.subarray(0, n);
  },
  write: (fd: number, data: Path) => {
    const bytes = bytesOf(data);
    return checked(c.write(fd, bytes, bytes.length));
  },
  pread: (fd: number, size: number, offset: number | bigint): Uint8Array | number => {
    const buffer = new Uint8Array(size);
    const n = checked(c.pread(fd, buffer, size, offset));
    return n < 0 ? n : buffer.subarray(0, n);
  },
  pwrite: (fd: number, data: Path, offset: number | bigint) => {
    const bytes = bytesOf(data);
    return checked(c.pwrite(fd, bytes, bytes.length, offset));
  },
  lseek: (fd: number, offset: number | bigint, whence: number): number | bigint => {
    const r = c.lseek(fd, offset, whence);
    if (r < 0n) return -errnoView[0]!;
    return r <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(r) : r;
  },
  fallocate: (fd: number, mode: number, offset: number, length: number) =>
    checked(c.fallocate(fd, mode, offset, length)),
  copyFileRange: (
    source: number,
    sourceOffset: number,
    target: number,
    targetOffset: number,
    size: number,
  ) =>
    checked(c.copy_file_range(
      source,
      new BigInt64Array([BigInt(sourceOffset)]),
      target,
      new BigInt64Array([BigInt(targetOffset)]),
      size,
      0,
    )),
  getdents: (fd: number, size = 32768): Dirent[] | number => {
    const buffer = new Uint8Array(size);
    const n = checked(c.getdents64(fd, buffer, size));
    if (n < 0) return n;
    const view = new DataView(buffer.buffer);
    const entries: Dirent[] = [];
    for (let at = 0; at < n; at += view.getUint16(at + 16, true)) {
      const name = at + 19;
      entries.push({
        name: buffer.slice(name, buffer.indexOf(0, name)),
        ino: view.getBigUint64(at, true),
        type: buffer[at + 18]!,
        next: view.getBigInt64(at + 8, true),
      });
    }
    return entries;
  },
  mmap: (fd: number, size: number, prot: number, flags: number, offset = 0): Mapping | number => {
    const pointer = c.mmap(0, size, prot, flags, fd, offset);
    if (pointer === null || Deno.UnsafePointer.value(pointer) === 0xffffffffffffffffn) {
      return -errnoView[0]!;
    }
    const bytes = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, size));
    const mapping = { bytes };
    pointers.set(mapping, pointer);
    return mapping;
  },
  munmap: (mapping: Mapping) => checked(c.munmap(pointers.get(mapping)!, mapping.bytes.length)),
  msync: (mapping: Mapping, flags: number) =>
    checked(c.msync(pointers.get(mapping)!, mapping.bytes.length, flags)),
  fcntlLock: (fd: number, command: number, lock: LockRange) =>
    checked(c.fcntl(fd, command, flockStruct(lock))),
  /** F_OFD_GETLK: the lock that is in the way, its type F_UNLCK when there is none. */
  getLock: (fd: number, lock: LockRange): LockRange | number => {
    const v = flockStruct(lock);
    const r = checked(c.fcntl(fd, F.OFD_GETLK, v));
    if (r < 0) return r;
    return {
      type: v.getInt16(0, true),
      whence: v.getInt16(2, true),
      start: Number(v.getBigInt64(8, true)),
      length: Number(v.getBigInt64(16, true)),
    };
  },
  flock: (fd: number, operation: number) => checked(c.flock(fd, operation)),
  setxattr: (path: Path, name: Path, value: Path, flags = 0) => {
    const v = bytesOf(value);
    return checked(c.setxattr(cString(path), cString(name), v, v.length, flags));
  },
  lsetxattr: (path: Path, name: Path, value: Path, flags = 0) => {
    const v = bytesOf(value);
    return checked(c.lsetxattr(cString(path), cString(name), v, v.length, flags));
  },
  fsetxattr: (fd: number, name: Path, value: Path, flags = 0) => {
    const v = bytesOf(value);
    return checked(c.fsetxattr(fd, cString(name), v, v.length, flags));
  },
  /** The get and list calls fill `into` and return the length; an empty `into` asks for it. */
  getxattr: (path: Path, name: Path, into: Uint8Array<ArrayBuffer>) =>
    checked(c.getxattr(cString(path), cString(name), into, into.length)),
  lgetxattr: (path: Path, name: Path, into: Uint8Array<ArrayBuffer>) =>
    checked(c.lgetxattr(cString(path), cString(name), into, into.length)),
  fgetxattr: (fd: number, name: Path, into: Uint8Array<ArrayBuffer>) =>
    checked(c.fgetxattr(fd, cString(name), into, into.length)),
  listxattr: (path: Path, into: Uint8Array<ArrayBuffer>) =>
    checked(c.listxattr(cString(path), into, into.length)),
  llistxattr: (path: Path, into: Uint8Array<ArrayBuffer>) =>
    checked(c.llistxattr(cString(path), into, into.length)),
  flistxattr: (fd: number, into: Uint8Array<ArrayBuffer>) =>
    checked(c.flistxattr(fd, into, into.length)),
  removexattr: (path: Path, name: Path) => checked(c.removexattr(cString(path), cString(name))),
  lremovexattr: (path: Path, name: Path) => checked(c.lremovexattr(cString(path), cString(name))),
  fremovexattr: (fd: number, name: Path) => checked(c.fremovexattr(fd, cString(name))),
  fsync: (fd: number) => checked(c.fsync(fd)),
  fdatasync: (fd: number) => checked(c.fdatasync(fd)),
  statvfs: (path: Path): StatVfs | number => {
    const v = new DataView(new ArrayBuffer(128));
    const r = checked(c.statvfs(cString(path), v));
    if (r < 0) return r;
    const at = (offset: number) => Number(v.getBigUint64(offset, true));
    return {
      bsize: at(0),
      frsize: at(8),
      blocks: at(16),
      bfree: at(24),
      bavail: at(32),
      files: at(40),
      ffree: at(48),
      namemax: at(80),
    };
  },
  umask: (mask: number) => c.umask(mask),
  geteuid: () => c.geteuid(),
  getegid: () => c.getegid(),
  /** CLOCK_REALTIME_COARSE in nanoseconds: the clock that stamps files. */
  coarseClock: (): bigint => {
    const v = new DataView(new ArrayBuffer(16));
    c.clock_gettime(5, v);
    return v.getBigInt64(0, true) * 1_000_000_000n + v.getBigInt64(8, true);
  },
  /** This thread only, by the raw calls; -1 leaves a value as it is. */
  setresuid: (real: number, effective: number, saved: number) =>
    checked(c.syscall(SYS.setresuid, real, effective, saved)),
  setresgid: (real: number, effective: number, saved: number) =>
    checked(c.syscall(SYS.setresgid, real, effective, saved)),
  setgroups: (groups: readonly number[]) =>
    checked(c.setgroups_buffer(SYS.setgroups, groups.length, new Uint32Array([...groups, 0]))),
};
