/**
 * What a check is, and how the families hand theirs over.
 *
 * @module
 */

import type { Scope } from "./scope.ts";

/**
 * What a check needs beside a POSIX file system. `root` is found out; the others are taken as
 * present unless the caller says `--without`.
 */
export const NEEDS = [
  "root",
  "xattr",
  "trusted-xattr",
  "locks",
  "mknod",
  "whiteout",
  "exchange",
  "tmpfile",
  "zero-range",
  "seek-data",
  "shared-mmap",
  "execve",
  "procfs",
  "fifo-io",
  "old-times",
] as const;

/** One of {@link NEEDS}. */
export type Need = typeof NEEDS[number];

/** One check: it throws when what it claims does not hold. */
export interface Check {
  readonly needs: readonly Need[];
  readonly run: (t: Scope) => void | Promise<void>;
}

/** Adds a check under a name that must be new: "family: what is claimed". */
export type Add = (name: string, run: Check["run"], ...needs: Need[]) => void;
