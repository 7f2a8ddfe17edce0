/**
 * The inodes that a guest knows, and which of them go when they are too many.
 *
 * @module
 */

import type { Inode } from "./inode.ts";

/** Inodes by nodeid, those that were looked at least recently first, about. */
export class KnownInodes {
  readonly #inodes = new Map<number, Inode>();

  get size(): number {
    return this.#inodes.size;
  }

  get(nodeid: number): Inode | undefined {
    return this.#inodes.get(nodeid);
  }

  /** All at this moment: the list may be kept while inodes come and go. */
  all(): Inode[] {
    return [...this.#inodes.values()];
  }

  add(inode: Inode): void {
    this.#inodes.set(inode.nodeid, inode);
  }

  delete(nodeid: number): void {
    this.#inodes.delete(nodeid);
  }

  clear(): void {
    this.#inodes.clear();
  }

  /** Lets inodes go that nobody holds, until a twentieth of the budget is free. `leave` says whether one could. */
  shrink(countMax: number, leave: (inode: Inode) => boolean): void {
    const goal = Math.floor(countMax * 0.95);
    for (const inode of this.#inodes.values()) {
      if (this.#inodes.size <= goal) return;
      if (inode.recent) {
        // Once more round: moving it at each use would cost as much as the rest of a look-up.
        inode.recent = false;
        this.#inodes.delete(inode.nodeid);
        this.#inodes.set(inode.nodeid, inode);
      } else if (inode.holds === 0 && !inode.stale && leave(inode)) {
        this.#inodes.delete(inode.nodeid);
      }
    }
  }
}
