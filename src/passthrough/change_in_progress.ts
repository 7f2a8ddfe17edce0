/**
 * The slots that one request changes, between the beginning of the change and its end: see `changing()` in `changes.ts`.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { VersionsThread } from "../coherence/versions.ts";

/** Roles of inodes in one request: RENAME has four. */
const INODES_MAX = 4;

/** One per thread, used again for each request. All lists are of numbers, and short. */
export class ChangeInProgress {
  readonly #thread: VersionsThread;
  /** Slots that are changed, each once. */
  readonly #slots = new Int32Array(INODES_MAX);
  #slotCount = 0;
  /** References to slots of inodes that are not, or may not be, known here: given back at the end. */
  readonly #borrowed = new Int32Array(INODES_MAX);
  #borrowedCount = 0;
  /** Locks of directories whose names are not to change. */
  #lockedFirst = 0;
  #lockedSecond = 0;
  /** Inodes without a slot, four words each: should another daemon give them one meanwhile, it has to be told afterwards. */
  readonly #unversioned = new Uint32Array(INODES_MAX * 4);
  #unversionedCount = 0;
  #begun = false;

  constructor(thread: VersionsThread) {
    this.#thread = thread;
  }

  /** Locks the names of one or two directories (0 = none), always in the same order; see Registry.namesLockOf(). */
  lockNames(lock: number, other: number): void {
    const first = Math.min(lock, other);
    const second = Math.max(lock, other);
    this.#lockedFirst = first === second ? 0 : first;
    this.#lockedSecond = second;
    const { registry } = this.#thread;
    if (this.#lockedFirst !== 0) registry.lockNames(this.#lockedFirst);
    if (second !== 0) registry.lockNames(second);
  }

  /** An inode that is changed: by its slot if it has one. */
  add(slot: number, devLo: number, devHi: number, inoLo: number, inoHi: number): void {
    if (slot === 0) {
      const at = this.#unversionedCount++ * 4;
      this.#unversioned[at] = devLo;
      this.#unversioned[at + 1] = devHi;
      this.#unversioned[at + 2] = inoLo;
      this.#unversioned[at + 3] = inoHi;
      return;
    }
    for (let i = 0; i < this.#slotCount; i++) if (this.#slots[i] === slot) return;
    assert(this.#slotCount < INODES_MAX, "a request changes four inodes at most");
    this.#slots[this.#slotCount++] = slot;
  }

  /** The same for an inode that is not pinned here. */
  addByName(devLo: number, devHi: number, inoLo: number, inoHi: number): void {
    const slot = this.#thread.registry.acquire(devLo, devHi, inoLo, inoHi);
    if (slot !== 0) this.#borrowed[this.#borrowedCount++] = slot;
    this.add(slot, devLo, devHi, inoLo, inoHi);
  }

  /** From here on no guest trusts what it knows of these inodes. */
  begin(): void {
    const { log, slots } = this.#thread;
    this.#begun = true;
    for (let i = 0; i < this.#slotCount; i++) {
      const slot = this.#slots[i]!;
      log.enter(i, slot);
      slots.begin(slot);
    }
  }

  /** One more inode, found in the midst of the request and about to be changed. */
  beginOne(devLo: number, devHi: number, inoLo: number, inoHi: number): void {
    const before = this.#slotCount;
    this.addByName(devLo, devHi, inoLo, inoHi);
    if (this.#slotCount === before || !this.#begun) return;
    const { log, slots } = this.#thread;
    const slot = this.#slots[before]!;
    log.enter(before, slot);
    slots.begin(slot);
  }

  /** The system call is done: what guests ask from here on is what it has made. */
  end(): void {
    const { log, registry, slots } = this.#thread;
    for (let i = 0; i < this.#slotCount && this.#begun; i++) {
      slots.end(this.#slots[i]!);
      log.strike(i);
    }
    for (let i = 0; i < this.#unversionedCount; i++) this.#tellLate(i * 4);
    if (this.#lockedSecond !== 0) registry.unlockNames(this.#lockedSecond);
    if (this.#lockedFirst !== 0) registry.unlockNames(this.#lockedFirst);
    for (let i = 0; i < this.#borrowedCount; i++) registry.release(this.#borrowed[i]!);
    this.#begun = false;
    this.#slotCount = 0;
    this.#borrowedCount = 0;
    this.#unversionedCount = 0;
    this.#lockedFirst = 0;
    this.#lockedSecond = 0;
  }

  /** There was no room for the inode when we began. Whoever has found room since may have read its attributes before we changed them. */
  #tellLate(at: number): void {
    const { registry, slots } = this.#thread;
    const inode = this.#unversioned;
    const slot = registry.find(inode[at]!, inode[at + 1]!, inode[at + 2]!, inode[at + 3]!);
    if (slot !== 0) slots.count1(slot);
  }
}
