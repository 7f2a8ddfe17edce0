/**
 * What one guest can make the daemon hold, and the bound of each:
 *
 * | what                      | bound                                             | beyond it           |
 * | ------------------------- | ------------------------------------------------- | ------------------- |
 * | inodes (memory)           | `--max-inodes`                                    | ENFILE              |
 * | inodes (descriptors)      | nine tenths of the guest's descriptors            | ENFILE              |
 * | open files, directories   | `--max-open-files`, the guest's descriptors       | ENFILE              |
 * | owners of POSIX locks     | `--max-locks`, the guest's descriptors            | ENOLCK              |
 * | ranges of POSIX locks     | `--max-locks`                                     | ENOLCK              |
 * | files in the DAX window   | the guest's descriptors                           | ENFILE              |
 * | pieces in the DAX window  | `--max-mappings`, and what the front end bears    | ENOMEM              |
 * | mounts                    | MOUNT_COUNT_MAX; made by the host                 | descriptors instead |
 * | requests that wait        | as many as the queue has descriptors              | the queue is broken |
 * | bytes of requests         | one request for each queue, of 128 KiB and 1 MiB of data that is never copied | EINVAL |
 *
 * The guest's descriptors are those of the limit (`--rlimit-nofile`) but for some that stay the daemon's own: with
 * a guest at its limit it takes commands of the front end, and serves RELEASE and FORGET, all the same.
 *
 * The counts are looked at before something is added, so threads of several queues may each exceed them by one.
 *
 * @module
 */

import type { GuestBudget } from "../config.ts";
import type { DaxInodeTable } from "../state/dax_inode_table.ts";
import type { HandleTable } from "../state/handle_table.ts";
import type { InodeTable } from "../state/inode_table.ts";
import { HANDLE_COUNT_MAX, INODE_COUNT_MAX, LOCK_OWNER_COUNT_MAX } from "../state/layout.ts";
import type { LockTable } from "../state/lock_table.ts";
import type { MountTable } from "../state/mount_table.ts";

/** The daemon's own descriptors: its files and rings, and what a request opens for a moment. */
const OWN_DESCRIPTORS = 256;
/** With a low limit, this part of it. */
const OWN_SHARE = 0.25;
/** Part of the guest's descriptors that inodes may hold: without a rest no file could be opened. */
const INODE_FD_SHARE_MAX = 0.9;
/** Part of them that inodes hold before `--inode-file-handles=prefer` uses handles for further ones. */
const INODE_FD_SHARE_PREFERRED = 0.5;
/** Inodes by default, for each descriptor: they need none while they are held by file handle. At 200 bytes each. */
const INODES_PER_DESCRIPTOR = 16;
const INODES_LEAST = 1 << 20;

/** The tables whose entries cost descriptors. */
export interface BudgetTables {
  readonly inodes: InodeTable;
  readonly handles: HandleTable;
  readonly locks: LockTable;
  readonly mounts: MountTable;
  readonly daxInodes: DaxInodeTable;
}

/** The bounds, and how much of them is used: one per thread, over tables that all share. */
export class Budget {
  /** Descriptors that everything together may hold. */
  readonly descriptorMax: number;
  /** Inodes held by descriptor from which on others are held by handle. */
  readonly inodeFdPreferred: number;
  readonly lockRangeMax: number;
  readonly #lockOwnerMax: number;
  readonly #inodeMax: number;
  readonly #inodeFdMax: number;
  readonly #openFileMax: number;
  readonly #tables: BudgetTables;

  constructor(asked: GuestBudget, descriptorLimit: number, tables: BudgetTables) {
    this.#tables = tables;
    const own = Math.min(OWN_DESCRIPTORS, Math.ceil(descriptorLimit * OWN_SHARE));
    this.descriptorMax = descriptorLimit - own;
    this.inodeFdPreferred = Math.floor(this.descriptorMax * INODE_FD_SHARE_PREFERRED);
    this.#inodeFdMax = Math.floor(this.descriptorMax * INODE_FD_SHARE_MAX);
    const inodes = Math.max(INODES_LEAST, descriptorLimit * INODES_PER_DESCRIPTOR);
    // Slot 0 of each table stays empty.
    this.#inodeMax = Math.min(asked.inodes ?? inodes, INODE_COUNT_MAX - 1);
    this.#openFileMax = Math.min(asked.openFiles ?? HANDLE_COUNT_MAX, HANDLE_COUNT_MAX - 1);
    this.#lockOwnerMax = Math.min(asked.locks ?? LOCK_OWNER_COUNT_MAX, LOCK_OWNER_COUNT_MAX - 1);
    this.lockRangeMax = asked.locks ?? LOCK_OWNER_COUNT_MAX;
  }

  /** Descriptors that are held for the guest now. */
  get descriptorCount(): number {
    const { inodes, handles, locks, mounts, daxInodes } = this.#tables;
    return inodes.fdCount + handles.count + locks.count + mounts.count + daxInodes.fdCount;
  }

  /** Whether one descriptor more may be held for the guest. */
  get allowsDescriptor(): boolean {
    return this.descriptorCount < this.descriptorMax;
  }

  /** Whether one inode more may become known. */
  allowsInode(byHandle: boolean): boolean {
    const { inodes } = this.#tables;
    if (inodes.count >= this.#inodeMax) return false;
    return byHandle || (inodes.fdCount < this.#inodeFdMax && this.allowsDescriptor);
  }

  /** Whether one file or directory more may be opened. */
  get allowsOpen(): boolean {
    return this.#tables.handles.count < this.#openFileMax && this.allowsDescriptor;
  }

  /** Whether one lock owner more may be had on some file. */
  get allowsLockOwner(): boolean {
    return this.#tables.locks.count < this.#lockOwnerMax && this.allowsDescriptor;
  }
}
