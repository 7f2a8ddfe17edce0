/**
 * Which files thrash the window: the part of `--dax auto` that watches (what can be told beforehand is in `passthrough/dax_files.ts`).
 *
 * A window smaller than the data is harmless while files are read in order, and four times slower than no window when one is read at random:
 * nearly every access then costs a mapping. The daemon sees each mapping, so it can tell. What counts is a *jump*, a mapping that does
 * not follow the one before in its file:
 *
 *  - As many jumps as the file has ranges are free: a file that fits into the window is mapped once, in whatever order.
 *  - Those beyond fill a bucket that leaks {@linkcode LEAK_PER_SECOND} a second: ranges that come back now and then, in a window that many
 *    files share, never fill it.
 *  - When the bucket holds {@linkcode BUCKET_SIZE} the file is demoted: for {@linkcode DEMOTION_MS} its attributes say that it is not
 *    to be mapped. A guest that has it open goes on as it was, as Linux does, or reads from then on.
 *
 * @module
 */

import type { DaxInodeTable } from "../state/dax_inode_table.ts";

/** Thrashing makes thousands of mappings a second: a mapping takes 50 to 200 µs. */
const LEAK_PER_SECOND = 20;
/** About 10 ms lost until it is noticed. */
const BUCKET_SIZE = 64;
const DEMOTION_MS = 10 * 60 * 1000;

/**
 * Takes a mapping of [offset, offset + length) of a file of `size` bytes, born at `birth` (see {@linkcode DaxInodeTable.isDemoted}), into account, at `now` (milliseconds since 1970). True if that makes
 * it a file to be demoted; it is marked then.
 */
export function countMapping(
  table: DaxInodeTable,
  nodeid: number,
  offset: number,
  length: number,
  size: number,
  birth: number,
  now: number,
): boolean {
  const follows = table.lastEnd(nodeid) === offset;
  table.setLastEnd(nodeid, offset + length);
  if (follows) return false;
  const jumps = table.jumps(nodeid) + 1;
  const free = Math.ceil(size / length);
  if (jumps <= free) {
    table.setJumps(nodeid, jumps);
    return false;
  }
  const leaked = Math.max(0, now - table.levelTime(nodeid)) * LEAK_PER_SECOND / 1000;
  const level = Math.max(0, table.level(nodeid) - leaked) + 1;
  if (level < BUCKET_SIZE) {
    table.setLevel(nodeid, level, now);
    return false;
  }
  table.setLevel(nodeid, 0, now);
  table.setJumps(nodeid, 0);
  table.demote(nodeid, birth, now + DEMOTION_MS);
  return true;
}
