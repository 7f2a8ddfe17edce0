/**
 * The slots of the inodes of which the kernel has something cached: what is compared with the table every few milliseconds.
 *
 * @module
 */

import type { KnownNode } from "./known_nodes.ts";
import type { VersionSource } from "./version_numbers.ts";

const COUNT_MIN = 256;

/** Flat, so that looking at one inode costs the loads from the table and little more. */
export class WatchList {
  #nodes: KnownNode[] = [];
  #slots = new Uint32Array(COUNT_MIN);
  #versions = new Float64Array(COUNT_MIN);

  get count(): number {
    return this.#nodes.length;
  }

  /** Watches an inode, or holds it against another version from now on. */
  set(node: KnownNode): void {
    if (node.watchIndex < 0) {
      node.watchIndex = this.#nodes.length;
      this.#nodes.push(node);
      if (this.#nodes.length > this.#slots.length) this.#grow();
    }
    this.#slots[node.watchIndex] = node.slot;
    this.#versions[node.watchIndex] = node.version;
  }

  delete(node: KnownNode): void {
    const index = node.watchIndex;
    if (index < 0) return;
    node.watchIndex = -1;
    const last = this.#nodes.pop()!;
    if (last === node) return;
    this.#nodes[index] = last;
    last.watchIndex = index;
    this.#slots[index] = this.#slots[this.#nodes.length]!;
    this.#versions[index] = this.#versions[this.#nodes.length]!;
  }

  /** Looks at no more than `limit` inodes, downwards from `from`, and puts those that moved into `moved`. Returns where to go on. */
  scan(source: VersionSource, from: number, limit: number, moved: KnownNode[]): number {
    const start = Math.min(from, this.#nodes.length);
    const end = Math.max(0, start - limit);
    for (let i = start - 1; i >= end; i--) {
      if (source.version(this.#slots[i]!) !== this.#versions[i]!) moved.push(this.#nodes[i]!);
    }
    return end;
  }

  #grow(): void {
    const slots = new Uint32Array(this.#slots.length * 2);
    const versions = new Float64Array(slots.length);
    slots.set(this.#slots);
    versions.set(this.#versions);
    this.#slots = slots;
    this.#versions = versions;
  }
}
