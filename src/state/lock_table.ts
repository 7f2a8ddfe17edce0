/**
 * Owners of POSIX locks on the host. The host knows only this process, so each (inode, lock owner of the guest)
 * gets an open file description of its own and locks with OFD locks (fcntl(2), F_OFD_SETLK), which
 * conflict between descriptions as POSIX locks do between processes.
 *
 * @module
 */

import { libc } from "../sys/libc.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import { LOCK_OWNER_COUNT_MAX, LOCK_SLOT, LOCK_TABLE_OFFSET, STATE_HEADER } from "./layout.ts";
import { Mutex } from "./mutex.ts";

const TABLE = LOCK_TABLE_OFFSET >>> 2;
const SLOT_WORDS = LOCK_SLOT.SIZE >>> 2;
const OWNER_LO = LOCK_SLOT.OWNER_LO >>> 2;
const OWNER_HI = LOCK_SLOT.OWNER_HI >>> 2;
const FD = LOCK_SLOT.FD >>> 2;
const NEXT = LOCK_SLOT.NEXT >>> 2;
const NODEID = LOCK_SLOT.NODEID >>> 2;
const WAITS = LOCK_SLOT.WAITS >>> 2;
const RANGES = LOCK_SLOT.RANGES >>> 2;
const RANGES_COUNTED = LOCK_SLOT.RANGES_COUNTED >>> 2;
const ALL_RANGES = STATE_HEADER.LOCK_RANGES >>> 2;
const ALL_RANGES_COUNTED = STATE_HEADER.LOCK_RANGES_COUNTED >>> 2;
const FRESH = STATE_HEADER.LOCK_FRESH >>> 2;
const FREE = STATE_HEADER.LOCK_FREE >>> 2;
const USED = STATE_HEADER.LOCK_USED >>> 2;
const RELEASES = STATE_HEADER.LOCK_RELEASES >>> 2;

/** A lock, held or wanted: F_RDLCK or F_WRLCK on the bytes from `start` to `end`, both included. */
export interface LockRange {
  readonly type: number;
  readonly start: bigint;
  readonly end: bigint;
}

/** The list head of an inode, kept in its slot. */
export interface LockListHead {
  firstLock(nodeid: number): number;
  setFirstLock(nodeid: number, lock: number): void;
}

/** The table, seen by one thread. The caller holds {@linkcode LockTable.mutex} around all but `countRelease`. */
export class LockTable {
  readonly #u32: Uint32Array;
  readonly #i32: Int32Array;
  readonly #view: DataView;
  readonly mutex: Mutex;

  constructor(memory: NativeMemory) {
    this.#u32 = memory.u32;
    this.#i32 = memory.i32;
    this.#view = memory.view;
    this.mutex = new Mutex(memory, STATE_HEADER.LOCK_MUTEX);
    this.mutex.lock();
    if (this.#u32[FRESH] === 0) this.#u32[FRESH] = 1;
    this.mutex.unlock();
  }

  /** Owners that have a descriptor now. */
  get count(): number {
    return Atomics.load(this.#u32, USED);
  }

  /** Ranges of bytes that all owners' locks have, at most. */
  get rangeCount(): number {
    return this.#u32[ALL_RANGES]!;
  }

  /** As many of them may not be there: they were added since their owners' ranges were counted. */
  get uncountedRanges(): number {
    return this.#u32[ALL_RANGES]! - this.#u32[ALL_RANGES_COUNTED]!;
  }

  /** The first owner behind `slot` (0 = the first of all) whose ranges are not known exactly; 0 = none. */
  nextUncounted(slot: number): number {
    for (let next = slot + 1; next < this.#u32[FRESH]!; next++) {
      const word = TABLE + next * SLOT_WORDS;
      if (this.#u32[word + RANGES] !== this.#u32[word + RANGES_COUNTED]) return next;
    }
    return 0;
  }

  /** An owner may have got so many ranges. */
  addRanges(slot: number, added: number): void {
    this.#u32[TABLE + slot * SLOT_WORDS + RANGES]! += added;
    this.#u32[ALL_RANGES]! += added;
  }

  /** An owner has exactly so many. */
  setRanges(slot: number, count: number): void {
    const word = TABLE + slot * SLOT_WORDS;
    this.#u32[ALL_RANGES]! += count - this.#u32[word + RANGES]!;
    this.#u32[ALL_RANGES_COUNTED]! += count - this.#u32[word + RANGES_COUNTED]!;
    this.#u32[word + RANGES] = count;
    this.#u32[word + RANGES_COUNTED] = count;
  }

  /** How often a lock may have become free; waiting requests try again when it moved. */
  get releases(): number {
    return Atomics.load(this.#u32, RELEASES);
  }

  countRelease(): void {
    Atomics.add(this.#u32, RELEASES, 1);
  }

  /** The owner's slot, or 0. */
  find(list: LockListHead, nodeid: number, ownerLo: number, ownerHi: number): number {
    let slot = list.firstLock(nodeid);
    while (slot !== 0 && !this.#isOwner(slot, ownerLo, ownerHi)) slot = this.next(slot);
    return slot;
  }

  /** The next owner on the same inode, or 0. */
  next(slot: number): number {
    return this.#u32[TABLE + slot * SLOT_WORDS + NEXT]!;
  }

  fd(slot: number): number {
    return this.#i32[TABLE + slot * SLOT_WORDS + FD]!;
  }

  nodeid(slot: number): number {
    return this.#u32[TABLE + slot * SLOT_WORDS + NODEID]!;
  }

  /** Whether two slots are the same owner's, on whatever inodes. */
  sameOwner(slot: number, other: number): boolean {
    const word = TABLE + other * SLOT_WORDS;
    return this.#isOwner(slot, this.#u32[word + OWNER_LO]!, this.#u32[word + OWNER_HI]!);
  }

  /** Slots of owners that wait for a lock now. */
  waiting(): number[] {
    const slots: number[] = [];
    for (let slot = 1; slot < this.#u32[FRESH]!; slot++) {
      if (this.#u32[TABLE + slot * SLOT_WORDS + WAITS] !== 0) slots.push(slot);
    }
    return slots;
  }

  /** What the owner waits for, or null. */
  wait(slot: number): LockRange | null {
    const waits = this.#u32[TABLE + slot * SLOT_WORDS + WAITS]!;
    if (waits === 0) return null;
    const at = LOCK_TABLE_OFFSET + slot * LOCK_SLOT.SIZE;
    return {
      type: waits - 1,
      start: this.#view.getBigInt64(at + LOCK_SLOT.WAIT_START, true),
      end: this.#view.getBigInt64(at + LOCK_SLOT.WAIT_END, true),
    };
  }

  setWait(slot: number, wait: LockRange | null): void {
    this.#u32[TABLE + slot * SLOT_WORDS + WAITS] = wait === null ? 0 : wait.type + 1;
    if (wait === null) return;
    const at = LOCK_TABLE_OFFSET + slot * LOCK_SLOT.SIZE;
    this.#view.setBigInt64(at + LOCK_SLOT.WAIT_START, wait.start, true);
    this.#view.setBigInt64(at + LOCK_SLOT.WAIT_END, wait.end, true);
  }

  #isOwner(slot: number, ownerLo: number, ownerHi: number): boolean {
    const word = TABLE + slot * SLOT_WORDS;
    return this.#u32[word + OWNER_LO] === ownerLo && this.#u32[word + OWNER_HI] === ownerHi;
  }

  /** Gives the owner a descriptor and returns its slot; 0 if the table is full (the caller keeps `fd`). */
  insert(
    list: LockListHead,
    nodeid: number,
    ownerLo: number,
    ownerHi: number,
    fd: number,
  ): number {
    let slot = this.#u32[FREE]!;
    if (slot !== 0) {
      this.#u32[FREE] = this.#u32[TABLE + slot * SLOT_WORDS + NEXT]!;
    } else if (this.#u32[FRESH]! < LOCK_OWNER_COUNT_MAX) {
      slot = this.#u32[FRESH]!;
      this.#u32[FRESH] = slot + 1;
    } else {
      return 0;
    }
    const word = TABLE + slot * SLOT_WORDS;
    this.#u32[word + OWNER_LO] = ownerLo;
    this.#u32[word + OWNER_HI] = ownerHi;
    this.#i32[word + FD] = fd;
    this.#u32[word + NODEID] = nodeid;
    this.#u32[word + WAITS] = 0;
    this.#u32[word + NEXT] = list.firstLock(nodeid);
    list.setFirstLock(nodeid, slot);
    Atomics.add(this.#u32, USED, 1);
    return slot;
  }

  /** Drops an owner and with it all its locks on the inode. */
  remove(list: LockListHead, nodeid: number, ownerLo: number, ownerHi: number): void {
    let slot = list.firstLock(nodeid);
    let previous = 0;
    while (slot !== 0) {
      const word = TABLE + slot * SLOT_WORDS;
      const next = this.#u32[word + NEXT]!;
      if (this.#u32[word + OWNER_LO] === ownerLo && this.#u32[word + OWNER_HI] === ownerHi) {
        if (previous === 0) list.setFirstLock(nodeid, next);
        else this.#u32[TABLE + previous * SLOT_WORDS + NEXT] = next;
        this.#free(slot);
        return;
      }
      previous = slot;
      slot = next;
    }
  }

  /** Drops a whole list, when its inode goes. */
  removeList(firstLock: number): void {
    let slot = firstLock;
    while (slot !== 0) {
      const next = this.#u32[TABLE + slot * SLOT_WORDS + NEXT]!;
      this.#free(slot);
      slot = next;
    }
  }

  #free(slot: number): void {
    const word = TABLE + slot * SLOT_WORDS;
    libc.close(this.#i32[word + FD]!);
    this.#i32[word + FD] = -1;
    this.#u32[word + WAITS] = 0;
    this.setRanges(slot, 0);
    this.#u32[word + NEXT] = this.#u32[FREE]!;
    this.#u32[FREE] = slot;
    Atomics.sub(this.#u32, USED, 1);
    this.countRelease();
  }
}
