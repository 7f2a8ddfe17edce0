/**
 * Sending what was written here: dirty pages as large WRITEs, several in flight, and the times.
 *
 * A failed WRITE is remembered and reported once, to the next who asks: fsync(2), close(2) or sync(2). Its pages count as clean, as in
 * Linux: sending them again and again would keep the guest from ever letting go of them.
 *
 * @module
 */

import { EBADF, EIO, type Status } from "../../sys/errno.ts";
import { FUSE_WRITE_CACHE, WRITE_OUT } from "../../wire/fuse.ts";
import { setattr } from "../client/attributes.ts";
import { beginWrite, written } from "../client/files.ts";
import type { FuseRequest } from "../client/fuse_request.ts";
import { AttrReply } from "../client/replies.ts";
import { type DataFile, type FileBlocks, pageMask } from "./file_blocks.ts";
import { type Block, FRAME_SIZE, PAGE_SIZE, PAGES_PER_FRAME } from "./page_cache.ts";

const attrReply = new AttrReply();
/** What a short write of cached data is reported as. */
const SHORT_WRITE: Status = -EIO;

/** The write-back of one file. */
export class WriteBack {
  readonly #blocks: FileBlocks;
  /** Open files that data can be written through. */
  readonly writers: DataFile[] = [];
  /** Whether mtime has moved on here and the daemon has not been told. */
  timesDirty = false;
  #error: Status = 0;

  constructor(blocks: FileBlocks) {
    this.#blocks = blocks;
  }

  /** The first failure that nobody has been told of yet, or 0. */
  get error(): Status {
    return this.#error;
  }

  /** The same, and it counts as told. */
  takeError(): Status {
    const error = this.#error;
    this.#error = 0;
    return error;
  }

  /** Something was written now. */
  touchTimes(): void {
    const now = Date.now();
    const { attr } = this.#blocks.inode;
    attr.mtime = Math.floor(now / 1000);
    attr.mtimeNsec = (now % 1000) * 1_000_000;
    attr.ctime = attr.mtime;
    attr.ctimeNsec = attr.mtimeNsec;
    this.timesDirty = true;
  }

  /** Something was written through a mapping. The host stamps a page at its first write only, so the times are kept here. */
  touchMapped(): void {
    this.touchTimes();
    // A view may outlive the file that it was asked of, and then nobody else tells the daemon.
    if (this.writers.length === 0) this.sendTimes();
  }

  /** Tells the daemon the times. */
  sendTimes(): void {
    this.timesDirty = false;
    const writer = this.writers[0];
    const { attr } = this.#blocks.inode;
    const change = { mtime: [attr.mtime, attr.mtimeNsec] as const };
    const { client } = this.#blocks.cache;
    const handle = writer === undefined ? null : writer.handle;
    const { inode } = this.#blocks;
    inode.changing();
    const status = setattr(client, inode.nodeid, handle, change, attrReply);
    inode.changed(status === 0, attrReply);
    if (status < 0 && this.#error === 0) this.#error = status;
  }

  /** Sends all dirty pages, as far apart pieces as they are, without waiting. */
  sendDirty(): void {
    const indices = this.#blocks.all().filter(({ dirty }) => dirty !== 0)
      .map(({ index }) => index).sort((a, b) => a - b);
    const pageMax = this.#blocks.cache.client.agreement.writeSizeMax / PAGE_SIZE;
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
    this.#blocks.cache.client.driver.publish();
  }

  /** Sends pages [first, end) in one WRITE, up to the end of the file. */
  #sendPages(first: number, end: number): void {
    const writer = this.writers[0];
    const offset = first * PAGE_SIZE;
    const size = Math.min(end * PAGE_SIZE, this.#blocks.inode.attr.size) - offset;
    const blocks: Block[] = [];
    const lastBlock = Math.floor((end - 1) / PAGES_PER_FRAME);
    for (let i = Math.floor(first / PAGES_PER_FRAME); i <= lastBlock; i++) {
      blocks.push(this.#blocks.get(i)!);
    }
    const clean = () => {
      for (const block of blocks) {
        this.#blocks.cache.removeDirty(block, pageMask(block.index, first, end - 1));
      }
    };
    if (size <= 0) return clean();
    if (writer === undefined) {
      // Nobody can write it any more: a bug of ours would be silent without this.
      if (this.#error === 0) this.#error = -EBADF;
      return clean();
    }
    // A page that is being sent stays as it is, and is sent again if it is written meanwhile.
    for (const block of blocks) while (block.writing > 0) this.#blocks.cache.progress();
    clean();
    const { client } = this.#blocks.cache;
    const { nodeid } = this.#blocks.inode;
    const flags = FUSE_WRITE_CACHE;
    const request = beginWrite(client, nodeid, writer.handle, offset, size, flags, null);
    for (const block of blocks) {
      const start = Math.max(offset, block.index * FRAME_SIZE);
      const stop = Math.min(offset + size, (block.index + 1) * FRAME_SIZE);
      request.addData(block.frame + start - block.index * FRAME_SIZE, stop - start);
      block.writing++;
    }
    request.expect(WRITE_OUT.SIZE);
    this.#blocks.inode.changing();
    client.postThen(request, (done, status) => this.#sent(blocks, done, status, size));
  }

  #sent(blocks: readonly Block[], request: FuseRequest, status: Status, size: number): void {
    for (const block of blocks) block.writing--;
    const count = status < 0 ? status : written(request, size);
    this.#blocks.cache.client.end(request);
    this.#blocks.inode.changed(count === size, null);
    if (count === size || this.#error < 0) return;
    // A short write of cached data is an error (Linux: fuse_writepage_end).
    this.#error = count < 0 ? count : SHORT_WRITE;
  }
}
