/**
 * Values of the version table's slots (`wire/shared_versions.ts`) as numbers, so that own changes can be added to them.
 *
 * Of a high word the lower 21 bits count. They come round after millions of changes at the least, and are compared with what stood there
 * milliseconds ago.
 *
 * @module
 */

import type { VersionTable } from "../guest/client/version_table.ts";
import { CHANGES_IN_PROGRESS } from "../wire/shared_versions.ts";

const WORD = 4294967296;
const HIGH_MASK = 2 ** 21 - 1;

/** No version at all; it equals none, itself included. */
export const NO_VERSION: number = NaN;

export function versionNumber(low: number, high: number): number {
  return (high & HIGH_MASK) * WORD + (low >>> 0);
}

/** Whether nothing was being changed at that version. */
export function isStable(version: number): boolean {
  // False for NaN.
  return version % (CHANGES_IN_PROGRESS + 1) === 0;
}

/** Where versions are read. */
export interface VersionSource {
  /** Whether an index can be an inode's slot. */
  isInRange(index: number): boolean;
  /** What that slot stands at. */
  version(index: number): number;
}

/** The guest's table. */
export class TableVersions implements VersionSource {
  readonly #table: VersionTable;

  constructor(table: VersionTable) {
    this.#table = table;
  }

  isInRange(index: number): boolean {
    return this.#table.isInRange(index);
  }

  version(index: number): number {
    this.#table.read(index);
    return versionNumber(this.#table.low, this.#table.high);
  }
}
