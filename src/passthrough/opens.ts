/**
 * Open files, from OPEN, CREATE and TMPFILE to FLUSH and RELEASE.
 *
 * @module
 */

import type { Reply } from "../fuse/reply.ts";
import type { Request } from "../fuse/request.ts";
import { O_DIRECT, O_LARGEFILE, O_NOFOLLOW, O_TMPFILE } from "../sys/architecture.ts";
import { EEXIST, ENFILE, EROFS, ESTALE, type Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import {
  CREATE_IN,
  ENTRY_OUT,
  FLUSH_IN,
  FOPEN_NOFLUSH,
  FUSE_HANDLE_KILLPRIV_V2,
  FUSE_OPEN_KILL_SUIDGID,
  FUSE_POSIX_LOCKS,
  FUSE_RELEASE_FLUSH,
  FUSE_WRITEBACK_CACHE,
  OPEN_IN,
  OPEN_OUT,
  RELEASE_IN,
} from "../wire/fuse.ts";
import {
  AT_FDCWD,
  O_ACCMODE,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_DSYNC,
  O_EXCL,
  O_NOATIME,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_SYNC,
  O_TRUNC,
  O_WRONLY,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
} from "../wire/linux.ts";
import { dropOwner } from "./locks.ts";
import { VERSIONED_FILE_FLAGS } from "./cache_policy.ts";
import { adoptFd, openEntry, writeEntry, writeVersion } from "./names.ts";
import { tellChanged, truncating } from "./changes.ts";
import { applyLabel, enterCaller, leaveCaller, unmake } from "./nodes.ts";
import type { Share } from "./share.ts";
import { dropMappedCapabilities } from "./xattrs.ts";

/** CREATE's body, behind which the version stands. */
const CREATED_SIZE = ENTRY_OUT.SIZE + OPEN_OUT.SIZE;

/** The guest's open flags as the host's: only those that mean something here, and never a symlink, a creation, or a new terminal. */
function openFlags(share: Share, guestFlags: number): number {
  const { config } = share;
  let flags = guestFlags & (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC);
  if (config.allowDirectIo) flags |= guestFlags & O_DIRECT;
  if (config.preserveNoatime) flags |= guestFlags & O_NOATIME;
  if (share.session.has(FUSE_WRITEBACK_CACHE)) {
    // The guest reads pages before it writes part of them, and places appended data itself.
    if ((flags & O_ACCMODE) === O_WRONLY) flags = (flags & ~O_ACCMODE) | O_RDWR;
    flags &= ~O_APPEND;
  }
  return flags | O_LARGEFILE | O_CLOEXEC;
}

/**
 * Opens an inode's file. O_TRUNC by anybody but root clears set-uid and set-gid bits, which the guest leaves to us: with
 * HANDLE_KILLPRIV_V2 it says when (`saysKill`), without it the caller's uid tells, where the guest sends one.
 */
function reopen(
  share: Share,
  request: Request,
  nodeid: number,
  flags: number,
  saysKill: boolean,
): number {
  const kill = saysKill ||
    ((flags & O_TRUNC) !== 0 && request.uid !== 0 && !share.session.has(FUSE_HANDLE_KILLPRIV_V2));
  if (kill) share.credentials.dropFsetid();
  const fd = share.reopen(nodeid, flags);
  if (kill) share.credentials.restoreFsetid();
  if (fd >= 0 && (flags & O_TRUNC) !== 0) dropMappedCapabilities(share, fd);
  return fd;
}

function writes(flags: number): boolean {
  return (flags & O_ACCMODE) !== O_RDONLY || (flags & O_TRUNC) !== 0;
}

/** Takes an open descriptor into the handle table: its slot, or a negative errno. */
export function keepOpen(share: Share, fd: number, nodeid: number): number {
  let result: number = share.inodes.acquire(nodeid) ? share.handles.insert(fd, nodeid, 0) : -ESTALE;
  if (result > 0) return result;
  if (result === 0) {
    share.inodes.release(nodeid);
    result = -ENFILE;
  }
  libc.close(fd);
  return result;
}

/** OPEN_OUT at `offset` of the reply for a new descriptor, which the handle table takes over. */
function replyOpen(share: Share, reply: Reply, offset: number, fd: number, nodeid: number): Status {
  const slot = keepOpen(share, fd, nodeid);
  if (slot < 0) return slot;
  let flags = share.sharesVersions ? VERSIONED_FILE_FLAGS : share.policy.fileFlags;
  const quiet = !share.session.has(FUSE_POSIX_LOCKS) &&
    share.closesQuietly(share.inodes.mountId(nodeid), fd);
  if (quiet) flags |= FOPEN_NOFLUSH;
  reply.setOpen(offset, slot, share.handles.generation(slot), flags);
  return 0;
}

export function open(share: Share, request: Request, reply: Reply): Status {
  const flags = openFlags(share, request.u32(OPEN_IN.FLAGS));
  if (share.config.readonly && writes(flags)) return -EROFS;
  if (!share.budget.allowsOpen) return -ENFILE;
  const { nodeid } = request;
  if (!share.inodes.acquire(nodeid)) return -ESTALE;
  const saysKill = (request.u32(OPEN_IN.OPEN_FLAGS) & FUSE_OPEN_KILL_SUIDGID) !== 0;
  const fd = reopen(share, request, nodeid, flags, saysKill);
  const result = fd < 0 ? fd : replyOpen(share, reply, 0, fd, nodeid);
  share.inodes.release(nodeid);
  return result;
}

export function create(share: Share, request: Request, reply: Reply): Status {
  if (share.config.readonly) return -EROFS;
  if (!share.budget.allowsOpen) return -ENFILE;
  const { nodeid: parent, namePointer: name } = request;
  const guestFlags = request.u32(CREATE_IN.FLAGS);
  const flags = openFlags(share, guestFlags);
  const mode = request.u32(CREATE_IN.MODE) & 0o7777;
  const parentFd = share.borrow(parent);
  if (parentFd < 0) return parentFd;
  let fd: number = enterCaller(share, request, request.u32(CREATE_IN.UMASK));
  if (fd === 0) {
    // O_EXCL always: an existing name may be a FIFO or a device, which must not be opened to find out.
    try {
      fd = status(libc.openat(parentFd, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW, mode));
    } finally {
      leaveCaller(share);
    }
  }
  let result: Status;
  if (fd >= 0) {
    result = replyCreated(share, request, reply, fd, parent);
    if (result < 0) unmake(share, parentFd, name, 0);
  } else if (fd === -EEXIST && (guestFlags & O_EXCL) === 0) {
    result = openExisting(share, request, parentFd, flags, reply);
  } else {
    result = fd;
  }
  share.giveBack(parent, parentFd);
  return result;
}

/** CREATE of a name that is there already: a lookup and an open. */
function openExisting(
  share: Share,
  request: Request,
  parentFd: number,
  flags: number,
  reply: Reply,
): Status {
  const parent = request.nodeid;
  const nodeid = openEntry(share, parentFd, request.namePointer);
  if (nodeid < 0) return nodeid;
  const type = share.inodes.mode(nodeid) & S_IFMT;
  if (type !== S_IFREG && type !== S_IFDIR) {
    // Somebody else has just made a symlink or a FIFO of this name: the guest is to look again, and does (Linux: do_filp_open()).
    share.inodes.forget(nodeid, 1);
    return -ESTALE;
  }
  writeEntry(share, reply, 0, nodeid, parent);
  const saysKill = (request.u32(CREATE_IN.OPEN_FLAGS) & FUSE_OPEN_KILL_SUIDGID) !== 0;
  if ((flags & O_TRUNC) !== 0) truncating(share, nodeid);
  const fd = reopen(share, request, nodeid, flags, saysKill);
  // The entry's attributes were taken before the open truncated the file.
  const truncated = fd >= 0 && (flags & O_TRUNC) !== 0;
  if (truncated) {
    share.loadVersion(nodeid);
    if (share.statFd(fd) === 0) writeEntry(share, reply, 0, nodeid, parent);
  }
  writeVersion(share, reply, CREATED_SIZE);
  const result = fd < 0 ? fd : replyOpen(share, reply, ENTRY_OUT.SIZE, fd, nodeid);
  if (result < 0) share.inodes.forget(nodeid, 1);
  return result;
}

/** ENTRY_OUT and OPEN_OUT for a file that was just made, open at `fd` (taken over). */
function replyCreated(
  share: Share,
  request: Request,
  reply: Reply,
  fd: number,
  parent: number,
): Status {
  const labelled = applyLabel(share, request, fd);
  if (request.labelNameSize > 0) tellChanged(share, fd);
  if (labelled < 0) {
    libc.close(fd);
    return labelled;
  }
  const pathFd = status(libc.openat(AT_FDCWD, share.scratch.fdPath(fd), O_PATH | O_CLOEXEC, 0));
  const nodeid = pathFd < 0 ? pathFd : adoptFd(share, pathFd);
  if (nodeid < 0) {
    libc.close(fd);
    return nodeid;
  }
  writeEntry(share, reply, 0, nodeid, parent);
  writeVersion(share, reply, CREATED_SIZE);
  const result = replyOpen(share, reply, ENTRY_OUT.SIZE, fd, nodeid);
  if (result < 0) share.inodes.forget(nodeid, 1);
  return result;
}

export function tmpfile(share: Share, request: Request, reply: Reply): Status {
  if (share.config.readonly) return -EROFS;
  if (!share.budget.allowsOpen) return -ENFILE;
  const { nodeid: parent } = request;
  const guestFlags = request.u32(CREATE_IN.FLAGS);
  // O_EXCL says that the file may never be linked; it is the host that has to enforce it.
  const flags = openFlags(share, guestFlags) & ~O_TRUNC | O_TMPFILE | (guestFlags & O_EXCL);
  const mode = request.u32(CREATE_IN.MODE) & 0o7777;
  const parentFd = share.borrow(parent);
  if (parentFd < 0) return parentFd;
  let fd: number = enterCaller(share, request, request.u32(CREATE_IN.UMASK));
  if (fd === 0) {
    try {
      fd = status(libc.openat(parentFd, share.scratch.dot, flags, mode));
    } finally {
      leaveCaller(share);
    }
  }
  const result = fd < 0 ? fd : replyCreated(share, request, reply, fd, parent);
  share.giveBack(parent, parentFd);
  return result;
}

export function flush(share: Share, request: Request): Status {
  const { nodeid } = request;
  const slot = request.lo(FLUSH_IN.FH);
  const fd = share.acquireHandle(slot, request.hi(FLUSH_IN.FH), nodeid);
  if (fd < 0) return fd;
  dropOwner(share, nodeid, request.lo(FLUSH_IN.LOCK_OWNER), request.hi(FLUSH_IN.LOCK_OWNER));
  let result: Status = 0;
  if (!share.closesQuietly(share.inodes.mountId(nodeid), fd)) {
    // close(2) is where file systems such as NFS report what became of written data.
    const copy = status(libc.dup(fd));
    result = copy < 0 ? copy : status(libc.close(copy));
  }
  share.handles.release(slot);
  return result;
}

export function release(share: Share, request: Request): Status {
  const { nodeid } = request;
  const slot = request.lo(RELEASE_IN.FH);
  const fd = share.acquireHandle(slot, request.hi(RELEASE_IN.FH), nodeid);
  if (fd < 0) return fd;
  if ((request.u32(RELEASE_IN.RELEASE_FLAGS) & FUSE_RELEASE_FLUSH) !== 0) {
    dropOwner(share, nodeid, request.lo(RELEASE_IN.LOCK_OWNER), request.hi(RELEASE_IN.LOCK_OWNER));
  }
  share.handles.close(slot);
  share.handles.release(slot);
  // Closing may have dropped a flock(2).
  share.locks.countRelease();
  return 0;
}
