/**
 * Acting as the guest's caller, for requests that make an inode: it must belong to the caller, and the host
 * checks that the caller may make it.
 *
 * Linux keeps identities per thread; libc's functions change all threads, so the system calls are made raw.
 * Only the queue's own thread changes, and it changes back before the request ends.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { ARCHITECTURE } from "../sys/architecture.ts";
import { EINVAL, type Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { FUSE_INVALID_UIDGID } from "../wire/fuse.ts";
import { CAP_DAC_OVERRIDE, CAP_FSETID, CAPABILITY_VERSION_3 } from "../wire/linux.ts";

const { syscalls } = ARCHITECTURE;
/** Offsets in the argument page: cap header, cap data, one group. */
const HEADER = 0;
const DATA = 16;
const EFFECTIVE = DATA;
const PERMITTED = DATA + 4;
const GROUP = 64;

/** Permission checks are left to the guest: for guests that cannot say what other groups the caller has. */
export const KEEP_CHECKS: number = 1 << CAP_DAC_OVERRIDE;
/** So is the stripping of set-gid bits from a new file of a group that the caller may not be in. */
export const KEEP_SETGID: number = 1 << CAP_FSETID;

/** Of one thread. */
export class Credentials {
  readonly #arguments = NativeMemory.allocate(4096);
  readonly #header = this.#arguments.pointerAt(HEADER);
  readonly #data = this.#arguments.pointerAt(DATA);
  readonly #group = this.#arguments.pointerAt(GROUP);
  readonly #ownUid = libc.geteuid();
  readonly #ownGid = libc.getegid();
  /** Low word of the thread's own effective and permitted sets. */
  readonly #ownEffective: number;
  #changedUid = false;
  #changedGid = false;
  #changedGroups = false;

  constructor() {
    this.#arguments.view.setUint32(HEADER, CAPABILITY_VERSION_3, true);
    assert(libc.syscall2p(syscalls.capget, this.#header, this.#data) === 0, "capget succeeds");
    this.#ownEffective = this.#arguments.view.getUint32(EFFECTIVE, true);
  }

  /** Drops the groups the daemon was started with: they are not the guest's. Fails without CAP_SETGID, which is fine: then it cannot act as others either. */
  dropGroups(): void {
    libc.setgroups(syscalls.setgroups, 0, null);
  }

  /**
   * Becomes the caller. `group` is the supplementary group to act with, or -1. `keep` holds the capabilities
   * (bits of the low word) that the caller is lent all the same: see `KEEP_*`.
   *
   * On failure nothing has changed. After success, {@linkcode restore} must follow.
   */
  assume(uid: number, gid: number, group: number, keep: number): Status {
    if (uid === FUSE_INVALID_UIDGID || gid === FUSE_INVALID_UIDGID) return -EINVAL;
    const changesUid = uid !== this.#ownUid && uid !== 0;
    if (group !== -1 && changesUid) {
      this.#arguments.view.setUint32(GROUP, group, true);
      const result = status(libc.setgroups(syscalls.setgroups, 1, this.#group));
      if (result < 0) return result;
      this.#changedGroups = true;
    }
    if (gid !== this.#ownGid && gid !== 0) {
      const result = status(libc.syscall3(syscalls.setresgid, -1, gid | 0, -1));
      if (result < 0) return this.#undo(result);
      this.#changedGid = true;
    }
    if (changesUid) {
      const result = status(libc.syscall3(syscalls.setresuid, -1, uid | 0, -1));
      if (result < 0) return this.#undo(result);
      this.#changedUid = true;
      // Losing uid 0 empties the effective set; what is still permitted can be taken back.
      if (keep !== 0) this.#setEffective(this.#ownEffective & keep);
    }
    return 0;
  }

  /** Becomes the daemon again. */
  restore(): void {
    if (this.#changedUid) {
      const result = libc.syscall3(syscalls.setresuid, -1, this.#ownUid | 0, -1);
      assert(result === 0, "a thread gets its own uid back");
      this.#setEffective(this.#ownEffective);
      this.#changedUid = false;
    }
    if (this.#changedGid) {
      const result = libc.syscall3(syscalls.setresgid, -1, this.#ownGid | 0, -1);
      assert(result === 0, "a thread gets its own gid back");
      this.#changedGid = false;
    }
    if (this.#changedGroups) {
      assert(libc.setgroups(syscalls.setgroups, 0, null) === 0, "a thread drops a group again");
      this.#changedGroups = false;
    }
  }

  /** Gives up CAP_FSETID, so that the host clears set-uid and set-gid bits as it does for ordinary writers. */
  dropFsetid(): void {
    this.#setEffective(this.#ownEffective & ~(1 << CAP_FSETID));
  }

  restoreFsetid(): void {
    this.#setEffective(this.#ownEffective);
  }

  #undo(result: Status): Status {
    this.restore();
    return result;
  }

  #setEffective(effective: number): void {
    const { view } = this.#arguments;
    const ok = libc.syscall2p(syscalls.capget, this.#header, this.#data) === 0;
    assert(ok, "capget succeeds");
    view.setUint32(EFFECTIVE, (effective & view.getUint32(PERMITTED, true)) >>> 0, true);
    const set = libc.syscall2p(syscalls.capset, this.#header, this.#data);
    assert(set === 0, "a thread may lower its capabilities, and take back permitted ones");
  }
}
