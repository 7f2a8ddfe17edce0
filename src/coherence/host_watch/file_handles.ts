/**
 * From the file handles of fanotify to inode numbers.
 *
 * Three file systems put the inode number into their handles in a form that is known here. It is taken from there: opening the handle costs three
 * system calls and fails for what has been deleted. That the form is right is tried on the root of each mount. With all others the handle is opened
 * (which works as long as the inode has a name, and on most as long as somebody has it open); a deleted one cannot be reported then,
 * but the directory it was in is.
 *
 * @module
 */

import { EOPNOTSUPP, errnoName, type Status } from "../../sys/errno.ts";
import { libc, status } from "../../sys/libc.ts";
import {
  AT_EMPTY_PATH,
  FILE_HANDLE,
  FILE_SYSTEM_MAGIC,
  MAX_HANDLE_SZ,
  O_CLOEXEC,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  STATFS,
} from "../../wire/linux.ts";
import { SCRATCH, type Scratch } from "./scratch.ts";

/** linux/exportfs.h (the kernel's own, so not to be asked of a compiler): an inode number of 32 bits, and its generation. */
const FILEID_INO32_GEN = 1;
/** And of 64 bits: XFS's form. */
const FILEID_INO64_GEN = 0x81;
const INO64_BYTES = 12;

/** Where in a handle the inode number is: the kernel's usual form, or tmpfs's, which has the generation first. */
type Form = "usual" | "tmpfs" | "unknown";

/** A mounted file system that has a mark. */
export class MarkedFileSystem {
  readonly path: string;
  readonly fsidLo: number;
  readonly fsidHi: number;
  readonly #scratch: Scratch;
  readonly #form: Form;
  readonly #devLo: number;
  readonly #devHi: number;
  /** The mount, opened while handles of a batch of events are: held for longer it could not be unmounted. */
  #mountFd = -1;

  private constructor(path: string, scratch: Scratch, form: Form) {
    const { memory: { view }, devLo, devHi } = scratch;
    this.path = path;
    this.fsidLo = view.getUint32(SCRATCH.STATFS + STATFS.FSID, true);
    this.fsidHi = view.getUint32(SCRATCH.STATFS + STATFS.FSID + 4, true);
    this.#scratch = scratch;
    this.#form = form;
    this.#devLo = devLo;
    this.#devHi = devHi;
  }

  /** Finds out how the handles of the file system at `path` are to be read. Otherwise the reason why they cannot be. */
  static find(path: string, scratch: Scratch): MarkedFileSystem | string {
    const fd = scratch.open(path, O_PATH);
    if (fd < 0) return errnoName(fd);
    try {
      return MarkedFileSystem.#find(fd, path, scratch);
    } finally {
      libc.close(fd);
    }
  }

  static #find(fd: number, path: string, scratch: Scratch): MarkedFileSystem | string {
    const { memory } = scratch;
    let result = status(libc.fstatfs(fd, memory.pointerAt(SCRATCH.STATFS)));
    if (result >= 0) result = scratch.statFd(fd);
    if (result >= 0) result = handleOf(fd, scratch);
    if (result === -EOPNOTSUPP) return "it has no file handles";
    if (result < 0) return errnoName(result);
    const { inoLo, inoHi } = scratch;
    const form = formOf(memory.view.getUint32(SCRATCH.STATFS + STATFS.TYPE, true));
    const known = new MarkedFileSystem(path, scratch, form);
    if (
      form !== "unknown" && known.#decode(SCRATCH.HANDLE) && scratch.inoLo === inoLo &&
      scratch.inoHi === inoHi
    ) return known;
    const opening = new MarkedFileSystem(path, scratch, "unknown");
    const opened = opening.#open(SCRATCH.HANDLE);
    opening.endBatch();
    const same = opened && scratch.inoLo === inoLo && scratch.inoHi === inoHi;
    return same ? opening : "its file handles cannot be opened";
  }

  /** Finds the inode of the handle at `offset`; false if there is none any more. The scratch has its numbers. */
  inodeOf(offset: number): boolean {
    return this.#decode(offset) || this.#open(offset);
  }

  /** Lets go of the mount. */
  endBatch(): void {
    if (this.#mountFd >= 0) libc.close(this.#mountFd);
    this.#mountFd = -1;
  }

  #decode(offset: number): boolean {
    if (this.#form === "unknown") return false;
    const { view } = this.#scratch.memory;
    const type = view.getInt32(offset + FILE_HANDLE.TYPE, true);
    const bytes = view.getUint32(offset + FILE_HANDLE.BYTES, true);
    const handle = offset + FILE_HANDLE.HANDLE;
    let inoLo = 0;
    let inoHi = 0;
    if (this.#form === "tmpfs") {
      if (type !== FILEID_INO32_GEN || bytes !== INO64_BYTES) return false;
      inoLo = view.getUint32(handle + 4, true);
      inoHi = view.getUint32(handle + 8, true);
    } else if (type === FILEID_INO32_GEN && bytes === 8) {
      inoLo = view.getUint32(handle, true);
    } else if (type === FILEID_INO64_GEN && bytes === INO64_BYTES) {
      inoLo = view.getUint32(handle, true);
      inoHi = view.getUint32(handle + 4, true);
    } else return false;
    const scratch = this.#scratch;
    scratch.devLo = this.#devLo;
    scratch.devHi = this.#devHi;
    scratch.inoLo = inoLo;
    scratch.inoHi = inoHi;
    return true;
  }

  #open(offset: number): boolean {
    const scratch = this.#scratch;
    if (this.#mountFd < 0) {
      // open_by_handle_at(2) takes no O_PATH descriptor.
      this.#mountFd = Math.max(-1, scratch.open(this.path, O_RDONLY | O_NONBLOCK));
      if (this.#mountFd < 0) return false;
    }
    // Pointers are made once for each place, so the handle is brought to one that has it.
    const { u8 } = scratch.memory;
    u8.copyWithin(SCRATCH.HANDLE, offset, offset + FILE_HANDLE.HANDLE + MAX_HANDLE_SZ);
    const handle = scratch.memory.pointerAt(SCRATCH.HANDLE);
    const fd = status(libc.open_by_handle_at(this.#mountFd, handle, O_PATH | O_CLOEXEC));
    if (fd < 0) return false;
    const result = scratch.statFd(fd);
    libc.close(fd);
    return result >= 0;
  }
}

function handleOf(fd: number, scratch: Scratch): Status {
  const { memory } = scratch;
  memory.view.setUint32(SCRATCH.HANDLE + FILE_HANDLE.BYTES, MAX_HANDLE_SZ, true);
  return status(
    libc.name_to_handle_at(
      fd,
      memory.pointerAt(SCRATCH.EMPTY),
      memory.pointerAt(SCRATCH.HANDLE),
      memory.pointerAt(SCRATCH.STATX),
      AT_EMPTY_PATH,
    ),
  );
}

function formOf(magic: number): Form {
  switch (magic) {
    case FILE_SYSTEM_MAGIC.EXT4:
    case FILE_SYSTEM_MAGIC.XFS:
      return "usual";
    case FILE_SYSTEM_MAGIC.TMPFS:
      return "tmpfs";
    default:
      return "unknown";
  }
}
