/**
 * System calls on open files: read, write, lseek, fallocate, copy_file_range, fsync, close's flush.
 *
 * @module
 */

import {
  EACCES,
  EBADF,
  EFBIG,
  EINVAL,
  EIO,
  EISDIR,
  ENODEV,
  ENOSYS,
  ENXIO,
  EOPNOTSUPP,
  EXDEV,
  type Status,
} from "../../sys/errno.ts";
import { O_DIRECT } from "../../sys/architecture.ts";
import { FOPEN_NOFLUSH, Opcode } from "../../wire/fuse.ts";
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  O_ACCMODE,
  O_APPEND,
  O_PATH,
  O_RDONLY,
  O_SYNC,
  O_WRONLY,
  SEEK_DATA,
  SEEK_HOLE,
  SEEK_SET,
} from "../../wire/linux.ts";
import * as files from "../client/files.ts";
import { removePrivileges } from "./attributes.ts";
import type { FileData } from "./file_data.ts";
import { dropPosixLocks } from "./locks.ts";
import { openedAtDaemon } from "./open.ts";
import type { OpenFile } from "./open_file.ts";
import type { Process } from "./process.ts";
import type { Versions } from "./versions.ts";
import type { Volume } from "./volume.ts";

/** linux/fs.h: sizes end below 2^63; a double holds them up to here. */
const OFFSET_MAX = Number.MAX_SAFE_INTEGER;
/** linux/fs.h: MAX_RW_COUNT */
const COUNT_MAX = 0x7ffff000;
const SEEK_CUR = 1;
const SEEK_END = 2;

/** pread(2): the count, 0 at the end, or a negative errno. */
export function pread(
  volume: Volume,
  file: OpenFile,
  offset: number,
  into: Uint8Array,
): number {
  if ((file.flags & O_PATH) !== 0) return -EBADF;
  if ((file.flags & O_ACCMODE) === O_WRONLY) return -EBADF;
  if (file.inode.isDirectory) return -EISDIR;
  if (offset < 0) return -EINVAL;
  if (into.length === 0) return 0;
  const data = volume.dataOf(file.inode);
  // Linux: fuse_dax_read_iter(): what is mapped is there, whatever else is known of the file. Only about its end the daemon is asked.
  const isInside = data.isMapped && offset + into.length <= file.inode.attr.size;
  if (volume.versions !== null) return preadVersioned(volume, volume.versions, file, offset, into);
  if (!isInside || file.inode.stale) {
    const status = volume.refresh(file.inode, false, file.handle);
    if (status < 0) return status;
  }
  return data.read(file, offset, into, isDirect(file));
}

/** Cache mode "shared": pages and size that are of one version, or what the daemon says. */
function preadVersioned(
  volume: Volume,
  versions: Versions,
  file: OpenFile,
  offset: number,
  into: Uint8Array,
): number {
  const { inode } = file;
  const data = volume.dataOf(inode);
  if (!inode.stale && versions.observe(inode)) {
    const status = volume.refresh(inode, false, file.handle);
    if (status < 0) return status;
    const count = data.read(file, offset, into, isDirect(file));
    // Some of it may have been asked for before a change, and some after it.
    if (versions.holds(inode)) return count;
  }
  return inode.stale ? -EIO : data.readPast(file, offset, into);
}

/** pwrite(2): the count, or a negative errno. With O_APPEND the offset does not matter. */
export function pwrite(
  volume: Volume,
  process: Process,
  file: OpenFile,
  offset: number,
  from: Uint8Array,
): number {
  if ((file.flags & O_PATH) !== 0) return -EBADF;
  if ((file.flags & O_ACCMODE) === O_RDONLY) return -EBADF;
  if (offset < 0) return -EINVAL;
  const { inode } = file;
  const data = volume.dataOf(inode);
  const mayCache = mayCacheWrite(volume, file, data);
  if (typeof mayCache === "number") return mayCache;
  let at = offset;
  if ((file.flags & O_APPEND) !== 0) {
    // Others may have appended: where the end is now, the daemon knows.
    const status = volume.refresh(inode, !data.ownsSize, file.handle);
    if (status < 0) return status;
    at = inode.attr.size;
  } else if (data.isMapped) {
    // Where the file ends decides whether it is written through the window.
    const status = volume.refresh(inode, false, file.handle);
    if (status < 0) return status;
  }
  if (from.length === 0) return 0;
  if (at + from.length > OFFSET_MAX) return -EFBIG;
  const cleared = removePrivileges(volume, process, inode);
  if (cleared < 0) return cleared;
  const count = data.write(file, at, from.subarray(0, COUNT_MAX), isDirect(file) || !mayCache);
  if (count > 0) {
    if (!data.dirty) volume.expire(inode);
    if ((file.flags & O_APPEND) !== 0) file.position = at;
    if ((file.flags & O_SYNC) !== 0) {
      const synced = sync(volume, file, false);
      if (synced < 0) return synced;
    }
  }
  return count;
}

/**
 * Whether written data may go into cached pages. In cache mode "shared" those that are there must hold, and so must the size: what is written
 * to a part of a page is kept back, and sent, with the rest of it.
 */
function mayCacheWrite(
  volume: Volume,
  { inode, handle }: OpenFile,
  data: FileData,
): boolean | Status {
  // While WRITEs are on their way nobody can say what the version should be. That is found out when somebody reads.
  if (volume.versions === null || inode.version.outstanding > 0) return true;
  if (!volume.versions.observe(inode)) return false;
  if (!data.keepsBack) return true;
  const status = volume.refresh(inode, false, handle);
  return status < 0 ? status : inode.version.proven;
}

/** The open file that a view is asked of, or why there is none (mmap(2)). */
export function viewable(
  file: OpenFile | null,
  offset: number,
  writable: boolean,
): OpenFile | Status {
  if (file === null || (file.flags & O_PATH) !== 0) return -EBADF;
  if (!file.inode.isRegular) return -ENODEV;
  const access = file.flags & O_ACCMODE;
  if (access === O_WRONLY || (writable && access === O_RDONLY)) return -EACCES;
  return Number.isInteger(offset) && offset >= 0 && offset <= OFFSET_MAX ? file : -EINVAL;
}

/** lseek(2) of a regular file: the new position, or a negative errno. */
export function lseek(volume: Volume, file: OpenFile, offset: number, whence: number): number {
  const { inode } = file;
  let to: number;
  switch (whence) {
    case SEEK_SET:
      to = offset;
      break;
    case SEEK_CUR:
      to = file.position + offset;
      break;
    case SEEK_END: {
      const status = volume.refresh(inode);
      if (status < 0) return status;
      to = inode.attr.size + offset;
      break;
    }
    case SEEK_DATA:
    case SEEK_HOLE:
      to = seekData(volume, file, offset, whence);
      if (to < 0) return to;
      break;
    default:
      return -EINVAL;
  }
  if (to < 0 || to > OFFSET_MAX) return -EINVAL;
  file.position = to;
  return to;
}

/** fallocate(2) */
export function fallocate(
  volume: Volume,
  process: Process,
  file: OpenFile,
  mode: number,
  offset: number,
  length: number,
): Status {
  if ((file.flags & O_PATH) !== 0) return -EBADF;
  if ((file.flags & O_ACCMODE) === O_RDONLY) return -EBADF;
  if (offset < 0 || length <= 0) return -EINVAL;
  if (!file.inode.isRegular) return -EISDIR;
  if (offset + length > OFFSET_MAX) return -EFBIG;
  const known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
  const punches = (mode & FALLOC_FL_PUNCH_HOLE) !== 0;
  if ((mode & ~known) !== 0) return -EOPNOTSUPP;
  if (punches && (mode & FALLOC_FL_KEEP_SIZE) === 0) return -EOPNOTSUPP;
  if (volume.unsupported.has(Opcode.FALLOCATE)) return -EOPNOTSUPP;
  const { inode } = file;
  const data = volume.dataOf(inode);
  const flushed = data.writeBack();
  if (flushed < 0) return data.flush();
  const cleared = removePrivileges(volume, process, inode);
  if (cleared < 0) return cleared;
  const { client } = volume;
  volume.changing(inode);
  const status = files.fallocate(client, inode.nodeid, file.handle, mode, offset, length);
  volume.changed(inode, status === 0);
  if (status === -ENOSYS) {
    volume.unsupported.add(Opcode.FALLOCATE);
    return -EOPNOTSUPP;
  }
  if (status < 0) return status;
  if (mode !== 0) data.punched(offset, length);
  changedAtDaemon(volume, file, (mode & FALLOC_FL_KEEP_SIZE) !== 0 ? 0 : offset + length);
  return 0;
}

/** copy_file_range(2) between files of this volume: the count, or a negative errno. */
export function copyFileRange(
  volume: Volume,
  process: Process,
  source: OpenFile,
  sourceOffset: number,
  target: OpenFile,
  targetOffset: number,
  length: number,
): number {
  if ((source.flags & O_ACCMODE) === O_WRONLY || (source.flags & O_PATH) !== 0) return -EBADF;
  if ((target.flags & O_ACCMODE) === O_RDONLY || (target.flags & O_PATH) !== 0) return -EBADF;
  if ((target.flags & O_APPEND) !== 0) return -EBADF;
  if (source.inode.isDirectory || target.inode.isDirectory) return -EISDIR;
  if (!source.inode.isRegular || !target.inode.isRegular) return -EINVAL;
  if (sourceOffset < 0 || targetOffset < 0) return -EINVAL;
  const known = volume.refresh(source.inode);
  if (known < 0) return known;
  const left = source.inode.attr.size - sourceOffset;
  const count = Math.min(length, left, COUNT_MAX);
  const overlaps = source.inode === target.inode && sourceOffset < targetOffset + count &&
    targetOffset < sourceOffset + count;
  if (overlaps && count > 0) return -EINVAL;
  if (count <= 0) return 0;
  if (targetOffset + count > OFFSET_MAX) return -EFBIG;
  if (volume.unsupported.has(Opcode.COPY_FILE_RANGE)) return -EOPNOTSUPP;
  for (const { inode } of [source, target]) {
    const flushed = inode.data?.writeBack() ?? 0;
    if (flushed < 0) return flushed;
  }
  const cleared = removePrivileges(volume, process, target.inode);
  if (cleared < 0) return cleared;
  volume.changing(target.inode);
  const copied = files.copyFileRange(
    volume.client,
    { nodeid: source.inode.nodeid, handle: source.handle, offset: sourceOffset },
    { nodeid: target.inode.nodeid, handle: target.handle, offset: targetOffset },
    count,
  );
  volume.changed(target.inode, copied >= 0);
  if (copied === -ENOSYS) {
    volume.unsupported.add(Opcode.COPY_FILE_RANGE);
    return -EOPNOTSUPP;
  }
  if (copied <= 0) return copied === -EXDEV ? -EOPNOTSUPP : copied;
  volume.dataOf(target.inode).punched(targetOffset, copied);
  changedAtDaemon(volume, target, targetOffset + copied);
  return copied;
}

/** fsync(2), or fdatasync(2) */
export function sync(volume: Volume, file: OpenFile, dataOnly: boolean): Status {
  if ((file.flags & O_PATH) !== 0) return -EBADF;
  const { inode } = file;
  const flushed = inode.data?.flush() ?? 0;
  const opcode = inode.isDirectory ? Opcode.FSYNCDIR : Opcode.FSYNC;
  if (volume.unsupported.has(opcode)) return flushed;
  const opened = openedAtDaemon(volume, file);
  if (opened < 0) return opened;
  const { client } = volume;
  const status = files.fsync(client, inode.nodeid, file.handle, inode.isDirectory, dataOnly);
  if (status === -ENOSYS) volume.unsupported.add(opcode);
  return flushed < 0 ? flushed : status === -ENOSYS ? 0 : status;
}

/** What close(2) does for each descriptor before it goes: written data is sent, and errors come to light (FLUSH). */
export function flushOnClose(volume: Volume, process: Process, file: OpenFile): Status {
  if ((file.flags & O_PATH) !== 0 || !file.inode.isRegular) return 0;
  const { inode } = file;
  const flushed = inode.data?.flush() ?? 0;
  dropPosixLocks(inode, process.lockOwner);
  const silent = (file.openFlags & FOPEN_NOFLUSH) !== 0 && flushed === 0;
  if (silent || volume.unsupported.has(Opcode.FLUSH)) return flushed;
  const status = files.flush(volume.client, inode.nodeid, file.handle, process.lockOwner);
  if (status === -ENOSYS) volume.unsupported.add(Opcode.FLUSH);
  return flushed < 0 ? flushed : status === -ENOSYS ? 0 : status;
}

function isDirect(file: OpenFile): boolean {
  return (file.flags & O_DIRECT) !== 0;
}

/** The daemon has changed data by itself: the file ends at `end` at least, and has new times. */
function changedAtDaemon(volume: Volume, { inode }: OpenFile, end: number): void {
  inode.attrVersion++;
  if (end > inode.attr.size) inode.attr.size = end;
  inode.data?.timesSet();
  volume.expire(inode);
}

function seekData(volume: Volume, file: OpenFile, offset: number, whence: number): number {
  const { inode } = file;
  if (inode.isDirectory) return -EINVAL;
  const known = volume.refresh(inode);
  if (known < 0) return known;
  const { size } = inode.attr;
  if (offset < 0 || offset >= size) return -ENXIO;
  if (!volume.unsupported.has(Opcode.LSEEK)) {
    const flushed = inode.data?.writeBack() ?? 0;
    if (flushed < 0) return flushed;
    const found = files.lseek(volume.client, inode.nodeid, file.handle, offset, whence);
    if (found !== -ENOSYS) return found;
    volume.unsupported.add(Opcode.LSEEK);
  }
  // Without the daemon's knowledge all is data up to the end (Linux: generic_file_llseek).
  return whence === SEEK_DATA ? offset : size;
}
