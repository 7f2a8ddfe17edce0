/**
 * What the range allocator is to come to, with lists that are searched from end to end.
 *
 * @module
 */

import type { RangeMapper } from "../../mod.ts";
import { EAGAIN } from "../../src/sys/errno.ts";

interface Range {
  readonly number: number;
  readonly nodeid: number;
  readonly start: number;
  writable: boolean;
  references: number;
}

/** The naive allocator. */
export class NaiveAllocator {
  readonly free: number[];
  readonly woken: string[] = [];
  waiters: string[] = [];
  kicked = false;
  kicks = 0;
  #ranges: Range[] = [];
  /** All that ever waited, by the order of asking. */
  readonly #asked: string[] = [];
  readonly #size: number;
  readonly #mapper: RangeMapper;
  readonly #threshold: number;

  constructor(windowSize: number, rangeSize: number, mapper: RangeMapper) {
    this.free = Array.from({ length: Math.floor(windowSize / rangeSize) }, (_, i) => i);
    this.#size = rangeSize;
    this.#mapper = mapper;
    this.#threshold = Math.max(1, Math.floor(this.free.length / 5));
  }

  get busy(): number[] {
    return this.#ranges.map(({ number }) => number);
  }

  acquire(nodeid: number, offset: number, writable: boolean, inline: boolean): number {
    const start = offset - offset % this.#size;
    const known = this.#ranges.find((range) => range.nodeid === nodeid && range.start === start);
    if (known !== undefined) {
      if (writable && !known.writable) {
        const at = known.number * this.#size;
        const status = this.#mapper.setup(nodeid, start, at, this.#size, true);
        if (status < 0) {
          if (known.references === 1) this.#discard([known]);
          return status;
        }
        known.writable = true;
      }
      known.references++;
      return known.number;
    }
    let number = -1;
    let reused = false;
    if (inline && this.free.length <= this.#threshold) {
      const idle = this.#ranges.find((range) => range.nodeid === nodeid && range.references === 1);
      if (idle !== undefined) {
        number = idle.number;
        this.#ranges = this.#ranges.filter((range) => range !== idle);
        reused = true;
      }
    }
    if (!reused) number = this.free.shift() ?? -1;
    if (this.free.length < this.#threshold) this.#kick();
    if (number < 0) return -EAGAIN;
    const status = this.#mapper.setup(nodeid, start, number * this.#size, this.#size, writable);
    if (status < 0) {
      // What was mapped there before still is.
      if (reused) this.#mapper.remove(nodeid, [number * this.#size], this.#size);
      this.#free(number);
      return status;
    }
    this.#ranges.push({ number, nodeid, start, writable, references: 2 });
    return number;
  }

  release(number: number): void {
    const range = this.#ranges.find((one) => one.number === number)!;
    range.references--;
    if (range.references === 1 && this.waiters.length > 0) this.#kick();
  }

  work(): boolean {
    this.kicked = false;
    for (let i = 0; i < Math.min(10, this.#threshold); i++) {
      const idle = this.#ranges.find(({ references }) => references === 1);
      if (idle === undefined) return false;
      this.#discard([idle]);
    }
    if (this.free.length >= this.#threshold) return false;
    this.#kick();
    return true;
  }

  remove(nodeid: number, start: number, end: number): number {
    const all = this.#ranges.filter((range) =>
      range.nodeid === nodeid && range.start < end && range.start + this.#size > start
    ).sort((a, b) => a.start - b.start);
    const idle = all.filter(({ references }) => references === 1);
    if (idle.length > 0) this.#discard(idle);
    return all.length - idle.length;
  }

  wait(name: string): void {
    this.waiters.push(name);
    this.#asked.push(name);
    this.#kick();
  }

  cancel(asked: number): void {
    this.waiters = this.waiters.filter((name) => name !== this.#asked[asked]);
  }

  #discard(ranges: readonly Range[]): void {
    this.#ranges = this.#ranges.filter((range) => !ranges.includes(range));
    const offsets = ranges.map(({ number }) => number * this.#size);
    this.#mapper.remove(ranges[0]!.nodeid, offsets, this.#size);
    for (const { number } of ranges) this.#free(number);
  }

  #free(number: number): void {
    this.free.push(number);
    const name = this.waiters.shift();
    if (name !== undefined) this.woken.push(name);
  }

  #kick(): void {
    if (this.kicked) return;
    this.kicked = true;
    this.kicks++;
  }
}
