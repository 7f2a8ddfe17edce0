/**
 * From an inode to its slot in the version table. See `registry_layout.ts` for the file.
 *
 * A bucket's lock is held for some 100 ns. Only its holder writes the name of an inode into a slot, and only while no owner's bit is set; the bit that is set
 * afterwards is what makes the entry. Bits of dead owners are cleared without the lock, which at most frees a slot earlier.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import { VERSION_SLOT_FIRST } from "../wire/shared_versions.ts";
import type { OwnerLocks } from "./owner_lock.ts";
import {
  BUCKET,
  BUCKET_SLOTS,
  BUCKETS_OFFSET,
  OWNER_WORDS,
  REGISTRY_HEADER,
} from "./registry_layout.ts";
import type { VersionSlots } from "./version_slots.ts";

const BUCKETS = BUCKETS_OFFSET / 4;
const BUCKET_WORDS = BUCKET.SIZE / 4;
const LOCK = BUCKET.LOCK / 4;
const INO_LO = BUCKET.INO_LO / 4;
const INO_HI = BUCKET.INO_HI / 4;
const DEV_LO = BUCKET.DEV_LO / 4;
const DEV_HI = BUCKET.DEV_HI / 4;
const NAMES_LOCK = BUCKET.NAMES_LOCK / 4;
const OWNERS = BUCKET.OWNERS / 4;
const REFUSALS = REGISTRY_HEADER.REFUSALS / 4;

/** What a thread needs to take part. */
export interface RegistryPart {
  readonly registry: NativeMemory;
  readonly slots: VersionSlots;
  readonly locks: OwnerLocks;
  /** The daemon's number. */
  readonly owner: number;
  /** How many of this daemon's inodes use a slot, by slot: {@linkcode Registry} counts here, under the buckets' locks. */
  readonly references: Uint32Array;
}

/** The registry, as one thread uses it. */
export class Registry {
  readonly #words: Uint32Array;
  readonly #slots: VersionSlots;
  readonly #locks: OwnerLocks;
  readonly #references: Uint32Array;
  readonly #ownerWord: number;
  readonly #ownerBit: number;
  readonly #bucketMask: number;

  constructor({ registry, slots, locks, owner, references }: RegistryPart) {
    this.#words = registry.u32;
    this.#slots = slots;
    this.#locks = locks;
    this.#references = references;
    this.#ownerWord = owner >>> 5;
    this.#ownerBit = (1 << (owner & 31)) >>> 0;
    this.#bucketMask = slots.count / BUCKET_SLOTS - 1;
  }

  /**
   * The inode's slot, with one reference of this daemon more; 0 if it has none and its bucket is full. Give it back with
   * {@linkcode Registry.release}.
   */
  acquire(devLo: number, devHi: number, inoLo: number, inoHi: number): number {
    const bucket = this.#bucketOf(devLo, devHi, inoLo, inoHi);
    const base = BUCKETS + bucket * BUCKET_WORDS;
    this.#locks.lock(base + LOCK);
    let at = this.#find(base, devLo, devHi, inoLo, inoHi);
    if (at < 0) at = this.#fill(bucket, base, devLo, devHi, inoLo, inoHi);
    const slot = at < 0 ? 0 : bucket * BUCKET_SLOTS + at;
    if (slot !== 0) {
      this.#references[slot]!++;
      Atomics.or(this.#words, this.#ownersOf(base, at, this.#ownerWord), this.#ownerBit);
    }
    this.#locks.unlock(base + LOCK);
    return slot;
  }

  /** The slot of an inode that some daemon uses, or 0. It may be given to another inode at any time. */
  find(devLo: number, devHi: number, inoLo: number, inoHi: number): number {
    const bucket = this.#bucketOf(devLo, devHi, inoLo, inoHi);
    const base = BUCKETS + bucket * BUCKET_WORDS;
    this.#locks.lock(base + LOCK);
    const at = this.#find(base, devLo, devHi, inoLo, inoHi);
    this.#locks.unlock(base + LOCK);
    return at < 0 ? 0 : bucket * BUCKET_SLOTS + at;
  }

  /** Gives one reference back. */
  release(slot: number): void {
    const at = slot % BUCKET_SLOTS;
    const base = BUCKETS + (slot - at) / BUCKET_SLOTS * BUCKET_WORDS;
    this.#locks.lock(base + LOCK);
    const left = this.#references[slot]! - 1;
    assert(left >= 0, "a slot is given back as often as it was taken");
    this.#references[slot] = left;
    if (left === 0) {
      const owners = this.#ownersOf(base, at, this.#ownerWord);
      // From here on changes of the inode are not counted in this slot. A guest that was cut off may still look at it, and must not wait for it to be reused.
      if (this.#isOurs(base, at)) this.#slots.count1(slot);
      Atomics.and(this.#words, owners, ~this.#ownerBit);
    }
    this.#locks.unlock(base + LOCK);
  }

  /**
   * Which lock is a directory's, for {@linkcode Registry.lockNames}; never 0. It goes by the inode and not by its slot, since a directory without a slot has names
   * that lead to inodes with one. Directories may share a lock.
   */
  namesLockOf(devLo: number, devHi: number, inoLo: number, inoHi: number): number {
    const mixed = mix(devLo, devHi, inoLo, inoHi);
    // Other bits than those that choose the bucket.
    return Math.max((mixed & this.#bucketMask) * BUCKET_SLOTS + (mixed >>> 26), VERSION_SLOT_FIRST);
  }

  /**
   * Keeps all daemons from changing names in a directory but the caller, until {@linkcode Registry.unlockNames}: so the inode that a name leads to
   * before the system call is the one that it removes. (The host's kernel does these one at a time as well.)
   */
  lockNames(lock: number): void {
    this.#locks.lock(this.#namesLock(lock));
  }

  unlockNames(lock: number): void {
    this.#locks.unlock(this.#namesLock(lock));
  }

  #namesLock(lock: number): number {
    const at = lock % BUCKET_SLOTS;
    return BUCKETS + (lock - at) / BUCKET_SLOTS * BUCKET_WORDS + NAMES_LOCK + at;
  }

  #ownersOf(base: number, at: number, word: number): number {
    return base + OWNERS + word * BUCKET_SLOTS + at;
  }

  #isUsed(base: number, at: number): boolean {
    for (let word = 0; word < OWNER_WORDS; word++) {
      if (Atomics.load(this.#words, this.#ownersOf(base, at, word)) !== 0) return true;
    }
    return false;
  }

  /** Whether no other daemon uses a slot that this one does. */
  #isOurs(base: number, at: number): boolean {
    for (let word = 0; word < OWNER_WORDS; word++) {
      const ours = word === this.#ownerWord ? this.#ownerBit : 0;
      if (Atomics.load(this.#words, this.#ownersOf(base, at, word)) !== ours) return false;
    }
    return true;
  }

  /** The entry of an inode in its bucket, or -1. */
  #find(base: number, devLo: number, devHi: number, inoLo: number, inoHi: number): number {
    const words = this.#words;
    for (let at = 0; at < BUCKET_SLOTS; at++) {
      if (
        words[base + INO_LO + at] === inoLo && words[base + INO_HI + at] === inoHi &&
        words[base + DEV_LO + at] === devLo && words[base + DEV_HI + at] === devHi &&
        this.#isUsed(base, at)
      ) return at;
    }
    return -1;
  }

  /** Writes an inode's name into a free entry, or returns -1. */
  #fill(
    bucket: number,
    base: number,
    devLo: number,
    devHi: number,
    inoLo: number,
    inoHi: number,
  ): number {
    const words = this.#words;
    // The table's header has the first slots of the first bucket.
    const first = bucket === 0 ? VERSION_SLOT_FIRST : 0;
    for (let at = first; at < BUCKET_SLOTS; at++) {
      if (this.#isUsed(base, at)) continue;
      words[base + INO_LO + at] = inoLo;
      words[base + INO_HI + at] = inoHi;
      words[base + DEV_LO + at] = devLo;
      words[base + DEV_HI + at] = devHi;
      // What anybody knows of the slot is of another inode.
      this.#slots.count1(bucket * BUCKET_SLOTS + at);
      return at;
    }
    Atomics.add(words, REFUSALS, 1);
    return -1;
  }

  #bucketOf(devLo: number, devHi: number, inoLo: number, inoHi: number): number {
    return mix(devLo, devHi, inoLo, inoHi) & this.#bucketMask;
  }
}

/** 32 bits that look random. */
function mix(devLo: number, devHi: number, inoLo: number, inoHi: number): number {
  let mixed = inoLo ^ Math.imul(inoHi, 0x85ebca6b) ^ Math.imul(devLo, 0xc2b2ae35) ^
    Math.imul(devHi, 0x27d4eb2f);
  // MurmurHash3's last step: each bit of the inode number moves half of the result's.
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
