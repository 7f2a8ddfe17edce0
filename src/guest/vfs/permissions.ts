/**
 * Who may do what: virtio-fs mounts check permissions in the guest (default_permissions), since the daemon acts for whoever
 * asks.
 *
 * @module
 */

import { EACCES, EPERM, type Status } from "../../sys/errno.ts";
import { S_ISGID, S_ISUID, S_ISVTX, S_IXGRP } from "../../wire/linux.ts";
import type { Inode } from "./inode.ts";
import type { Process } from "./process.ts";
import type { Volume } from "./volume.ts";

/** Masks of {@linkcode mayAccess}, as of access(2). */
export const MAY_READ = 4;
export const MAY_WRITE = 2;
export const MAY_EXECUTE = 1;

/** Whether a process may access an inode so: 0, -EACCES, or why that cannot be found out. */
export function mayAccess(
  volume: Volume,
  process: Process,
  inode: Inode,
  mask: number,
): Status {
  if (process.isRoot && (mask & MAY_EXECUTE) === 0) return 0;
  if (process.isRoot && inode.isDirectory) return 0;
  const status = volume.refresh(inode);
  if (status < 0) return status;
  if (allows(process, inode, mask)) return 0;
  // It may have been allowed since: a refusal is never from memory.
  const asked = volume.refresh(inode, true);
  if (asked < 0) return asked;
  return allows(process, inode, mask) ? 0 : -EACCES;
}

/** Whether a process is known to be allowed that, without asking. */
export function mayAccessAsKnown(
  volume: Volume,
  process: Process,
  inode: Inode,
  mask: number,
): boolean {
  if (process.isRoot && (mask & MAY_EXECUTE) === 0) return true;
  if (process.isRoot && inode.isDirectory) return true;
  return !inode.stale && volume.attributesHold(inode) && allows(process, inode, mask);
}

function allows(process: Process, inode: Inode, mask: number): boolean {
  const { mode, uid, gid } = inode.attr;
  // CAP_DAC_OVERRIDE does not make a file executable that nobody may execute.
  if (process.isRoot) return (mask & MAY_EXECUTE) === 0 || (mode & 0o111) !== 0;
  const shift = process.uid === uid ? 6 : process.isIn(gid) ? 3 : 0;
  return ((mode >>> shift) & mask) === mask;
}

/** Whether names may be added to a directory. */
export function mayAdd(volume: Volume, process: Process, directory: Inode): Status {
  return mayAccess(volume, process, directory, MAY_WRITE | MAY_EXECUTE);
}

/** Whether a name may be taken out of a directory; sticky ones let only owners do so. */
export function mayRemove(
  volume: Volume,
  process: Process,
  directory: Inode,
  inode: Inode,
): Status {
  const status = mayAdd(volume, process, directory);
  if (status < 0 || process.isRoot) return status;
  if ((directory.attr.mode & S_ISVTX) === 0) return 0;
  const known = volume.refresh(inode);
  if (known < 0) return known;
  const owns = process.uid === directory.attr.uid || process.uid === inode.attr.uid;
  return owns ? 0 : -EPERM;
}

/** Whether the process is the owner, or root. */
export function isOwner(process: Process, inode: Inode): boolean {
  return process.isRoot || process.uid === inode.attr.uid;
}

/** The mode after data was changed by somebody without CAP_FSETID, or null where it stays (Linux: should_remove_suid). */
export function modeWithoutSetId(process: Process, inode: Inode): number | null {
  const { mode } = inode.attr;
  if (process.isRoot || !inode.isRegular) return null;
  let cleared = mode & ~S_ISUID;
  if ((mode & S_IXGRP) !== 0) cleared &= ~S_ISGID;
  return cleared === mode ? null : cleared & 0o7777;
}
