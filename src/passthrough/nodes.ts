/**
 * Making and removing names: MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME, READLINK.
 *
 * @module
 */

import type { Reply } from "../fuse/reply.ts";
import type { Request } from "../fuse/request.ts";
import { EINVAL, ENOENT, EPERM, EROFS, ESTALE, type Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import {
  ENTRY_OUT,
  FUSE2_CREATE_SUPP_GROUP,
  FUSE2_SECURITY_CTX,
  FUSE_DONT_MASK,
  LINK_IN,
  MKDIR_IN,
  MKNOD_IN,
  RENAME2_IN,
  RENAME_IN,
} from "../wire/fuse.ts";
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_FOLLOW,
  O_PATH,
  PATH_MAX,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
} from "../wire/linux.ts";
import { O_NOFOLLOW } from "../sys/architecture.ts";
import { tellChanged } from "./changes.ts";
import { KEEP_CHECKS, KEEP_SETGID } from "./credentials.ts";
import { FORBIDDEN } from "./ids/id_map.ts";
import { lookupNewEntry, writeEntry, writeVersion } from "./names.ts";
import type { Share } from "./share.ts";
import { findHostName, hostNamePointer } from "./xattrs.ts";

/**
 * Becomes the caller and takes on its umask, for one call that makes an inode. {@linkcode leaveCaller} undoes both.
 */
export function enterCaller(share: Share, request: Request, umask: number): Status {
  const { session } = share;
  const knowsGroups = session.has2(FUSE2_CREATE_SUPP_GROUP);
  // A guest that cannot send groups has checked the permission with all the caller's groups by itself. Linux
  // strips set-gid bits since 6.0, so surely if it speaks 7.37 (6.1); before, the host has to (CVE-2022-0358).
  let keep = 0;
  if (!knowsGroups) keep = session.minor >= 37 ? KEEP_CHECKS | KEEP_SETGID : KEEP_CHECKS;
  const { ids } = share;
  let { uid, gid } = request;
  let group = knowsGroups ? request.supplementaryGroup : -1;
  if (ids !== null) {
    uid = ids.hostUid(uid);
    gid = ids.hostGid(gid);
    if (uid === FORBIDDEN || gid === FORBIDDEN) return -EPERM;
    // FORBIDDEN is "none" here: a group that must not be used is not lent.
    if (group !== -1) group = ids.hostGid(group);
  }
  const result = share.credentials.assume(uid, gid, group, keep);
  // Without DONT_MASK the guest has applied the umask itself.
  if (result === 0 && share.session.has(FUSE_DONT_MASK)) libc.umask(umask & 0o777);
  return result;
}

export function leaveCaller(share: Share): void {
  if (share.session.has(FUSE_DONT_MASK)) libc.umask(0);
  share.credentials.restore();
}

/** Sets the security label that came with a create request, on the inode at `fd`. */
export function applyLabel(share: Share, request: Request, fd: number): Status {
  if (request.labelNameSize === 0 || !share.session.has2(FUSE2_SECURITY_CTX)) return 0;
  const found = findHostName(share, request, request.labelNameOffset, request.labelNameSize);
  if (found < 0) return found;
  return status(
    libc.setxattr(
      share.scratch.fdPath(fd),
      hostNamePointer(share, request, request.labelNameOffset),
      request.bytes.pointerAt(request.labelOffset),
      request.labelSize,
      0,
    ),
  );
}

/** What the three simple makers share: become the caller, make, label, answer with the entry. */
function make(
  share: Share,
  request: Request,
  reply: Reply,
  umask: number,
  call: (parentFd: number) => number,
  removeFlags: number,
): Status {
  if (share.config.readonly) return -EROFS;
  const parentFd = share.borrow(request.nodeid);
  if (parentFd < 0) return parentFd;
  let result = enterCaller(share, request, umask);
  if (result === 0) {
    try {
      result = status(call(parentFd));
    } finally {
      leaveCaller(share);
    }
  }
  if (result === 0) {
    result = labelNew(share, request, parentFd);
    if (result === 0) {
      result = lookupNewEntry(share, parentFd, request.nodeid, request.namePointer, reply, 0);
      writeVersion(share, reply, ENTRY_OUT.SIZE);
    }
    // What the guest is not told of (ENFILE) must not stay: trying again would find it in the way. Nor may an inode
    // without the label it must have. With ENOENT somebody else has taken it away already: what has the name now is not ours.
    if (result < 0 && result !== -ENOENT) unmake(share, parentFd, request.namePointer, removeFlags);
  }
  share.giveBack(request.nodeid, parentFd);
  return result;
}

function labelNew(share: Share, request: Request, parentFd: number): Status {
  if (request.labelNameSize === 0 || !share.session.has2(FUSE2_SECURITY_CTX)) return 0;
  const fd = status(libc.openat(parentFd, request.namePointer, O_PATH | O_NOFOLLOW, 0));
  if (fd < 0) return fd;
  const result = applyLabel(share, request, fd);
  tellChanged(share, fd);
  libc.close(fd);
  return result;
}

/** Takes away what was just made, and what others may have found already. */
export function unmake(
  share: Share,
  parentFd: number,
  name: Deno.PointerObject,
  flags: number,
): void {
  const fd = status(libc.openat(parentFd, name, O_PATH | O_NOFOLLOW, 0));
  libc.unlinkat(parentFd, name, flags);
  if (fd < 0) return;
  tellChanged(share, fd);
  libc.close(fd);
}

export function mknod(share: Share, request: Request, reply: Reply): Status {
  const mode = request.u32(MKNOD_IN.MODE);
  const device = BigInt(decodeDevice(request.u32(MKNOD_IN.RDEV)));
  const umask = request.u32(MKNOD_IN.UMASK);
  const name = request.namePointer;
  return make(share, request, reply, umask, (fd) => libc.mknodat(fd, name, mode, device), 0);
}

/** From the kernel's 32-bit device number to libc's 64-bit dev_t (sys/sysmacros.h: makedev). */
function decodeDevice(rdev: number): number {
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return (minor & 0xff) + major * 256 + Math.floor(minor / 256) * 1048576;
}

export function mkdir(share: Share, request: Request, reply: Reply): Status {
  const mode = request.u32(MKDIR_IN.MODE);
  const umask = request.u32(MKDIR_IN.UMASK);
  const name = request.namePointer;
  return make(share, request, reply, umask, (fd) => libc.mkdirat(fd, name, mode), AT_REMOVEDIR);
}

export function symlink(share: Share, request: Request, reply: Reply): Status {
  const name = request.namePointer;
  const target = request.name2Pointer;
  return make(share, request, reply, 0, (fd) => libc.symlinkat(target, fd, name), 0);
}

export function readlink(share: Share, request: Request, reply: Reply): Status {
  const fd = share.borrow(request.nodeid);
  if (fd < 0) return fd;
  const size = Math.min(reply.sizeMax, PATH_MAX - 1);
  const result = status(libc.readlinkat(fd, share.scratch.empty, reply.pointerAt(0), size));
  share.giveBack(request.nodeid, fd);
  if (result < 0) return result;
  reply.size = result;
  return 0;
}

export function link(share: Share, request: Request, reply: Reply): Status {
  if (share.config.readonly) return -EROFS;
  const old = request.u64(LINK_IN.OLDNODEID);
  const oldFd = share.borrow(old);
  if (oldFd < 0) return oldFd;
  const parentFd = share.borrow(request.nodeid);
  if (parentFd < 0) {
    share.giveBack(old, oldFd);
    return parentFd;
  }
  // AT_SYMLINK_FOLLOW follows /proc/self/fd/N to the inode and no further, even if that is a symlink.
  let result = status(
    libc.linkat(
      AT_FDCWD,
      share.scratch.fdPath(oldFd),
      parentFd,
      request.namePointer,
      AT_SYMLINK_FOLLOW,
    ),
  );
  share.loadVersion(old);
  if (result === 0) result = share.statFd(oldFd);
  if (result === 0 && !share.inodes.addLookup(old)) result = -ESTALE;
  if (result === 0) {
    writeEntry(share, reply, 0, old, request.nodeid);
    writeVersion(share, reply, ENTRY_OUT.SIZE);
  }
  share.giveBack(request.nodeid, parentFd);
  share.giveBack(old, oldFd);
  return result;
}

export function unlink(share: Share, request: Request): Status {
  return remove(share, request, 0);
}

export function rmdir(share: Share, request: Request): Status {
  return remove(share, request, AT_REMOVEDIR);
}

function remove(share: Share, request: Request, flags: number): Status {
  if (share.config.readonly) return -EROFS;
  const parentFd = share.borrow(request.nodeid);
  if (parentFd < 0) return parentFd;
  const result = status(libc.unlinkat(parentFd, request.namePointer, flags));
  share.giveBack(request.nodeid, parentFd);
  return result;
}

export function rename(share: Share, request: Request): Status {
  return renameTo(share, request, request.u64(RENAME_IN.NEWDIR), 0);
}

export function rename2(share: Share, request: Request): Status {
  const flags = request.u32(RENAME2_IN.FLAGS);
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) !== 0) return -EINVAL;
  return renameTo(share, request, request.u64(RENAME2_IN.NEWDIR), flags);
}

function renameTo(share: Share, request: Request, newParent: number, flags: number): Status {
  if (share.config.readonly) return -EROFS;
  const oldFd = share.borrow(request.nodeid);
  if (oldFd < 0) return oldFd;
  const newFd = share.borrow(newParent);
  if (newFd < 0) {
    share.giveBack(request.nodeid, oldFd);
    return newFd;
  }
  // The whiteout is a new inode, and belongs to the caller; a plain rename makes none.
  const makes = (flags & RENAME_WHITEOUT) !== 0;
  let result = makes ? enterCaller(share, request, 0) : 0;
  if (result === 0) {
    result = status(
      libc.renameat2(oldFd, request.namePointer, newFd, request.name2Pointer, flags),
    );
    if (makes) leaveCaller(share);
  }
  share.giveBack(newParent, newFd);
  share.giveBack(request.nodeid, oldFd);
  return result;
}
