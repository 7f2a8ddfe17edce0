/**
 * The free list and the busy list of a window's ranges. A range is in one of them, or in neither while it is on its way.
 *
 * @module
 */

import { assert } from "../../assert.ts";

const NONE = -1;

/** Two rings of range numbers, linked both ways; their heads follow the ranges. */
export class RangeLists {
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #freeHead: number;
  readonly #busyHead: number;
  /** How many are free. */
  freeCount = 0;
  /** How many are busy. */
  busyCount = 0;

  /** Ranges 0 to `count` - 1, all free, in this order. */
  constructor(count: number) {
    this.#freeHead = count;
    this.#busyHead = count + 1;
    this.#next = new Int32Array(count + 2).fill(NONE);
    this.#previous = new Int32Array(count + 2).fill(NONE);
    for (const head of [this.#freeHead, this.#busyHead]) {
      this.#next[head] = head;
      this.#previous[head] = head;
    }
    for (let range = 0; range < count; range++) this.addFree(range);
  }

  /** The range that has been free for longest, taken out; or -1. */
  takeFree(): number {
    const range = this.#next[this.#freeHead]!;
    if (range === this.#freeHead) return NONE;
    this.#unlink(range);
    this.freeCount--;
    return range;
  }

  addFree(range: number): void {
    this.#append(this.#freeHead, range);
    this.freeCount++;
  }

  addBusy(range: number): void {
    this.#append(this.#busyHead, range);
    this.busyCount++;
  }

  removeBusy(range: number): void {
    this.#unlink(range);
    this.busyCount--;
  }

  /** The busy range that was mapped first, or -1. */
  firstBusy(): number {
    return this.nextBusy(this.#busyHead);
  }

  /** The one after it, or -1. */
  nextBusy(range: number): number {
    const next = this.#next[range]!;
    return next === this.#busyHead ? NONE : next;
  }

  free(): number[] {
    return this.#all(this.#freeHead);
  }

  busy(): number[] {
    return this.#all(this.#busyHead);
  }

  #append(head: number, range: number): void {
    assert(this.#next[range] === NONE, "a range is in one list");
    const last = this.#previous[head]!;
    this.#next[last] = range;
    this.#previous[range] = last;
    this.#next[range] = head;
    this.#previous[head] = range;
  }

  #unlink(range: number): void {
    const next = this.#next[range]!;
    const previous = this.#previous[range]!;
    assert(next !== NONE, "a range that leaves a list was in one");
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#next[range] = NONE;
    this.#previous[range] = NONE;
  }

  #all(head: number): number[] {
    const ranges: number[] = [];
    for (let at = this.#next[head]!; at !== head; at = this.#next[at]!) ranges.push(at);
    return ranges;
  }
}
