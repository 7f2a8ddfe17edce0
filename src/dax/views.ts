/**
 * Padded views: descriptors of files of the share that claim to be far longer than the files are.
 *
 * Some monitors map a file only as far as it reaches (QEMU: "backing store size … is too small"), but a guest always asks for 2 MiB at a
 * time. A view is the same file opened through a private FUSE file system that has FUSE passthrough: stat(2) tells the padded size,
 * while mmap(2) maps the file's own page cache. So what is written through the mapping is written to the file, growth shows
 * through the mapping, and the file's size never changes.
 *
 * The file system is a mount that is in nobody's name space (fsmount(2)). A name in it is the number of one of our descriptors: opening "57" gives a
 * view of what descriptor 57 has open. `view_server.ts` answers its requests on a thread of its own.
 *
 * @module
 */

import { MAPPABLE_END } from "../fuse/dax_window.ts";
import { O_NOFOLLOW } from "../sys/architecture.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { O_CLOEXEC, O_RDONLY, O_RDWR } from "../wire/linux.ts";

/** The size that every view claims. Nobody maps beyond it, and everybody can count so far. */
export const VIEW_SIZE: number = MAPPABLE_END;

const NAME_SIZE_MAX = 16;

/** Opens views. One per thread. */
export class Views {
  readonly #rootFd: number;
  readonly #name = NativeMemory.allocate(NAME_SIZE_MAX);

  /** `rootFd` is the root of the private file system. */
  constructor(rootFd: number) {
    this.#rootFd = rootFd;
  }

  /** A view of the file open at `fd`, which stays open meanwhile: a descriptor, or a negative errno. */
  open(fd: number, writable: boolean): number {
    this.#name.setCString(0, String(fd));
    const flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW;
    return status(libc.openat(this.#rootFd, this.#name.pointerAt(0), flags, 0));
  }
}
