/**
 * Numbers that a seed decides.
 *
 * @module
 */

/** 64-bit values at which something may break, as two halves. */
const EDGES: readonly (readonly [lo: number, hi: number])[] = [
  [0, 0],
  [1, 0],
  [4095, 0],
  [4096, 0],
  [0x7fffffff, 0],
  [0xffffffff, 0],
  [0, 1],
  [0, 0x100000],
  [0, 0x1fffff],
  [0, 0x200000],
  [0xffffffff, 0x7fffffff],
  [0xfffff000, 0x7fffffff],
  [0, 0x80000000],
  [0xffffffff, 0xffffffff],
  [0xfffff000, 0xffffffff],
];

/** splitmix32 */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  u32(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  below(count: number): number {
    return this.u32() % count;
  }

  /** True once in `count` times. */
  oneIn(count: number): boolean {
    return this.below(count) === 0;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  edge(): readonly [lo: number, hi: number] {
    return this.pick(EDGES);
  }
}
