/**
 * GETATTR, SETATTR, STATX, STATFS; and writing attributes into replies.
 *
 * @module
 */

import type { Reply } from "../fuse/reply.ts";
import type { Request } from "../fuse/request.ts";
import { EFBIG, EINVAL, EPERM, EROFS, type Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import {
  ATTR,
  ATTR_OUT,
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_FH,
  FATTR_GID,
  FATTR_KILL_SUIDGID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  FATTR_SIZE,
  FATTR_UID,
  FUSE_GETATTR_FH,
  GETATTR_IN,
  SETATTR_IN,
  STATFS_OUT,
  STATX_IN,
  STATX_OUT,
} from "../wire/fuse.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  S_IFMT,
  S_IFREG,
  STATFS,
  STATX,
  TIMESPEC,
  UTIME_NOW,
  UTIME_OMIT,
} from "../wire/linux.ts";
import { daxFlag } from "./dax_files.ts";
import { FORBIDDEN, NO_ID } from "./ids/id_map.ts";
import { SCRATCH } from "./scratch.ts";
import type { Share } from "./share.ts";
import { dropMappedCapabilities } from "./xattrs.ts";

const OFFSET_MAX = Number.MAX_SAFE_INTEGER;

/** fuse.h: fuse_attr from the last statx. */
export function writeAttr(share: Share, reply: Reply, offset: number, flags: number): void {
  const stat = share.stat;
  const base = SCRATCH.STATX;
  copyHalves(reply, offset + ATTR.INO, stat, base + STATX.INO);
  copyHalves(reply, offset + ATTR.SIZE_, stat, base + STATX.SIZE_);
  copyHalves(reply, offset + ATTR.BLOCKS, stat, base + STATX.BLOCKS);
  copyHalves(reply, offset + ATTR.ATIME, stat, base + STATX.ATIME);
  copyHalves(reply, offset + ATTR.MTIME, stat, base + STATX.MTIME);
  copyHalves(reply, offset + ATTR.CTIME, stat, base + STATX.CTIME);
  reply.setU32(offset + ATTR.ATIMENSEC, stat.getUint32(base + STATX.ATIME + 8, true));
  reply.setU32(offset + ATTR.MTIMENSEC, stat.getUint32(base + STATX.MTIME + 8, true));
  reply.setU32(offset + ATTR.CTIMENSEC, stat.getUint32(base + STATX.CTIME + 8, true));
  reply.setU32(offset + ATTR.MODE, stat.getUint16(base + STATX.MODE, true));
  reply.setU32(offset + ATTR.NLINK, stat.getUint32(base + STATX.NLINK, true));
  const { ids } = share;
  const uid = stat.getUint32(base + STATX.UID, true);
  const gid = stat.getUint32(base + STATX.GID, true);
  reply.setU32(offset + ATTR.UID, ids === null ? uid : ids.guestUid(uid));
  reply.setU32(offset + ATTR.GID, ids === null ? gid : ids.guestGid(gid));
  reply.setU32(offset + ATTR.RDEV, encodeDevice(stat, base + STATX.RDEV_MAJOR));
  reply.setU32(offset + ATTR.BLKSIZE, stat.getUint32(base + STATX.BLKSIZE, true));
  reply.setU32(offset + ATTR.FLAGS, flags);
}

/** The kernel's 32-bit device number (linux/kdev_t.h: new_encode_dev) of a major and the minor behind it. */
function encodeDevice(stat: DataView, majorOffset: number): number {
  const major = stat.getUint32(majorOffset, true);
  const minor = stat.getUint32(majorOffset + 4, true);
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

function copyHalves(reply: Reply, offset: number, source: DataView, from: number): void {
  reply.setU32(offset, source.getUint32(from, true));
  reply.setU32(offset + 4, source.getUint32(from + 4, true));
}

function replyAttr(share: Share, reply: Reply, nodeid: number): void {
  setValid(share, reply, nodeid);
  writeAttr(share, reply, ATTR_OUT.ATTR, daxFlag(share, nodeid));
}

/** How long the guest may trust the attributes. */
function setValid(share: Share, reply: Reply, nodeid: number): void {
  if (share.sharesVersions) reply.setAttrValid(share.versions!.seconds(nodeid), 0);
  else reply.setAttrValid(share.policy.validSeconds, share.policy.validNanoseconds);
}

/** statx of the inode, through its open file if the request names one. */
function statNode(share: Share, request: Request, usesHandle: boolean, fhOffset: number): Status {
  const { nodeid } = request;
  if (usesHandle) {
    const slot = request.lo(fhOffset);
    const fd = share.acquireHandle(slot, request.hi(fhOffset), nodeid);
    if (fd < 0) return fd;
    const result = share.statFd(fd);
    share.handles.release(slot);
    return result;
  }
  const fd = share.borrow(nodeid);
  if (fd < 0) return fd;
  const result = share.statFd(fd);
  share.giveBack(nodeid, fd);
  return result;
}

export function getattr(share: Share, request: Request, reply: Reply): Status {
  const usesHandle = (request.u32(GETATTR_IN.GETATTR_FLAGS) & FUSE_GETATTR_FH) !== 0;
  const result = statNode(share, request, usesHandle, GETATTR_IN.FH);
  if (result < 0) return result;
  replyAttr(share, reply, request.nodeid);
  return 0;
}

export function statx(share: Share, request: Request, reply: Reply): Status {
  const usesHandle = (request.u32(STATX_IN.GETATTR_FLAGS) & FUSE_GETATTR_FH) !== 0;
  const result = statNode(share, request, usesHandle, STATX_IN.FH);
  if (result < 0) return result;
  setValid(share, reply, request.nodeid);
  reply.zero(STATX_OUT.FLAGS, STATX_OUT.SIZE - STATX_OUT.FLAGS);
  // fuse.h: fuse_statx has statx's layout up to dev_minor.
  for (let i = 0; i < STATX.MNT_ID; i += 4) {
    reply.setU32(STATX_OUT.STAT + i, share.stat.getUint32(SCRATCH.STATX + i, true));
  }
  const { ids, stat } = share;
  if (ids !== null) {
    const uid = stat.getUint32(SCRATCH.STATX + STATX.UID, true);
    const gid = stat.getUint32(SCRATCH.STATX + STATX.GID, true);
    reply.setU32(STATX_OUT.STAT + STATX.UID, ids.guestUid(uid));
    reply.setU32(STATX_OUT.STAT + STATX.GID, ids.guestGid(gid));
  }
  return 0;
}

export function setattr(share: Share, request: Request, reply: Reply): Status {
  if (share.config.readonly) return -EROFS;
  const { nodeid } = request;
  const valid = request.u32(SETATTR_IN.VALID);
  const fd = share.borrow(nodeid);
  if (fd < 0) return fd;
  let slot = 0;
  let handleFd = -1;
  let result: Status = 0;
  if ((valid & FATTR_FH) !== 0) {
    slot = request.lo(SETATTR_IN.FH);
    handleFd = share.acquireHandle(slot, request.hi(SETATTR_IN.FH), nodeid);
    if (handleFd < 0) result = handleFd;
  }
  if (result === 0) result = applyAttributes(share, request, valid, fd, handleFd);
  if (result === 0) result = share.statFd(handleFd >= 0 ? handleFd : fd);
  if (result === 0) replyAttr(share, reply, nodeid);
  if (handleFd >= 0) share.handles.release(slot);
  share.giveBack(nodeid, fd);
  return result;
}

/** Owner first: changing it clears set-uid bits, and the mode that the guest sends is the final one. */
function applyAttributes(
  share: Share,
  request: Request,
  valid: number,
  fd: number,
  handleFd: number,
): Status {
  let result: Status = 0;
  if ((valid & (FATTR_UID | FATTR_GID)) !== 0) {
    const { ids } = share;
    let uid = (valid & FATTR_UID) !== 0 ? request.u32(SETATTR_IN.UID) : NO_ID;
    let gid = (valid & FATTR_GID) !== 0 ? request.u32(SETATTR_IN.GID) : NO_ID;
    if (ids !== null) {
      uid = ids.hostUid(uid);
      gid = ids.hostGid(gid);
      if (uid === FORBIDDEN || gid === FORBIDDEN) return -EPERM;
    }
    const flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
    result = status(libc.fchownat(fd, share.scratch.empty, uid, gid, flags));
    if (result < 0) return result;
    dropMappedCapabilities(share, fd);
  }
  if ((valid & FATTR_MODE) !== 0) {
    const mode = request.u32(SETATTR_IN.MODE) & 0o7777;
    result = status(libc.fchmodat(AT_FDCWD, share.scratch.fdPath(fd), mode, 0));
    if (result < 0) return result;
  }
  if ((valid & FATTR_SIZE) !== 0) {
    result = applySize(share, request, valid, fd, handleFd);
    if (result < 0) return result;
  }
  if ((valid & (FATTR_ATIME | FATTR_MTIME)) !== 0) result = applyTimes(share, request, valid, fd);
  return result;
}

function applySize(
  share: Share,
  request: Request,
  valid: number,
  fd: number,
  handleFd: number,
): Status {
  const size = request.u64(SETATTR_IN.SIZE_);
  if (size > OFFSET_MAX) return size >= 2 ** 63 ? -EINVAL : -EFBIG;
  // truncate(2) opens by path: only a regular file may come that far.
  if ((share.inodes.mode(request.nodeid) & S_IFMT) !== S_IFREG) return -EINVAL;
  const kill = (valid & FATTR_KILL_SUIDGID) !== 0;
  if (kill) share.credentials.dropFsetid();
  const result = status(
    handleFd >= 0
      ? libc.ftruncate(handleFd, BigInt(size))
      : libc.truncate(share.scratch.fdPath(fd), BigInt(size)),
  );
  if (kill) share.credentials.restoreFsetid();
  if (result === 0) dropMappedCapabilities(share, fd);
  return result;
}

function applyTimes(share: Share, request: Request, valid: number, fd: number): Status {
  const { view } = share.scratch.memory;
  writeTime(
    view,
    SCRATCH.TIMES,
    request,
    valid,
    FATTR_ATIME,
    FATTR_ATIME_NOW,
    SETATTR_IN.ATIME,
    SETATTR_IN.ATIMENSEC,
  );
  writeTime(
    view,
    SCRATCH.TIMES + TIMESPEC.SIZE,
    request,
    valid,
    FATTR_MTIME,
    FATTR_MTIME_NOW,
    SETATTR_IN.MTIME,
    SETATTR_IN.MTIMENSEC,
  );
  return status(libc.utimensat(AT_FDCWD, share.scratch.fdPath(fd), share.scratch.times, 0));
}

/** One timespec for utimensat(2). Seconds are signed and only passed on, as halves. */
function writeTime(
  view: DataView,
  at: number,
  request: Request,
  valid: number,
  setFlag: number,
  nowFlag: number,
  secondsOffset: number,
  nanosecondsOffset: number,
): void {
  let nanoseconds = UTIME_OMIT;
  if ((valid & nowFlag) !== 0) nanoseconds = UTIME_NOW;
  else if ((valid & setFlag) !== 0) nanoseconds = request.u32(nanosecondsOffset);
  view.setUint32(at + TIMESPEC.SEC, request.lo(secondsOffset), true);
  view.setUint32(at + TIMESPEC.SEC + 4, request.hi(secondsOffset), true);
  view.setUint32(at + TIMESPEC.NSEC, nanoseconds, true);
  view.setUint32(at + TIMESPEC.NSEC + 4, 0, true);
}

export function statfs(share: Share, request: Request, reply: Reply): Status {
  const fd = share.borrow(request.nodeid);
  if (fd < 0) return fd;
  const result = status(libc.fstatfs(fd, share.scratch.statfs));
  share.giveBack(request.nodeid, fd);
  if (result < 0) return result;
  const stat = share.stat;
  const base = SCRATCH.STATFS;
  reply.zero(0, STATFS_OUT.SIZE);
  copyHalves(reply, STATFS_OUT.BLOCKS, stat, base + STATFS.BLOCKS);
  copyHalves(reply, STATFS_OUT.BFREE, stat, base + STATFS.BFREE);
  copyHalves(reply, STATFS_OUT.BAVAIL, stat, base + STATFS.BAVAIL);
  copyHalves(reply, STATFS_OUT.FILES, stat, base + STATFS.FILES);
  copyHalves(reply, STATFS_OUT.FFREE, stat, base + STATFS.FFREE);
  reply.setU32(STATFS_OUT.BSIZE, stat.getUint32(base + STATFS.BSIZE, true));
  reply.setU32(STATFS_OUT.NAMELEN, stat.getUint32(base + STATFS.NAMELEN, true));
  reply.setU32(STATFS_OUT.FRSIZE, stat.getUint32(base + STATFS.FRSIZE, true));
  return 0;
}
