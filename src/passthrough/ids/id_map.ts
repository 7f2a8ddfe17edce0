/**
 * One direction of a translation of ids: intervals of source ids, and what becomes of each.
 *
 * @module
 */

import type { IdRule } from "../../config.ts";

/** What {@linkcode IdMap.map} says of an id that must not be used: no id is negative. */
export const FORBIDDEN = -1;
/** "No id" (chown(2): leave it as it is; FUSE: the guest does not tell). Means the same on both sides, and is never translated. */
export const NO_ID = 0xffffffff;

/** What becomes of ids that no rule names. */
export type Unmapped = "kept" | "forbidden" | number;

const SHIFT = 0;
const SQUASH = 1;
const FORBID = 2;

/** Sorted intervals, searched by halves: asked for two ids of each reply that has attributes, so it allocates nothing. */
export class IdMap {
  readonly #count: number;
  readonly #firsts: Uint32Array;
  readonly #lasts: Uint32Array;
  readonly #targets: Uint32Array;
  readonly #kinds: Uint8Array;
  readonly #keepsUnmapped: boolean;
  readonly #unmapped: number;

  /** The rules do not overlap (see {@linkcode overlap}). */
  constructor(rules: readonly IdRule[], unmapped: Unmapped) {
    const sorted = rules.filter(({ count }) => count > 0).toSorted((a, b) => a.first - b.first);
    this.#count = sorted.length;
    this.#firsts = Uint32Array.from(sorted, ({ first }) => first);
    this.#lasts = Uint32Array.from(sorted, ({ first, count }) => first + count - 1);
    this.#targets = Uint32Array.from(sorted, ({ target }) => target ?? 0);
    this.#kinds = Uint8Array.from(
      sorted,
      ({ target, squash }) => target === null ? FORBID : squash ? SQUASH : SHIFT,
    );
    this.#keepsUnmapped = unmapped === "kept";
    this.#unmapped = typeof unmapped === "number" ? unmapped : FORBIDDEN;
  }

  /** The id on the other side, or {@linkcode FORBIDDEN}. */
  map(id: number): number {
    if (id === NO_ID) return id;
    let low = 0;
    let high = this.#count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (id < this.#firsts[middle]!) high = middle - 1;
      else if (id > this.#lasts[middle]!) low = middle + 1;
      else return this.#apply(middle, id);
    }
    return this.#keepsUnmapped ? id : this.#unmapped;
  }

  #apply(at: number, id: number): number {
    const kind = this.#kinds[at];
    if (kind === FORBID) return FORBIDDEN;
    return kind === SQUASH ? this.#targets[at]! : this.#targets[at]! + (id - this.#firsts[at]!);
  }
}

/** The first rule of the list that has an id in common with one before it, or null. */
export function overlap(rules: readonly IdRule[]): IdRule | null {
  return rules.find((rule, index) =>
    rules.slice(0, index).some((other) =>
      rule.count > 0 && other.count > 0 &&
      rule.first < other.first + other.count && other.first < rule.first + rule.count
    )
  ) ?? null;
}
