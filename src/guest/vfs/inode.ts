/**
 * What the guest knows of one inode of the daemon: its attributes and how long they can be relied on, its names
 * if it is a directory, its data if it is a file.
 *
 * @module
 */

import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../../wire/linux.ts";
import { Attr } from "../client/replies.ts";
import type { DirectoryEntry } from "./directory_entry.ts";
import type { FileData } from "./file_data.ts";
import { InodeVersion } from "./inode_version.ts";

/** A name in the dentry cache: what LOOKUP said of it and for how long that holds. */
export interface Dentry {
  readonly parent: Inode;
  readonly name: Uint8Array;
  readonly key: string;
  /** The inode, or null: the name is known not to exist. */
  inode: Inode | null;
  /** performance.now()'s milliseconds. */
  validUntil: number;
  /** Cache mode "shared": the parent's {@linkcode Inode.namesEpoch} that it belongs to; -1: it was good for one answer. */
  readonly epoch: number;
}

/** A name as a key: its bytes as characters 0 to 255, since names need not be UTF-8. */
export function nameKey(name: Uint8Array): string {
  // Names have at most 255 bytes, far below the number of arguments that a call can take.
  return String.fromCharCode(...name);
}

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
  /** In cache mode "shared" this is 0 or Infinity, and the version says whether it holds. */
  attrValidUntil = 0;
  /** Under which version everything here is known (cache mode "shared"). */
  readonly version: InodeVersion = new InodeVersion();
  /** Moves on when all names in a directory are to be asked for again. */
  namesEpoch = 0;
  /** All names in a directory in the daemon's order, if they are known to be all. */
  listing: readonly DirectoryEntry[] | null = null;
  /** Moves on when a listing that is being read is not complete any more. */
  listingSerial = 0;
  /** Looked at since the budget was last seen to. */
  recent = false;
  /** A request of ours is why size or mtime will be found changed: cached data stays. */
  ownChange = false;
  /** Counts changes of the attributes made here: a reply to a question asked before one is too old. */
  attrVersion = 0;
  /** The names in the dentry cache that lead here. */
  readonly aliases: Set<Dentry> = new Set();
  /** A directory's parent, as far as we know. */
  parent: Inode | null = null;
  /** A directory's known names, present and absent, by their bytes as a string of characters 0 to 255. */
  readonly children: Map<string, Dentry> | null;
  /** A regular file's cached data, made when it is first opened. */
  data: FileData | null = null;
  /** A symbolic link's target, once it has been read and may be kept (fuse.h: FUSE_CACHE_SYMLINKS, or a version). */
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

  /** Cache mode "shared": somebody else has changed it. What was written here is sent before what they wrote is looked at. */
  forgetContents(): void {
    this.attrValidUntil = 0;
    this.namesEpoch++;
    this.listing = null;
    this.listingSerial++;
    this.linkTarget = null;
    // The root is its own.
    if (this.parent !== this) this.parent = null;
    this.data?.changedOutside();
  }

  /** Whether a directory has no names left that lead somewhere, once those are forgotten that do not. */
  forgetAbsentNames(): boolean {
    for (const dentry of this.children!.values()) if (dentry.inode !== null) return false;
    this.children!.clear();
    return true;
  }
}
