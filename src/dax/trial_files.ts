/**
 * Files of our own to find out with what a front end can map.
 *
 * @module
 */

import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { AT_FDCWD, MFD_CLOEXEC, O_CLOEXEC, O_RDONLY } from "../wire/linux.ts";

/** What a guest maps at a time. */
export const TRIAL_LENGTH: number = 2 * 1024 * 1024;
const SHORT_SIZE = 4096;

/** Descriptors, or negative errnos where they cannot be had. */
export class TrialFiles {
  /** A file of one page, to be mapped beyond its end. */
  readonly short: number;
  /** A file that is long enough, opened for reading only. */
  readonly readOnly: number;

  /** Called by a queue's thread, whose working directory is /proc/self/fd. */
  constructor() {
    const scratch = NativeMemory.allocate(4096);
    this.short = memoryFile(scratch, SHORT_SIZE);
    const long = memoryFile(scratch, TRIAL_LENGTH);
    const path = scratch.pointerAt(scratch.setCString(0, String(long)));
    this.readOnly = status(libc.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
    if (long >= 0) libc.close(long);
  }

  close(): void {
    if (this.short >= 0) libc.close(this.short);
    if (this.readOnly >= 0) libc.close(this.readOnly);
  }
}

function memoryFile(scratch: NativeMemory, size: number): number {
  const name = scratch.pointerAt(scratch.setCString(0, "virtiofsd-ts-dax-trial"));
  const fd = status(libc.memfd_create(name, MFD_CLOEXEC));
  if (fd >= 0) libc.ftruncate(fd, BigInt(size));
  return fd;
}
