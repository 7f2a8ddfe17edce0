/**
 * The system calls of a daemon that has started: what the filter lets pass. One table, from which the program for each architecture is made.
 *
 * What is not in it is not for the daemon to do: start programs, trace, mount, open sockets, load code into the kernel, change
 * namespaces or its root. A name that an architecture does not have is left out there.
 *
 * @module
 */

import { ENOSYS, EPERM } from "../sys/errno.ts";
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  CLONE_THREAD,
  F_ADD_SEALS,
  F_DUPFD,
  F_DUPFD_CLOEXEC,
  F_GET_SEALS,
  F_GETFD,
  F_GETFL,
  F_GETLK,
  F_GETPIPE_SZ,
  F_OFD_SETLKW,
  F_SETFD,
  F_SETFL,
  F_SETLK,
  F_SETLKW,
  F_SETPIPE_SZ,
  FIOCLEX,
  FIONBIO,
  PR_GET_NAME,
  PR_SET_NAME,
  PR_SET_VMA,
  SECCOMP_RET_ALLOW,
  SECCOMP_RET_ERRNO,
  TCGETS,
} from "../wire/isolation.ts";
import { F_OFD_GETLK, F_OFD_SETLK } from "../wire/linux.ts";
import type { SystemCallName } from "../wire/system_calls.ts";
import type { Decision } from "./bpf.ts";

/** What the rules depend on. */
export interface FilterOptions {
  /** Inodes are opened by file handle. */
  readonly usesFileHandles: boolean;
  /** The number of this process as it knows it itself. */
  readonly pid: number;
}

/** What requests become: files of the share, by descriptor. Also what libc makes of them: renameat2 without flags is renameat. */
const FILES = [
  "openat",
  "close",
  "dup",
  "statx",
  "newfstatat",
  "fstat",
  "fstatfs",
  "readlinkat",
  "mkdirat",
  "mknodat",
  "symlinkat",
  "linkat",
  "unlinkat",
  "renameat",
  "renameat2",
  "faccessat",
  "faccessat2",
  "getdents64",
  "name_to_handle_at",
  "fchmod",
  "fchmodat",
  "fchmodat2",
  "fchownat",
  "utimensat",
  "ftruncate",
  "truncate",
  "getxattr",
  "setxattr",
  "listxattr",
  "removexattr",
  "read",
  "write",
  "pread64",
  "pwrite64",
  "readv",
  "writev",
  "preadv",
  "pwritev",
  "preadv2",
  "pwritev2",
  "lseek",
  "fallocate",
  "copy_file_range",
  "fsync",
  "fdatasync",
  "syncfs",
  "flock",
] as const;

/** What descriptors are asked: no signals to other processes (F_SETOWN), no leases. */
const DESCRIPTOR_COMMANDS = [
  ...[F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL],
  ...[F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW],
  ...[F_GETPIPE_SZ, F_SETPIPE_SZ, F_GET_SEALS, F_ADD_SEALS],
];

/** A thread has none of its own: with CAP_SYS_ADMIN (`--modcaps`) it could. */
const NAMESPACES = CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID |
  CLONE_NEWUSER | CLONE_NEWUTS;

/** The guest's caller (`passthrough/credentials.ts`). */
const IDENTITY = ["setresuid", "setresgid", "setgroups", "capget", "capset"] as const;

/** Front ends, and other threads. */
const CONNECTIONS = [
  "accept4",
  "recvmsg",
  "sendmsg",
  "recvfrom",
  "sendto",
  "shutdown",
  "getsockopt",
  "getsockname",
  "eventfd2",
  "epoll_create1",
  "epoll_ctl",
  "epoll_wait",
  "epoll_pwait",
  "epoll_pwait2",
  "poll",
  "ppoll",
  "memfd_create",
] as const;

/** What the program runs on: V8, its garbage collector and its compiler, Rust's runtime, libc. */
const RUNTIME = [
  "mmap",
  "munmap",
  "mremap",
  "mprotect",
  "madvise",
  "brk",
  "mincore",
  "membarrier",
  "pkey_alloc",
  "pkey_free",
  "pkey_mprotect",
  "rt_sigaction",
  "rt_sigprocmask",
  "rt_sigreturn",
  "sigaltstack",
  "restart_syscall",
  "futex",
  "futex_waitv",
  "set_robust_list",
  "get_robust_list",
  "rseq",
  "set_tid_address",
  "sched_yield",
  "sched_getaffinity",
  "sched_getparam",
  "sched_getscheduler",
  "getpriority",
  "exit",
  "exit_group",
  "clock_gettime",
  "clock_getres",
  "clock_nanosleep",
  "nanosleep",
  "gettimeofday",
  "getcpu",
  "getrusage",
  "times",
  "getrandom",
  "getpid",
  "getppid",
  "gettid",
  "getuid",
  "geteuid",
  "getgid",
  "getegid",
  "getcwd",
  "umask",
  "uname",
  "sysinfo",
] as const;

/** By name. Whatever is missing gets the action of `--seccomp`. */
export function filterRules(options: FilterOptions): Map<SystemCallName, Decision> {
  const allow: Decision = { action: SECCOMP_RET_ALLOW };
  const rules = new Map<SystemCallName, Decision>();
  for (const name of [...FILES, ...IDENTITY, ...CONNECTIONS, ...RUNTIME]) rules.set(name, allow);
  const allowIf = (name: SystemCallName, ...tests: Decision["tests"] & object): void => {
    rules.set(name, { action: SECCOMP_RET_ALLOW, tests });
  };
  const fail = (name: SystemCallName, errno: number): void => {
    rules.set(name, { action: SECCOMP_RET_ERRNO | errno });
  };
  if (options.usesFileHandles) rules.set("open_by_handle_at", allow);
  // Threads, not processes. The flags of clone3 lie in memory, where no filter sees them: libc takes clone instead when there is none.
  allowIf("clone", { index: 0, mask: CLONE_THREAD | NAMESPACES, values: [CLONE_THREAD] });
  allowIf("fcntl", { index: 1, values: DESCRIPTOR_COMMANDS });
  fail("clone3", ENOSYS);
  allowIf("prctl", { index: 0, values: [PR_SET_NAME, PR_GET_NAME, PR_SET_VMA] });
  allowIf("ioctl", { index: 1, values: [FIONBIO, FIOCLEX, TCGETS] });
  // Its own limits, to be read.
  allowIf("prlimit64", { index: 0, values: [0] }, { index: 2, values: [0] });
  // Its own threads: how a program that panics ends itself.
  allowIf("tgkill", { index: 0, values: [options.pid] });
  // libc asks for a new one when the system log has gone, and can live without.
  fail("socket", EPERM);
  return rules;
}
