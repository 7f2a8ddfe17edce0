/**
 * Regular files: OPEN, CREATE, TMPFILE, READ, WRITE, FLUSH, RELEASE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE, SYNCFS.
 *
 * File data never enters the JavaScript heap: READ is preadv(2) into the guest's own buffers, WRITE pwritev(2)
 * from them.
 *
 * @module
 */

import type { Reply } from "../fuse/reply.ts";
import type { Request } from "../fuse/request.ts";
import { O_DIRECT, O_DIRECTORY, O_LARGEFILE, O_NOFOLLOW, O_TMPFILE } from "../sys/architecture.ts";
import {
  EEXIST,
  EFBIG,
  EINVAL,
  EMFILE,
  ENXIO,
  EOPNOTSUPP,
  EROFS,
  ESTALE,
  type Status,
} from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { preadv, pwritev } from "../sys/vector_io.ts";
import {
  COPY_FILE_RANGE_IN,
  COPY_FILE_RANGE_OUT,
  CREATE_IN,
  ENTRY_OUT,
  FALLOCATE_IN,
  FLUSH_IN,
  FOPEN_NOFLUSH,
  FSYNC_IN,
  FUSE_FSYNC_FDATASYNC,
  FUSE_HANDLE_KILLPRIV_V2,
  FUSE_OPEN_KILL_SUIDGID,
  FUSE_POSIX_LOCKS,
  FUSE_RELEASE_FLUSH,
  FUSE_WRITE_KILL_SUIDGID,
  FUSE_WRITEBACK_CACHE,
  IN_HEADER,
  LSEEK_IN,
  LSEEK_OUT,
  OPEN_IN,
  OUT_HEADER,
  READ_IN,
  RELEASE_IN,
  WRITE_IN,
  WRITE_OUT,
} from "../wire/fuse.ts";
import {
  AT_FDCWD,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
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
  SEEK_DATA,
  SEEK_HOLE,
} from "../wire/linux.ts";
import { dropOwner } from "./locks.ts";
import { adoptFd, openEntry, writeEntry } from "./names.ts";
import { applyLabel, enterCaller, leaveCaller } from "./nodes.ts";
import { SCRATCH } from "./scratch.ts";
import type { Share } from "./share.ts";

/** Where WRITE's data starts in the request. */
export const WRITE_DATA: number = IN_HEADER.SIZE + WRITE_IN.SIZE;
const OFFSET_MAX = Number.MAX_SAFE_INTEGER;
/** What a host answers at an offset that no file of its reaches (they end below 2^53 everywhere); EINVAL if it is negative as an off_t. */
function beyond(offset: number, answer: Status): Status {
  return offset >= 2 ** 63 ? -EINVAL : answer;
}

/** Bytes of one COPY_FILE_RANGE: a copy that the host makes by hand must not hold up the queue; a short answer is allowed. */
const COPY_SIZE_MAX = 128 * 1024 * 1024;
const FALLOCATE_MODES = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;

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
  if (!kill) return share.reopen(nodeid, flags);
  share.credentials.dropFsetid();
  const fd = share.reopen(nodeid, flags);
  share.credentials.restoreFsetid();
  return fd;
}

function writes(flags: number): boolean {
  return (flags & O_ACCMODE) !== O_RDONLY || (flags & O_TRUNC) !== 0;
}

/** OPEN_OUT at `offset` of the reply for a new descriptor, which the handle table takes over. */
function replyOpen(share: Share, reply: Reply, offset: number, fd: number, nodeid: number): Status {
  const slot = share.handles.insert(fd, nodeid, 0);
  if (slot === 0) {
    libc.close(fd);
    return -EMFILE;
  }
  let flags = share.policy.fileFlags;
  const quiet = !share.session.has(FUSE_POSIX_LOCKS) &&
    share.closesQuietly(share.inodes.mountId(nodeid), fd);
  if (quiet) flags |= FOPEN_NOFLUSH;
  reply.setOpen(offset, slot, share.handles.generation(slot), flags);
  return 0;
}

export function open(share: Share, request: Request, reply: Reply): Status {
  const flags = openFlags(share, request.u32(OPEN_IN.FLAGS));
  if (share.config.readonly && writes(flags)) return -EROFS;
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
    if (result < 0) libc.unlinkat(parentFd, name, 0);
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
  writeEntry(share, reply, 0, nodeid, parent);
  const saysKill = (request.u32(CREATE_IN.OPEN_FLAGS) & FUSE_OPEN_KILL_SUIDGID) !== 0;
  const fd = reopen(share, request, nodeid, flags, saysKill);
  // The entry's attributes were taken before the open truncated the file.
  const truncated = fd >= 0 && (flags & O_TRUNC) !== 0;
  if (truncated && share.statFd(fd) === 0) writeEntry(share, reply, 0, nodeid, parent);
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
  const result = replyOpen(share, reply, ENTRY_OUT.SIZE, fd, nodeid);
  if (result < 0) share.inodes.forget(nodeid, 1);
  return result;
}

export function tmpfile(share: Share, request: Request, reply: Reply): Status {
  if (share.config.readonly) return -EROFS;
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

export function read(share: Share, request: Request, reply: Reply): Status {
  const slot = request.lo(READ_IN.FH);
  const offset = request.u64(READ_IN.OFFSET);
  const size = Math.min(request.u32(READ_IN.SIZE_), reply.sizeMax);
  if (offset > OFFSET_MAX) return beyond(offset, 0);
  const fd = share.acquireHandle(slot, request.hi(READ_IN.FH), request.nodeid);
  if (fd < 0) return fd;
  const { buffers } = reply;
  let done = 0;
  let result: Status = 0;
  while (done < size) {
    const count = buffers.writable(OUT_HEADER.SIZE + done, size - done);
    const asked = buffers.iovecSize;
    result = preadv(fd, buffers.iovecPointer, count, offset + done);
    if (result <= 0) break;
    done += result;
    if (result < asked) break;
  }
  share.handles.release(slot);
  reply.directSize = done;
  return result < 0 && done === 0 ? result : 0;
}

export function write(share: Share, request: Request, reply: Reply): Status {
  if (share.config.readonly) return -EROFS;
  const slot = request.lo(WRITE_IN.FH);
  const offset = request.u64(WRITE_IN.OFFSET);
  const size = request.u32(WRITE_IN.SIZE_);
  const { buffers } = request;
  if (offset > OFFSET_MAX) return beyond(offset, -EFBIG);
  if (size > buffers.readableSize - WRITE_DATA) return -EINVAL;
  const fd = share.acquireHandle(slot, request.hi(WRITE_IN.FH), request.nodeid);
  if (fd < 0) return fd;
  const kill = (request.u32(WRITE_IN.WRITE_FLAGS) & FUSE_WRITE_KILL_SUIDGID) !== 0;
  if (kill) share.credentials.dropFsetid();
  let done = 0;
  let result: Status = 0;
  while (done < size) {
    const count = buffers.readable(WRITE_DATA + done, size - done);
    const asked = buffers.iovecSize;
    result = pwritev(fd, buffers.iovecPointer, count, offset + done);
    if (result <= 0) break;
    done += result;
    if (result < asked) break;
  }
  if (kill) share.credentials.restoreFsetid();
  share.handles.release(slot);
  reply.setU32(WRITE_OUT.SIZE_, done);
  reply.setU32(WRITE_OUT.SIZE_ + 4, 0);
  return result < 0 && done === 0 ? result : 0;
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

export function fsync(share: Share, request: Request): Status {
  const slot = request.lo(FSYNC_IN.FH);
  const fd = share.acquireHandle(slot, request.hi(FSYNC_IN.FH), request.nodeid);
  if (fd < 0) return fd;
  const dataOnly = (request.u32(FSYNC_IN.FSYNC_FLAGS) & FUSE_FSYNC_FDATASYNC) !== 0;
  const result = status(dataOnly ? libc.fdatasync(fd) : libc.fsync(fd));
  share.handles.release(slot);
  return result;
}

export function fallocate(share: Share, request: Request): Status {
  if (share.config.readonly) return -EROFS;
  const mode = request.u32(FALLOCATE_IN.MODE);
  if ((mode & ~FALLOCATE_MODES) !== 0) return -EOPNOTSUPP;
  const offset = request.u64(FALLOCATE_IN.OFFSET);
  const length = request.u64(FALLOCATE_IN.LENGTH);
  if (offset > OFFSET_MAX) return beyond(offset, -EFBIG);
  if (length > OFFSET_MAX) return beyond(length, -EFBIG);
  const slot = request.lo(FALLOCATE_IN.FH);
  const fd = share.acquireHandle(slot, request.hi(FALLOCATE_IN.FH), request.nodeid);
  if (fd < 0) return fd;
  // HANDLE_KILLPRIV_V2 leaves clearing set-uid bits to us, and FALLOCATE has no flag that says when.
  const kill = request.uid !== 0 && share.session.has(FUSE_HANDLE_KILLPRIV_V2);
  if (kill) share.credentials.dropFsetid();
  const result = status(libc.fallocate(fd, mode, BigInt(offset), BigInt(length)));
  if (kill) share.credentials.restoreFsetid();
  share.handles.release(slot);
  return result;
}

export function lseek(share: Share, request: Request, reply: Reply): Status {
  const whence = request.u32(LSEEK_IN.WHENCE);
  // Everything else the guest computes by itself.
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return -EINVAL;
  const offset = request.u64(LSEEK_IN.OFFSET);
  if (offset > OFFSET_MAX) return beyond(offset, -ENXIO);
  const slot = request.lo(LSEEK_IN.FH);
  const fd = share.acquireHandle(slot, request.hi(LSEEK_IN.FH), request.nodeid);
  if (fd < 0) return fd;
  const found = Number(libc.lseek(fd, BigInt(offset), whence));
  const result = found < 0 ? status(-1) : 0;
  share.handles.release(slot);
  if (result === 0) reply.setU64(LSEEK_OUT.OFFSET, found);
  return result;
}

/** Copies inside the host; returns the bytes copied, or an errno. */
function copy(share: Share, request: Request): Status {
  if (share.config.readonly) return -EROFS;
  if (request.u64(COPY_FILE_RANGE_IN.FLAGS) !== 0) return -EINVAL;
  const offsetIn = request.u64(COPY_FILE_RANGE_IN.OFF_IN);
  const offsetOut = request.u64(COPY_FILE_RANGE_IN.OFF_OUT);
  const length = request.u64(COPY_FILE_RANGE_IN.LEN);
  if (offsetIn > OFFSET_MAX || offsetOut > OFFSET_MAX) return -EINVAL;
  const slotIn = request.lo(COPY_FILE_RANGE_IN.FH_IN);
  const slotOut = request.lo(COPY_FILE_RANGE_IN.FH_OUT);
  const fdIn = share.acquireHandle(slotIn, request.hi(COPY_FILE_RANGE_IN.FH_IN), request.nodeid);
  if (fdIn < 0) return fdIn;
  const nodeidOut = request.u64(COPY_FILE_RANGE_IN.NODEID_OUT);
  const fdOut = share.acquireHandle(slotOut, request.hi(COPY_FILE_RANGE_IN.FH_OUT), nodeidOut);
  let result: Status = fdOut;
  if (fdOut >= 0) {
    const { memory } = share.scratch;
    memory.setU64(SCRATCH.OFFSETS, offsetIn);
    memory.setU64(SCRATCH.OFFSETS + 8, offsetOut);
    result = status(
      libc.copy_file_range(
        fdIn,
        memory.pointerAt(SCRATCH.OFFSETS),
        fdOut,
        memory.pointerAt(SCRATCH.OFFSETS + 8),
        Math.min(length, COPY_SIZE_MAX),
        0,
      ),
    );
    share.handles.release(slotOut);
  }
  share.handles.release(slotIn);
  return result;
}

export function copyFileRange(share: Share, request: Request, reply: Reply): Status {
  const result = copy(share, request);
  if (result < 0) return result;
  reply.setU32(WRITE_OUT.SIZE_, result);
  reply.setU32(WRITE_OUT.SIZE_ + 4, 0);
  return 0;
}

export function copyFileRange64(share: Share, request: Request, reply: Reply): Status {
  const result = copy(share, request);
  if (result < 0) return result;
  reply.setU64(COPY_FILE_RANGE_OUT.BYTES_COPIED, result);
  return 0;
}

export function syncfs(share: Share, request: Request): Status {
  const { nodeid } = request;
  if (!share.inodes.acquire(nodeid)) return -ESTALE;
  // syncfs(2) wants a descriptor opened for reading.
  const fd = share.reopen(nodeid, O_RDONLY | O_DIRECTORY);
  share.inodes.release(nodeid);
  if (fd < 0) return fd;
  const result = status(libc.syncfs(fd));
  libc.close(fd);
  return result;
}
