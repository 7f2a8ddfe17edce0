/**
 * One file's data as the guest has it: cached blocks, reading and writing through them, write-back.
 *
 * With FUSE_WRITEBACK_CACHE written pages stay here until they are flushed, and the guest owns size and mtime of the file meanwhile.
 * Without it each write goes to the daemon at once, and cached pages follow.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import type { Status } from "../../sys/errno.ts";
import { EBADF, EIO } from "../../sys/errno.ts";
import {
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  FUSE_WRITE_CACHE,
  FUSE_WRITEBACK_CACHE,
  WRITE_OUT,
} from "../../wire/fuse.ts";
import { O_ACCMODE, O_RDONLY } from "../../wire/linux.ts";
import { setattr } from "../client/attributes.ts";
import { beginRead, beginWrite, written } from "../client/files.ts";
import type { FuseRequest } from "../client/fuse_request.ts";
import { hasFlag } from "../client/handshake.ts";
import { AttrReply } from "../client/replies.ts";
import { readDirect, writeDirect } from "./direct_io.ts";
import type { Inode } from "./inode.ts";
import type { OpenFile } from "./open_file.ts";
import {
  ALL_PAGES,
  type Block,
  FRAME_SIZE,
  PAGE_SIZE,
  type PageCache,
  PAGES_PER_FRAME,
} from "./page_cache.ts";

/** Read-ahead: how far beyond what was asked for, and how much in one request. */
const READ_AHEAD_SIZE = 4 * 1024 * 1024;
const READ_PIECE_SIZE = 1024 * 1024;
/** Pieces of one request beside headers: blocks of a piece that is not aligned to them. */
const BLOCKS_PER_REQUEST_MAX = 32;

const attrReply = new AttrReply();

/** A page of a file in memory: what a page fault of a mapping gives. */
export interface Page {
  /** Where it is in the guest's memory. */
  readonly offset: number;
  readonly block: Block;
  /** Its bit in the block's masks. */
  readonly bit: number;
}

/** The data of one regular file. */
export class FileData {
  readonly #cache: PageCache;
  readonly #inode: Inode;
  readonly #blocks = new Map<number, Block>();
  /** Open files that data can be written through. */
  readonly #writers: OpenFile[] = [];
  readonly #writeback: boolean;
  /** The first failure of a write-back that nobody has been told of yet. */
  #error: Status = 0;
  /** Whether mtime has moved on here and the daemon has not been told. */
  #timesDirty = false;

  constructor(cache: PageCache, inode: Inode) {
    this.#cache = cache;
    this.#inode = inode;
    this.#writeback = hasFlag(cache.client.agreement.flags, FUSE_WRITEBACK_CACHE);
  }

  /** Whether something is here that the daemon does not have. */
  get dirty(): boolean {
    if (this.#timesDirty) return true;
    for (const block of this.#blocks.values()) {
      if (block.dirty !== 0 || block.writing !== 0) return true;
    }
    return false;
  }

  /** After OPEN or CREATE. */
  opened(file: OpenFile): void {
    if ((file.flags & O_ACCMODE) !== O_RDONLY) this.#writers.push(file);
    if ((file.openFlags & FOPEN_KEEP_CACHE) === 0) {
      if (this.dirty) this.writeBack();
      this.#dropClean();
    }
  }

  /** Before RELEASE. What was written through the file can be sent through it for the last time. */
  released(file: OpenFile): void {
    const at = this.#writers.indexOf(file);
    if (at < 0) return;
    if (this.#writers.length === 1) this.writeBack();
    this.#writers.splice(at, 1);
  }

  /** Reads up to `into.length` bytes at `offset`: the count, 0 at the end of the file, or a negative errno. */
  read(file: OpenFile, offset: number, into: Uint8Array, direct = false): number {
    if (direct || (file.openFlags & FOPEN_DIRECT_IO) !== 0) {
      const status = this.writeBack();
      if (status < 0) return status;
      return readDirect(this.#cache, this.#inode.nodeid, file.handle, offset, into);
    }
    const { bytes } = this.#cache;
    let done = 0;
    while (done < into.length) {
      const at = offset + done;
      const left = Math.min(into.length - done, this.#inode.attr.size - at);
      if (left <= 0) break;
      const block = this.#readable(file, at, left);
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
  write(file: OpenFile, offset: number, from: Uint8Array, direct = false): number {
    const count = !this.#writeback || direct || (file.openFlags & FOPEN_DIRECT_IO) !== 0
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
  page(file: OpenFile, index: number): Page | Status {
    const at = index * PAGE_SIZE;
    const block = this.#readable(file, at, PAGE_SIZE);
    if (typeof block === "number") return block;
    file.readAheadFrom = at + PAGE_SIZE;
    block.pins++;
    const pageInBlock = index % PAGES_PER_FRAME;
    return { offset: block.frame + pageInBlock * PAGE_SIZE, block, bit: 1 << pageInBlock };
  }

  /** Says that a pinned page was written to. */
  markDirty(page: Page): void {
    this.#cache.addDirty(page.block, page.bit);
    this.#touchTimes();
  }

  /** Ends the use of a page. */
  unpin(page: Page): void {
    assert(page.block.pins > 0, "a page is unpinned once");
    page.block.pins--;
  }

  /** Sends everything that the daemon does not have, waits, and returns the first error since the last report. */
  flush(): Status {
    this.writeBack();
    const error = this.#error;
    this.#error = 0;
    return error;
  }

  /** The same without taking the error: it is kept for the next {@linkcode FileData.flush}. */
  writeBack(): Status {
    this.#sendDirty();
    for (const block of this.#blocks.values()) {
      while (block.writing > 0) this.#cache.progress();
    }
    if (this.#timesDirty) this.#sendTimes();
    return this.#error;
  }

  /** After the daemon has changed the size: what lies beyond is no data any more. */
  truncated(size: number): void {
    for (const block of [...this.#blocks.values()]) {
      this.#settle(block);
      const inBlock = size - block.index * FRAME_SIZE;
      if (inBlock >= FRAME_SIZE) continue;
      if (inBlock <= 0) {
        this.#cache.removeDirty(block, ALL_PAGES);
        this.#invalidatePages(block, ALL_PAGES);
        continue;
      }
      const firstGone = Math.ceil(inBlock / PAGE_SIZE);
      const gone = (ALL_PAGES << firstGone) & ALL_PAGES;
      this.#cache.removeDirty(block, gone);
      const tail = block.frame + firstGone * PAGE_SIZE;
      this.#cache.bytes.u8.fill(0, block.frame + inBlock, tail);
      this.#invalidatePages(block, gone);
    }
  }

  /** After the daemon has changed the bytes of a range itself (holes, copies): they are to be asked for again. */
  punched(offset: number, length: number): void {
    const first = Math.floor(offset / PAGE_SIZE);
    const last = Math.ceil((offset + length) / PAGE_SIZE) - 1;
    for (const block of [...this.#blocks.values()]) {
      this.#settle(block);
      this.#invalidatePages(block, pageMask(block.index, first, last) & ~block.dirty);
    }
  }

  /** Somebody else has changed the file: what is here and clean is not to be believed. */
  changedOutside(): void {
    this.#dropClean();
  }

  /** Writes everything back and forgets it. */
  invalidate(): Status {
    const status = this.flush();
    this.#dropClean();
    return status;
  }

  /** Called by the page cache: gives an idle block's frame back. */
  forget(block: Block): void {
    this.#blocks.delete(block.index);
    this.#cache.dropBlock(block);
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

  /** The block that holds `offset`, its page valid; `wanted` bytes are going to be read from there. */
  #readable(file: OpenFile, offset: number, wanted: number): Block | Status {
    const index = Math.floor(offset / FRAME_SIZE);
    const bit = 1 << Math.floor((offset % FRAME_SIZE) / PAGE_SIZE);
    const sequential = offset === file.readAheadFrom || offset % FRAME_SIZE === 0 && offset > 0 &&
        file.readAheadFrom + FRAME_SIZE >= offset && file.readAheadFrom <= offset;
    let block = this.#blocks.get(index);
    if (block === undefined || (block.valid & bit) === 0 || sequential) {
      const status = this.#readAhead(file, offset, wanted, sequential);
      if (status < 0) return status;
      block = this.#blocks.get(index);
    }
    for (let asked = 0;;) {
      if (block !== undefined && (block.valid & bit) !== 0) {
        this.#cache.touch(block);
        return block;
      }
      if (block !== undefined && (block.filling & bit) !== 0) {
        this.#cache.progress();
      } else {
        // Evicted meanwhile, or the read has failed: once more, alone, to learn why.
        if (asked++ > 2 && this.#readError < 0) return this.#readError;
        this.#readError = 0;
        const page = Math.floor(offset / PAGE_SIZE);
        const status = this.#fill(file, page, page);
        if (status < 0) return status;
      }
      block = this.#blocks.get(index);
    }
  }

  /** Why a page did not come. */
  #readError: Status = 0;

  /** Asks for the pages of what is wanted, and where reading is sequential for what will be. */
  #readAhead(file: OpenFile, offset: number, wanted: number, sequential: boolean): Status {
    const { size } = this.#inode.attr;
    const ahead = sequential ? READ_AHEAD_SIZE : 0;
    const end = Math.min(offset + wanted + ahead, size);
    const needed = Math.min(offset + wanted, size);
    let first = Math.floor(offset / PAGE_SIZE);
    const last = Math.ceil(end / PAGE_SIZE) - 1;
    // No more than an eighth of the cache at a time, so that what was asked for is not evicted by what was not.
    const pagesMax = Math.max(
      Math.ceil(needed / PAGE_SIZE) - first,
      Math.floor(this.#cache.frameCount / 8) * PAGES_PER_FRAME,
    );
    const bound = Math.min(last, first + pagesMax - 1);
    const pieceMax = Math.min(
      READ_PIECE_SIZE,
      this.#cache.client.agreement.readSizeMax,
    ) / PAGE_SIZE;
    while (first <= bound) {
      const here = this.#pagesHere(first);
      if (here > 0) {
        first += here;
        continue;
      }
      // A sequential reader does not ask for every page that it comes closer: whole pieces only, beyond what it needs.
      const until = Math.min(this.#missingUntil(first, pieceMax), bound);
      const isWhole = until - first + 1 >= pieceMax || until === Math.ceil(size / PAGE_SIZE) - 1;
      if (first * PAGE_SIZE >= needed && !isWhole) break;
      const status = this.#fill(file, first, until);
      if (status < 0) return first * PAGE_SIZE < needed ? status : 0;
      first = until + 1;
    }
    this.#cache.client.driver.publish();
    return 0;
  }

  /** How many pages from `page` on, up to the end of its block, are here or on their way. */
  #pagesHere(page: number): number {
    const inBlock = page % PAGES_PER_FRAME;
    const block = this.#blocks.get((page - inBlock) / PAGES_PER_FRAME);
    if (block === undefined) return 0;
    const here = (block.valid | block.filling) >>> inBlock;
    // The position of the lowest bit that is not set.
    return Math.min(31 - Math.clz32(~here & (here + 1)), PAGES_PER_FRAME - inBlock);
  }

  /** The last of up to `count` pages from `page` on that are neither here nor on their way. */
  #missingUntil(page: number, count: number): number {
    let last = page;
    while (last - page + 1 < count) {
      const inBlock = (last + 1) % PAGES_PER_FRAME;
      const block = this.#blocks.get((last + 1 - inBlock) / PAGES_PER_FRAME);
      if (block === undefined) last += PAGES_PER_FRAME - inBlock;
      else if (((block.valid | block.filling) & (1 << inBlock)) === 0) last++;
      else break;
    }
    return Math.min(last, page + count - 1);
  }

  /** Sends one READ for pages that are not here; the reply marks them valid. */
  #fill(file: OpenFile, firstPage: number, lastPage: number): Status {
    const blocks: Block[] = [];
    const first = Math.floor(firstPage / PAGES_PER_FRAME);
    const last = Math.floor(lastPage / PAGES_PER_FRAME);
    for (let index = first; index <= last && blocks.length < BLOCKS_PER_REQUEST_MAX; index++) {
      const block = this.#blockAt(index);
      if (typeof block === "number") {
        for (const pinned of blocks) pinned.pins--;
        return block;
      }
      // Making the next one may take frames back.
      block.pins++;
      blocks.push(block);
    }
    const offset = firstPage * PAGE_SIZE;
    const size = (lastPage - firstPage + 1) * PAGE_SIZE;
    const { client } = this.#cache;
    const request = beginRead(client, this.#inode.nodeid, file.handle, offset, size, null);
    for (const block of blocks) {
      const start = Math.max(firstPage, block.index * PAGES_PER_FRAME);
      const end = Math.min(lastPage, block.index * PAGES_PER_FRAME + PAGES_PER_FRAME - 1);
      const inBlock = start - block.index * PAGES_PER_FRAME;
      request.addRoom(block.frame + inBlock * PAGE_SIZE, (end - start + 1) * PAGE_SIZE);
      block.filling |= pageMask(block.index, firstPage, lastPage);
      block.pins--;
    }
    const version = this.#inode.attrVersion;
    client.postThen(request, (done, status) => {
      this.#filled(blocks, firstPage, lastPage, status < 0 ? status : done.replySize, version);
      client.end(done);
    });
    return 0;
  }

  #filled(
    blocks: readonly Block[],
    firstPage: number,
    lastPage: number,
    result: number,
    version: number,
  ): void {
    const offset = firstPage * PAGE_SIZE;
    for (const block of blocks) {
      const pages = pageMask(block.index, firstPage, lastPage);
      block.filling &= ~pages;
      if (result < 0) continue;
      block.valid |= pages;
      // What the reply did not reach lies beyond the end of the file, or in a hole that only we know of: zeros.
      const start = Math.max(offset, block.index * FRAME_SIZE);
      const end = Math.min((lastPage + 1) * PAGE_SIZE, (block.index + 1) * FRAME_SIZE);
      const zeroFrom = Math.max(start, offset + result);
      if (zeroFrom < end) {
        const at = block.frame - block.index * FRAME_SIZE;
        this.#cache.bytes.u8.fill(0, at + zeroFrom, at + end);
      }
    }
    if (result < 0) {
      this.#readError = result;
      return;
    }
    const size = (lastPage - firstPage + 1) * PAGE_SIZE;
    const { attr } = this.#inode;
    const isShort = result < size && offset + result < attr.size;
    // The file has become shorter than we knew; unless we have made it longer since we asked.
    if (isShort && !this.#writeback && version === this.#inode.attrVersion) {
      attr.size = offset + result;
      this.#inode.attrVersion++;
    }
  }

  #blockAt(index: number): Block | Status {
    const known = this.#blocks.get(index);
    if (known !== undefined) return known;
    const block = this.#cache.makeBlock(this, index);
    if (typeof block !== "number") this.#blocks.set(index, block);
    return block;
  }

  #writeThrough(file: OpenFile, offset: number, from: Uint8Array): number {
    if (this.dirty) {
      const status = this.writeBack();
      if (status < 0) return status;
    }
    const { nodeid } = this.#inode;
    const count = writeDirect(this.#cache, nodeid, file.handle, offset, from);
    if (count <= 0) return count;
    const isCached = (file.openFlags & FOPEN_DIRECT_IO) === 0;
    const firstBlock = Math.floor(offset / FRAME_SIZE);
    const lastBlock = Math.floor((offset + count - 1) / FRAME_SIZE);
    for (let index = firstBlock; index <= lastBlock; index++) {
      const block = this.#blocks.get(index);
      if (block === undefined) continue;
      // A READ that was sent before the write may bring what was there before.
      this.#settle(block);
      const start = Math.max(offset, index * FRAME_SIZE);
      const end = Math.min(offset + count, (index + 1) * FRAME_SIZE);
      if (isCached) {
        const at = block.frame + start - index * FRAME_SIZE;
        this.#cache.bytes.u8.set(from.subarray(start - offset, end - offset), at);
      } else {
        const first = Math.floor(start / PAGE_SIZE);
        this.#invalidatePages(block, pageMask(index, first, Math.ceil(end / PAGE_SIZE) - 1));
      }
    }
    return count;
  }

  #writeBehind(file: OpenFile, offset: number, from: Uint8Array): number {
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
    this.#touchTimes();
    if (this.#cache.isDirtyEnough) this.#sendDirty();
    return done;
  }

  /** A block whose pages at `inBlock` can be written in part: those that keep some of their bytes are valid. */
  #writable(file: OpenFile, index: number, inBlock: number, size: number): Block | Status {
    const block = this.#blockAt(index);
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
      const filled = this.#readable(file, pageStart, PAGE_SIZE);
      if (typeof filled === "number") return filled;
    }
    block.pins++;
    this.#settle(block);
    block.pins--;
    // Reading an edge may have evicted the block that was there, and made another.
    const present = this.#blocks.get(index);
    if (present !== block) return this.#writable(file, index, inBlock, size);
    this.#cache.touch(block);
    return block;
  }

  /** Waits until no request uses the block's frame. */
  #settle(block: Block): void {
    while (block.filling !== 0 || block.writing > 0) this.#cache.progress();
  }

  #touchTimes(): void {
    const now = Date.now();
    const { attr } = this.#inode;
    attr.mtime = Math.floor(now / 1000);
    attr.mtimeNsec = (now % 1000) * 1_000_000;
    attr.ctime = attr.mtime;
    attr.ctimeNsec = attr.mtimeNsec;
    this.#timesDirty = true;
  }

  /** Somebody has set the times at the daemon: what we had to tell is out of date. */
  timesSet(): void {
    this.#timesDirty = false;
  }

  #sendTimes(): void {
    this.#timesDirty = false;
    const writer = this.#writers[0];
    const { attr } = this.#inode;
    const change = { mtime: [attr.mtime, attr.mtimeNsec] as const };
    const { client } = this.#cache;
    const handle = writer === undefined ? null : writer.handle;
    const status = setattr(client, this.#inode.nodeid, handle, change, attrReply);
    if (status < 0 && this.#error === 0) this.#error = status;
  }

  /** Sends all dirty pages, as far apart pieces as they are, without waiting. */
  #sendDirty(): void {
    const indices = [...this.#blocks.keys()].filter((i) => this.#blocks.get(i)!.dirty !== 0);
    indices.sort((a, b) => a - b);
    const pageMax = this.#cache.client.agreement.writeSizeMax / PAGE_SIZE;
    let runStart = -1;
    let runEnd = -1;
    for (const index of indices) {
      const { dirty } = this.#blocks.get(index)!;
      for (let i = 0; i < PAGES_PER_FRAME; i++) {
        if ((dirty & (1 << i)) === 0) continue;
        const page = index * PAGES_PER_FRAME + i;
        if (page === runEnd && page - runStart < pageMax) {
          runEnd++;
          continue;
        }
        if (runStart >= 0) this.#sendPages(runStart, runEnd);
        runStart = page;
        runEnd = page + 1;
      }
    }
    if (runStart >= 0) this.#sendPages(runStart, runEnd);
    this.#cache.client.driver.publish();
  }

  /** Sends pages [first, end) in one WRITE, up to the end of the file. */
  #sendPages(first: number, end: number): void {
    const writer = this.#writers[0];
    const offset = first * PAGE_SIZE;
    const size = Math.min(end * PAGE_SIZE, this.#inode.attr.size) - offset;
    const blocks: Block[] = [];
    const lastBlock = Math.floor((end - 1) / PAGES_PER_FRAME);
    for (let i = Math.floor(first / PAGES_PER_FRAME); i <= lastBlock; i++) {
      blocks.push(this.#blocks.get(i)!);
    }
    const clean = () => {
      for (const block of blocks) {
        this.#cache.removeDirty(block, pageMask(block.index, first, end - 1));
      }
    };
    if (size <= 0) return clean();
    if (writer === undefined) {
      // Nobody can write it any more: a bug of ours would be silent without this.
      if (this.#error === 0) this.#error = -EBADF;
      return clean();
    }
    // A page that is being sent stays as it is, and is sent again if it is written meanwhile.
    for (const block of blocks) while (block.writing > 0) this.#cache.progress();
    clean();
    const { client } = this.#cache;
    const { nodeid } = this.#inode;
    const flags = FUSE_WRITE_CACHE;
    const request = beginWrite(client, nodeid, writer.handle, offset, size, flags, null);
    for (const block of blocks) {
      const start = Math.max(offset, block.index * FRAME_SIZE);
      const stop = Math.min(offset + size, (block.index + 1) * FRAME_SIZE);
      request.addData(block.frame + start - block.index * FRAME_SIZE, stop - start);
      block.writing++;
    }
    request.expect(WRITE_OUT.SIZE);
    client.postThen(request, (done, status) => this.#sent(blocks, done, status, size));
  }

  #sent(blocks: readonly Block[], request: FuseRequest, status: Status, size: number): void {
    for (const block of blocks) block.writing--;
    const count = status < 0 ? status : written(request, size);
    this.#cache.client.end(request);
    if (count === size || this.#error < 0) return;
    // A short write of cached data is an error (Linux: fuse_writepage_end).
    this.#error = count < 0 ? count : SHORT_WRITE;
  }

  #dropClean(): void {
    for (const block of [...this.#blocks.values()]) {
      this.#settle(block);
      this.#invalidatePages(block, ALL_PAGES & ~block.dirty);
    }
  }

  /** Forgets pages; a block without any gives its frame back, unless somebody holds a page. */
  #invalidatePages(block: Block, pages: number): void {
    if (block.pins > 0) return;
    block.valid &= ~pages;
    if (block.valid === 0 && block.idle) this.forget(block);
  }
}

/** What a short write of cached data is reported as. */
const SHORT_WRITE: Status = -EIO;

/** The bits of block `index` for file pages `first` to `last`. */
function pageMask(index: number, first: number, last: number): number {
  const base = index * PAGES_PER_FRAME;
  const from = Math.max(0, first - base);
  const to = Math.min(PAGES_PER_FRAME - 1, last - base);
  if (from > to) return 0;
  return ((1 << (to + 1)) - 1) & ~((1 << from) - 1);
}
