/**
 * Takes back what dead daemons have left in a registry: locks, references, changes that they began. Any daemon does that, whenever it notices.
 *
 * Each step can be done twice and left off anywhere: a sweeper that is killed is followed by another.
 *
 * @module
 */

import type { Mutex } from "../state/mutex.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import { CHANGES_IN_PROGRESS } from "../wire/shared_versions.ts";
import { loggedSlots, logsSlot } from "./change_log.ts";
import { freeDeadLock, holderOf } from "./owner_lock.ts";
import type { Owners } from "./owners.ts";
import {
  BUCKET,
  BUCKET_SLOTS,
  BUCKETS_OFFSET,
  isInodeSlot,
  OWNER_COUNT_MAX,
  OWNER_FREE,
  REGISTRY_HEADER,
  slotWord,
} from "./registry_layout.ts";
import type { VersionSlots } from "./version_slots.ts";

/** How often it is tried to find a slot without changes of the living in progress. A daemon in the midst of one is done in microseconds, mostly. */
const REPAIR_TRIES = 1000;

/** What a sweeper works on. */
export interface SweeperPart {
  readonly registry: NativeMemory;
  readonly slots: VersionSlots;
  readonly owners: Owners;
  /** The daemon's own number; -1 while it has none. */
  readonly self: () => number;
  /** One thread of a daemon at a time: the lock that tells the dead from the living is the daemon's, not the thread's. */
  readonly mutex: Mutex;
}

/** One thread's sweeper. */
export class Sweeper {
  readonly #part: SweeperPart;

  constructor(part: SweeperPart) {
    this.#part = part;
  }

  /** Sweeps whoever is dead. Returns how many were. */
  sweepAll(): number {
    const { owners, self } = this.#part;
    let swept = 0;
    for (let owner = 0; owner < OWNER_COUNT_MAX; owner++) {
      if (owner === self() || owners.state(owner) === OWNER_FREE) continue;
      if (this.sweepIfDead(owner)) swept++;
    }
    return swept;
  }

  /** Sweeps one daemon, if it is dead. */
  sweepIfDead(owner: number): boolean {
    const { owners, self, mutex } = this.#part;
    if (owner === self()) return false;
    mutex.lock();
    try {
      if (owners.state(owner) === OWNER_FREE || !owners.tryLock(owner)) return false;
      try {
        return owners.state(owner) !== OWNER_FREE && this.sweepDead(owner);
      } finally {
        owners.unlock(owner);
      }
    } finally {
      mutex.unlock();
    }
  }

  /** Takes everything of `owner` back; the lock on his number is held. False if changes of his are left that have to be looked at again. */
  sweep(owner: number): boolean {
    const { owners, registry } = this.#part;
    this.#freeLocksAndReferences(owner);
    let clean = true;
    for (const slot of loggedSlots(registry, owner)) clean = this.#endChanges(slot, owner) && clean;
    if (!clean) return false;
    owners.free(owner);
    return true;
  }

  /** The same, and counts it: `owner` has not done it himself. */
  sweepDead(owner: number): boolean {
    const isClean = this.sweep(owner);
    if (isClean) Atomics.add(this.#part.registry.u32, REGISTRY_HEADER.SWEEPS >>> 2, 1);
    return isClean;
  }

  #freeLocksAndReferences(owner: number): void {
    const { registry, slots } = this.#part;
    const words = registry.u32;
    const column = BUCKET.OWNERS + (owner >>> 5) * BUCKET_SLOTS * 4;
    const bit = (1 << (owner & 31)) >>> 0;
    for (let slot = 0; slot < slots.count; slot++) {
      if ((slot & (BUCKET_SLOTS - 1)) === 0) {
        const bucket = slot / BUCKET_SLOTS;
        this.#freeLock(owner, (BUCKETS_OFFSET + bucket * BUCKET.SIZE + BUCKET.LOCK) / 4);
      }
      this.#freeLock(owner, slotWord(slot, BUCKET.NAMES_LOCK));
      const at = slotWord(slot, column);
      if ((words[at]! & bit) === 0) continue;
      // The dead daemon's guests may still look at the slot, when changes of its inode are no longer counted there.
      slots.count1(slot);
      Atomics.and(words, at, ~bit);
    }
  }

  #freeLock(owner: number, index: number): void {
    const { registry } = this.#part;
    for (;;) {
      const word = registry.i32[index]!;
      if (word === 0 || holderOf(word) !== owner) return;
      freeDeadLock(registry, index, word);
    }
  }

  /**
   * The dead daemon had a change of `slot` written down: begun, or not, or ended. If no living daemon has one, then none is in progress, whatever the
   * slot says. The living write theirs down first, so one that comes meanwhile changes the slot after we looked at it.
   */
  #endChanges(slot: number, dead: number): boolean {
    const { slots } = this.#part;
    if (!isInodeSlot(slot, slots.count)) return true;
    for (let i = 0; i < REPAIR_TRIES; i++) {
      const low = slots.low(slot);
      if ((low & CHANGES_IN_PROGRESS) === 0) {
        slots.count1(slot);
        return true;
      }
      if (!this.#isLogged(slot, dead) && slots.endAll(slot, low)) return true;
    }
    return false;
  }

  #isLogged(slot: number, except: number): boolean {
    const { owners, registry, self } = this.#part;
    for (let owner = 0; owner < OWNER_COUNT_MAX; owner++) {
      if (owner === except || owners.state(owner) === OWNER_FREE) continue;
      if (!logsSlot(registry, owner, slot)) continue;
      if (owner === self() || owners.isAlive(owner)) return true;
    }
    return false;
  }
}
