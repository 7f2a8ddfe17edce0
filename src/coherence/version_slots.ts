/**
 * The slots of the version table, and how a change counts in them (see `wire/shared_versions.ts`).
 *
 * Low and high word are counted separately, with 32-bit atomics. The low word alone tells any two states apart that are less than 2^20 changes
 * apart; the high word has been increased at least once before the low one begins again. So no value comes twice; but for the 2^16 changes before
 * the low word begins again the high one is increased by each, so taken as one number of 64 bits the value is less afterwards.
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";
import { CHANGE, CHANGES_IN_PROGRESS } from "../wire/shared_versions.ts";

/**
 * Where a low word is about to begin again. Whoever begins a change from here on counts the high word up first. The zone is longer than there can be changes
 * in progress that began before it, so that somebody does.
 */
const CARRY_FROM = 0xf0000000;

/** The table, seen by one thread. */
export class VersionSlots {
  readonly count: number;
  readonly #words: Int32Array;

  constructor(table: NativeMemory, slotCount: number) {
    this.count = slotCount;
    this.#words = table.i32;
  }

  /** A slot's low and high word, unsigned. */
  low(slot: number): number {
    return Atomics.load(this.#words, slot * 2) >>> 0;
  }

  high(slot: number): number {
    return Atomics.load(this.#words, slot * 2 + 1) >>> 0;
  }

  /** A change is about to be made: nobody keeps what is asked for until {@linkcode VersionSlots.end}. */
  begin(slot: number): void {
    const before = Atomics.add(this.#words, slot * 2, 1) >>> 0;
    if (before >= CARRY_FROM) Atomics.add(this.#words, slot * 2 + 1, 1);
  }

  /** The change has been made. */
  end(slot: number): void {
    Atomics.add(this.#words, slot * 2, CHANGE - 1);
  }

  /**
   * A change that was made already, by whomever. In one step: nobody would end it for us, if we were killed between two. So the high word goes first; of
   * those who look at the low word before the zone and add after it there are too few to get through the zone.
   */
  count1(slot: number): void {
    if (this.low(slot) >= CARRY_FROM) Atomics.add(this.#words, slot * 2 + 1, 1);
    Atomics.add(this.#words, slot * 2, CHANGE);
  }

  /** Ends all changes in progress of a slot that has `low` as its low word; false if that has changed meanwhile. */
  endAll(slot: number, low: number): boolean {
    const after = ((low & ~CHANGES_IN_PROGRESS) + CHANGE) | 0;
    if (low >= CARRY_FROM) Atomics.add(this.#words, slot * 2 + 1, 1);
    return Atomics.compareExchange(this.#words, slot * 2, low | 0, after) === (low | 0);
  }
}
