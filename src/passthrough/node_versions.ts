/**
 * The inodes' slots in the version table, and what replies say of them.
 *
 * A version is read before the attributes that go out with it: a change in between makes the guest ask once more, and never believe what is old.
 *
 * @module
 */

import type { VersionsThread } from "../coherence/versions.ts";
import type { Reply } from "../fuse/reply.ts";
import type { InodeTable } from "../state/inode_table.ts";
import { STATE_HEADER, VERSIONS_HEADER } from "../state/layout.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import { ENTRY_OUT } from "../wire/fuse.ts";
import { ENTRYVER_OUT } from "../wire/shared_versions.ts";
import { VERSIONED_SECONDS } from "./cache_policy.ts";
import { ChangeInProgress } from "./change_in_progress.ts";

const UNVERSIONED = (STATE_HEADER.VERSIONS + VERSIONS_HEADER.UNVERSIONED) >>> 2;

/** One thread's view. */
export class NodeVersions {
  readonly thread: VersionsThread;
  /** The request that this thread is carrying out. */
  readonly change: ChangeInProgress;
  readonly #inodes: InodeTable;
  readonly #counters: Uint32Array;
  /** What was read last, for the reply: slot 0 = no version. */
  #slot = 0;
  #low = 0;
  #high = 0;

  constructor(thread: VersionsThread, inodes: InodeTable, state: NativeMemory) {
    this.thread = thread;
    this.change = new ChangeInProgress(thread);
    this.#inodes = inodes;
    this.#counters = state.u32;
  }

  /** The slot of an acquired inode; 0 if it has none, and none is free. */
  slotOf(nodeid: number): number {
    const inodes = this.#inodes;
    const known = inodes.versionSlot(nodeid);
    if (known !== 0) return known;
    const { registry } = this.thread;
    const slot = registry.acquire(
      inodes.devLo(nodeid),
      inodes.devHi(nodeid),
      inodes.inoLo(nodeid),
      inodes.inoHi(nodeid),
    );
    if (slot === 0 || inodes.setVersionSlot(nodeid, slot)) return slot;
    registry.release(slot);
    return inodes.versionSlot(nodeid);
  }

  /** Reads the version of an inode whose attributes will be read next. */
  load(nodeid: number): void {
    this.clear();
    const inodes = this.#inodes;
    // A guest may forget it on another queue, while we answer.
    if (!inodes.acquire(nodeid)) return;
    const slot = this.slotOf(nodeid);
    this.#slot = slot;
    if (slot === 0) Atomics.add(this.#counters, UNVERSIONED, 1);
    else {
      this.#low = this.thread.slots.low(slot);
      this.#high = this.thread.slots.high(slot);
    }
    inodes.release(nodeid);
  }

  /** An inode has been changed that is in nobody's hand here. */
  countChange(devLo: number, devHi: number, inoLo: number, inoHi: number): void {
    const { registry, slots } = this.thread;
    const slot = registry.find(devLo, devHi, inoLo, inoHi);
    if (slot !== 0) slots.count1(slot);
  }

  /** The next reply has no version. */
  clear(): void {
    this.#slot = 0;
    this.#low = 0;
    this.#high = 0;
  }

  /** Validities of the ENTRY_OUT at `offset`: the name's is the directory's to tell. */
  writeValidities(reply: Reply, offset: number, parent: number): void {
    reply.setEntryValidities(
      offset,
      this.seconds(parent),
      this.#slot === 0 ? 0 : VERSIONED_SECONDS,
    );
  }

  /** How long what is known of an inode may be trusted. */
  seconds(nodeid: number): number {
    return this.#inodes.versionSlot(nodeid) === 0 ? 0 : VERSIONED_SECONDS;
  }

  /** ENTRYVER_OUT, at `offset` of the reply. */
  write(reply: Reply, offset: number): void {
    reply.setHalves(offset + ENTRYVER_OUT.VERSION_INDEX, this.#slot, 0);
    reply.setHalves(offset + ENTRYVER_OUT.INITIAL_VERSION, this.#low, this.#high);
  }

  /** A missing name: the guest remembers that for as long as its directory does not change. Returns false if it is not to. */
  writeMissing(reply: Reply, parent: number): boolean {
    const seconds = this.seconds(parent);
    if (seconds === 0) return false;
    reply.zero(0, ENTRY_OUT.SIZE + ENTRYVER_OUT.SIZE);
    reply.setEntryValidities(0, seconds, 0);
    return true;
  }
}
