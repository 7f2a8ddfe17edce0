/**
 * Locks that the guest keeps to itself, where the daemon does not take any (no FUSE_POSIX_LOCKS or FUSE_FLOCK_LOCKS): between the
 * processes of this guest only.
 *
 * @module
 */

import { EAGAIN, type Status } from "../../sys/errno.ts";
import { F_RDLCK, F_UNLCK, F_WRLCK } from "../../wire/linux.ts";
import type { LockOwner } from "../client/files.ts";
import type { LockRange } from "../client/locks.ts";

interface Held {
  readonly owner: LockOwner;
  readonly start: number;
  /** The last byte; infinity for the end of the file. */
  readonly end: number;
  readonly type: number;
  readonly pid: number;
}

/** The locks of one file. */
export class LocalLocks {
  #held: Held[] = [];

  /** The first lock in the way, or null. */
  conflict(owner: LockOwner, range: LockRange): LockRange | null {
    const end = range.end ?? Infinity;
    for (const held of this.#held) {
      if (held.owner === owner || held.end < range.start || held.start > end) continue;
      if (held.type === F_WRLCK || range.type === F_WRLCK) {
        const heldEnd = held.end === Infinity ? null : held.end;
        return { start: held.start, end: heldEnd, type: held.type, pid: held.pid };
      }
    }
    return null;
  }

  /** Takes, changes or gives up (F_UNLCK) a range: 0 or -EAGAIN. */
  set(owner: LockOwner, range: LockRange): Status {
    if (range.type !== F_UNLCK && this.conflict(owner, range) !== null) return -EAGAIN;
    const { start, type, pid } = range;
    const end = range.end ?? Infinity;
    const kept: Held[] = [];
    for (const held of this.#held) {
      if (held.owner !== owner || held.end < start || held.start > end) {
        kept.push(held);
        continue;
      }
      if (held.start < start) kept.push({ ...held, end: start - 1 });
      if (held.end > end) kept.push({ ...held, start: end + 1 });
    }
    if (type === F_RDLCK || type === F_WRLCK) kept.push({ owner, start, end, type, pid });
    this.#held = kept;
    return 0;
  }

  /** Gives up everything of an owner. */
  release(owner: LockOwner): void {
    this.#held = this.#held.filter((held) => held.owner !== owner);
  }
}
