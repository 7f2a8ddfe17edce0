/**
 * What the start-up code of the single executable does, and with what.
 *
 * The executable is the deno program with one more segment: start-up code and the bundled JavaScript.
 * The dynamic loader enters here, with every library relocated, instead of at deno's own entry. Then:
 *
 * 1. variables that steer deno ({@linkcode StartCodePlan.dropPrefixes}) are taken out of the
 *    environment, and ours ({@linkcode StartCodePlan.settings}) are put in with libc's setenv;
 * 2. a memfd is made and the bundle written into it, close-on-exec and without the execute permission;
 * 3. it is moved to the lowest free descriptor from {@linkcode FD_MIN} on: 0 to 2 may be closed and the
 *    low numbers may be promised to others (`--fd=N`), inherited descriptors are never overwritten;
 * 4. deno's own arguments and `/proc/self/fd/N` are pushed between argv[0] and the user's arguments
 *    on the stack (`ps` keeps showing what the user typed) and deno's entry is jumped to.
 *
 * @module
 */

/** The bundle's descriptor is the lowest free one from here on, or any if the limit is lower. */
export const FD_MIN = 100;

/** The path by which deno opens the bundle is this, followed by the descriptor's number. */
export const FD_PATH_PREFIX = "/proc/self/fd/";

/** Printed when the kernel refuses the memfd; the exit code is 1. */
export const FAILURE_MESSAGE = "error: Cannot start: no memory file for the program (memfd)\n";

/** Linux numbers that are the same on both architectures. */
export const LINUX = {
  EINVAL: 22,
  F_DUPFD_CLOEXEC: 1030,
  MAP_PRIVATE_ANONYMOUS: 0x22,
  MFD_CLOEXEC: 1,
  MFD_NOEXEC_SEAL: 8,
  PROT_READ_WRITE: 3,
  STDERR: 2,
} as const;

/** Everything the start-up code is made from. Addresses are the ELF's, before relocation. */
export interface StartCodePlan {
  /** Where the segment, and in it the code's first byte, will lie. */
  readonly address: number;
  /** The entry to jump to at the end. */
  readonly entry: number;
  /** Address of the GOT slot that holds libc's `&environ`. */
  readonly environSlot: number;
  /** Address of the GOT slot that holds libc's `setenv`. */
  readonly setenvSlot: number;
  /** Name of the memfd, seen in /proc/PID/fd. */
  readonly name: string;
  /** Arguments for deno that go before the bundle's path. */
  readonly denoArgs: readonly string[];
  /** Environment variables that begin with one of these are removed. */
  readonly dropPrefixes: readonly string[];
  /** Environment variables to set. */
  readonly settings: Readonly<Record<string, string>>;
  /** Size of the bundle that follows the code, in bytes. */
  readonly programSize: number;
}

/** Finished code, with the listing it was written from. The bundle follows its last byte. */
export interface StartCode {
  readonly code: Uint8Array<ArrayBuffer>;
  readonly listing: string;
}

/** Checks what the architectures rely on. */
export function checkPlan(plan: StartCodePlan): void {
  // argv grows by this many pointers; the stack must stay aligned to 16 bytes.
  if ((plan.denoArgs.length + 1) % 2 !== 0) {
    throw new RangeError("Cannot push an odd number of arguments: the stack must stay aligned");
  }
  if (plan.denoArgs.length + 1 > 127) throw new RangeError("Cannot push over 127 arguments");
  if (plan.programSize < 1 || plan.programSize > 0x7fff_ffff) {
    throw new RangeError(`Cannot embed a program of ${plan.programSize} bytes`);
  }
}
