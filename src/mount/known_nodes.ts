/**
 * The inodes that the kernel holds, and the names in each directory that it was told of.
 *
 * @module
 */

import { FUSE_ROOT_ID } from "../wire/fuse.ts";
import { NO_VERSION } from "./version_numbers.ts";

/** Names that are remembered of one directory. Beyond that they are all taken back from the kernel, and it asks again. */
export const NAME_COUNT_MAX = 65536;

/** A name that the kernel was told of. */
export interface KnownName {
  /** What it leads to; 0: there is no such name. */
  nodeid: number;
  /** When that was said, in milliseconds. */
  toldAt: number;
}

/** One inode that the kernel holds. */
export class KnownNode {
  readonly nodeid: number;
  /** Its slot in the table, or 0. */
  slot: number;
  /** How many times the kernel was told of it, without those that it has forgotten. */
  lookups = 0;
  /** Nothing that the kernel has of the inode is older. */
  version = NO_VERSION;
  /** When the kernel was last told anything, in milliseconds. */
  toldAt = 0;
  /** Its place among those that are watched; -1: the kernel has nothing of it. */
  watchIndex = -1;
  /** By name, one character per byte; null until there is one. */
  names: Map<string, KnownName> | null = null;
  /** A name that leads here, so that it goes with the inode: its directory and the name. */
  parent: KnownNode | null = null;
  name = "";

  /** Requests of this mount that change it and have not been answered. */
  ownChanges = 0;
  /** Since when there has been one at any time. */
  ownSince = 0;
  /** What the slot stands at after the own changes that were answered since then, if nobody else changed anything. */
  expected = NO_VERSION;

  constructor(nodeid: number, slot: number) {
    this.nodeid = nodeid;
    this.slot = slot;
  }

  tellName(name: string, child: KnownNode | null, now: number): void {
    // Without a version the kernel does not keep names.
    if (this.slot === 0) return;
    this.names ??= new Map();
    const nodeid = child?.nodeid ?? 0;
    const known = this.names.get(name);
    if (known === undefined) this.names.set(name, { nodeid, toldAt: now });
    else {
      known.nodeid = nodeid;
      known.toldAt = now;
    }
    if (child === null) return;
    child.parent = this;
    child.name = name;
  }
}

/** All of them, by nodeid. */
export class KnownNodes {
  readonly #nodes = new Map<number, KnownNode>();

  get size(): number {
    return this.#nodes.size;
  }

  get(nodeid: number): KnownNode | null {
    return this.#nodes.get(nodeid) ?? null;
  }

  /** The inode, which the kernel is about to be told of once more. */
  tell(nodeid: number, slot: number): KnownNode {
    let node = this.#nodes.get(nodeid);
    if (node === undefined) {
      node = new KnownNode(nodeid, slot);
      this.#nodes.set(nodeid, node);
    }
    node.lookups++;
    return node;
  }

  /** The kernel forgets `count` times that it was told. Returns the inode if it has none left and is not known any more. */
  forget(nodeid: number, count: number): KnownNode | null {
    const node = this.#nodes.get(nodeid);
    if (node === undefined || nodeid === FUSE_ROOT_ID) return null;
    node.lookups -= count;
    if (node.lookups > 0) return null;
    this.#nodes.delete(nodeid);
    const names = node.parent?.names;
    if (names?.get(node.name)?.nodeid === nodeid) names.delete(node.name);
    node.parent = null;
    return node;
  }
}
