/**
 * System calls about attributes: chmod, chown, truncate, utimensat, access.
 *
 * @module
 */

import { EACCES, EINVAL, EISDIR, EPERM, type Status } from "../../sys/errno.ts";
import { S_ISGID } from "../../wire/linux.ts";
import { type AttrChange, type NewTime, setattr } from "../client/attributes.ts";
import type { Handle } from "../client/files.ts";
import type { Inode } from "./inode.ts";
import { isOwner, MAY_WRITE, mayAccess, modeWithoutSetId } from "./permissions.ts";
import type { Process } from "./process.ts";
import type { Volume } from "./volume.ts";

/** chown(2): leave this id as it is. */
export const UNCHANGED = 0xffffffff;

/** Sends a change and takes over the attributes that come back. */
export function change(
  volume: Volume,
  inode: Inode,
  handle: Handle | null,
  wanted: AttrChange,
): Status {
  // What is changed here comes after what has been written.
  if (inode.data?.dirty === true) inode.data.writeBack();
  const { client, attrReply } = volume;
  volume.changing(inode);
  const status = setattr(client, inode.nodeid, handle, wanted, attrReply);
  volume.changed(inode, status === 0);
  if (status < 0) {
    volume.expire(inode);
    return status;
  }
  inode.attrVersion++;
  inode.ownChange = inode.data !== null;
  volume.setAttributes(inode, attrReply.attr, attrReply.validMs);
  return 0;
}

/** chmod(2) */
export function chmod(volume: Volume, process: Process, inode: Inode, mode: number): Status {
  const status = volume.refresh(inode);
  if (status < 0) return status;
  if (!isOwner(process, inode)) return -EPERM;
  let bits = mode & 0o7777;
  if (!process.isRoot && !process.isIn(inode.attr.gid)) bits &= ~S_ISGID;
  return change(volume, inode, null, { mode: inode.type | bits });
}

/** chown(2). UNCHANGED leaves an id as it is. */
export function chown(
  volume: Volume,
  process: Process,
  inode: Inode,
  uid: number,
  gid: number,
): Status {
  const status = volume.refresh(inode);
  if (status < 0) return status;
  const { attr } = inode;
  if (!process.isRoot) {
    const keepsUid = uid === UNCHANGED || (uid === attr.uid && process.uid === attr.uid);
    const mayGroup = gid === UNCHANGED ||
      (process.uid === attr.uid && (process.isIn(gid) || gid === attr.gid));
    if (!keepsUid || !mayGroup) return -EPERM;
  }
  const ids = {
    ...(uid === UNCHANGED ? {} : { uid }),
    ...(gid === UNCHANGED ? {} : { gid }),
  };
  // The kernel of a guest asks for the clearing of set-id bits in the same request.
  const bits = attr.mode & 0o7777;
  let cleared = bits;
  if (!inode.isDirectory) {
    cleared &= ~0o4000;
    if ((bits & 0o010) !== 0 || (!process.isRoot && !process.isIn(attr.gid))) cleared &= ~S_ISGID;
  }
  const mode = cleared === bits ? {} : { mode: inode.type | cleared };
  if (Object.keys(ids).length === 0 && cleared === bits) {
    if (inode.isSymlink) return 0;
    // chown(-1, -1) still moves ctime on: a change of the mode to what it is does, too.
    return change(volume, inode, null, { mode: inode.type | bits });
  }
  const changed = change(volume, inode, null, ids);
  if (changed < 0 || cleared === bits) return changed;
  return inode.attr.mode === (inode.type | cleared) ? 0 : change(volume, inode, null, mode);
}

/** truncate(2), or ftruncate(2) where there is a handle that was opened for writing. */
export function truncate(
  volume: Volume,
  process: Process,
  inode: Inode,
  handle: Handle | null,
  size: number,
): Status {
  if (inode.isDirectory) return -EISDIR;
  if (!inode.isRegular || size < 0) return -EINVAL;
  if (handle === null) {
    const allowed = mayAccess(volume, process, inode, MAY_WRITE);
    if (allowed < 0) return allowed;
  }
  const data = volume.dataOf(inode);
  const status = data.writeBack();
  if (status < 0) return data.flush();
  const mode = modeWithoutSetId(process, inode);
  const wanted = mode === null ? { size } : { size, mode: inode.type | mode };
  const before = inode.attr.size;
  const changed = change(volume, inode, handle, wanted);
  if (changed < 0) return changed;
  inode.attr.size = size;
  inode.attr.mtime = volume.attrReply.attr.mtime;
  inode.attr.mtimeNsec = volume.attrReply.attr.mtimeNsec;
  inode.attr.ctime = volume.attrReply.attr.ctime;
  inode.attr.ctimeNsec = volume.attrReply.attr.ctimeNsec;
  data.truncated(Math.min(before, size));
  return 0;
}

/** utimensat(2). A time that is left out stays. */
export function utimes(
  volume: Volume,
  process: Process,
  inode: Inode,
  atime: NewTime | undefined,
  mtime: NewTime | undefined,
): Status {
  if (atime === undefined && mtime === undefined) return 0;
  const known = volume.refresh(inode);
  if (known < 0) return known;
  if (!isOwner(process, inode)) {
    if (atime !== "now" || mtime !== "now") return -EPERM;
    const allowed = mayAccess(volume, process, inode, MAY_WRITE);
    if (allowed < 0) return allowed === -EACCES ? -EACCES : allowed;
  }
  const { data } = inode;
  if (data !== null && mtime !== undefined) {
    const status = data.writeBack();
    if (status < 0) return status;
    data.timesSet();
  }
  const status = change(volume, inode, null, {
    ...(atime === undefined ? {} : { atime }),
    ...(mtime === undefined ? {} : { mtime }),
  });
  if (status === 0) {
    // What was set is what holds, although the guest owns the times of files that it writes.
    const { attr } = volume.attrReply;
    inode.attr.mtime = attr.mtime;
    inode.attr.mtimeNsec = attr.mtimeNsec;
    inode.attr.ctime = attr.ctime;
    inode.attr.ctimeNsec = attr.ctimeNsec;
  }
  return status;
}

/** access(2): `mask` is 0 (is it there?) or MAY_* together. */
export function access(volume: Volume, process: Process, inode: Inode, mask: number): Status {
  if ((mask & ~7) !== 0) return -EINVAL;
  return mask === 0 ? volume.refresh(inode) : mayAccess(volume, process, inode, mask);
}

/** Before data is changed by write(2) and its like: set-id bits go (Linux: file_remove_privs). */
export function removePrivileges(volume: Volume, process: Process, inode: Inode): Status {
  const mode = modeWithoutSetId(process, inode);
  return mode === null ? 0 : change(volume, inode, null, { mode: inode.type | mode });
}
