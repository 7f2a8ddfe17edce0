/**
 * The system calls of a guest in userspace, for the POSIX checks.
 *
 * @module
 */

import { GuestCalls } from "../../guest/vfs/calls.ts";
import type { Caller } from "../../guest/client/caller.ts";
import type { OpenFile } from "../../guest/vfs/open_file.ts";
import type { Volume } from "../../guest/vfs/volume.ts";
import { Process } from "../../guest/vfs/process.ts";
import { AT, ERRNO, F, MAP, O } from "./linux_constants.ts";
import type { Dirent, LockRange, Mapping, Path, SystemCalls } from "./system_calls.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const SEEK_SET = 0;

function bytesOf(data: Path): Uint8Array {
  return typeof data === "string" ? encoder.encode(data) : data;
}

/** The C library's dev_t in two parts. */
function deviceOf(dev: bigint): [major: number, minor: number] {
  const major = (dev >> 8n & 0xfffn) | (dev >> 32n & 0xfffff000n);
  const minor = (dev & 0xffn) | (dev >> 12n & 0xffffff00n);
  return [Number(major), Number(minor)];
}

/** A file offset or size; what a double cannot hold is beyond every file system's end. */
function offsetOf(value: number | bigint): number {
  return Number(value);
}

/** The calls of a new process of root's on a volume. */
export function guestCalls(volume: Volume, identity: Caller): SystemCalls {
  const process = new Process(identity, volume.root);
  const calls = new GuestCalls(volume, process);
  const readInto = (size: number, read: (into: Uint8Array) => number): Uint8Array | number => {
    const into = new Uint8Array(size);
    const count = read(into);
    return count < 0 ? count : into.subarray(0, count);
  };
  const fileOf = (fd: number): OpenFile | null => calls.descriptors.get(fd);
  return {
    open: (path, flags, mode) => calls.open(path, flags, mode),
    openat: (fd, path, flags, mode) => calls.openat(fd, path, flags, mode),
    close: (fd) => calls.close(fd),
    dup: (fd) => calls.dup(fd),
    mkdir: (path, mode = 0o755) => calls.mkdirat(AT.FDCWD, path, mode),
    mkdirat: (fd, path, mode) => calls.mkdirat(fd, path, mode),
    mknod: (path, mode, dev = 0n) => calls.mknod(path, mode, ...deviceOf(dev)),
    mkfifo: (path, mode = 0o644) => calls.mkfifo(path, mode),
    symlink: (target, path) => calls.symlink(target, path),
    link: (from, to) => calls.linkat(AT.FDCWD, from, AT.FDCWD, to, 0),
    linkat: (fromFd, from, toFd, to, flags) => calls.linkat(fromFd, from, toFd, to, flags),
    unlink: (path) => calls.unlinkat(AT.FDCWD, path, 0),
    unlinkat: (fd, path, flags) => calls.unlinkat(fd, path, flags),
    rmdir: (path) => calls.unlinkat(AT.FDCWD, path, AT.REMOVEDIR),
    rename: (from, to) => calls.renameat2(from, to, 0),
    renameat2: (from, to, flags) => calls.renameat2(from, to, flags),
    readlink(path, size) {
      const target = calls.readlink(path, size);
      return typeof target === "number" ? target : decoder.decode(target);
    },
    chmod: (path, mode) => calls.fchmodat(AT.FDCWD, path, mode),
    fchmod: (fd, mode) => calls.fchmod(fd, mode),
    fchmodat: (fd, path, mode) => calls.fchmodat(fd, path, mode),
    chown: (path, uid, gid) => calls.fchownat(AT.FDCWD, path, uid, gid, 0),
    lchown: (path, uid, gid) => {
      return calls.fchownat(AT.FDCWD, path, uid, gid, AT.SYMLINK_NOFOLLOW);
    },
    fchown: (fd, uid, gid) => calls.fchown(fd, uid, gid),
    truncate: (path, size) => calls.truncate(path, offsetOf(size)),
    ftruncate: (fd, size) => calls.ftruncate(fd, offsetOf(size)),
    utimensat: (path, times, flags) => calls.utimensat(path, timesOf(times), flags),
    futimens: (fd, times) => calls.futimens(fd, timesOf(times)),
    stat: (path) => calls.fstatat(path, 0),
    lstat: (path) => calls.fstatat(path, AT.SYMLINK_NOFOLLOW),
    fstat: (fd) => calls.fstat(fd),
    access: (path, mode) => calls.faccessat(path, mode),
    faccessat: (path, mode, flags) => calls.faccessat(path, mode, flags),
    read: (fd, size) => readInto(size, (into) => calls.read(fd, into)),
    write: (fd, data) => calls.write(fd, bytesOf(data)),
    pread: (fd, size, offset) => {
      return readInto(size, (into) => calls.pread(fd, into, offsetOf(offset)));
    },
    pwrite: (fd, data, offset) => calls.pwrite(fd, bytesOf(data), offsetOf(offset)),
    lseek(fd, offset, whence) {
      if (fileOf(fd)?.inode.isDirectory === true && whence === SEEK_SET) {
        return calls.seekdir(fd, BigInt(offset));
      }
      return calls.lseek(fd, offsetOf(offset), whence);
    },
    fallocate: (fd, mode, offset, length) => calls.fallocate(fd, mode, offset, length),
    copyFileRange: (source, sourceOffset, target, targetOffset, size) => {
      return calls.copyFileRange(source, sourceOffset, target, targetOffset, size);
    },
    getdents(fd, size) {
      const entries = calls.getdents(fd, size);
      if (typeof entries === "number") return entries;
      return entries.map((entry): Dirent => ({ ...entry, ino: BigInt(entry.ino) }));
    },
    mmap: (fd, size, prot, flags, offset = 0) => map(calls, fd, size, prot, flags, offset),
    munmap: () => 0,
    msync: () => 0,
    fcntlLock: (fd, command, lock) => setLock(calls, fd, command, lock),
    getLock: (fd, lock) => getLock(calls, fd, lock),
    flock: (fd, operation) => calls.flock(fd, operation),
    setxattr: (path, name, value, flags = 0) => {
      return calls.setxattr(path, name, bytesOf(value), flags, true);
    },
    lsetxattr: (path, name, value, flags = 0) => {
      return calls.setxattr(path, name, bytesOf(value), flags, false);
    },
    fsetxattr: (fd, name, value, flags = 0) => {
      return calls.setxattr(fd, name, bytesOf(value), flags, true);
    },
    getxattr: (path, name, into) => calls.getxattr(path, name, into, true),
    lgetxattr: (path, name, into) => calls.getxattr(path, name, into, false),
    fgetxattr: (fd, name, into) => calls.getxattr(fd, name, into, true),
    listxattr: (path, into) => calls.listxattr(path, into, true),
    llistxattr: (path, into) => calls.listxattr(path, into, false),
    flistxattr: (fd, into) => calls.listxattr(fd, into, true),
    removexattr: (path, name) => calls.removexattr(path, name, true),
    lremovexattr: (path, name) => calls.removexattr(path, name, false),
    fremovexattr: (fd, name) => calls.removexattr(fd, name, true),
    fsync: (fd) => calls.fsync(fd),
    fdatasync: (fd) => calls.fdatasync(fd),
    statvfs: (path) => calls.statvfs(path),
    umask: (mask) => calls.umask(mask),
    geteuid: () => process.uid,
    getegid: () => process.gid,
    coarseClock: () => BigInt(Date.now()) * 1_000_000n,
    // The checks always come back to root: the saved id lets them.
    setresuid(_real, effective) {
      if (effective !== -1) process.uid = effective;
      return 0;
    },
    setresgid(_real, effective) {
      if (effective !== -1) process.gid = effective;
      return 0;
    },
    setgroups(groups) {
      process.groups = groups;
      return 0;
    },
  };
}

function timesOf(
  times: readonly [readonly [number | bigint, number], readonly [number | bigint, number]] | null,
): [[number, number], [number, number]] | null {
  if (times === null) return null;
  const [[atime, atimeNsec], [mtime, mtimeNsec]] = times;
  return [[Number(atime), atimeNsec], [Number(mtime), mtimeNsec]];
}

/** A private mapping is a copy; shared ones take a kernel, and the checks that need them say so. */
function map(
  calls: GuestCalls,
  fd: number,
  size: number,
  prot: number,
  flags: number,
  offset: number,
): Mapping | number {
  const file = calls.descriptors.get(fd);
  if (file === null) return -ERRNO.EBADF;
  if (file.inode.isDirectory) return -ERRNO.ENODEV;
  const access = file.flags & (O.WRONLY | O.RDWR);
  if (access === O.WRONLY) return -ERRNO.EACCES;
  const shared = (flags & MAP.SHARED) !== 0;
  if (shared && (prot & MAP.PROT_WRITE) !== 0 && access !== O.RDWR) return -ERRNO.EACCES;
  if (shared) return -ERRNO.ENODEV;
  const bytes = new Uint8Array(size);
  const count = calls.pread(fd, bytes, offset);
  return count < 0 ? count : { bytes };
}

function setLock(calls: GuestCalls, fd: number, command: number, lock: LockRange): number {
  const range = rangeOf(calls, fd, lock);
  if (typeof range === "number") return range;
  return calls.setLock(fd, range, false, command === F.OFD_SETLK);
}

function getLock(calls: GuestCalls, fd: number, lock: LockRange): LockRange | number {
  const range = rangeOf(calls, fd, lock);
  if (typeof range === "number") return range;
  const found = calls.getLock(fd, range, true);
  if (typeof found === "number") return found;
  if (found.type === F.UNLCK) return { ...lock, type: F.UNLCK };
  const length = found.end === null ? 0 : found.end - found.start + 1;
  return { type: found.type, whence: 0, start: found.start, length };
}

/** struct flock to a range: `whence` says what `start` is from, a length of 0 means to the end, below 0 means before. */
function rangeOf(calls: GuestCalls, fd: number, lock: LockRange) {
  const file = calls.descriptors.get(fd);
  if (file === null) return -ERRNO.EBADF;
  const whence = lock.whence ?? 0;
  let start = lock.start;
  if (whence === 1) start += file.position;
  if (whence === 2) {
    const stat = calls.fstat(fd);
    if (typeof stat === "number") return stat;
    start += stat.size;
  }
  if (whence < 0 || whence > 2) return -ERRNO.EINVAL;
  let end = lock.length === 0 ? null : start + lock.length - 1;
  if (lock.length < 0) {
    end = start - 1;
    start += lock.length;
  }
  if (start < 0 || (end !== null && end < 0)) return -ERRNO.EINVAL;
  return { start, end, type: lock.type, pid: calls.process.pid };
}
