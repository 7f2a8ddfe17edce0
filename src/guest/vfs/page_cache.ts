/**
 * The memory for file data: frames of 64 KiB in the guest's memory, which requests name directly, so that the
 * daemon reads and writes them without a copy in between.
 *
 * A frame belongs to a block of a file's data, or to a transfer that bypasses the cache, or is free. When none is free, the least
 * recently used block that nobody needs gives its frame up; dirty ones are written first.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import { EIO, type Status } from "../../sys/errno.ts";
import type { NativeMemory } from "../../sys/native_memory.ts";
import type { FuseClient } from "../client/fuse_client.ts";

/** Bytes of a frame, and pages in it. 64 KiB: one copy per block costs little beside its 10 µs, and a mask has 16 bits. */
export const FRAME_SIZE = 65536;
export const PAGE_SIZE = 4096;
export const PAGES_PER_FRAME: number = FRAME_SIZE / PAGE_SIZE;
/** A mask with a bit for each page of a block. */
export const ALL_PAGES = 0xffff;

/** Fewer frames than these cannot hold one large transfer and a page at the same time. */
const FRAME_COUNT_MIN = 32;

/** Whose blocks these are. */
export interface BlockOwner {
  /** Gives an idle block's frame back. */
  forget(block: Block): void;
  /** Sends all that is dirty and waits. */
  writeBack(): Status;
}

/** One block of one file: pages `index * 16` to `index * 16 + 15`. */
export class Block {
  readonly owner: BlockOwner;
  readonly index: number;
  /** Where its frame is in the guest's memory. */
  readonly frame: number;
  /** Pages that hold the file's bytes. */
  valid = 0;
  /** Pages that the daemon has to be sent. They are valid. */
  dirty = 0;
  /** Pages that a READ in flight fills. */
  filling = 0;
  /** WRITEs in flight that read the frame. */
  writing = 0;
  /** Users of a page who rely on the frame staying. */
  pins = 0;

  constructor(owner: BlockOwner, index: number, frame: number) {
    this.owner = owner;
    this.index = index;
    this.frame = frame;
  }

  /** Whether the frame could be given up at once. */
  get idle(): boolean {
    return this.dirty === 0 && this.filling === 0 && this.writing === 0 && this.pins === 0;
  }
}

/** All frames of one guest. */
export class PageCache {
  readonly client: FuseClient;
  readonly bytes: NativeMemory;
  readonly frameCount: number;
  /** Free frames: a stack, so that frames in use stay few and warm. */
  readonly #free: number[] = [];
  /** Blocks, least recently used first. */
  readonly #blocks = new Set<Block>();
  /** Blocks with dirty pages. */
  #dirtyCount = 0;

  /** `sizeBytes` of the guest's memory, or somewhat more if that is very little. */
  constructor(client: FuseClient, sizeBytes: number) {
    this.client = client;
    this.bytes = client.driver.bytes;
    this.frameCount = frameCountFor(sizeBytes);
    const base = client.driver.frontend.memory.allocate(this.frameCount * FRAME_SIZE);
    for (let i = this.frameCount - 1; i >= 0; i--) this.#free.push(base + i * FRAME_SIZE);
  }

  /** How much guest memory a cache of this size takes. */
  static memorySize(sizeBytes: number): number {
    return frameCountFor(sizeBytes) * FRAME_SIZE;
  }

  /** Bytes of file data held. */
  get cachedBytes(): number {
    return this.#blocks.size * FRAME_SIZE;
  }

  /** Whether so much is dirty that it should be written back: a quarter of the frames. */
  get isDirtyEnough(): boolean {
    return this.#dirtyCount * 4 > this.frameCount;
  }

  /** Takes a frame, or returns a negative errno where dirty data in the way cannot be written. */
  takeFrame(): number {
    for (;;) {
      const frame = this.#free.pop();
      if (frame !== undefined) return frame;
      const status = this.#makeRoom();
      if (status < 0) return status;
    }
  }

  /** Gives a frame back that no block has. */
  giveFrame(frame: number): void {
    this.#free.push(frame);
  }

  /** A new block with a frame, or a negative errno. */
  makeBlock(owner: BlockOwner, index: number): Block | Status {
    const frame = this.takeFrame();
    if (frame < 0) return frame;
    const block = new Block(owner, index, frame);
    this.#blocks.add(block);
    return block;
  }

  /** Marks a block as the most recently used. */
  touch(block: Block): void {
    this.#blocks.delete(block);
    this.#blocks.add(block);
  }

  /** Forgets a block, whose pages nobody needs any more. */
  dropBlock(block: Block): void {
    assert(block.idle, "a block leaves when nobody needs it");
    this.#blocks.delete(block);
    this.#free.push(block.frame);
  }

  /** Marks pages of a block dirty. */
  addDirty(block: Block, pages: number): void {
    if (block.dirty === 0 && pages !== 0) this.#dirtyCount++;
    block.dirty |= pages;
  }

  /** Marks pages of a block clean. */
  removeDirty(block: Block, pages: number): void {
    const before = block.dirty;
    block.dirty &= ~pages;
    if (before !== 0 && block.dirty === 0) this.#dirtyCount--;
  }

  /** Takes back what the daemon has finished, sleeping if there is nothing yet. */
  progress(): void {
    this.client.driver.publish();
    this.client.progress();
  }

  /** Frees at least one frame, or says why none can be freed. */
  #makeRoom(): Status {
    let busy = false;
    for (const block of this.#blocks) {
      if (block.idle) {
        block.owner.forget(block);
        return 0;
      }
      if (block.filling !== 0 || block.writing !== 0) busy = true;
    }
    if (busy) {
      this.progress();
      return 0;
    }
    for (const block of this.#blocks) {
      if (block.dirty === 0 || block.pins > 0) continue;
      block.owner.writeBack();
      return 0;
    }
    // Every frame is pinned or part of a transfer: more pages are held than the cache has.
    return -EIO;
  }
}

function frameCountFor(sizeBytes: number): number {
  return Math.max(FRAME_COUNT_MIN, Math.ceil(sizeBytes / FRAME_SIZE));
}
