/**
 * What the guest knows of one inode of the daemon: its attributes and how long they can be relied on, its names
 * if it is a directory, its data if it is a file.
 *
 * @module
 */

import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../../wire/linux.ts";
import { Attr } from "../client/replies.ts";
import type { Dentry } from "./dentry.ts";
import type { FileData } from "./file_data.ts";

/** One inode. Times are performance.now()'s milliseconds. */
export class Inode {
  readonly nodeid: number;
  /** fuse.h: fuse_entry_out: a nodeid with another generation is another file. */
  readonly generation: number;
  readonly attr: Attr = new Attr();
  /** References that the daemon counts: one for each reply that named the inode; FORGET gives them back. */
  lookups = 0;
  /** Reasons of our own to keep it: names in the dentry cache, open files, a call that is using it. */
  holds = 0;
  attrValidUntil = 0;
  /** A request of ours is why size or mtime will be found changed: cached data stays. */
  ownChange = false;
  /** Counts changes of the attributes made here: a reply to a question asked before one is too old. */
  attrVersion = 0;
  /** The names in the dentry cache that lead here. */
  readonly aliases = new Set<Dentry>();
  /** A directory's parent, as far as we know. */
  parent: Inode | null = null;
  /** A directory's known names, present and absent, by their bytes as a string of characters 0 to 255. */
  readonly children: Map<string, Dentry> | null;
  /** A regular file's cached data, made when it is first opened. */
  data: FileData | null = null;
  /** A symbolic link's target, once it has been read and may be kept (fuse.h: FUSE_CACHE_SYMLINKS). */
  linkTarget: Uint8Array<ArrayBuffer> | null = null;
  /** The daemon says that it is another file than the one we know: nothing more can be asked of it. */
  stale = false;

  constructor(nodeid: number, generation: number, mode: number) {
    this.nodeid = nodeid;
    this.generation = generation;
    this.attr.mode = mode;
    this.children = (mode & S_IFMT) === S_IFDIR ? new Map() : null;
  }

  /** The type bits of the mode. */
  get type(): number {
    return this.attr.mode & S_IFMT;
  }

  get isDirectory(): boolean {
    return this.type === S_IFDIR;
  }

  get isRegular(): boolean {
    return this.type === S_IFREG;
  }

  get isSymlink(): boolean {
    return this.type === S_IFLNK;
  }
}
