/**
 * fcntl(2) and flock(2) locks: the daemon's where it takes them, otherwise this guest's own.
 *
 * @module
 */

import { EAGAIN, EBADF, EDEADLK, EINVAL, ENOSYS, type Status } from "../../sys/errno.ts";
import { FUSE_FLOCK_LOCKS, FUSE_POSIX_LOCKS, Opcode } from "../../wire/fuse.ts";
import {
  F_RDLCK,
  F_UNLCK,
  F_WRLCK,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
  O_ACCMODE,
  O_RDONLY,
  O_WRONLY,
} from "../../wire/linux.ts";
import type { LockOwner } from "../client/files.ts";
import { hasFlag } from "../client/agreement.ts";
import { getlk, type LockRange, setlk } from "../client/locks.ts";
import type { Inode } from "./inode.ts";
import { LocalLocks } from "./local_locks.ts";
import { openedAtDaemon } from "./open.ts";
import type { OpenFile } from "./open_file.ts";
import type { Volume } from "./volume.ts";

const posixLocks = new WeakMap<Inode, LocalLocks>();
const flockLocks = new WeakMap<Inode, LocalLocks>();
const WHOLE_FILE = { start: 0, end: null } as const;

/** F_SETLK and F_SETLKW. A local lock that would have to wait for another of the same thread is -EDEADLK. */
export function setLock(
  volume: Volume,
  file: OpenFile,
  owner: LockOwner,
  range: LockRange,
  wait: boolean,
): Status {
  const access = file.flags & O_ACCMODE;
  if (range.type === F_RDLCK && access === O_WRONLY) return -EBADF;
  if (range.type === F_WRLCK && access === O_RDONLY) return -EBADF;
  if (![F_RDLCK, F_WRLCK, F_UNLCK].includes(range.type)) return -EINVAL;
  if (isRemote(volume, FUSE_POSIX_LOCKS)) {
    const opened = openedAtDaemon(volume, file);
    if (opened < 0) return opened;
    const { client } = volume;
    const { inode, handle } = file;
    const options = { wait, flock: false };
    const status = setlk(client, inode.nodeid, handle, owner, range, options);
    if (status === 0 && owner === file.flockOwner) file.hasRecordLocks = true;
    if (!forget(volume, status)) return status;
  }
  const status = localLocks(posixLocks, file.inode).set(owner, range);
  return wait && status === -EAGAIN ? -EDEADLK : status;
}

/** F_GETLK: the lock in the way, its type F_UNLCK when there is none; or a negative errno. */
export function getLock(
  volume: Volume,
  file: OpenFile,
  owner: LockOwner,
  range: LockRange,
): LockRange | Status {
  if (isRemote(volume, FUSE_POSIX_LOCKS)) {
    const opened = openedAtDaemon(volume, file);
    if (opened < 0) return opened;
    const { inode, handle } = file;
    const found = getlk(volume.client, inode.nodeid, handle, owner, range);
    if (typeof found !== "number" || !forget(volume, found)) return found;
  }
  const found = localLocks(posixLocks, file.inode).conflict(owner, range);
  return found ?? { ...range, type: F_UNLCK };
}

/** flock(2) */
export function flock(volume: Volume, file: OpenFile, operation: number): Status {
  const wait = (operation & LOCK_NB) === 0;
  const type = LOCK_TYPES.get(operation & ~LOCK_NB);
  if (type === undefined) return -EINVAL;
  const range = { ...WHOLE_FILE, type, pid: 0 };
  const { inode, flockOwner } = file;
  if (isRemote(volume, FUSE_FLOCK_LOCKS)) {
    const opened = openedAtDaemon(volume, file);
    if (opened < 0) return opened;
    const { handle } = file;
    const options = { wait, flock: true };
    const status = setlk(volume.client, inode.nodeid, handle, flockOwner, range, options);
    if (status === 0) file.hasFlock = true;
    if (!forget(volume, status)) return status;
  }
  const locks = localLocks(flockLocks, inode);
  // Changing the kind gives the old lock up first (flock(2)).
  if (type !== F_UNLCK && locks.conflict(flockOwner, range) !== null) locks.release(flockOwner);
  const status = locks.set(flockOwner, range);
  return wait && status === -EAGAIN ? -EDEADLK : status;
}

/** A descriptor of the process is closed: its POSIX locks of the file go (the daemon learns it from FLUSH). */
export function dropPosixLocks(inode: Inode, owner: LockOwner): void {
  posixLocks.get(inode)?.release(owner);
}

/**
 * The last descriptor of an open file is closed: the locks that belong to the open file go. The daemon learns of flock(2)'s from
 * RELEASE, of record locks (F_OFD_SETLK) here, as in Linux (locks_remove_posix).
 */
export function dropFileLocks(volume: Volume, file: OpenFile): void {
  const { inode, handle, flockOwner } = file;
  if (file.hasRecordLocks) {
    const range = { ...WHOLE_FILE, type: F_UNLCK, pid: 0 };
    const options = { wait: false, flock: false };
    setlk(volume.client, inode.nodeid, handle, flockOwner, range, options);
  }
  posixLocks.get(inode)?.release(flockOwner);
  flockLocks.get(inode)?.release(flockOwner);
}

const LOCK_TYPES: ReadonlyMap<number, number> = new Map([
  [LOCK_SH, F_RDLCK],
  [LOCK_EX, F_WRLCK],
  [LOCK_UN, F_UNLCK],
]);

function isRemote(volume: Volume, flag: number): boolean {
  return hasFlag(volume.client.agreement.flags, flag) &&
    !volume.unsupported.has(Opcode.SETLK);
}

/** Whether the daemon does not take locks after all. */
function forget(volume: Volume, status: Status): boolean {
  if (status !== -ENOSYS) return false;
  volume.unsupported.add(Opcode.SETLK);
  return true;
}

function localLocks(table: WeakMap<Inode, LocalLocks>, inode: Inode): LocalLocks {
  let locks = table.get(inode);
  if (locks === undefined) {
    locks = new LocalLocks();
    table.set(inode, locks);
  }
  return locks;
}
