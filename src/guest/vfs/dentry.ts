/**
 * A name in the dentry cache: what LOOKUP said of it and for how long that holds.
 *
 * @module
 */

import type { Inode } from "./inode.ts";

/** One name in one directory. */
export interface Dentry {
  readonly parent: Inode;
  readonly name: Uint8Array;
  readonly key: string;
  /** The inode, or null: the name is known not to exist. */
  inode: Inode | null;
  /** performance.now()'s milliseconds. */
  validUntil: number;
}

/** A name as a key: its bytes as characters 0 to 255, since names need not be UTF-8. */
export function nameKey(name: Uint8Array): string {
  // Names have at most 255 bytes, far below the number of arguments that a call can take.
  return String.fromCharCode(...name);
}
