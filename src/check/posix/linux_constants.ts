/**
 * Numbers of the Linux system call interface that the POSIX checks use. Kept apart from src/ on
 * purpose: a wrong number there must not be able to hide behind the same wrong number here.
 *
 * @module
 */

const arm64 = Deno.build.arch === "aarch64";

/** open(2) flags; the four that differ between x86-64 and aarch64 are resolved here. */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  NOCTTY: 0o400,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  DIRECTORY: arm64 ? 0o40000 : 0o200000,
  NOFOLLOW: arm64 ? 0o100000 : 0o400000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
  TMPFILE: 0o20000000 | (arm64 ? 0o40000 : 0o200000),
} as const;

/** File type bits of st_mode. */
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

/** Flags and special values of the *at() calls. */
export const AT = {
  FDCWD: -100,
  SYMLINK_NOFOLLOW: 0x100,
  EACCESS: 0x200,
  REMOVEDIR: 0x200,
  SYMLINK_FOLLOW: 0x400,
  EMPTY_PATH: 0x1000,
} as const;

/** renameat2(2) flags. */
export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;

/** fallocate(2) modes. */
export const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2, COLLAPSE_RANGE: 8, ZERO_RANGE: 0x10 } as const;

/** lseek(2) origins. */
export const SEEK = { SET: 0, CUR: 1, END: 2, DATA: 3, HOLE: 4 } as const;

/** setxattr(2) flags. */
export const XATTR = { CREATE: 1, REPLACE: 2 } as const;

/** flock(2) operations. */
export const LOCK = { SH: 1, EX: 2, NB: 4, UN: 8 } as const;

/** fcntl(2) commands and lock types. */
export const F = {
  GETFL: 3,
  SETLK: 6,
  OFD_GETLK: 36,
  OFD_SETLK: 37,
  RDLCK: 0,
  WRLCK: 1,
  UNLCK: 2,
} as const;

/** mmap(2) and msync(2) flags. */
export const MAP = { SHARED: 1, PRIVATE: 2, PROT_READ: 1, PROT_WRITE: 2, MS_SYNC: 4 } as const;

/** access(2) modes. */
export const ACCESS = { F: 0, X: 1, W: 2, R: 4 } as const;

/** d_type values of getdents64(2). */
export const DT = {
  UNKNOWN: 0,
  FIFO: 1,
  CHR: 2,
  DIR: 4,
  BLK: 6,
  REG: 8,
  LNK: 10,
  SOCK: 12,
} as const;

/** tv_nsec values of utimensat(2). */
export const UTIME = { NOW: 0x3fffffff, OMIT: 0x3ffffffe } as const;

/** Numbers of the raw calls that must act on one thread only (libc's wrappers act on all). */
export const SYS = arm64
  ? { setgroups: 159, setresuid: 147, setresgid: 149 } as const
  : { setgroups: 116, setresuid: 117, setresgid: 119 } as const;

/** errno numbers by name. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EMFILE: 24,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  E2BIG: 7,
  ESTALE: 116,
} as const;

/** A name of {@link ERRNO}. */
export type ErrnoName = keyof typeof ERRNO;

const nameOf = new Map<number, string>(Object.entries(ERRNO).map(([name, n]) => [n, name]));

/** "OK" or the name of the errno in a result that is negative on failure. */
export function resultName(result: number): string {
  return result >= 0 ? "OK" : nameOf.get(-result) ?? `errno ${-result}`;
}
