/**
 * Path resolution as a Linux kernel does it (path_resolution(7)): component by component, with search permission in
 * each directory, following symbolic links.
 *
 * @module
 */

import { ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, type Status } from "../../sys/errno.ts";
import { FUSE_CACHE_SYMLINKS } from "../../wire/fuse.ts";
import { NAME_MAX, PATH_MAX } from "../../wire/linux.ts";
import { hasFlag } from "../client/agreement.ts";
import { readlink } from "../client/names.ts";
import { lookup } from "../client/names.ts";
import type { Inode } from "./inode.ts";
import { MAY_EXECUTE, mayAccess } from "./permissions.ts";
import type { Process } from "./process.ts";
import type { Volume } from "./volume.ts";

/** Linux follows this many symbolic links in one path. */
const SYMLINK_COUNT_MAX = 40;
const SLASH = 0x2f;
const DOT = 0x2e;

/** Where a path leads: a name in a directory, and what is there. */
export interface Place {
  readonly parent: Inode;
  /** The last component; "." where the path ends in a directory itself: `/`, `.`, `..`. */
  readonly name: Uint8Array;
  /** What the name leads to, or null if nothing is there. */
  readonly inode: Inode | null;
  /** Whether the path ended with slashes: only a directory can be meant. */
  readonly slash: boolean;
  /** Whether the last component was `.`, `..` or the root: no name that can be made or removed. */
  readonly special: "" | "." | ".." | "/";
}

const encoder = new TextEncoder();
const ABOVE = new Uint8Array([0x2e, 0x2e]);
const SELF = Uint8Array.of(DOT);

/** A path's bytes. */
export function pathBytes(path: string | Uint8Array): Uint8Array {
  return typeof path === "string" ? encoder.encode(path) : path;
}

/** A path on its way to being resolved. */
class Walk {
  readonly #volume: Volume;
  readonly #process: Process;
  #links = 0;

  constructor(volume: Volume, process: Process) {
    this.#volume = volume;
    this.#process = process;
  }

  resolve(
    start: Inode,
    path: Uint8Array,
    follow: boolean,
    slashFollows = true,
  ): Place | Status {
    if (path.length === 0) return -ENOENT;
    if (path.length >= PATH_MAX || path.includes(0)) {
      return path.includes(0) ? -ENOENT : -ENAMETOOLONG;
    }
    let current = path[0] === SLASH ? this.#volume.root : start;
    const parts = components(path);
    const slash = path[path.length - 1] === SLASH;
    if (parts.length === 0) {
      return { parent: current, name: SELF, inode: current, slash, special: "/" };
    }
    for (let i = 0; i < parts.length; i++) {
      const name = parts[i]!;
      const last = i === parts.length - 1;
      if (!current.isDirectory) return -ENOTDIR;
      const allowed = mayAccess(this.#volume, this.#process, current, MAY_EXECUTE);
      if (allowed < 0) return allowed;
      const special = dots(name);
      if (special !== "") {
        if (special === "..") {
          const parent = this.#parentOf(current);
          if (typeof parent === "number") return parent;
          current = parent;
        }
        if (last) return { parent: current, name: SELF, inode: current, slash, special };
        continue;
      }
      // Longer names are for the daemon to refuse, up to what a request can carry.
      if (name.length >= PATH_MAX) return -ENAMETOOLONG;
      if (name.length > NAME_MAX) return -ENAMETOOLONG;
      const inode = this.#volume.child(current, name);
      if (typeof inode === "number") {
        if (inode !== -ENOENT || !last) return inode;
        return { parent: current, name, inode: null, slash, special: "" };
      }
      if (inode.isSymlink && (!last || follow || (slash && slashFollows))) {
        const target = this.#follow(current, inode, true);
        if (typeof target === "number") return target;
        if (last) return { ...target, slash: slash || target.slash };
        if (target.inode === null) return -ENOENT;
        current = target.inode;
        continue;
      }
      if (last) {
        if (slash && slashFollows && !inode.isDirectory) return -ENOTDIR;
        return { parent: current, name, inode, slash, special: "" };
      }
      current = inode;
    }
    return -ENOENT;
  }

  /** Where ".." leads: with shared versions another guest may have moved the directory, and then the daemon is asked. */
  #parentOf(directory: Inode): Inode | Status {
    const { client, entry, root, versions } = this.#volume;
    if (directory === root || versions === null) return directory.parent ?? root;
    const holds = versions.observe(directory);
    if (holds && directory.parent !== null) return directory.parent;
    const status = lookup(client, directory.nodeid, ABOVE, entry);
    if (status < 0) return status;
    if (entry.nodeid === 0) return -ENOENT;
    const parent = this.#volume.instantiate(entry);
    if (typeof parent !== "number" && versions.holds(directory)) directory.parent = parent;
    return parent;
  }

  #follow(directory: Inode, link: Inode, follow: boolean): Place | Status {
    if (++this.#links > SYMLINK_COUNT_MAX) return -ELOOP;
    const target = linkTarget(this.#volume, link);
    if (typeof target === "number") return target;
    return this.resolve(directory, target, follow);
  }
}

/**
 * Resolves a path that starts at `start` unless it is absolute. What is missing only at the end is a place without an inode. A symbolic
 * link at the end is followed if `follow` says so, or slashes come behind it (unless `slashFollows` is false: the calls that remove or
 * move names look at the slashes themselves).
 */
export function resolve(
  volume: Volume,
  process: Process,
  start: Inode,
  path: Uint8Array,
  follow: boolean,
  slashFollows = true,
): Place | Status {
  return new Walk(volume, process).resolve(start, path, follow, slashFollows);
}

/** A symbolic link's target, or a negative errno. */
export function linkTarget(volume: Volume, link: Inode): Uint8Array<ArrayBuffer> | Status {
  const { versions } = volume;
  if (link.linkTarget !== null && (versions === null || versions.holds(link))) {
    return link.linkTarget;
  }
  const isKept = versions === null
    ? hasFlag(volume.client.agreement.flags, FUSE_CACHE_SYMLINKS) && volume.options.cache !== "none"
    : versions.observe(link);
  const target = readlink(volume.client, link.nodeid);
  if (typeof target === "number") return target;
  if (isKept) link.linkTarget = target;
  return target;
}

function components(path: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < path.length;) {
    while (path[at] === SLASH) at++;
    let end = at;
    while (end < path.length && path[end] !== SLASH) end++;
    if (end > at) parts.push(path.subarray(at, end));
    at = end;
  }
  return parts;
}

function dots(name: Uint8Array): "" | "." | ".." {
  if (name[0] !== DOT || name.length > 2) return "";
  if (name.length === 1) return ".";
  return name[1] === DOT ? ".." : "";
}
