/**
 * Filling pages of a file: what is wanted, and where reading is sequential what will be.
 *
 * @module
 */

import type { Status } from "../../sys/errno.ts";
import { beginRead } from "../client/files.ts";
import { type DataFile, type FileBlocks, pageMask } from "./file_blocks.ts";
import { type Block, FRAME_SIZE, PAGE_SIZE, PAGES_PER_FRAME } from "./page_cache.ts";

/** Read-ahead: how far beyond what was asked for, and how much in one request (bench/client/sequential.ts: 0.67 of pread at 2 MiB and 512 KiB, 0.79 so). */
const READ_AHEAD_SIZE = 4 * 1024 * 1024;
const READ_PIECE_SIZE = 1024 * 1024;
/** Pieces of one request beside headers: blocks of a piece that is not aligned to them. */
const BLOCKS_PER_REQUEST_MAX = 32;

/** Reads pages of one file into its blocks. */
export class PageReader {
  readonly #blocks: FileBlocks;
  readonly #writeback: boolean;
  /** Why a page did not come. */
  #readError: Status = 0;

  constructor(blocks: FileBlocks, writeback: boolean) {
    this.#blocks = blocks;
    this.#writeback = writeback;
  }

  /** The block that holds `offset`, its page valid; `wanted` bytes are going to be read from there. */
  readable(file: DataFile, offset: number, wanted: number): Block | Status {
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
        this.#blocks.cache.touch(block);
        return block;
      }
      if (block !== undefined && (block.filling & bit) !== 0) {
        this.#blocks.cache.progress();
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

  /** Asks for the pages of what is wanted, and where reading is sequential for what will be. */
  #readAhead(file: DataFile, offset: number, wanted: number, sequential: boolean): Status {
    const { size } = this.#blocks.inode.attr;
    const ahead = sequential ? READ_AHEAD_SIZE : 0;
    const end = Math.min(offset + wanted + ahead, size);
    const needed = Math.min(offset + wanted, size);
    let first = Math.floor(offset / PAGE_SIZE);
    const last = Math.ceil(end / PAGE_SIZE) - 1;
    // No more than an eighth of the cache at a time, so that what was asked for is not evicted by what was not.
    const pagesMax = Math.max(
      Math.ceil(needed / PAGE_SIZE) - first,
      Math.floor(this.#blocks.cache.frameCount / 8) * PAGES_PER_FRAME,
    );
    const bound = Math.min(last, first + pagesMax - 1);
    const pieceMax = Math.min(
      READ_PIECE_SIZE,
      this.#blocks.cache.client.agreement.readSizeMax,
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
    this.#blocks.cache.client.driver.publish();
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
  #fill(file: DataFile, firstPage: number, lastPage: number): Status {
    const blocks: Block[] = [];
    const first = Math.floor(firstPage / PAGES_PER_FRAME);
    const last = Math.floor(lastPage / PAGES_PER_FRAME);
    for (let index = first; index <= last && blocks.length < BLOCKS_PER_REQUEST_MAX; index++) {
      const block = this.#blocks.at(index);
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
    const { client } = this.#blocks.cache;
    const request = beginRead(client, this.#blocks.inode.nodeid, file.handle, offset, size, null);
    for (const block of blocks) {
      const start = Math.max(firstPage, block.index * PAGES_PER_FRAME);
      const end = Math.min(lastPage, block.index * PAGES_PER_FRAME + PAGES_PER_FRAME - 1);
      const inBlock = start - block.index * PAGES_PER_FRAME;
      request.addRoom(block.frame + inBlock * PAGE_SIZE, (end - start + 1) * PAGE_SIZE);
      block.filling |= pageMask(block.index, firstPage, lastPage);
      block.pins--;
    }
    const version = this.#blocks.inode.attrVersion;
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
        this.#blocks.cache.bytes.u8.fill(0, at + zeroFrom, at + end);
      }
    }
    if (result < 0) {
      this.#readError = result;
      return;
    }
    const size = (lastPage - firstPage + 1) * PAGE_SIZE;
    const { attr } = this.#blocks.inode;
    const isShort = result < size && offset + result < attr.size;
    // The file has become shorter than we knew; unless we have made it longer since we asked.
    if (isShort && !this.#writeback && version === this.#blocks.inode.attrVersion) {
      attr.size = offset + result;
      this.#blocks.inode.attrVersion++;
    }
  }
}
