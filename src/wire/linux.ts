/**
 * Structs and constants of the Linux system call interface that are the same on all 64-bit architectures.
 * What differs stands in `sys/architecture.ts`.
 *
 * @module
 */

/** linux/stat.h: struct statx */
export const STATX = {
  MASK: 0,
  BLKSIZE: 4,
  ATTRIBUTES: 8,
  NLINK: 16,
  UID: 20,
  GID: 24,
  MODE: 28,
  INO: 32,
  SIZE_: 40,
  BLOCKS: 48,
  ATTRIBUTES_MASK: 56,
  ATIME: 64,
  BTIME: 80,
  CTIME: 96,
  MTIME: 112,
  RDEV_MAJOR: 128,
  RDEV_MINOR: 132,
  DEV_MAJOR: 136,
  DEV_MINOR: 140,
  MNT_ID: 144,
  SIZE: 256,
} as const;
/** linux/stat.h: struct statx_timestamp */
export const STATX_TIMESTAMP = { SEC: 0, NSEC: 8, SIZE: 16 } as const;
export const STATX_BASIC_STATS = 0x7ff;
export const STATX_BTIME = 0x800;
export const STATX_MNT_ID = 0x1000;
export const STATX_ATTR_MOUNT_ROOT = 0x2000;
export const STATX_ATTR_IMMUTABLE = 0x10;
export const STATX_ATTR_APPEND = 0x20;
export const STATX_ATTR_VERITY = 0x100000;
/** unistd.h and fcntl.h: faccessat(2) */
export const W_OK = 2;
export const AT_EACCESS = 0x200;

/** linux/dirent.h: struct linux_dirent64; NAME is NUL-terminated, the record padded to 8 */
export const DIRENT64 = { INO: 0, OFF: 8, RECLEN: 16, TYPE: 18, NAME: 19 } as const;
/** The largest record: a name of 255 bytes, its NUL, padded. */
export const DIRENT64_SIZE_MAX = 280;
/** DIRENT64.TYPE: a directory, and what file systems say that do not keep types in directories */
export const DT_UNKNOWN = 0;
export const DT_DIR = 4;

/** linux/uio.h: struct iovec */
export const IOVEC = { BASE: 0, LEN: 8, SIZE: 16 } as const;
/** linux/uio.h: UIO_MAXIOV, vectors one preadv or pwritev takes */
export const IOV_MAX = 1024;

/** asm-generic/statfs.h: struct statfs on 64-bit */
export const STATFS = {
  TYPE: 0,
  BSIZE: 8,
  BLOCKS: 16,
  BFREE: 24,
  BAVAIL: 32,
  FILES: 40,
  FFREE: 48,
  FSID: 56,
  NAMELEN: 64,
  FRSIZE: 72,
  FLAGS: 80,
  SIZE: 120,
} as const;

/** STATFS.FLAGS: the mount, or the file system, is read-only (statvfs(3)) */
export const ST_RDONLY = 1;

/** asm-generic/fcntl.h: struct flock on 64-bit */
export const FLOCK = { TYPE: 0, WHENCE: 2, START: 8, LEN: 16, PID: 24, SIZE: 32 } as const;
export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;
export const F_OFD_GETLK = 36;
export const F_OFD_SETLK = 37;
export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;

/** linux/fcntl.h and asm-generic/fcntl.h, those that are the same everywhere */
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_ACCMODE = 3;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_NOCTTY = 0o400;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_DSYNC = 0o10000;
export const O_NOATIME = 0o1000000;
export const O_CLOEXEC = 0o2000000;
export const O_SYNC = 0o4010000;
export const O_PATH = 0o10000000;
/** The bit of O_TMPFILE beside O_DIRECTORY. */
export const __O_TMPFILE = 0o20000000;
export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;

/** linux/stat.h */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;
export const S_IXGRP = 0o010;

/** linux/time.h and linux/stat.h: struct timespec, and utimensat's special nanoseconds */
export const TIMESPEC = { SEC: 0, NSEC: 8, SIZE: 16 } as const;
export const UTIME_NOW = 0x3fffffff;
export const UTIME_OMIT = 0x3ffffffe;

/** linux/fs.h: renameat2 flags */
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

/** linux/falloc.h */
export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const FALLOC_FL_ZERO_RANGE = 16;

export const SEEK_SET = 0;
export const SEEK_END = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** linux/limits.h: a component's and a path's longest length, the latter with its NUL */
export const NAME_MAX = 255;
export const PATH_MAX = 4096;
export const XATTR_NAME_MAX = 255;
export const XATTR_SIZE_MAX = 65536;
export const XATTR_LIST_MAX = 65536;

/** linux/fcntl.h: struct file_handle: bytes u32, type i32, then the bytes */
export const FILE_HANDLE = { BYTES: 0, TYPE: 4, HANDLE: 8 } as const;
export const MAX_HANDLE_SZ = 128;

/** linux/magic.h: file systems where close(2) has nothing to report */
export const FILE_SYSTEM_MAGIC = {
  EXT4: 0xef53,
  XFS: 0x58465342,
  BTRFS: 0x9123683e,
  TMPFS: 0x01021994,
  OVERLAYFS: 0x794c7630,
} as const;

/** linux/eventpoll.h: struct epoll_event; packed on x86-64 only, see `sys/architecture.ts` */
export const EPOLLIN = 0x001;
export const EPOLLERR = 0x008;
export const EPOLLHUP = 0x010;
export const EPOLLET = 0x80000000 | 0;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CLOEXEC = O_CLOEXEC;
export const EFD_CLOEXEC = O_CLOEXEC;
export const EFD_NONBLOCK = O_NONBLOCK;
export const POLLIN = 1;
export const POLLPRI = 2;
/** linux/poll.h: struct pollfd */
export const POLLFD = { FD: 0, EVENTS: 4, REVENTS: 6, SIZE: 8 } as const;

/** linux/mman.h */
export const PROT_NONE = 0;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const MFD_CLOEXEC = 1;

/** linux/sched.h */
export const CLONE_FS = 0x200;
export const CLONE_FILES = 0x400;

/** linux/socket.h: struct msghdr and cmsghdr on 64-bit */
export const MSGHDR = {
  NAME: 0,
  NAMELEN: 8,
  IOV: 16,
  IOVLEN: 24,
  CONTROL: 32,
  CONTROLLEN: 40,
  FLAGS: 48,
  SIZE: 56,
} as const;
export const CMSGHDR = { LEN: 0, LEVEL: 8, TYPE: 12, DATA: 16 } as const;
export const SOL_SOCKET = 1;
export const SCM_RIGHTS = 1;
export const MSG_CTRUNC = 0x08;
export const MSG_CMSG_CLOEXEC = 0x40000000;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_DONTWAIT = 0x40;
export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_CLOEXEC = O_CLOEXEC;
export const SOCK_NONBLOCK = O_NONBLOCK;

/** linux/capability.h: struct __user_cap_header_struct {version, pid} and two __user_cap_data_struct {effective, permitted, inheritable} */
export const CAPABILITY_VERSION_3 = 0x20080522;
export const CAP_DAC_OVERRIDE = 1;
export const CAP_FSETID = 4;
export const CAP_DAC_READ_SEARCH = 2;

export const RLIMIT_NOFILE = 7;

/** linux/mount.h: fsconfig(2) and fsmount(2) */
export const FSCONFIG_SET_FLAG = 0;
export const FSCONFIG_SET_STRING = 1;
export const FSCONFIG_CMD_CREATE = 6;
export const FSOPEN_CLOEXEC = 1;
export const FSMOUNT_CLOEXEC = 1;
