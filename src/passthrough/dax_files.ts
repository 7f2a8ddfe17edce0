/**
 * Which files a guest is told to map (fuse.h: FUSE_ATTR_DAX), and how they are opened for that.
 *
 * | `--dax` | are mapped                                                                                                   |
 * | ------- | ------------------------------------------------------------------------------------------------------------ |
 * | never   | none                                                                                                         |
 * | always  | all regular files that can be mapped                                                                         |
 * | auto    | of those: files from 1 MiB to the window's size that cannot be executed, until they are found to thrash the window |
 *
 * A mapping takes a range of 2 MiB and 50 µs or more: a small file is read sooner than mapped. A file larger than the window is mapped again and
 * again: read in order that takes twice as long as without (bench/dax), read at random four times (`dax/thrashing.ts`). An executable is left out because mapping it
 * means having it open for writing here, which keeps the host from executing it (ETXTBSY). A file that was mapped once
 * stays so while it is known, however small it becomes, and while it fits: guests drop what they know of a file when this changes.
 *
 * @module
 */

import type { MappableFiles } from "../fuse/dax_window.ts";
import { EACCES, ENFILE, EPERM, EROFS, ETXTBSY } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { DAX_INODE_MAPPED } from "../state/layout.ts";
import { FUSE2_HAS_INODE_DAX, FUSE_ATTR_DAX } from "../wire/fuse.ts";
import {
  AT_EACCESS,
  AT_FDCWD,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  S_IFMT,
  S_IFREG,
  ST_RDONLY,
  STATFS,
  STATX,
  STATX_ATTR_APPEND,
  STATX_ATTR_IMMUTABLE,
  STATX_ATTR_VERITY,
  STATX_TIMESTAMP,
  W_OK,
} from "../wire/linux.ts";
import { SCRATCH } from "./scratch.ts";
import type { Share } from "./share.ts";

const AUTO_SIZE_MIN = 1024 * 1024;
const EXECUTABLE = 0o111;
/** Errors of opening for writing that do not concern reading. */
const READ_INSTEAD: ReadonlySet<number> = new Set([-EROFS, -EACCES, -EPERM, -ETXTBSY]);

const FIXED = STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_VERITY;
/** How long a file that could not be mapped, although it looked so, is read by request. */
const RETRY_MS = 10 * 60 * 1000;

/** Opens files of the share for the window. */
export class ShareFiles implements MappableFiles {
  readonly #share: Share;
  openedWritable = false;

  constructor(share: Share) {
    this.#share = share;
  }

  acquire(nodeid: number): boolean {
    return this.#share.inodes.acquire(nodeid);
  }

  release(nodeid: number): void {
    this.#share.inodes.release(nodeid);
  }

  openToMap(nodeid: number): number {
    this.openedWritable = false;
    if (!this.#share.budget.allowsDescriptor) return -ENFILE;
    // With shared versions every change is a request: what is stored through a mapping would be told to nobody.
    if (this.#share.config.readonly || this.#share.versions !== null) {
      return this.openToRead(nodeid);
    }
    // O_NONBLOCK: EAGAIN instead of waiting for somebody to give up a lease (fcntl(2)).
    const fd = this.#share.reopen(nodeid, O_RDWR | O_NONBLOCK);
    if (READ_INSTEAD.has(fd)) return this.openToRead(nodeid);
    this.openedWritable = fd >= 0;
    return fd;
  }

  openToRead(nodeid: number): number {
    return this.#share.reopen(nodeid, O_RDONLY | O_NONBLOCK);
  }
}

/** A 32-bit number of the birth time of the file whose attributes are in scratch. */
export function birthOf(share: Share): number {
  const birth = SCRATCH.STATX + STATX.BTIME;
  const seconds = share.stat.getUint32(birth + STATX_TIMESTAMP.SEC, true);
  // Nanoseconds have 30 bits; the low bits of the seconds change most.
  return (share.stat.getUint32(birth + STATX_TIMESTAMP.NSEC, true) ^ Math.imul(seconds, 4)) | 0;
}

/** A file that was to be mapped cannot be: guests that meet it again are to read it. */
export function leaveOut(share: Share, nodeid: number, birth: number): void {
  share.daxInodes.demote(nodeid, birth, Date.now() + RETRY_MS);
  share.daxInodes.setFlag(nodeid, DAX_INODE_MAPPED, false);
}

/** FUSE_ATTR_DAX or 0 for an inode that is acquired and whose attributes are in scratch. */
export function daxFlag(share: Share, nodeid: number): number {
  const { config } = share;
  if (config.dax === "never" || !share.session.has2(FUSE2_HAS_INODE_DAX)) return 0;
  const { memory } = share.scratch;
  const mode = memory.view.getUint16(SCRATCH.STATX + STATX.MODE, true);
  if ((mode & S_IFMT) !== S_IFREG || !share.window.mapsWritable) return 0;
  if (share.daxInodes.isDemoted(nodeid, birthOf(share), Date.now())) return 0;
  if (config.dax === "auto") {
    if ((mode & EXECUTABLE) !== 0) return 0;
    const size = memory.u64(SCRATCH.STATX + STATX.SIZE_);
    if (size > share.window.size) return 0;
    if (share.daxInodes.flag(nodeid, DAX_INODE_MAPPED)) return FUSE_ATTR_DAX;
    if (size < AUTO_SIZE_MIN) return 0;
  }
  if (!isMappable(share, nodeid)) return 0;
  share.daxInodes.setFlag(nodeid, DAX_INODE_MAPPED, true);
  return FUSE_ATTR_DAX;
}

/** Whether the front end can map the file, as far as that can be told without trying it with this very file. */
function isMappable(share: Share, nodeid: number): boolean {
  const attributes = share.stat.getUint32(SCRATCH.STATX + STATX.ATTRIBUTES, true);
  const mount = mountKind(share, nodeid);
  if (mount === MountKind.Unmappable || share.window.mapsReadOnly) {
    return mount !== MountKind.Unmappable;
  }
  return (attributes & FIXED) === 0 && !share.config.readonly && mount === MountKind.Writable &&
    mayWrite(share, nodeid);
}

/** Whether this thread may open the file for writing, as far as permissions go. */
function mayWrite(share: Share, nodeid: number): boolean {
  const fd = share.borrow(nodeid);
  if (fd < 0) return false;
  const result = status(libc.faccessat(AT_FDCWD, share.scratch.fdPath(fd), W_OK, AT_EACCESS));
  share.giveBack(nodeid, fd);
  return result === 0;
}

/** What a mount means for mappings of its files. */
const enum MountKind {
  Writable,
  ReadOnly,
  /** FUSE passthrough cannot be had for its files (a stack of file systems too deep). */
  Unmappable,
}

function mountKind(share: Share, nodeid: number): number {
  const mountId = share.inodes.mountId(nodeid);
  const known = share.mountKinds.get(mountId);
  if (known !== undefined) return known;
  const kind = findMountKind(share, nodeid);
  share.mountKinds.set(mountId, kind);
  return kind;
}

/** Asked once for each mount and session. The statx in scratch stays as it is. */
function findMountKind(share: Share, nodeid: number): MountKind {
  if (!share.window.mapsFilesLike(nodeid)) return MountKind.Unmappable;
  const fd = share.borrow(nodeid);
  if (fd < 0) return MountKind.Unmappable;
  const result = status(libc.fstatfs(fd, share.scratch.statfs));
  share.giveBack(nodeid, fd);
  const flags = share.stat.getUint32(SCRATCH.STATFS + STATFS.FLAGS, true);
  return result === 0 && (flags & ST_RDONLY) === 0 ? MountKind.Writable : MountKind.ReadOnly;
}
