/**
 * Extended attributes: SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR.
 *
 * They are reached through /proc/self/fd, which works for every file type and opens none.
 *
 * @module
 */

import { type Reply, REPLY_SIZE_MAX } from "../fuse/reply.ts";
import type { Request } from "../fuse/request.ts";
import { EINVAL, ENOSYS, EOPNOTSUPP, ERANGE, EROFS, type Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import {
  FUSE_POSIX_ACL,
  FUSE_SETXATTR_ACL_KILL_SGID,
  FUSE_SETXATTR_EXT,
  GETXATTR_IN,
  GETXATTR_OUT,
  OUT_HEADER,
  SETXATTR_IN,
} from "../wire/fuse.ts";
import type { Share } from "./share.ts";

const ACL_PREFIX = new TextEncoder().encode("system.posix_acl_");

/** ACLs are worth something only if the guest enforces them: unless that was agreed on, they do not exist. */
function isHiddenAcl(share: Share, memory: NativeMemory, offset: number): boolean {
  if (share.session.has(FUSE_POSIX_ACL)) return false;
  for (let i = 0; i < ACL_PREFIX.length; i++) {
    if (memory.u8[offset + i] !== ACL_PREFIX[i]) return false;
  }
  return true;
}

export function setxattr(share: Share, request: Request): Status {
  if (!share.config.xattr) return -ENOSYS;
  if (share.config.readonly) return -EROFS;
  if (isHiddenAcl(share, request.bytes, request.nameOffset)) return -EOPNOTSUPP;
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
      request.namePointer,
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
  if (isHiddenAcl(share, request.bytes, request.nameOffset)) return -EOPNOTSUPP;
  const room = roomFor(request, reply);
  if (room < 0) return room;
  const fd = share.borrow(request.nodeid);
  if (fd < 0) return fd;
  const path = share.scratch.fdPath(fd);
  const result = status(libc.getxattr(path, request.namePointer, reply.pointerAt(0), room));
  share.giveBack(request.nodeid, fd);
  return replyBytes(request, reply, result);
}

export function listxattr(share: Share, request: Request, reply: Reply): Status {
  if (!share.config.xattr) return -ENOSYS;
  const room = roomFor(request, reply);
  if (room < 0) return room;
  const fd = share.borrow(request.nodeid);
  if (fd < 0) return fd;
  const result = status(libc.listxattr(share.scratch.fdPath(fd), reply.pointerAt(0), room));
  share.giveBack(request.nodeid, fd);
  if (result <= 0 || room === 0) return replyBytes(request, reply, result);
  return replyBytes(request, reply, dropHiddenNames(share, reply, result));
}

/** Removes the names of hidden ACLs from the list in the reply; returns what is left of it. */
function dropHiddenNames(share: Share, reply: Reply, size: number): number {
  const { bytes } = reply;
  const end = OUT_HEADER.SIZE + size;
  let to: number = OUT_HEADER.SIZE;
  let from: number = OUT_HEADER.SIZE;
  while (from < end) {
    let next = from;
    while (next < end && bytes.u8[next] !== 0) next++;
    next++;
    if (!isHiddenAcl(share, bytes, from)) {
      bytes.u8.copyWithin(to, from, next);
      to += next - from;
    }
    from = next;
  }
  return to - OUT_HEADER.SIZE;
}

export function removexattr(share: Share, request: Request): Status {
  if (!share.config.xattr) return -ENOSYS;
  if (share.config.readonly) return -EROFS;
  if (isHiddenAcl(share, request.bytes, request.nameOffset)) return -EOPNOTSUPP;
  const fd = share.borrow(request.nodeid);
  if (fd < 0) return fd;
  const result = status(libc.removexattr(share.scratch.fdPath(fd), request.namePointer));
  share.giveBack(request.nodeid, fd);
  return result;
}
