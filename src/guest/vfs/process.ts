/**
 * A process of the guest: who it is, where it stands, and how it owns locks.
 *
 * @module
 */

import type { Caller } from "../client/caller.ts";
import type { LockOwner } from "../client/files.ts";
import type { Inode } from "./inode.ts";

let lastOwner = 0;

/** A lock owner that nobody else has. */
export function newLockOwner(): LockOwner {
  lastOwner++;
  return { low: lastOwner, high: 0x76667364 };
}

/** One process. Its identity may change, as by setresuid(2). */
export class Process implements Caller {
  uid: number;
  gid: number;
  groups: readonly number[];
  umask: number;
  readonly pid: number;
  /** Relative paths start here. */
  cwd: Inode;
  /** Who its POSIX locks belong to. */
  readonly lockOwner: LockOwner = newLockOwner();

  constructor(identity: Caller, cwd: Inode) {
    this.uid = identity.uid;
    this.gid = identity.gid;
    this.groups = identity.groups;
    this.umask = identity.umask;
    this.pid = identity.pid;
    this.cwd = cwd;
  }

  /** Whether it has root's capabilities. */
  get isRoot(): boolean {
    return this.uid === 0;
  }

  /** Whether it is a member of a group. */
  isIn(gid: number): boolean {
    return this.gid === gid || this.groups.includes(gid);
  }
}
