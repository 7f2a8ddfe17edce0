/**
 * The native memory one thread's system calls work in: where each argument block lies.
 *
 * @module
 */

import { NativeMemory } from "../sys/native_memory.ts";

/** Offsets in the scratch page. */
export const SCRATCH = {
  STATX: 0,
  TIMES: 256,
  FLOCK: 320,
  OFFSETS: 384,
  STATFS: 448,
  FILE_HANDLE: 640,
  MOUNT_ID: 832,
  FD_PATH: 896,
  FD_PATH_2: 928,
  EMPTY: 960,
  DOT: 962,
  PATH: 1024,
  /** Directory entries as getdents64 gives them. */
  ENTRIES: 8192,
} as const;

/** Bytes of directory entries read at a time, at most. */
export const ENTRIES_SIZE = 128 * 1024;

/** Made once per thread. */
export class Scratch {
  readonly memory: NativeMemory = NativeMemory.allocate(SCRATCH.ENTRIES + ENTRIES_SIZE);
  readonly statx: Deno.PointerObject = this.memory.pointerAt(SCRATCH.STATX);
  readonly times: Deno.PointerObject = this.memory.pointerAt(SCRATCH.TIMES);
  readonly flock: Deno.PointerObject = this.memory.pointerAt(SCRATCH.FLOCK);
  readonly statfs: Deno.PointerObject = this.memory.pointerAt(SCRATCH.STATFS);
  readonly fileHandle: Deno.PointerObject = this.memory.pointerAt(SCRATCH.FILE_HANDLE);
  readonly mountId: Deno.PointerObject = this.memory.pointerAt(SCRATCH.MOUNT_ID);
  readonly empty: Deno.PointerObject = this.memory.pointerAt(SCRATCH.EMPTY);
  readonly dot: Deno.PointerObject = this.memory.pointerAt(SCRATCH.DOT);

  constructor() {
    this.memory.setCString(SCRATCH.EMPTY, "");
    this.memory.setCString(SCRATCH.DOT, ".");
  }

  /**
   * The path of a descriptor, for calls that take only paths. The thread's working directory is /proc/self/fd
   * (see `Share.enterThread`), so it is just the number, and needs no /proc in a later chroot.
   */
  fdPath(fd: number): Deno.PointerObject {
    this.#writeDecimal(SCRATCH.FD_PATH, fd);
    return this.memory.pointerAt(SCRATCH.FD_PATH);
  }

  #writeDecimal(offset: number, value: number): void {
    const { u8 } = this.memory;
    let digits = 1;
    for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) digits++;
    u8[offset + digits] = 0;
    let rest = value;
    for (let i = digits - 1; i >= 0; i--) {
      u8[offset + i] = 0x30 + rest % 10;
      rest = Math.floor(rest / 10);
    }
  }
}
