/**
 * Everything that differs between x86-64 and aarch64, in one place. Nothing else in the project asks which
 * architecture it runs on.
 *
 * @module
 */

import { SYSTEM_CALLS, type SystemCallName } from "../wire/system_calls.ts";

interface Architecture {
  readonly name: "x86_64" | "aarch64";
  /** asm/unistd.h: numbers of system calls that have to be made raw, because libc's wrappers act on all threads. */
  readonly syscalls: {
    readonly setgroups: number;
    readonly setresuid: number;
    readonly setresgid: number;
    readonly capget: number;
    readonly capset: number;
    readonly futex: number;
    readonly fsopen: number;
    readonly fsconfig: number;
    readonly fsmount: number;
    readonly pidfd_open: number;
    readonly pidfd_getfd: number;
    readonly seccomp: number;
  };
  /** asm/fcntl.h */
  readonly O_DIRECT: number;
  readonly O_LARGEFILE: number;
  readonly O_DIRECTORY: number;
  readonly O_NOFOLLOW: number;
  /** Offset of `data` in struct epoll_event, and its size: packed on x86-64. */
  readonly epollEvent: { readonly data: number; readonly size: number };
}

/** Newer system calls have one number everywhere; libc's wrappers came with glibc 2.36. */
const NEWER_SYSCALLS = {
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  pidfd_open: 434,
  pidfd_getfd: 438,
} as const;

const X86_64: Architecture = {
  name: "x86_64",
  syscalls: {
    setgroups: 116,
    setresuid: 117,
    setresgid: 119,
    capget: 125,
    capset: 126,
    futex: 202,
    seccomp: 317,
    ...NEWER_SYSCALLS,
  },
  O_DIRECT: 0o40000,
  O_LARGEFILE: 0o100000,
  O_DIRECTORY: 0o200000,
  O_NOFOLLOW: 0o400000,
  epollEvent: { data: 4, size: 12 },
};

const AARCH64: Architecture = {
  name: "aarch64",
  syscalls: {
    setgroups: 159,
    setresuid: 147,
    setresgid: 149,
    capget: 90,
    capset: 91,
    futex: 98,
    seccomp: 277,
    ...NEWER_SYSCALLS,
  },
  O_DIRECT: 0o200000,
  O_LARGEFILE: 0o400000,
  O_DIRECTORY: 0o40000,
  O_NOFOLLOW: 0o100000,
  epollEvent: { data: 8, size: 16 },
};

/** The machine this runs on. */
export const ARCHITECTURE: Architecture = Deno.build.arch === "x86_64" ? X86_64 : AARCH64;

export const { O_DIRECT, O_LARGEFILE, O_DIRECTORY, O_NOFOLLOW } = ARCHITECTURE;
/** Not a bit of its own: it contains O_DIRECTORY (asm-generic/fcntl.h). */
export const O_TMPFILE: number = 0o20000000 | ARCHITECTURE.O_DIRECTORY;

/** The number of a system call on this machine, or null where it has none. */
export function systemCallNumber(name: SystemCallName): number | null {
  return SYSTEM_CALLS[name][ARCHITECTURE.name === "x86_64" ? 0 : 1];
}
