/**
 * One file's data as the guest has it: cached blocks, reading and writing through them, write-back.
 *
 * With FUSE_WRITEBACK_CACHE written pages stay here until they are flushed, and the guest owns size and mtime of the file meanwhile.
 * Without it each write goes to the daemon at once, and cached pages follow.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import { ENODEV, type Status } from "../../sys/errno.ts";
import {
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  FUSE_ATTR_DAX,
  FUSE_WRITEBACK_CACHE,
} from "../../wire/fuse.ts";
import { O_ACCMODE, O_RDONLY, O_RDWR } from "../../wire/linux.ts";
import { hasFlag } from "../client/agreement.ts";
import type { DaxView } from "../dax/dax_view.ts";
import type { DaxWindow } from "../dax/dax_window.ts";
import { DaxData, type DaxInode } from "./dax_data.ts";
import { readDirect, writeDirect } from "./direct_io.ts";
import { type DataFile, FileBlocks, pageMask } from "./file_blocks.ts";
import {
  ALL_PAGES,
  type Block,
  type BlockOwner,
  FRAME_SIZE,
  PAGE_SIZE,
  type PageCache,
  PAGES_PER_FRAME,
} from "./page_cache.ts";
import type { Page } from "./page.ts";
import { PageReader } from "./page_reader.ts";
import { WriteBack } from "./write_back.ts";

/** The data of one regular file. */
export class FileData implements BlockOwner {
  readonly #cache: PageCache;
  readonly #inode: DaxInode;
  readonly #blocks: FileBlocks;
  readonly #reader: PageReader;
  readonly #writer: WriteBack;
  readonly #writeback: boolean;
  #dax: DaxData | null = null;

  constructor(cache: PageCache, inode: DaxInode) {
    this.#cache = cache;
    this.#inode = inode;
    this.#writeback = hasFlag(cache.client.agreement.flags, FUSE_WRITEBACK_CACHE);
    this.#blocks = new FileBlocks(cache, inode, this);
    this.#reader = new PageReader(this.#blocks, this.#writeback);
    this.#writer = new WriteBack(this.#blocks);
  }

  /** Whether something is here that the daemon does not have. */
  get dirty(): boolean {
    return this.#writer.timesDirty || this.#blocks.dirty;
  }

  /** Whether the guest knows the file's size better than the daemon. The times alone do not say so if the file is mapped. */
  get ownsSize(): boolean {
    return this.isMapped ? this.#blocks.dirty : this.dirty;
  }

  /** Whether the data is reached through the DAX window. */
  get isMapped(): boolean {
    return this.#dax !== null && this.#dax.active;
  }

  /** Whether written data is kept back. */
  get keepsBack(): boolean {
    return this.#writeback && !this.isMapped;
  }

  /** After OPEN or CREATE. */
  opened(file: DataFile): void {
    if ((file.flags & O_ACCMODE) !== O_RDONLY) this.#writer.writers.push(file);
    if ((file.openFlags & FOPEN_KEEP_CACHE) === 0) {
      if (this.dirty) this.writeBack();
      this.#blocks.dropClean();
    }
    if (this.#mayMap && !this.isMapped) this.#startMapping(this.#inode.dax.window!);
  }

  /** After the daemon has told the attributes: a file that is not to be mapped any more leaves the window (it enters at open(2)). */
  attributesSet(): void {
    if (!this.isMapped || this.#mayMap) return;
    if (this.#writer.timesDirty) this.#writer.sendTimes();
    this.#dax!.leave();
  }

  /** Before RELEASE. What was written through the file can be sent through it for the last time. */
  released(file: DataFile): void {
    const at = this.#writer.writers.indexOf(file);
    if (at < 0) return;
    if (this.#writer.writers.length === 1) this.writeBack();
    this.#writer.writers.splice(at, 1);
  }

  /** The same as {@linkcode FileData.read}, from the daemon, whatever is here. */
  readPast(file: DataFile, offset: number, into: Uint8Array): number {
    const status = this.writeBack();
    if (status < 0) return status;
    return readDirect(this.#cache, this.#inode.nodeid, file.handle, offset, into);
  }

  /** Reads up to `into.length` bytes at `offset`: the count, 0 at the end of the file, or a negative errno. */
  read(file: DataFile, offset: number, into: Uint8Array, direct = false): number {
    // Linux: fuse_file_read_iter(): neither O_DIRECT nor FOPEN_DIRECT_IO has a say then.
    if (this.isMapped) return this.#dax!.read(file, offset, into);
    if (direct || (file.openFlags & FOPEN_DIRECT_IO) !== 0) {
      return this.readPast(file, offset, into);
    }
    const { bytes } = this.#cache;
    let done = 0;
    while (done < into.length) {
      const at = offset + done;
      const left = Math.min(into.length - done, this.#inode.attr.size - at);
      if (left <= 0) break;
      const block = this.#reader.readable(file, at, left);
      if (typeof block === "number") return done > 0 ? done : block;
      // The size may have turned out smaller than it was known to be.
      const size = this.#contiguous(block, at, Math.min(left, this.#inode.attr.size - at));
      if (size <= 0) break;
      const from = block.frame + at - block.index * FRAME_SIZE;
      into.set(bytes.u8.subarray(from, from + size), done);
      done += size;
    }
    const wasSequential = file.readAheadFrom === offset;
    file.readAheadFrom = offset + done;
    if (wasSequential && this.#inode.attr.size > this.#cache.frameCount * FRAME_SIZE) {
      this.#dropBehind(offset, offset + done);
    }
    return done;
  }

  /** Writes all of `from` at `offset`: the count (less if something failed on the way), or a negative errno. */
  write(file: DataFile, offset: number, from: Uint8Array, direct = false): number {
    // Linux: fuse_dax_write_iter(): what starts or ends behind the end of the file goes as WRITE.
    const isStored = this.isMapped && this.#inode.dax.isStoredTo;
    const count = isStored && offset + from.length <= this.#inode.attr.size
      ? this.#dax!.write(file, offset, from)
      : this.isMapped || !this.#writeback || direct || (file.openFlags & FOPEN_DIRECT_IO) !== 0
      ? this.#writeThrough(file, offset, from)
      : this.#writeBehind(file, offset, from);
    const { attr } = this.#inode;
    if (count > 0) {
      this.#inode.attrVersion++;
      if (offset + count > attr.size) attr.size = offset + count;
    }
    return count;
  }

  /** A page of the file in memory, kept until {@linkcode FileData.unpin}; or a negative errno. */
  page(file: DataFile, index: number): Page | Status {
    const at = index * PAGE_SIZE;
    if (this.isMapped) {
      const page = this.#dax!.page(index, (file.flags & O_ACCMODE) === O_RDWR);
      if (typeof page === "number") return page;
      return { bytes: this.#dax!.bytes, offset: page.offset, kept: page };
    }
    const block = this.#reader.readable(file, at, PAGE_SIZE);
    if (typeof block === "number") return block;
    file.readAheadFrom = at + PAGE_SIZE;
    block.pins++;
    const pageInBlock = index % PAGES_PER_FRAME;
    const frame = block.frame + pageInBlock * PAGE_SIZE;
    return { bytes: this.#cache.bytes.u8, offset: frame, kept: { block, bit: 1 << pageInBlock } };
  }

  /** Says that a pinned page was written to. */
  markDirty(page: Page): void {
    if ("block" in page.kept) this.#cache.addDirty(page.kept.block, page.kept.bit);
    this.#writer.touchTimes();
  }

  /** Ends the use of a page. */
  unpin(page: Page): void {
    if (!("block" in page.kept)) return this.#dax!.unpin(page.kept);
    assert(page.kept.block.pins > 0, "a page is unpinned once");
    page.kept.block.pins--;
  }

  /** A view of the file in the DAX window. */
  view(offset: number, length: number, writable: boolean): DaxView | Status {
    return this.isMapped ? this.#dax!.view(offset, length, writable) : -ENODEV;
  }

  /** Sends everything that the daemon does not have, waits, and returns the first error since the last report. */
  flush(): Status {
    this.writeBack();
    return this.#writer.takeError();
  }

  /** The same without taking the error: it is kept for the next {@linkcode FileData.flush}. */
  writeBack(): Status {
    this.#writer.sendDirty();
    for (const block of this.#blocks.all()) {
      while (block.writing > 0) this.#cache.progress();
    }
    if (this.#writer.timesDirty) this.#writer.sendTimes();
    return this.#writer.error;
  }

  /** After the daemon has changed the size: what lies beyond is no data any more. */
  truncated(size: number): void {
    this.#dax?.truncated(size);
    for (const block of this.#blocks.all()) {
      this.#blocks.settle(block);
      const inBlock = size - block.index * FRAME_SIZE;
      if (inBlock >= FRAME_SIZE) continue;
      if (inBlock <= 0) {
        this.#cache.removeDirty(block, ALL_PAGES);
        this.#blocks.invalidatePages(block, ALL_PAGES);
        continue;
      }
      const firstGone = Math.ceil(inBlock / PAGE_SIZE);
      const gone = (ALL_PAGES << firstGone) & ALL_PAGES;
      this.#cache.removeDirty(block, gone);
      const tail = block.frame + firstGone * PAGE_SIZE;
      this.#cache.bytes.u8.fill(0, block.frame + inBlock, tail);
      this.#blocks.invalidatePages(block, gone);
    }
  }

  /** After the daemon has changed the bytes of a range itself (holes, copies): they are to be asked for again. */
  punched(offset: number, length: number): void {
    const first = Math.floor(offset / PAGE_SIZE);
    const last = Math.ceil((offset + length) / PAGE_SIZE) - 1;
    for (const block of this.#blocks.all()) {
      this.#blocks.settle(block);
      this.#blocks.invalidatePages(block, pageMask(block.index, first, last) & ~block.dirty);
    }
  }

  /** Somebody else has changed the file: what was written here is sent, and the rest is not to be believed. */
  changedOutside(): void {
    if (this.#blocks.dirty) this.writeBack();
    this.#blocks.dropClean();
  }

  /** Writes everything back and forgets it. */
  invalidate(): Status {
    const status = this.flush();
    this.#blocks.dropClean();
    this.#dax?.forget();
    return status;
  }

  /** Somebody has set the times at the daemon: what we had to tell is out of date. */
  timesSet(): void {
    this.#writer.timesDirty = false;
  }

  /** Called by the page cache: gives an idle block's frame back. */
  forget(block: Block): void {
    this.#blocks.forget(block);
  }

  /** Whether the file is to be mapped, by the session's mode and what the daemon says of it. */
  get #mayMap(): boolean {
    const { window, always } = this.#inode.dax;
    return window !== null && (always || (this.#inode.attr.flags & FUSE_ATTR_DAX) !== 0);
  }

  /** What the page cache has of the file would not follow what is written through the window: it goes first. */
  #startMapping(window: DaxWindow): void {
    if (this.writeBack() < 0) return;
    this.#blocks.dropClean();
    if (this.#blocks.all().length > 0) return;
    this.#dax ??= new DaxData(window, this.#cache, this.#inode, () => this.#writer.touchMapped());
    this.#dax.active = true;
  }

  /**
   * A file that is read from end to end and finds no room in the cache would only push out everything else. Its frames are used
   * again at once, while they are in the processor's caches: 2.5 times as fast as going through all frames in turn.
   */
  #dropBehind(from: number, to: number): void {
    // Backwards: the free list is a stack, and the frames are to come back in their order.
    for (let i = Math.floor(to / FRAME_SIZE) - 1; i >= Math.floor(from / FRAME_SIZE); i--) {
      const block = this.#blocks.get(i);
      if (block !== undefined && block.idle) this.forget(block);
    }
  }

  /**
   * How many of `size` bytes at `offset` lie in valid pages and in one piece of memory, over as many blocks as that is so: one copy of
   * 1 MiB is twice as fast as 16 of 64 KiB (17 and 8 GB/s), and blocks that were read in sequence have their frames in sequence.
   */
  #contiguous(first: Block, offset: number, size: number): number {
    const end = offset + size;
    let at = offset;
    for (let block = first; at < end;) {
      const blockEnd = (block.index + 1) * FRAME_SIZE;
      at = this.#validEnd(block, at, Math.min(end, blockEnd));
      if (at < blockEnd) break;
      const next = this.#blocks.get(block.index + 1);
      if (next === undefined || next.frame !== block.frame + FRAME_SIZE) break;
      if (next.valid === 0 || at === end) break;
      this.#cache.touch(next);
      block = next;
    }
    return Math.min(at, end) - offset;
  }

  /** Where, from `at` on and up to `end`, valid pages of a block end. */
  #validEnd(block: Block, at: number, end: number): number {
    if (block.valid === ALL_PAGES) return end;
    let page = Math.floor(at / PAGE_SIZE);
    while (
      page * PAGE_SIZE < end && (block.valid & (1 << (page % PAGES_PER_FRAME))) !== 0
    ) page++;
    return Math.min(page * PAGE_SIZE, end);
  }

  #writeThrough(file: DataFile, offset: number, from: Uint8Array): number {
    if (this.dirty) {
      const status = this.writeBack();
      if (status < 0) return status;
    }
    const count = writeDirect(this.#cache, this.#inode, file.handle, offset, from);
    if (count <= 0) return count;
    const isCached = (file.openFlags & FOPEN_DIRECT_IO) === 0;
    const firstBlock = Math.floor(offset / FRAME_SIZE);
    const lastBlock = Math.floor((offset + count - 1) / FRAME_SIZE);
    for (let index = firstBlock; index <= lastBlock; index++) {
      const block = this.#blocks.get(index);
      if (block === undefined) continue;
      // A READ that was sent before the write may bring what was there before.
      this.#blocks.settle(block);
      const start = Math.max(offset, index * FRAME_SIZE);
      const end = Math.min(offset + count, (index + 1) * FRAME_SIZE);
      if (isCached) {
        const at = block.frame + start - index * FRAME_SIZE;
        this.#cache.bytes.u8.set(from.subarray(start - offset, end - offset), at);
      } else {
        const first = Math.floor(start / PAGE_SIZE);
        this.#blocks.invalidatePages(block, pageMask(index, first, Math.ceil(end / PAGE_SIZE) - 1));
      }
    }
    return count;
  }

  #writeBehind(file: DataFile, offset: number, from: Uint8Array): number {
    let done = 0;
    while (done < from.length) {
      const at = offset + done;
      const index = Math.floor(at / FRAME_SIZE);
      const inBlock = at - index * FRAME_SIZE;
      const size = Math.min(from.length - done, FRAME_SIZE - inBlock);
      const block = this.#writable(file, index, inBlock, size);
      if (typeof block === "number") return done > 0 ? done : block;
      this.#cache.bytes.u8.set(from.subarray(done, done + size), block.frame + inBlock);
      const first = Math.floor(at / PAGE_SIZE);
      const last = Math.ceil((at + size) / PAGE_SIZE) - 1;
      const pages = pageMask(index, first, last);
      block.valid |= pages;
      this.#cache.addDirty(block, pages);
      done += size;
      if (at + size > this.#inode.attr.size) this.#inode.attr.size = at + size;
    }
    this.#writer.touchTimes();
    if (this.#cache.isDirtyEnough) this.#writer.sendDirty();
    return done;
  }

  /** A block whose pages at `inBlock` can be written in part: those that keep some of their bytes are valid. */
  #writable(file: DataFile, index: number, inBlock: number, size: number): Block | Status {
    const block = this.#blocks.at(index);
    if (typeof block === "number") return block;
    const base = index * FRAME_SIZE;
    for (const edge of [inBlock, inBlock + size]) {
      if (edge % PAGE_SIZE === 0) continue;
      const pageInBlock = Math.floor(edge / PAGE_SIZE);
      if ((block.valid & (1 << pageInBlock)) !== 0) continue;
      const pageStart = base + pageInBlock * PAGE_SIZE;
      if (pageStart >= this.#inode.attr.size && (block.filling & (1 << pageInBlock)) === 0) {
        const at = block.frame + pageInBlock * PAGE_SIZE;
        this.#cache.bytes.u8.fill(0, at, at + PAGE_SIZE);
        continue;
      }
      // The handle may be write-only: with write-back the daemon has opened it for reading, too.
      const filled = this.#reader.readable(file, pageStart, PAGE_SIZE);
      if (typeof filled === "number") return filled;
    }
    block.pins++;
    this.#blocks.settle(block);
    block.pins--;
    // Reading an edge may have evicted the block that was there, and made another.
    const present = this.#blocks.get(index);
    if (present !== block) return this.#writable(file, index, inBlock, size);
    this.#cache.touch(block);
    return block;
  }
}
