/**
 * The common case of path resolution: every name of the path is known, and nothing has to be asked. It comes to the same as `walk.ts`, without
 * making anything but the names' keys; the dull cases are left to that.
 *
 * @module
 */

import type { Inode } from "./inode.ts";
import { MAY_EXECUTE, mayAccessAsKnown } from "./permissions.ts";
import type { Process } from "./process.ts";
import type { Volume } from "./volume.ts";

const SLASH = 0x2f;
const DOT = 0x2e;
/** Codes of characters that are one byte in UTF-8: names of these are their own keys. */
const ASCII_END = 0x80;
const PATH_LENGTH_MAX = 4095;

/** What a path leads to, or null if it cannot be said without more ado. */
export function resolveKnown(
  volume: Volume,
  process: Process,
  start: Inode,
  path: string,
): Inode | null {
  const { length } = path;
  if (length > PATH_LENGTH_MAX) return null;
  let current = path.charCodeAt(0) === SLASH ? volume.root : start;
  let at = 0;
  while (at < length) {
    while (at < length && path.charCodeAt(at) === SLASH) at++;
    // Slashes at the end, or an empty path.
    if (at === length) return null;
    const from = at;
    for (; at < length; at++) {
      const code = path.charCodeAt(at);
      if (code === SLASH) break;
      if (code >= ASCII_END || code === 0) return null;
    }
    if (path.charCodeAt(from) === DOT) return null;
    if (!current.isDirectory) return null;
    if (!mayAccessAsKnown(volume, process, current, MAY_EXECUTE)) return null;
    const inode = volume.known(current, path.substring(from, at))?.inode ?? null;
    if (inode === null || inode.isSymlink) return null;
    inode.recent = true;
    current = inode;
  }
  return length > 0 ? current : null;
}
