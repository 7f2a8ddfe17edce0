/**
 * The blocks of one file that are in the page cache.
 *
 * @module
 */

import type { Status } from "../../sys/errno.ts";
import type { Handle } from "../client/files.ts";
import type { Attr, AttrReply } from "../client/replies.ts";
import {
  ALL_PAGES,
  type Block,
  type BlockOwner,
  type PageCache,
  PAGES_PER_FRAME,
} from "./page_cache.ts";

/** What the data side knows of an inode. */
export interface DataInode {
  readonly nodeid: number;
  readonly attr: Attr;
  /** Counts changes of the attributes made here. */
  attrVersion: number;
  /** A request that changes the file is about to be sent. */
  changing(): void;
  /** It has come back; `reply` is what SETATTR says of the attributes. */
  changed(succeeded: boolean, reply: AttrReply | null): void;
}

/** What the data side knows of an open file. */
export interface DataFile {
  readonly handle: Handle;
  /** O_* */
  readonly flags: number;
  /** FOPEN_* */
  readonly openFlags: number;
  /** Where sequential reading would go on. */
  readAheadFrom: number;
}

/** The blocks of one file by index. */
export class FileBlocks {
  readonly cache: PageCache;
  readonly inode: DataInode;
  readonly #owner: BlockOwner;
  readonly #blocks = new Map<number, Block>();

  constructor(cache: PageCache, inode: DataInode, owner: BlockOwner) {
    this.cache = cache;
    this.inode = inode;
    this.#owner = owner;
  }

  /** The block at an index, if it is here. */
  get(index: number): Block | undefined {
    return this.#blocks.get(index);
  }

  /** All blocks at this moment: the list may be kept while blocks come and go. */
  all(): Block[] {
    return [...this.#blocks.values()];
  }

  /** Whether a page waits to be written, or is being written. */
  get dirty(): boolean {
    for (const block of this.#blocks.values()) {
      if (block.dirty !== 0 || block.writing !== 0) return true;
    }
    return false;
  }

  /** The block at an index, made if need be; or a negative errno. */
  at(index: number): Block | Status {
    const known = this.#blocks.get(index);
    if (known !== undefined) return known;
    const block = this.cache.makeBlock(this.#owner, index);
    if (typeof block !== "number") this.#blocks.set(index, block);
    return block;
  }

  /** Gives an idle block's frame back. */
  forget(block: Block): void {
    this.#blocks.delete(block.index);
    this.cache.dropBlock(block);
  }

  /** Waits until no request uses the block's frame. */
  settle(block: Block): void {
    while (block.filling !== 0 || block.writing > 0) this.cache.progress();
  }

  /** Forgets everything that is not dirty. */
  dropClean(): void {
    for (const block of [...this.#blocks.values()]) {
      this.settle(block);
      this.invalidatePages(block, ALL_PAGES & ~block.dirty);
    }
  }

  /** Forgets pages; a block without any gives its frame back, unless somebody holds a page. */
  invalidatePages(block: Block, pages: number): void {
    if (block.pins > 0) return;
    block.valid &= ~pages;
    if (block.valid === 0 && block.idle) this.forget(block);
  }
}

/** The bits of block `index` for file pages `first` to `last`. */
export function pageMask(index: number, first: number, last: number): number {
  const base = index * PAGES_PER_FRAME;
  const from = Math.max(0, first - base);
  const to = Math.min(PAGES_PER_FRAME - 1, last - base);
  if (from > to) return 0;
  return ((1 << (to + 1)) - 1) & ~((1 << from) - 1);
}
