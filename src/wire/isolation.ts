/**
 * Namespaces, capabilities, mounts and seccomp as the kernel knows them: constants that are the same on all 64-bit architectures.
 *
 * @module
 */

/** linux/sched.h */
export const CLONE_VM = 0x100;
export const CLONE_THREAD = 0x10000;
export const CLONE_NEWNS = 0x20000;
export const CLONE_NEWCGROUP = 0x2000000;
export const CLONE_NEWUTS = 0x4000000;
export const CLONE_NEWIPC = 0x8000000;
export const CLONE_NEWUSER = 0x10000000;
export const CLONE_NEWPID = 0x20000000;
export const CLONE_NEWNET = 0x40000000;

/** asm-generic/signal.h */
export const SIGKILL = 9;
export const SIGTERM = 15;
export const SIGCHLD = 17;
export const SIGSYS = 31;

/** sys/wait.h: also for children that end without SIGCHLD */
export const __WALL = 0x40000000;
export const WNOHANG = 1;

/** linux/mount.h and linux/fs.h */
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_BIND = 4096;
export const MS_REC = 16384;
export const MS_SLAVE = 1 << 19;
export const MNT_DETACH = 2;
export const OPEN_TREE_CLONE = 1;
export const MOUNT_ATTR_NOSUID = 2;
export const MOUNT_ATTR_NODEV = 4;
/** linux/mount.h: struct mount_attr */
export const MOUNT_ATTR = { SET: 0, CLR: 8, PROPAGATION: 16, USERNS_FD: 24, SIZE: 32 } as const;
/** linux/fcntl.h: of mount_setattr(2) and open_tree(2) */
export const AT_RECURSIVE = 0x8000;

/** linux/prctl.h */
export const PR_SET_PDEATHSIG = 1;
export const PR_SET_DUMPABLE = 4;
export const PR_SET_NAME = 15;
export const PR_GET_NAME = 16;
export const PR_CAPBSET_READ = 23;
export const PR_CAPBSET_DROP = 24;
export const PR_SET_NO_NEW_PRIVS = 38;
export const PR_SET_VMA = 0x53564d41;
export const PR_CAP_AMBIENT = 47;
export const PR_CAP_AMBIENT_RAISE = 2;
export const PR_CAP_AMBIENT_CLEAR_ALL = 4;

/** asm-generic/ioctls.h */
export const TCGETS = 0x5401;
export const FIONBIO = 0x5421;
export const FIOCLEX = 0x5451;

/** linux/fcntl.h and asm-generic/fcntl.h */
export const F_DUPFD = 0;
export const F_GETFD = 1;
export const F_SETFD = 2;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_GETLK = 5;
export const F_SETLK = 6;
export const F_SETLKW = 7;
export const F_SETOWN = 8;
export const F_SETSIG = 10;
export const F_OFD_SETLKW = 38;
export const F_DUPFD_CLOEXEC = 1030;
export const F_SETPIPE_SZ = 1031;
export const F_GETPIPE_SZ = 1032;
export const F_ADD_SEALS = 1033;
export const F_GET_SEALS = 1034;
export const FD_CLOEXEC = 1;

export const PROT_EXEC = 4;

/** linux/socket.h */
export const SOCK_SEQPACKET = 5;

/** linux/capability.h */
export const CAPABILITY = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  DAC_READ_SEARCH: 2,
  FOWNER: 3,
  FSETID: 4,
  KILL: 5,
  SETGID: 6,
  SETUID: 7,
  SETPCAP: 8,
  LINUX_IMMUTABLE: 9,
  NET_BIND_SERVICE: 10,
  NET_BROADCAST: 11,
  NET_ADMIN: 12,
  NET_RAW: 13,
  IPC_LOCK: 14,
  IPC_OWNER: 15,
  SYS_MODULE: 16,
  SYS_RAWIO: 17,
  SYS_CHROOT: 18,
  SYS_PTRACE: 19,
  SYS_PACCT: 20,
  SYS_ADMIN: 21,
  SYS_BOOT: 22,
  SYS_NICE: 23,
  SYS_RESOURCE: 24,
  SYS_TIME: 25,
  SYS_TTY_CONFIG: 26,
  MKNOD: 27,
  LEASE: 28,
  AUDIT_WRITE: 29,
  AUDIT_CONTROL: 30,
  SETFCAP: 31,
  MAC_OVERRIDE: 32,
  MAC_ADMIN: 33,
  SYSLOG: 34,
  WAKE_ALARM: 35,
  BLOCK_SUSPEND: 36,
  AUDIT_READ: 37,
  PERFMON: 38,
  BPF: 39,
  CHECKPOINT_RESTORE: 40,
} as const;

/** linux/seccomp.h: struct seccomp_data */
export const SECCOMP_DATA = { NR: 0, ARCH: 4, INSTRUCTION_POINTER: 8, ARGS: 16, SIZE: 64 } as const;
export const SECCOMP_SET_MODE_FILTER = 1;
export const SECCOMP_FILTER_FLAG_TSYNC = 1;
export const SECCOMP_FILTER_FLAG_LOG = 2;
export const SECCOMP_RET_KILL_PROCESS = 0x80000000;
export const SECCOMP_RET_TRAP = 0x00030000;
export const SECCOMP_RET_ERRNO = 0x00050000;
export const SECCOMP_RET_LOG = 0x7ffc0000;
export const SECCOMP_RET_ALLOW = 0x7fff0000;

/** linux/audit.h */
export const AUDIT_ARCH_X86_64 = 0xc000003e;
export const AUDIT_ARCH_AARCH64 = 0xc00000b7;

/** linux/filter.h: struct sock_filter and sock_fprog; linux/bpf_common.h */
export const SOCK_FILTER = { CODE: 0, JT: 2, JF: 3, K: 4, SIZE: 8 } as const;
export const SOCK_FPROG = { LEN: 0, FILTER: 8, SIZE: 16 } as const;
export const BPF_MAXINSNS = 4096;
export const BPF_LD = 0x00;
export const BPF_ALU = 0x04;
export const BPF_JMP = 0x05;
export const BPF_RET = 0x06;
export const BPF_W = 0x00;
export const BPF_ABS = 0x20;
export const BPF_AND = 0x50;
export const BPF_JA = 0x00;
export const BPF_JEQ = 0x10;
export const BPF_JGE = 0x30;
export const BPF_K = 0x00;

/** asm-generic/siginfo.h: siginfo_t of SIGSYS */
export const SIGINFO_SYS = { SIGNO: 0, SYSCALL: 24, ARCH: 28 } as const;
/** bits/sigaction.h: glibc's struct sigaction on 64-bit */
export const SIGACTION = { HANDLER: 0, FLAGS: 136, SIZE: 152 } as const;
export const SA_SIGINFO = 4;
