/**
 * What a session was begun with (fuse.h: FUSE_INIT).
 *
 * @module
 */

/** What daemon and guest have agreed on. */
export interface Agreement {
  readonly minor: number;
  /** INIT flags, low and high word: those that we offered and the daemon took up. */
  readonly flags: number;
  readonly flags2: number;
  /** Largest WRITE and READ, in bytes. */
  readonly writeSizeMax: number;
  readonly readSizeMax: number;
  /** log2 of what offsets of DAX mappings are multiples of (fuse.h: FUSE_MAP_ALIGNMENT); 0 if nothing was said. */
  readonly mapAlignment: number;
}

/** Whether an INIT flag of the low word is among `flags`. */
export function hasFlag(flags: number, flag: number): boolean {
  return (flags & flag) !== 0;
}
