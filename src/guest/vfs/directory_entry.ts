/**
 * A name in a directory, as reading the directory tells it.
 *
 * @module
 */

/** One name in a directory. */
export interface DirectoryEntry {
  readonly name: Uint8Array;
  readonly ino: number;
  /** DT_*: the type bits of the mode, shifted. */
  readonly type: number;
  /** Where to go on after it: a cookie of the daemon's. */
  readonly next: bigint;
}
