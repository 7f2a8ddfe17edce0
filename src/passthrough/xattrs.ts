/**
 * Extended attributes: SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR.
 *
 * They are reached through /proc/self/fd, which works for every file type and opens none. Their names may be others on
 * the host: `xattr_map.ts`.
 *
 * @module
 */

import { type Reply, REPLY_SIZE_MAX } from "../fuse/reply.ts";
import type { Request } from "../fuse/request.ts";
import {
  EINVAL,
  ENODATA,
  ENOSYS,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
  EROFS,
  type Status,
} from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import {
  FUSE_POSIX_ACL,
  FUSE_SETXATTR_ACL_KILL_SGID,
  FUSE_SETXATTR_EXT,
  GETXATTR_IN,
  GETXATTR_OUT,
  OUT_HEADER,
  SETXATTR_IN,
} from "../wire/fuse.ts";
import { XATTR_LIST_MAX } from "../wire/linux.ts";
import { SCRATCH } from "./scratch.ts";
import type { Share } from "./share.ts";
import { HIDDEN } from "./xattr_map.ts";

const ACL_PREFIX = new TextEncoder().encode("system.posix_acl_");

/** ACLs are worth something only if the guest enforces them: unless that was agreed on, they do not exist. */
function isHiddenAcl(share: Share, bytes: Uint8Array, offset: number): boolean {
  if (share.session.has(FUSE_POSIX_ACL)) return false;
  for (let i = 0; i < ACL_PREFIX.length; i++) {
    if (bytes[offset + i] !== ACL_PREFIX[i]) return false;
  }
  return true;
}

/** Finds the host's name for the name of `size` bytes at `offset` of the request: {@linkcode hostNamePointer} says where it is. */
export function findHostName(share: Share, request: Request, offset: number, size: number): Status {
  if (isHiddenAcl(share, request.bytes.u8, offset)) return -EOPNOTSUPP;
  const { xattrMap } = share;
  if (xattrMap === null) return 0;
  const { u8 } = share.scratch.memory;
  const found = xattrMap.toHost(request.bytes.u8, offset, size, u8, SCRATCH.PATH);
  if (found < 0) return found;
  return isHiddenAcl(share, u8, SCRATCH.PATH) ? -EOPNOTSUPP : 0;
}

/** Where the name is that was found last, for a system call. */
export function hostNamePointer(
  share: Share,
  request: Request,
  offset: number,
): Deno.PointerObject {
  return share.xattrMap === null
    ? request.bytes.pointerAt(offset)
    : share.scratch.memory.pointerAt(SCRATCH.PATH);
}

export function setxattr(share: Share, request: Request): Status {
  if (!share.config.xattr) return -ENOSYS;
  if (share.config.readonly) return -EROFS;
  const found = findHostName(share, request, request.nameOffset, request.nameSize);
  if (found < 0) return found;
  const size = request.u32(SETXATTR_IN.SIZE_);
  if (size > request.dataSize) return -EINVAL;
  const killSgid = share.session.has(FUSE_SETXATTR_EXT) &&
    (request.u32(SETXATTR_IN.SETXATTR_FLAGS) & FUSE_SETXATTR_ACL_KILL_SGID) !== 0;
  const fd = share.borrow(request.nodeid);
  if (fd < 0) return fd;
  if (killSgid) share.credentials.dropFsetid();
  const result = status(
    libc.setxattr(
      share.scratch.fdPath(fd),
      hostNamePointer(share, request, request.nameOffset),
      request.bytes.pointerAt(request.dataOffset),
      size,
      request.u32(SETXATTR_IN.FLAGS) | 0,
    ),
  );
  if (killSgid) share.credentials.restoreFsetid();
  share.giveBack(request.nodeid, fd);
  return result;
}

/** The size alone, or the bytes in the reply. */
function replyBytes(request: Request, reply: Reply, result: Status): Status {
  if (result < 0) return result;
  if (request.u32(GETXATTR_IN.SIZE_) !== 0) {
    reply.size = result;
    return 0;
  }
  if (reply.sizeMax < GETXATTR_OUT.SIZE) return -ERANGE;
  reply.setU32(GETXATTR_OUT.SIZE_, result);
  reply.setU32(GETXATTR_OUT.SIZE_ + 4, 0);
  reply.size = GETXATTR_OUT.SIZE;
  return 0;
}

/** Bytes that may be asked of the host: 0 asks for the size alone. ERANGE if the guest wants bytes and left no room: asking for 0 would then answer another question. */
function roomFor(request: Request, reply: Reply): Status {
  const asked = request.u32(GETXATTR_IN.SIZE_);
  if (asked !== 0 && reply.sizeMax === 0) return -ERANGE;
  return Math.min(asked, reply.sizeMax, REPLY_SIZE_MAX);
}

export function getxattr(share: Share, request: Request, reply: Reply): Status {
  if (!share.config.xattr) return -ENOSYS;
  const found = findHostName(share, request, request.nameOffset, request.nameSize);
  // Names that are not for the guest do not exist, if it only asks: programs take EPERM for a failure.
  if (found < 0) return found === -EPERM ? -ENODATA : found;
  const room = roomFor(request, reply);
  if (room < 0) return room;
  const fd = share.borrow(request.nodeid);
  if (fd < 0) return fd;
  const path = share.scratch.fdPath(fd);
  const result = status(
    libc.getxattr(
      path,
      hostNamePointer(share, request, request.nameOffset),
      reply.pointerAt(0),
      room,
    ),
  );
  share.giveBack(request.nodeid, fd);
  return replyBytes(request, reply, result);
}

export function listxattr(share: Share, request: Request, reply: Reply): Status {
  if (!share.config.xattr) return -ENOSYS;
  const room = roomFor(request, reply);
  if (room < 0) return room;
  const fd = share.borrow(request.nodeid);
  if (fd < 0) return fd;
  const path = share.scratch.fdPath(fd);
  // All of the host's list is looked at: what the guest is told of may be far shorter, and fit where that does not.
  const names = share.scratch.memory.pointerAt(SCRATCH.ENTRIES);
  const result = status(libc.listxattr(path, names, XATTR_LIST_MAX));
  share.giveBack(request.nodeid, fd);
  if (result < 0) return result;
  return replyBytes(request, reply, copyNames(share, reply, result, room));
}

/**
 * Copies what the guest may see of the `size` bytes of names in scratch, as it sees it, into the reply; or only counts if `room` is 0. Returns
 * the bytes, or ERANGE.
 */
function copyNames(share: Share, reply: Reply, size: number, room: number): Status {
  const { u8 } = share.scratch.memory;
  const end = SCRATCH.ENTRIES + size;
  let done = 0;
  for (let from: number = SCRATCH.ENTRIES; from < end;) {
    let next = from;
    while (next < end && u8[next] !== 0) next++;
    const start = from + guestNameOffset(share, u8, from, next - from);
    next++;
    if (start >= from) {
      if (room !== 0) {
        if (done + next - start > room) return -ERANGE;
        reply.bytes.u8.set(u8.subarray(start, next), OUT_HEADER.SIZE + done);
      }
      done += next - start;
    }
    from = next;
  }
  return done;
}

/** Where in a host's name the guest's begins, or HIDDEN. */
function guestNameOffset(share: Share, u8: Uint8Array, from: number, size: number): number {
  if (isHiddenAcl(share, u8, from)) return HIDDEN;
  if (share.xattrMap === null) return 0;
  const offset = share.xattrMap.toGuest(u8, from, size);
  return offset > 0 && isHiddenAcl(share, u8, from + offset) ? HIDDEN : offset;
}

/**
 * Removes the file capabilities of an inode that is being changed, where they are kept under another name: the kernel does
 * that only for those it knows.
 */
export function dropMappedCapabilities(share: Share, fd: number): void {
  const { xattrMap } = share;
  if (xattrMap === null) return;
  const name = xattrMap.capabilityName;
  if (name !== null) libc.removexattr(share.scratch.fdPath(fd), name);
}

export function removexattr(share: Share, request: Request): Status {
  if (!share.config.xattr) return -ENOSYS;
  if (share.config.readonly) return -EROFS;
  const found = findHostName(share, request, request.nameOffset, request.nameSize);
  if (found < 0) return found;
  const fd = share.borrow(request.nodeid);
  if (fd < 0) return fd;
  const result = status(
    libc.removexattr(share.scratch.fdPath(fd), hostNamePointer(share, request, request.nameOffset)),
  );
  share.giveBack(request.nodeid, fd);
  return result;
}
