/**
 * The one symbol table: libc through Deno FFI. Nothing outside `sys/` opens a library.
 *
 * Costs that shaped the signatures, measured on Deno 2.9.6: a call costs 120 ns; each 64-bit integer parameter adds
 * 90 ns; a pointer object adds 2 ns. So memory is named by pointer objects made once (see `NativeMemory.pointerAt`),
 * and whatever is known to be below 2^31 is an i32, below 2^32 a u32, although C has a size_t or off_t there: both
 * ABIs served pass it in one register, whose upper half a non-negative i32 or u32 leaves zero. (Where Deno's types say
 * bigint, a plain number would be taken as well, but makes the optimised caller bail out every time: 2 µs.)
 *
 * @module
 */

import type { Status } from "./errno.ts";

const SYMBOLS = {
  __errno_location: { parameters: [], result: "pointer" },

  // Files by descriptor and name: int openat(int dirfd, const char *path, int flags, mode_t mode), ...
  openat: { parameters: ["i32", "pointer", "i32", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  dup: { parameters: ["i32"], result: "i32" },
  statx: { parameters: ["i32", "pointer", "i32", "u32", "pointer"], result: "i32" },
  fstatfs: { parameters: ["i32", "pointer"], result: "i32" },
  readlinkat: { parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" },
  mkdirat: { parameters: ["i32", "pointer", "u32"], result: "i32" },
  mknodat: { parameters: ["i32", "pointer", "u32", "u64"], result: "i32" },
  symlinkat: { parameters: ["pointer", "i32", "pointer"], result: "i32" },
  linkat: { parameters: ["i32", "pointer", "i32", "pointer", "i32"], result: "i32" },
  unlinkat: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  renameat2: { parameters: ["i32", "pointer", "i32", "pointer", "u32"], result: "i32" },
  faccessat: { parameters: ["i32", "pointer", "i32", "i32"], result: "i32" },
  getdents64: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  name_to_handle_at: { parameters: ["i32", "pointer", "pointer", "pointer", "i32"], result: "i32" },
  open_by_handle_at: { parameters: ["i32", "pointer", "i32"], result: "i32" },

  // Attributes
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  fchmodat: { parameters: ["i32", "pointer", "u32", "i32"], result: "i32" },
  fchownat: { parameters: ["i32", "pointer", "u32", "u32", "i32"], result: "i32" },
  utimensat: { parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  truncate: { parameters: ["pointer", "i64"], result: "i32" },
  getxattr: { parameters: ["pointer", "pointer", "pointer", "i32"], result: "i32" },
  setxattr: { parameters: ["pointer", "pointer", "pointer", "i32", "i32"], result: "i32" },
  listxattr: { parameters: ["pointer", "pointer", "i32"], result: "i32" },
  removexattr: { parameters: ["pointer", "pointer"], result: "i32" },

  // Data
  read: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  write: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  preadv: { parameters: ["i32", "pointer", "i32", "i64"], result: "i32" },
  pwritev: { parameters: ["i32", "pointer", "i32", "i64"], result: "i32" },
  /** The same for offsets below 2^32, without garbage: see `vector_io.ts`. */
  preadv_low: { name: "preadv", parameters: ["i32", "pointer", "i32", "u32"], result: "i32" },
  pwritev_low: { name: "pwritev", parameters: ["i32", "pointer", "i32", "u32"], result: "i32" },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  copy_file_range: {
    parameters: ["i32", "pointer", "i32", "pointer", "i32", "u32"],
    result: "i32",
  },
  fsync: { parameters: ["i32"], result: "i32" },
  fdatasync: { parameters: ["i32"], result: "i32" },
  syncfs: { parameters: ["i32"], result: "i32" },
  flock: { parameters: ["i32", "i32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "pointer"], result: "i32" },

  /** Declared for ioctls that take a struct. */
  ioctl: { parameters: ["i32", "u32", "pointer"], result: "i32" },

  // Waiting
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "pointer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "pointer", "i32", "i32"], result: "i32" },
  poll: { parameters: ["pointer", "u32", "i32"], result: "i32" },
  /** The same, waiting on a thread of Deno's pool. Its errno is lost, so only "something happened" counts. */
  poll_async: {
    name: "poll",
    parameters: ["pointer", "u32", "i32"],
    result: "i32",
    nonblocking: true,
  },

  // Being told of changes. The mask of fanotify_mark is a u64, of which 32 bits are in use.
  fanotify_init: { parameters: ["u32", "u32"], result: "i32" },
  fanotify_mark: { parameters: ["i32", "u32", "u32", "i32", "pointer"], result: "i32" },
  inotify_init1: { parameters: ["i32"], result: "i32" },
  inotify_add_watch: { parameters: ["i32", "pointer", "u32"], result: "i32" },
  inotify_rm_watch: { parameters: ["i32", "i32"], result: "i32" },

  // Memory
  mmap: { parameters: ["pointer", "u64", "i32", "i32", "i32", "i64"], result: "pointer" },
  munmap: { parameters: ["pointer", "u64"], result: "i32" },
  mprotect: { parameters: ["pointer", "u32", "i32"], result: "i32" },
  memfd_create: { parameters: ["pointer", "u32"], result: "i32" },

  // Sockets
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  pipe2: { parameters: ["pointer", "i32"], result: "i32" },
  socketpair: { parameters: ["i32", "i32", "i32", "pointer"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  accept4: { parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" },
  recvmsg: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  sendmsg: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },

  // Set-up only: paths are given as JavaScript bytes, with their NUL.
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  unlink: { parameters: ["buffer"], result: "i32" },
  chown: { parameters: ["buffer", "u32", "u32"], result: "i32" },
  chmod: { parameters: ["buffer", "u32"], result: "i32" },
  pread_bytes: { name: "pread", parameters: ["i32", "buffer", "i32", "i64"], result: "i32" },
  write_bytes: { name: "write", parameters: ["i32", "buffer", "i32"], result: "i32" },
  fcntl_int: { name: "fcntl", parameters: ["i32", "i32", "i32"], result: "i32" },
  getgrnam: { parameters: ["buffer"], result: "pointer" },
  strerror: { parameters: ["i32"], result: "pointer" },
  openlog: { parameters: ["pointer", "i32", "i32"], result: "void" },
  /** Declared for the one format "%s". */
  syslog: { parameters: ["i32", "buffer", "buffer"], result: "void" },

  // Process and thread
  /** waitpid(2), waiting on a thread of Deno's pool: its errno is lost. */
  waitpid_async: {
    name: "waitpid",
    parameters: ["i32", "pointer", "i32"],
    result: "i32",
    nonblocking: true,
  },
  waitpid: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  kill: { parameters: ["i32", "i32"], result: "i32" },
  prctl: { parameters: ["i32", "u64", "u64", "u64", "u64"], result: "i32" },
  sigaction: { parameters: ["i32", "pointer", "pointer"], result: "i32" },
  getpid: { parameters: [], result: "i32" },
  geteuid: { parameters: [], result: "u32" },
  getegid: { parameters: [], result: "u32" },
  mount: { parameters: ["buffer", "buffer", "buffer", "u32", "buffer"], result: "i32" },
  umount2: { parameters: ["buffer", "i32"], result: "i32" },
  umask: { parameters: ["u32"], result: "u32" },
  fchdir: { parameters: ["i32"], result: "i32" },
  chdir: { parameters: ["pointer"], result: "i32" },
  unshare: { parameters: ["i32"], result: "i32" },
  sched_setaffinity: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  sched_getaffinity: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  prlimit: { parameters: ["i32", "i32", "pointer", "pointer"], result: "i32" },
  /** Raw system calls of small integers: libc's set*id functions change all threads, these one. */
  syscall3: { name: "syscall", parameters: ["i32", "i32", "i32", "i32"], result: "i32" },
  syscall2p: { name: "syscall", parameters: ["i32", "pointer", "pointer"], result: "i32" },
  setgroups: { name: "syscall", parameters: ["i32", "i32", "pointer"], result: "i32" },
  /** fsopen(2), fsconfig(2), fsmount(2) */
  fsopen: { name: "syscall", parameters: ["i32", "buffer", "u32"], result: "i32" },
  fsconfig: {
    name: "syscall",
    parameters: ["i32", "i32", "u32", "buffer", "buffer", "i32"],
    result: "i32",
  },
  fsmount: { name: "syscall", parameters: ["i32", "i32", "u32", "u32"], result: "i32" },
  seccomp: { name: "syscall", parameters: ["i32", "u32", "u32", "pointer"], result: "i32" },
  pidfd_open: { name: "syscall", parameters: ["i32", "i32", "u32"], result: "i32" },
  pidfd_getfd: { name: "syscall", parameters: ["i32", "i32", "i32", "u32"], result: "i32" },
  futex: {
    name: "syscall",
    parameters: ["i32", "pointer", "i32", "i32", "pointer"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const library = Deno.dlopen("libc.so.6", SYMBOLS);

/** libc's functions, as in their manual pages: most return -1 on failure, see {@linkcode status}. */
export const libc: typeof library.symbols = library.symbols;

/**
 * errno of this thread. Right after a failing synchronous call in 300,000 of 300,000 tries; after a
 * nonblocking one it is lost, so those are used only where errno does not matter.
 */
const errnoOfThread = new Int32Array(
  Deno.UnsafePointerView.getArrayBuffer(libc.__errno_location()!, 4),
);

/** Turns "-1 and errno" into a negative errno; other results pass. */
export function status(result: number): Status {
  return result < 0 ? -errnoOfThread[0]! : result;
}
