/**
 * The FUSE protocol: offsets, sizes, opcodes and flags of `linux/fuse.h`, protocol 7.45. Names are the
 * header's; tests/wire/ compares every number with what a C compiler says of the header.
 *
 * Byte order is the guest's, which is little-endian on all guests served.
 *
 * @module
 */

export const FUSE_KERNEL_VERSION = 7;
export const FUSE_KERNEL_MINOR_VERSION = 45;
/** The oldest minor version served: 7.27, Linux 4.20, older than any virtio-fs driver (Linux 5.4 has 7.31). */
export const FUSE_MINOR_VERSION_MIN = 27;
/** The nodeid of the root. */
export const FUSE_ROOT_ID = 1;
/** Smallest size of the buffer for one request that fuse.h allows. */
export const FUSE_MIN_READ_BUFFER = 8192;

/** fuse.h: enum fuse_opcode */
export const Opcode = {
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

/** One more than the largest opcode: the size of tables indexed by opcode. */
export const OPCODE_COUNT = 54;

/** fuse.h: fuse_in_header */
export const IN_HEADER = {
  LEN: 0,
  OPCODE: 4,
  UNIQUE: 8,
  NODEID: 16,
  UID: 24,
  GID: 28,
  PID: 32,
  TOTAL_EXTLEN: 36,
  SIZE: 40,
} as const;

/** fuse.h: fuse_out_header */
export const OUT_HEADER = { LEN: 0, ERROR: 4, UNIQUE: 8, SIZE: 16 } as const;

/** uid and gid of requests that carry no caller (fuse.h: FUSE_INVALID_UIDGID, with ALLOW_IDMAP). */
export const FUSE_INVALID_UIDGID = 0xffffffff;

/** fuse.h: fuse_attr */
export const ATTR = {
  INO: 0,
  SIZE_: 8,
  BLOCKS: 16,
  ATIME: 24,
  MTIME: 32,
  CTIME: 40,
  ATIMENSEC: 48,
  MTIMENSEC: 52,
  CTIMENSEC: 56,
  MODE: 60,
  NLINK: 64,
  UID: 68,
  GID: 72,
  RDEV: 76,
  BLKSIZE: 80,
  FLAGS: 84,
  SIZE: 88,
} as const;
export const FUSE_ATTR_SUBMOUNT = 1 << 0;
export const FUSE_ATTR_DAX = 1 << 1;

/** fuse.h: fuse_entry_out */
export const ENTRY_OUT = {
  NODEID: 0,
  GENERATION: 8,
  ENTRY_VALID: 16,
  ATTR_VALID: 24,
  ENTRY_VALID_NSEC: 32,
  ATTR_VALID_NSEC: 36,
  ATTR: 40,
  SIZE: 128,
} as const;

/** fuse.h: fuse_attr_out */
export const ATTR_OUT = { ATTR_VALID: 0, ATTR_VALID_NSEC: 8, ATTR: 16, SIZE: 104 } as const;

/** fuse.h: fuse_forget_in */
export const FORGET_IN = { NLOOKUP: 0, SIZE: 8 } as const;
/** fuse.h: fuse_forget_one */
export const FORGET_ONE = { NODEID: 0, NLOOKUP: 8, SIZE: 16 } as const;
/** fuse.h: fuse_batch_forget_in */
export const BATCH_FORGET_IN = { COUNT: 0, SIZE: 8 } as const;

/** fuse.h: fuse_getattr_in */
export const GETATTR_IN = { GETATTR_FLAGS: 0, FH: 8, SIZE: 16 } as const;
export const FUSE_GETATTR_FH = 1 << 0;

/** fuse.h: fuse_setattr_in */
export const SETATTR_IN = {
  VALID: 0,
  FH: 8,
  SIZE_: 16,
  LOCK_OWNER: 24,
  ATIME: 32,
  MTIME: 40,
  CTIME: 48,
  ATIMENSEC: 56,
  MTIMENSEC: 60,
  CTIMENSEC: 64,
  MODE: 68,
  UID: 76,
  GID: 80,
  SIZE: 88,
} as const;
export const FATTR_MODE = 1 << 0;
export const FATTR_UID = 1 << 1;
export const FATTR_GID = 1 << 2;
export const FATTR_SIZE = 1 << 3;
export const FATTR_ATIME = 1 << 4;
export const FATTR_MTIME = 1 << 5;
export const FATTR_FH = 1 << 6;
export const FATTR_ATIME_NOW = 1 << 7;
export const FATTR_MTIME_NOW = 1 << 8;
export const FATTR_LOCKOWNER = 1 << 9;
export const FATTR_CTIME = 1 << 10;
export const FATTR_KILL_SUIDGID = 1 << 11;

/** fuse.h: fuse_mknod_in */
export const MKNOD_IN = { MODE: 0, RDEV: 4, UMASK: 8, SIZE: 16 } as const;
/** fuse.h: fuse_mkdir_in */
export const MKDIR_IN = { MODE: 0, UMASK: 4, SIZE: 8 } as const;
/** fuse.h: fuse_rename_in */
export const RENAME_IN = { NEWDIR: 0, SIZE: 8 } as const;
/** fuse.h: fuse_rename2_in */
export const RENAME2_IN = { NEWDIR: 0, FLAGS: 8, SIZE: 16 } as const;
/** fuse.h: fuse_link_in */
export const LINK_IN = { OLDNODEID: 0, SIZE: 8 } as const;

/** fuse.h: fuse_open_in */
export const OPEN_IN = { FLAGS: 0, OPEN_FLAGS: 4, SIZE: 8 } as const;
export const FUSE_OPEN_KILL_SUIDGID = 1 << 0;
/** fuse.h: fuse_create_in */
export const CREATE_IN = { FLAGS: 0, MODE: 4, UMASK: 8, OPEN_FLAGS: 12, SIZE: 16 } as const;
/** fuse.h: fuse_open_out */
export const OPEN_OUT = { FH: 0, OPEN_FLAGS: 8, BACKING_ID: 12, SIZE: 16 } as const;
export const FOPEN_DIRECT_IO = 1 << 0;
export const FOPEN_KEEP_CACHE = 1 << 1;
export const FOPEN_NONSEEKABLE = 1 << 2;
export const FOPEN_CACHE_DIR = 1 << 3;
export const FOPEN_STREAM = 1 << 4;
export const FOPEN_NOFLUSH = 1 << 5;
export const FOPEN_PASSTHROUGH = 1 << 7;
export const FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6;

/** fuse.h: fuse_release_in */
export const RELEASE_IN = { FH: 0, FLAGS: 8, RELEASE_FLAGS: 12, LOCK_OWNER: 16, SIZE: 24 } as const;
export const FUSE_RELEASE_FLUSH = 1 << 0;
export const FUSE_RELEASE_FLOCK_UNLOCK = 1 << 1;
/** fuse.h: fuse_flush_in */
export const FLUSH_IN = { FH: 0, LOCK_OWNER: 16, SIZE: 24 } as const;

/** fuse.h: fuse_read_in */
export const READ_IN = {
  FH: 0,
  OFFSET: 8,
  SIZE_: 16,
  READ_FLAGS: 20,
  LOCK_OWNER: 24,
  FLAGS: 32,
  SIZE: 40,
} as const;
/** fuse.h: fuse_write_in */
export const WRITE_IN = {
  FH: 0,
  OFFSET: 8,
  SIZE_: 16,
  WRITE_FLAGS: 20,
  LOCK_OWNER: 24,
  FLAGS: 32,
  SIZE: 40,
} as const;
export const FUSE_READ_LOCKOWNER = 1 << 1;
export const FUSE_WRITE_CACHE = 1 << 0;
export const FUSE_WRITE_LOCKOWNER = 1 << 1;
export const FUSE_WRITE_KILL_SUIDGID = 1 << 2;
/** fuse.h: fuse_write_out */
export const WRITE_OUT = { SIZE_: 0, SIZE: 8 } as const;

/** fuse.h: fuse_kstatfs, the whole of fuse_statfs_out */
export const STATFS_OUT = {
  BLOCKS: 0,
  BFREE: 8,
  BAVAIL: 16,
  FILES: 24,
  FFREE: 32,
  BSIZE: 40,
  NAMELEN: 44,
  FRSIZE: 48,
  SIZE: 80,
} as const;

/** fuse.h: fuse_fsync_in */
export const FSYNC_IN = { FH: 0, FSYNC_FLAGS: 8, SIZE: 16 } as const;
export const FUSE_FSYNC_FDATASYNC = 1 << 0;
/** fuse.h: fuse_syncfs_in */
export const SYNCFS_IN = { SIZE: 8 } as const;

/** fuse.h: fuse_setxattr_in; without FUSE_SETXATTR_EXT only the first 8 bytes are sent. */
export const SETXATTR_IN = {
  SIZE_: 0,
  FLAGS: 4,
  SETXATTR_FLAGS: 8,
  SIZE: 16,
  COMPAT_SIZE: 8,
} as const;
export const FUSE_SETXATTR_ACL_KILL_SGID = 1 << 0;
/** fuse.h: fuse_getxattr_in, also LISTXATTR's */
export const GETXATTR_IN = { SIZE_: 0, SIZE: 8 } as const;
/** fuse.h: fuse_getxattr_out */
export const GETXATTR_OUT = { SIZE_: 0, SIZE: 8 } as const;

/** fuse.h: fuse_access_in */
export const ACCESS_IN = { MASK: 0, SIZE: 8 } as const;
/** fuse.h: fuse_interrupt_in */
export const INTERRUPT_IN = { UNIQUE: 0, SIZE: 8 } as const;
/** fuse.h: fuse_bmap_in */
export const BMAP_IN = { SIZE: 16 } as const;
/** fuse.h: fuse_ioctl_in */
export const IOCTL_IN = {
  FH: 0,
  FLAGS: 8,
  CMD: 12,
  ARG: 16,
  IN_SIZE: 24,
  OUT_SIZE: 28,
  SIZE: 32,
} as const;
/** fuse.h: fuse_poll_in */
export const POLL_IN = { FH: 0, KH: 8, FLAGS: 16, EVENTS: 20, SIZE: 24 } as const;

/** fuse.h: fuse_lk_in */
export const LK_IN = { FH: 0, OWNER: 8, LK: 16, LK_FLAGS: 40, SIZE: 48 } as const;
/** fuse.h: fuse_file_lock; GETLK's whole reply */
export const FILE_LOCK = { START: 0, END: 8, TYPE: 16, PID: 20, SIZE: 24 } as const;
export const FUSE_LK_FLOCK = 1 << 0;

/** fuse.h: fuse_fallocate_in */
export const FALLOCATE_IN = { FH: 0, OFFSET: 8, LENGTH: 16, MODE: 24, SIZE: 32 } as const;
/** fuse.h: fuse_lseek_in */
export const LSEEK_IN = { FH: 0, OFFSET: 8, WHENCE: 16, SIZE: 24 } as const;
/** fuse.h: fuse_lseek_out */
export const LSEEK_OUT = { OFFSET: 0, SIZE: 8 } as const;
/** fuse.h: fuse_copy_file_range_in */
export const COPY_FILE_RANGE_IN = {
  FH_IN: 0,
  OFF_IN: 8,
  NODEID_OUT: 16,
  FH_OUT: 24,
  OFF_OUT: 32,
  LEN: 40,
  FLAGS: 48,
  SIZE: 56,
} as const;
/** fuse.h: fuse_copy_file_range_out */
export const COPY_FILE_RANGE_OUT = { BYTES_COPIED: 0, SIZE: 8 } as const;

/** fuse.h: fuse_setupmapping_in */
export const SETUPMAPPING_IN = {
  FH: 0,
  FOFFSET: 8,
  LEN: 16,
  FLAGS: 24,
  MOFFSET: 32,
  SIZE: 40,
} as const;
/** SETUPMAPPING_IN.FLAGS */
export const FUSE_SETUPMAPPING_FLAG_WRITE = 1 << 0;
export const FUSE_SETUPMAPPING_FLAG_READ = 1 << 1;
/** fuse.h: fuse_removemapping_in; the entries follow at once, without padding */
export const REMOVEMAPPING_IN = { COUNT: 0, SIZE: 4 } as const;
/** fuse.h: fuse_removemapping_one */
export const REMOVEMAPPING_ONE = { MOFFSET: 0, LEN: 8, SIZE: 16 } as const;

/** fuse.h: fuse_statx_in */
export const STATX_IN = { GETATTR_FLAGS: 0, FH: 8, SX_FLAGS: 16, SX_MASK: 20, SIZE: 24 } as const;
/** fuse.h: fuse_statx_out; the struct fuse_statx in it has the layout of linux/stat.h's statx up to dev_minor */
export const STATX_OUT = {
  ATTR_VALID: 0,
  ATTR_VALID_NSEC: 8,
  FLAGS: 12,
  STAT: 32,
  SIZE: 288,
} as const;

/** fuse.h: fuse_dirent; NAME bytes follow, the record is padded to 8 */
export const DIRENT = { INO: 0, OFF: 8, NAMELEN: 16, TYPE: 20, NAME: 24 } as const;
/** fuse.h: fuse_direntplus: an entry_out, then a dirent */
export const DIRENTPLUS = { ENTRY: 0, DIRENT: 128, NAME: 152 } as const;

/** fuse.h: fuse_secctx_header, at the start of a SECURITY_CTX extension block */
export const SECCTX_HEADER = { SIZE_: 0, NR_SECCTX: 4, SIZE: 8 } as const;
/** fuse.h: fuse_secctx; then name NUL, label bytes */
export const SECCTX = { SIZE_: 0, SIZE: 8 } as const;
/** fuse.h: fuse_ext_header */
export const EXT_HEADER = { SIZE_: 0, TYPE: 4, SIZE: 8 } as const;
/** fuse.h: fuse_supp_groups, after an ext_header */
export const SUPP_GROUPS = { NR_GROUPS: 0, GROUPS: 4, SIZE: 4 } as const;
/** Types up to this one are a count of security contexts (fuse.h: enum fuse_ext_type). */
export const FUSE_MAX_NR_SECCTX = 31;
export const FUSE_EXT_GROUPS = 32;

/** fuse.h: fuse_init_in */
export const INIT_IN = {
  MAJOR: 0,
  MINOR: 4,
  MAX_READAHEAD: 8,
  FLAGS: 12,
  FLAGS2: 16,
  SIZE: 64,
  /** Without FLAGS2, before 7.36. */
  COMPAT_SIZE: 16,
} as const;
/** fuse.h: fuse_init_out */
export const INIT_OUT = {
  MAJOR: 0,
  MINOR: 4,
  MAX_READAHEAD: 8,
  FLAGS: 12,
  MAX_BACKGROUND: 16,
  CONGESTION_THRESHOLD: 18,
  MAX_WRITE: 20,
  TIME_GRAN: 24,
  MAX_PAGES: 28,
  MAP_ALIGNMENT: 30,
  FLAGS2: 32,
  MAX_STACK_DEPTH: 36,
  SIZE: 64,
} as const;

/** fuse.h: INIT flags, the low word. */
export const FUSE_ASYNC_READ = 2 ** 0;
export const FUSE_POSIX_LOCKS = 2 ** 1;
export const FUSE_FILE_OPS = 2 ** 2;
export const FUSE_ATOMIC_O_TRUNC = 2 ** 3;
export const FUSE_EXPORT_SUPPORT = 2 ** 4;
export const FUSE_BIG_WRITES = 2 ** 5;
export const FUSE_DONT_MASK = 2 ** 6;
export const FUSE_FLOCK_LOCKS = 2 ** 10;
export const FUSE_HAS_IOCTL_DIR = 2 ** 11;
export const FUSE_AUTO_INVAL_DATA = 2 ** 12;
export const FUSE_DO_READDIRPLUS = 2 ** 13;
export const FUSE_READDIRPLUS_AUTO = 2 ** 14;
export const FUSE_ASYNC_DIO = 2 ** 15;
export const FUSE_WRITEBACK_CACHE = 2 ** 16;
export const FUSE_NO_OPEN_SUPPORT = 2 ** 17;
export const FUSE_PARALLEL_DIROPS = 2 ** 18;
export const FUSE_HANDLE_KILLPRIV = 2 ** 19;
export const FUSE_POSIX_ACL = 2 ** 20;
export const FUSE_ABORT_ERROR = 2 ** 21;
export const FUSE_MAX_PAGES = 2 ** 22;
export const FUSE_CACHE_SYMLINKS = 2 ** 23;
export const FUSE_NO_OPENDIR_SUPPORT = 2 ** 24;
export const FUSE_EXPLICIT_INVAL_DATA = 2 ** 25;
export const FUSE_MAP_ALIGNMENT = 2 ** 26;
export const FUSE_SUBMOUNTS = 2 ** 27;
export const FUSE_HANDLE_KILLPRIV_V2 = 2 ** 28;
export const FUSE_SETXATTR_EXT = 2 ** 29;
export const FUSE_INIT_EXT = 2 ** 30;
/** fuse.h: INIT flags, the high word (bit 32 of the header is bit 0 here). */
export const FUSE2_SECURITY_CTX = 2 ** 0;
export const FUSE2_HAS_INODE_DAX = 2 ** 1;
export const FUSE2_CREATE_SUPP_GROUP = 2 ** 2;
export const FUSE2_HAS_EXPIRE_ONLY = 2 ** 3;
export const FUSE2_DIRECT_IO_ALLOW_MMAP = 2 ** 4;
export const FUSE2_PASSTHROUGH = 2 ** 5;
export const FUSE2_NO_EXPORT_SUPPORT = 2 ** 6;
export const FUSE2_HAS_RESEND = 2 ** 7;
export const FUSE2_ALLOW_IDMAP = 2 ** 8;
export const FUSE2_OVER_IO_URING = 2 ** 9;
export const FUSE2_REQUEST_TIMEOUT = 2 ** 10;

/** fuse.h: fuse_backing_map, the argument of {@linkcode FUSE_DEV_IOC_BACKING_OPEN} */
export const BACKING_MAP = { FD: 0, FLAGS: 4, PADDING: 8, SIZE: 16 } as const;
/** ioctl of /dev/fuse: makes a second descriptor of the same connection, whose requests are its own. */
export const FUSE_DEV_IOC_CLONE = 0x8004e500;
/** ioctls of /dev/fuse: lend the kernel a file that it reads, writes and maps in the place of one of ours. */
export const FUSE_DEV_IOC_BACKING_OPEN = 0x4010e501;
export const FUSE_DEV_IOC_BACKING_CLOSE = 0x4004e502;

/** fuse.h: enum fuse_notify_code: messages to the kernel that answer nothing. They have unique 0, and the code where replies have the error. */
export const FUSE_NOTIFY_INVAL_INODE = 2;
export const FUSE_NOTIFY_INVAL_ENTRY = 3;
/** fuse.h: fuse_notify_inval_inode_out; OFF below 0: attributes only; LEN 0: to the end */
export const NOTIFY_INVAL_INODE_OUT = { INO: 0, OFF: 8, LEN: 16, SIZE: 24 } as const;
/** fuse.h: fuse_notify_inval_entry_out; the name and a NUL follow */
export const NOTIFY_INVAL_ENTRY_OUT = { PARENT: 0, NAMELEN: 8, FLAGS: 12, SIZE: 16 } as const;
export const FUSE_EXPIRE_ONLY = 1 << 0;
