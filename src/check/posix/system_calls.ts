/**
 * The system calls that the POSIX checks make, whoever answers them: the host's kernel for a mounted directory, or the guest in
 * userspace for a daemon.
 *
 * @module
 */

/** A path: text is encoded as UTF-8, bytes are taken as they are. */
export type Path = string | Uint8Array;

/** What statx(2) said of a file; times are nanoseconds since 1970. */
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
  readonly dev: string;
}

/** One record of getdents64(2). `next` is the position after it. */
export interface Dirent {
  readonly name: Uint8Array;
  readonly ino: bigint;
  readonly type: number;
  readonly next: bigint;
}

/** What statvfs(3) said. */
export interface StatVfs {
  readonly bsize: number;
  readonly frsize: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
  readonly namemax: number;
}

/** One lock request: byte range from `start`, `length` 0 meaning to the end of the file. */
export interface LockRange {
  readonly type: number;
  readonly start: number;
  readonly length: number;
  readonly whence?: number;
}

/** A time for utimensat: seconds and nanoseconds (or a UTIME value). */
export type TimeSpec = readonly [seconds: number | bigint, nanoseconds: number];

/** A mapping of a file: its bytes are live until `munmap()`. */
export interface Mapping {
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Major and minor as the C library packs them into a dev_t. */
export function makedev(major: number, minor: number): bigint {
  const M = BigInt(major), m = BigInt(minor);
  return ((M & 0xfffff000n) << 32n) | ((M & 0xfffn) << 8n) | ((m & 0xffffff00n) << 12n) |
    (m & 0xffn);
}

/** The calls. Results are 0 or more, or the negative errno. */
export interface SystemCalls {
  open(path: Path, flags: number, mode?: number): number;
  openat(fd: number, path: Path, flags: number, mode?: number): number;
  close(fd: number): number;
  dup(fd: number): number;
  mkdir(path: Path, mode?: number): number;
  mkdirat(fd: number, path: Path, mode: number): number;
  mknod(path: Path, mode: number, dev?: bigint): number;
  mkfifo(path: Path, mode?: number): number;
  symlink(target: Path, path: Path): number;
  link(from: Path, to: Path): number;
  linkat(fromFd: number, from: Path, toFd: number, to: Path, flags: number): number;
  unlink(path: Path): number;
  unlinkat(fd: number, path: Path, flags: number): number;
  rmdir(path: Path): number;
  rename(from: Path, to: Path): number;
  renameat2(from: Path, to: Path, flags: number): number;
  readlink(path: Path, size?: number): number | string;
  chmod(path: Path, mode: number): number;
  fchmod(fd: number, mode: number): number;
  fchmodat(fd: number, path: Path, mode: number): number;
  chown(path: Path, uid: number, gid: number): number;
  lchown(path: Path, uid: number, gid: number): number;
  fchown(fd: number, uid: number, gid: number): number;
  truncate(path: Path, size: number | bigint): number;
  ftruncate(fd: number, size: number | bigint): number;
  utimensat(path: Path, times: readonly [TimeSpec, TimeSpec] | null, flags?: number): number;
  futimens(fd: number, times: readonly [TimeSpec, TimeSpec] | null): number;
  stat(path: Path): Stat | number;
  lstat(path: Path): Stat | number;
  fstat(fd: number): Stat | number;
  access(path: Path, mode: number): number;
  faccessat(path: Path, mode: number, flags: number): number;
  read(fd: number, size: number): Uint8Array | number;
  write(fd: number, data: Path): number;
  pread(fd: number, size: number, offset: number | bigint): Uint8Array | number;
  pwrite(fd: number, data: Path, offset: number | bigint): number;
  lseek(fd: number, offset: number | bigint, whence: number): number | bigint;
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  copyFileRange(
    source: number,
    sourceOffset: number,
    target: number,
    targetOffset: number,
    size: number,
  ): number;
  getdents(fd: number, size?: number): Dirent[] | number;
  mmap(fd: number, size: number, prot: number, flags: number, offset?: number): Mapping | number;
  munmap(mapping: Mapping): number;
  msync(mapping: Mapping, flags: number): number;
  fcntlLock(fd: number, command: number, lock: LockRange): number;
  /** F_OFD_GETLK: the lock that is in the way, its type F_UNLCK when there is none. */
  getLock(fd: number, lock: LockRange): LockRange | number;
  flock(fd: number, operation: number): number;
  setxattr(path: Path, name: Path, value: Path, flags?: number): number;
  lsetxattr(path: Path, name: Path, value: Path, flags?: number): number;
  fsetxattr(fd: number, name: Path, value: Path, flags?: number): number;
  /** The get and list calls fill `into` and return the length; an empty `into` asks for it. */
  getxattr(path: Path, name: Path, into: Uint8Array<ArrayBuffer>): number;
  lgetxattr(path: Path, name: Path, into: Uint8Array<ArrayBuffer>): number;
  fgetxattr(fd: number, name: Path, into: Uint8Array<ArrayBuffer>): number;
  listxattr(path: Path, into: Uint8Array<ArrayBuffer>): number;
  llistxattr(path: Path, into: Uint8Array<ArrayBuffer>): number;
  flistxattr(fd: number, into: Uint8Array<ArrayBuffer>): number;
  removexattr(path: Path, name: Path): number;
  lremovexattr(path: Path, name: Path): number;
  fremovexattr(fd: number, name: Path): number;
  fsync(fd: number): number;
  fdatasync(fd: number): number;
  statvfs(path: Path): StatVfs | number;
  umask(mask: number): number;
  geteuid(): number;
  getegid(): number;
  /** The clock that stamps files, in nanoseconds. */
  coarseClock(): bigint;
  setresuid(real: number, effective: number, saved: number): number;
  setresgid(real: number, effective: number, saved: number): number;
  setgroups(groups: readonly number[]): number;
}

/** Whose calls the checks make. One target is checked at a time. */
export let sys: SystemCalls;

/** Chooses whose calls the checks make from now on. */
export function useSystemCalls(calls: SystemCalls): void {
  sys = calls;
}
