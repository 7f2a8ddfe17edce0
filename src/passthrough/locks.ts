/**
 * Locks on the host: POSIX locks (fcntl) and flock(2), so that several guests and the host's own processes
 * exclude each other.
 *
 * Nothing here waits: SETLKW tries, and answers PENDING while somebody else holds the lock. The queue tries
 * again when a lock of this daemon is released, and from time to time for those of others.
 *
 * @module
 */

import { PENDING } from "../fuse/file_system.ts";
import type { Reply } from "../fuse/reply.ts";
import type { Request } from "../fuse/request.ts";
import {
  EACCES,
  EAGAIN,
  EBADF,
  EDEADLK,
  EINVAL,
  ENOLCK,
  ENOSYS,
  EPERM,
  EROFS,
  ESTALE,
  ETXTBSY,
  type Status,
} from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import {
  FILE_LOCK,
  FUSE_FLOCK_LOCKS,
  FUSE_LK_FLOCK,
  FUSE_POSIX_LOCKS,
  LK_IN,
} from "../wire/fuse.ts";
import {
  F_OFD_GETLK,
  F_OFD_SETLK,
  F_RDLCK,
  F_UNLCK,
  F_WRLCK,
  FLOCK,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
  O_CLOEXEC,
  O_RDONLY,
  O_RDWR,
} from "../wire/linux.ts";
import { OFFSET_END, wouldDeadlock } from "./deadlocks.ts";
import { addRange, allowsRange } from "./lock_ranges.ts";
import { SCRATCH } from "./scratch.ts";
import type { Share } from "./share.ts";

export function getlk(share: Share, request: Request, reply: Reply): Status {
  if (!share.session.has(FUSE_POSIX_LOCKS)) return -ENOSYS;
  if (!loadFlock(share, request)) return -EINVAL;
  const result = asOwner(share, request, F_OFD_GETLK, false);
  if (result < 0) return result;
  const { view } = share.scratch.memory;
  const start = view.getBigInt64(SCRATCH.FLOCK + FLOCK.START, true);
  const length = view.getBigInt64(SCRATCH.FLOCK + FLOCK.LEN, true);
  setSigned(reply, FILE_LOCK.START, start);
  setSigned(reply, FILE_LOCK.END, length === 0n ? OFFSET_END : start + length - 1n);
  reply.setU32(FILE_LOCK.TYPE, view.getUint16(SCRATCH.FLOCK + FLOCK.TYPE, true));
  // OFD locks name no process (-1); a pid of the host would mean nothing to the guest either.
  reply.setU32(FILE_LOCK.PID, 0);
  return 0;
}

export function setlk(share: Share, request: Request): Status {
  return setLock(share, request, false);
}

export function setlkw(share: Share, request: Request): Status {
  const result = setLock(share, request, true);
  return result === -EAGAIN ? PENDING : result;
}

function setLock(share: Share, request: Request, waits: boolean): Status {
  if ((request.u32(LK_IN.LK_FLAGS) & FUSE_LK_FLOCK) !== 0) return setFlock(share, request);
  if (!share.session.has(FUSE_POSIX_LOCKS)) return -ENOSYS;
  if (!loadFlock(share, request)) return -EINVAL;
  const result = asOwner(share, request, F_OFD_SETLK, waits);
  // A write lock that became a read lock lets others in, too.
  if (result === 0 && request.u32(LK_IN.LK + FILE_LOCK.TYPE) !== F_WRLCK) {
    share.locks.countRelease();
  }
  return result;
}

/** flock(2) belongs to the open file itself. */
function setFlock(share: Share, request: Request): Status {
  if (!share.session.has(FUSE_FLOCK_LOCKS)) return -ENOSYS;
  const type = request.u32(LK_IN.LK + FILE_LOCK.TYPE);
  const operation = type === F_RDLCK ? LOCK_SH : type === F_WRLCK ? LOCK_EX : LOCK_UN;
  if (type > F_UNLCK) return -EINVAL;
  const slot = request.lo(LK_IN.FH);
  const fd = share.acquireHandle(slot, request.hi(LK_IN.FH), request.nodeid);
  if (fd < 0) return fd;
  const result = status(libc.flock(fd, operation | LOCK_NB));
  share.handles.release(slot);
  // Also a lock that became weaker lets others in.
  if (result === 0 && type !== F_WRLCK) share.locks.countRelease();
  return result;
}

function signed(request: Request, offset: number): bigint {
  return BigInt.asIntN(64, (BigInt(request.hi(offset)) << 32n) | BigInt(request.lo(offset)));
}

function setSigned(reply: Reply, offset: number, value: bigint): void {
  reply.setHalves(offset, Number(value & 0xffffffffn), Number(value >> 32n));
}

/**
 * The struct flock of a request into scratch; false if its range is none. Any offset below 2^63 may be locked, whether a
 * file reaches there or not, so these are the whole 64 bits.
 */
function loadFlock(share: Share, request: Request): boolean {
  const start = signed(request, LK_IN.LK + FILE_LOCK.START);
  const end = signed(request, LK_IN.LK + FILE_LOCK.END);
  const type = request.u32(LK_IN.LK + FILE_LOCK.TYPE);
  if (type > F_UNLCK || start < 0n || end < start) return false;
  const { memory } = share.scratch;
  for (let i = 0; i < FLOCK.SIZE; i += 4) memory.view.setUint32(SCRATCH.FLOCK + i, 0, true);
  memory.view.setUint16(SCRATCH.FLOCK + FLOCK.TYPE, type, true);
  memory.view.setBigInt64(SCRATCH.FLOCK + FLOCK.START, start, true);
  const length = end === OFFSET_END ? 0n : end - start + 1n;
  memory.view.setBigInt64(SCRATCH.FLOCK + FLOCK.LEN, length, true);
  return true;
}

/**
 * fcntl(2) as the request's lock owner, with the lock in scratch. With `waits`, EAGAIN means that the request will wait and
 * be tried again, and EDEADLK that it would wait for ever.
 */
function asOwner(share: Share, request: Request, command: number, waits: boolean): Status {
  const { nodeid } = request;
  const { handles, inodes, locks } = share;
  // Both are pinned outside the mutex: the last release of an inode takes the mutex itself.
  if (!inodes.acquire(nodeid)) return -ESTALE;
  const slot = request.lo(LK_IN.FH);
  let result: Status = -EBADF;
  if (share.acquireHandle(slot, request.hi(LK_IN.FH), nodeid) >= 0) {
    locks.mutex.lock();
    try {
      const owner = ownerSlot(share, request);
      result = owner < 0 ? owner : lockAs(share, request, owner, command);
      if (owner > 0 && command === F_OFD_SETLK) {
        result = settleWait(share, request, owner, waits && result === -EAGAIN, result);
      }
    } finally {
      locks.mutex.unlock();
    }
    handles.release(slot);
  }
  inodes.release(nodeid);
  return result;
}

/** The system call itself. An unlock may add a range, too: it may leave some on both sides. */
function lockAs(share: Share, request: Request, owner: number, command: number): Status {
  const { locks, scratch } = share;
  if (command !== F_OFD_SETLK) return status(libc.fcntl(locks.fd(owner), command, scratch.flock));
  const dropsAll = request.u32(LK_IN.LK + FILE_LOCK.TYPE) === F_UNLCK &&
    signed(request, LK_IN.LK + FILE_LOCK.START) === 0n &&
    signed(request, LK_IN.LK + FILE_LOCK.END) === OFFSET_END;
  if (!dropsAll && !allowsRange(share)) return -ENOLCK;
  const result = status(libc.fcntl(locks.fd(owner), command, scratch.flock));
  if (result === 0) {
    if (dropsAll) locks.setRanges(owner, 0);
    else addRange(share, owner);
  }
  return result;
}

/** Records whether the owner waits now, so that others can see whom they would wait for. Returns the final result. */
function settleWait(
  share: Share,
  request: Request,
  owner: number,
  waits: boolean,
  result: Status,
): Status {
  const { locks } = share;
  if (!waits) {
    locks.setWait(owner, null);
    return result;
  }
  // A retry of a wait that was checked when it began.
  if (locks.wait(owner) !== null) return result;
  const wanted = {
    type: request.u32(LK_IN.LK + FILE_LOCK.TYPE),
    start: signed(request, LK_IN.LK + FILE_LOCK.START),
    end: signed(request, LK_IN.LK + FILE_LOCK.END),
  };
  if (wouldDeadlock(share, owner, wanted)) return -EDEADLK;
  locks.setWait(owner, wanted);
  return result;
}

/**
 * The slot of the request's lock owner on this inode; its descriptor is opened at its first lock. The lock table's
 * mutex is held, the inode pinned. Or a negative errno.
 */
function ownerSlot(share: Share, request: Request): number {
  const { nodeid } = request;
  const { inodes, locks } = share;
  const ownerLo = request.lo(LK_IN.OWNER);
  const ownerHi = request.hi(LK_IN.OWNER);
  const known = locks.find(inodes, nodeid, ownerLo, ownerHi);
  if (known !== 0) return known;
  if (!share.budget.allowsLockOwner) return -ENOLCK;
  let fd = share.config.readonly ? -EROFS : share.reopen(nodeid, O_RDWR | O_CLOEXEC);
  // A running program, a read-only mount, an immutable file: read locks are possible all the same.
  if (fd === -ETXTBSY || fd === -EROFS || fd === -EPERM || fd === -EACCES) {
    fd = share.reopen(nodeid, O_RDONLY | O_CLOEXEC);
  }
  if (fd < 0) return fd;
  const slot = locks.insert(inodes, nodeid, ownerLo, ownerHi, fd);
  if (slot !== 0) return slot;
  libc.close(fd);
  return -ENOLCK;
}

/** Drops all POSIX locks of an owner on an inode: any close(2) of the file does that. */
export function dropOwner(share: Share, nodeid: number, ownerLo: number, ownerHi: number): void {
  if (!share.session.has(FUSE_POSIX_LOCKS)) return;
  const { inodes, locks } = share;
  if (!inodes.acquire(nodeid)) return;
  locks.mutex.lock();
  locks.remove(inodes, nodeid, ownerLo, ownerHi);
  locks.mutex.unlock();
  inodes.release(nodeid);
}
