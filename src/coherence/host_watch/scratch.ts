/**
 * Memory for the system calls of a watch. Native memory is never given back, so what a closed watch used serves the next.
 *
 * @module
 */

import { ENAMETOOLONG, type Status } from "../../sys/errno.ts";
import { libc, status } from "../../sys/libc.ts";
import { NativeMemory } from "../../sys/native_memory.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  PATH_MAX,
  S_IFMT,
  STATX,
  STATX_BASIC_STATS,
  STATX_MNT_ID,
} from "../../wire/linux.ts";

/** Where what lies. */
export const SCRATCH = {
  PATH: 0,
  STATX: 4096,
  STATFS: 4352,
  HANDLE: 4608,
  EMPTY: 4864,
  EVENTS: 8192,
  /** Some thousand events. */
  EVENTS_SIZE: 262144,
  ENTRIES: 270336,
  ENTRIES_SIZE: 65536,
  SIZE: 335872,
} as const;

const { STATX: AT } = SCRATCH;
const spare: NativeMemory[] = [];

/** The memory, and the inode that was looked at last. */
export class Scratch {
  readonly memory: NativeMemory = spare.pop() ?? NativeMemory.allocate(SCRATCH.SIZE);
  devLo = 0;
  devHi = 0;
  inoLo = 0;
  inoHi = 0;
  /** S_IFDIR and so on. */
  type = 0;
  mountId = 0;

  /** Opens a path: a descriptor or a negative errno. */
  open(path: string | Uint8Array, flags: number): Status {
    const at = this.path(path);
    if (at === null) return -ENAMETOOLONG;
    return status(libc.openat(AT_FDCWD, at, flags | O_CLOEXEC, 0));
  }

  /** Looks at a path, without following a symbolic link at its end. */
  stat(path: string | Uint8Array): Status {
    if (this.path(path) === null) return -ENAMETOOLONG;
    return this.#statx(AT_FDCWD, SCRATCH.PATH, AT_SYMLINK_NOFOLLOW);
  }

  /** Looks at a name (one character per byte) in a directory that is open. */
  statAt(fd: number, name: string): Status {
    for (let i = 0; i < name.length; i++) {
      this.memory.u8[SCRATCH.PATH + i] = name.charCodeAt(i);
    }
    this.memory.u8[SCRATCH.PATH + name.length] = 0;
    return this.#statx(fd, SCRATCH.PATH, AT_SYMLINK_NOFOLLOW);
  }

  /** Looks at what is open. */
  statFd(fd: number): Status {
    return this.#statx(fd, SCRATCH.EMPTY, AT_EMPTY_PATH);
  }

  /** Stores a path for a system call; null if it is longer than the kernel takes. */
  path(path: string | Uint8Array): Deno.PointerObject | null {
    const bytes = typeof path === "string" ? new TextEncoder().encode(path) : path;
    if (bytes.length >= PATH_MAX) return null;
    return this.memory.pointerAt(this.memory.setCString(SCRATCH.PATH, bytes));
  }

  #statx(fd: number, path: number, flags: number): Status {
    const { memory } = this;
    const mask = STATX_BASIC_STATS | STATX_MNT_ID;
    const result = status(
      libc.statx(fd, memory.pointerAt(path), flags, mask, memory.pointerAt(AT)),
    );
    if (result < 0) return result;
    const { view } = memory;
    this.devLo = view.getUint32(AT + STATX.DEV_MINOR, true);
    this.devHi = view.getUint32(AT + STATX.DEV_MAJOR, true);
    this.inoLo = view.getUint32(AT + STATX.INO, true);
    this.inoHi = view.getUint32(AT + STATX.INO + 4, true);
    this.type = view.getUint16(AT + STATX.MODE, true) & S_IFMT;
    this.mountId = view.getUint32(AT + STATX.MNT_ID, true);
    return 0;
  }

  /** The next user may have the memory. */
  giveBack(): void {
    spare.push(this.memory);
  }
}
