/**
 * Which part of which file is where in a DAX window: the range allocator of the virtio-fs RFC, as Linux has it.
 *
 * The window is cut into ranges of 2 MiB. A free range waits in the free list (first in, first out); one that shows a piece of a file is in
 * the busy list, in the order of mapping, and in the file's interval tree, which holds one reference. Whoever uses a range holds another.
 * Ranges with only the tree's reference are idle and can be taken back: by a worker that starts when few are free, or on the spot by
 * whoever needs one and has idle ones in the same file.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import { IntervalNodes, IntervalTree } from "../../intervals/interval_tree.ts";
import { EAGAIN } from "../../sys/errno.ts";
import type {
  RangeAllocatorOptions,
  RangeCounters,
  RangeInfo,
  RangeMapper,
} from "./range_interfaces.ts";
import { RangeLists } from "./range_lists.ts";

/** What is mapped at a time: FUSE_DAX_SZ of Linux, 2 MiB. */
export const DAX_RANGE_SIZE: number = 2 * 1024 * 1024;
/** Linux: FUSE_DAX_RECLAIM_CHUNK, FUSE_DAX_RECLAIM_THRESHOLD. */
const RECLAIM_CHUNK = 10;
const RECLAIM_THRESHOLD = 0.2;
/** fuse.h: fuse_removemapping_one: entries of one REMOVEMAPPING as Linux sends it, a page of them. */
export const REMOVE_COUNT_MAX = 256;

/** A file's ranges. Made by {@linkcode RangeAllocator.addFile}; it costs nothing to let go of one that has no ranges. */
export class RangeFile {
  /** The file, for the mapper. */
  readonly nodeid: number;
  /** Ranges by file offset: node number = range number + 1. */
  readonly tree: IntervalTree;
  /** How many there are. */
  count = 0;

  /** Made by {@linkcode RangeAllocator.addFile}. */
  constructor(nodeid: number, tree: IntervalTree) {
    this.nodeid = nodeid;
    this.tree = tree;
  }
}

/**
 * The allocator of one window.
 *
 * @example
 * ```ts
 * import { RangeAllocator } from "../../../mod.ts";
 *
 * const requests: string[] = [];
 * const ranges = new RangeAllocator({
 *   windowSize: 8192,
 *   rangeSize: 4096,
 *   mapper: {
 *     setup: (nodeid, offset, at) => (requests.push(`map ${nodeid}:${offset} at ${at}`), 0),
 *     remove: (nodeid, at) => (requests.push(`unmap ${nodeid} at ${at}`), 0),
 *   },
 * });
 * const file = ranges.addFile(7);
 * const range = ranges.acquire(file, 5000, false);
 * if (ranges.windowOffset(range, 5000) !== 904) throw new Error("it is at the window's start");
 * ranges.release(range);
 * ranges.remove(file);
 * if (requests.join() !== "map 7:4096 at 0,unmap 7 at 0") throw new Error(requests.join());
 * ```
 */
export class RangeAllocator {
  /** Bytes of a range. */
  readonly rangeSize: number;
  /** How many there are. */
  readonly rangeCount: number;
  /** What happened so far. */
  readonly counters: RangeCounters = {
    hits: 0,
    maps: 0,
    upgrades: 0,
    unmaps: 0,
    reclaimedInline: 0,
    reclaimedByWorker: 0,
    misses: 0,
  };
  readonly #mapper: RangeMapper;
  readonly #onKick: () => void;
  readonly #lists: RangeLists;
  readonly #nodes: IntervalNodes;
  /** By range: whose it is, who uses it (1 = the tree), whether it can be written. */
  readonly #files: (RangeFile | null)[];
  readonly #references: Int32Array;
  readonly #writable: Uint8Array;
  /** Fewer free ranges than these wake the worker. */
  readonly #threshold: number;
  readonly #waiters: (() => void)[] = [];
  #kicked = false;

  /** All ranges are free. */
  constructor(options: RangeAllocatorOptions) {
    const { windowSize, rangeSize = DAX_RANGE_SIZE } = options;
    assert(rangeSize > 0 && windowSize >= 0, "sizes of a window");
    const count = Math.floor(windowSize / rangeSize);
    this.rangeSize = rangeSize;
    this.rangeCount = count;
    this.#mapper = options.mapper;
    this.#onKick = options.onKick ?? (() => {});
    this.#lists = new RangeLists(count);
    this.#nodes = new IntervalNodes(count);
    this.#files = new Array(count).fill(null);
    this.#references = new Int32Array(count);
    this.#writable = new Uint8Array(count);
    this.#threshold = Math.max(1, Math.floor(count * RECLAIM_THRESHOLD));
  }

  /** Free ranges. */
  get freeCount(): number {
    return this.#lists.freeCount;
  }

  /** Ranges that show a file. */
  get busyCount(): number {
    return this.#lists.busyCount;
  }

  /** Those who wait for a range. */
  get waiterCount(): number {
    return this.#waiters.length;
  }

  /** Whether the worker is to run. */
  get isKicked(): boolean {
    return this.#kicked;
  }

  /** A file that has no ranges yet. */
  addFile(nodeid: number): RangeFile {
    return new RangeFile(nodeid, new IntervalTree(this.#nodes));
  }

  /**
   * A range that shows the byte at `offset` of a file, mapped if need be, with a reference that {@linkcode RangeAllocator.release} gives
   * back. Otherwise a negative errno: -EAGAIN if no range is to be had, or why it could not be mapped. `inline`: an idle range of the same
   * file may be taken for it (what Linux does for read(2) and write(2), not for page faults).
   */
  acquire(file: RangeFile, offset: number, writable: boolean, inline = true): number {
    const node = file.tree.first(offset, offset + 1);
    if (node !== 0) {
      const known = node - 1;
      if (writable && this.#writable[known] === 0) return this.#upgrade(file, known);
      this.counters.hits++;
      this.#references[known]!++;
      return known;
    }
    // What is left at the threshold is for those who have nothing to give. (Linux goes on until nothing is left, and its worker makes
    // up for it: two round trips for each range of a file that is read from end to end, where one will do.)
    const isScarce = this.#lists.freeCount <= this.#threshold;
    let range = isScarce && inline ? this.#takeIdleOf(file) : -1;
    const isReused = range >= 0;
    if (!isReused) range = this.#lists.takeFree();
    if (this.#lists.freeCount < this.#threshold) this.#kick();
    if (range < 0) {
      this.counters.misses++;
      return -EAGAIN;
    }
    const start = Math.floor(offset / this.rangeSize) * this.rangeSize;
    const { rangeSize } = this;
    const at = range * rangeSize;
    const status = this.#mapper.setup(file.nodeid, start, at, rangeSize, writable);
    if (status < 0) {
      if (isReused) this.#unmap(file, [range]);
      else this.#free(range);
      return status;
    }
    this.counters.maps++;
    this.#lists.addBusy(range);
    file.tree.insert(range + 1, start, start + rangeSize);
    file.count++;
    this.#files[range] = file;
    this.#writable[range] = writable ? 1 : 0;
    this.#references[range] = 2;
    return range;
  }

  /** Ends a use. */
  release(range: number): void {
    assert(this.#references[range]! > 1, "a reference is given back once");
    this.#references[range]!--;
    if (this.#waiters.length > 0 && this.#references[range] === 1) this.#kick();
  }

  /** Where in the window a range shows a file's byte. */
  windowOffset(range: number, offset: number): number {
    return range * this.rangeSize + offset - this.#nodes.start(range + 1);
  }

  /** Where the range's piece of the file starts. */
  fileOffset(range: number): number {
    return this.#nodes.start(range + 1);
  }

  /** Whether the byte at `offset` is mapped: nothing is made or counted. */
  isMapped(file: RangeFile, offset: number): boolean {
    return file.tree.first(offset, offset + 1) !== 0;
  }

  /**
   * The worker's turn: takes back the ranges that were mapped first and are idle, up to ten, or a fifth of the window if that is fewer.
   * (Linux takes ten of any window; a small one would be empty each time.) Returns whether it should run again.
   */
  work(): boolean {
    this.#kicked = false;
    const count = Math.min(RECLAIM_CHUNK, this.#threshold);
    for (let i = 0; i < count; i++) {
      const range = this.#oldestIdle();
      if (range < 0) return false;
      this.#discard(range);
      this.counters.reclaimedByWorker++;
    }
    if (this.#lists.freeCount >= this.#threshold) return false;
    this.#kick();
    return true;
  }

  /**
   * Removes a file's idle ranges that overlap [start, end), in batches: at eviction, or because they are not to be used any more. Returns
   * how many remain because somebody uses them.
   */
  remove(file: RangeFile, start = 0, end: number = Number.MAX_SAFE_INTEGER): number {
    let kept = 0;
    let batch: number[] = [];
    for (let node = file.tree.first(start, end); node !== 0;) {
      const range = node - 1;
      if (this.#references[range]! > 1) kept++;
      else {
        this.#detach(range);
        batch.push(range);
      }
      node = file.tree.next(node, start, end);
      if (batch.length === REMOVE_COUNT_MAX || (node === 0 && batch.length > 0)) {
        this.#unmap(file, batch);
        batch = [];
      }
    }
    return kept;
  }

  /**
   * Asks to be told when a range has become free: `wake` is called once, for the one who has waited longest. It must do no more than note
   * it. Returns a function that takes the question back.
   */
  wait(wake: () => void): () => void {
    this.#waiters.push(wake);
    this.#kick();
    return () => {
      const at = this.#waiters.indexOf(wake);
      if (at >= 0) this.#waiters.splice(at, 1);
    };
  }

  /** The free ranges, the next to be taken first. For those who look on. */
  freeRanges(): number[] {
    return this.#lists.free();
  }

  /** The busy ranges, the first that was mapped first. */
  busyRanges(): number[] {
    return this.#lists.busy();
  }

  /** What a range is used for, or null if it is free. */
  rangeInfo(range: number): RangeInfo | null {
    const file = this.#files[range];
    if (file === null || file === undefined) return null;
    return {
      nodeid: file.nodeid,
      fileOffset: this.#nodes.start(range + 1),
      windowOffset: range * this.rangeSize,
      writable: this.#writable[range] === 1,
      references: this.#references[range]!,
    };
  }

  /** Maps the same piece at the same place once more, writable (Linux: dax_setup_mapping's upgrade). */
  #upgrade(file: RangeFile, range: number): number {
    const { rangeSize } = this;
    const start = this.#nodes.start(range + 1);
    const at = range * rangeSize;
    this.#references[range]!++;
    const status = this.#mapper.setup(file.nodeid, start, at, rangeSize, true);
    if (status === 0) {
      this.counters.upgrades++;
      this.#writable[range] = 1;
      return range;
    }
    this.#references[range]!--;
    // What is there now nobody knows: the old mapping may have been removed for the new one.
    if (this.#references[range] === 1) this.#discard(range);
    return status;
  }

  /**
   * Takes the idle range of a file that was mapped first away from it. -1 if there is none. Linux takes the lowest, and removes the mapping; here the new one replaces it (virtio
   * 1.3, 5.11.6.4: exact overlap), which saves one of two round trips: 88 instead of 165 µs.
   */
  #takeIdleOf(file: RangeFile): number {
    if (file.count === 0) return -1;
    for (let range = this.#lists.firstBusy(); range >= 0; range = this.#lists.nextBusy(range)) {
      if (this.#files[range] !== file || this.#references[range] !== 1) continue;
      this.#detach(range);
      this.counters.reclaimedInline++;
      return range;
    }
    return -1;
  }

  #oldestIdle(): number {
    for (let range = this.#lists.firstBusy(); range >= 0; range = this.#lists.nextBusy(range)) {
      if (this.#references[range] === 1) return range;
    }
    return -1;
  }

  #discard(range: number): void {
    const file = this.#files[range]!;
    this.#detach(range);
    this.#unmap(file, [range]);
  }

  /** Takes an idle range out of tree and list. It is in none until it is freed or used again. */
  #detach(range: number): void {
    const file = this.#files[range];
    assert(file !== null && file !== undefined, "a busy range has a file");
    assert(this.#references[range] === 1, "only idle ranges are taken away");
    file.tree.remove(range + 1);
    file.count--;
    this.#lists.removeBusy(range);
    this.#files[range] = null;
    this.#references[range] = 0;
    this.#writable[range] = 0;
  }

  /**
   * Removes the mappings of detached ranges and frees them. They are free whatever comes of the request: the next mapping replaces what
   * may still be there (virtio 1.3, 5.11.6.4).
   */
  #unmap(file: RangeFile, ranges: readonly number[]): void {
    const offsets = ranges.map((range) => range * this.rangeSize);
    this.counters.unmaps += ranges.length;
    this.#mapper.remove(file.nodeid, offsets, this.rangeSize);
    for (const range of ranges) this.#free(range);
  }

  #free(range: number): void {
    this.#lists.addFree(range);
    this.#waiters.shift()?.();
  }

  #kick(): void {
    if (this.#kicked) return;
    this.#kicked = true;
    this.#onKick();
  }
}
