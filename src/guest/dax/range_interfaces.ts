/**
 * What the range allocator is made with, and what it tells.
 *
 * @module
 */

import type { Status } from "../../sys/errno.ts";

/** What makes and removes the mappings: two requests to the daemon. Both return 0 or a negative errno. */
export interface RangeMapper {
  /** Shows `length` bytes of a file at a place of the window, in place of what was there. */
  setup(
    nodeid: number,
    fileOffset: number,
    windowOffset: number,
    length: number,
    writable: boolean,
  ): Status;
  /** Removes the mappings of `length` bytes at each of some places, at most 256. */
  remove(nodeid: number, windowOffsets: readonly number[], length: number): Status;
}

/** How a window is divided, and who is told what. */
export interface RangeAllocatorOptions {
  /** Bytes of the window. What is left over after the last whole range is not used. */
  readonly windowSize: number;
  /** Bytes of a range. Default 2 MiB. */
  readonly rangeSize?: number;
  /** How mappings are made. */
  readonly mapper: RangeMapper;
  /** Called when `RangeAllocator.work()` should be, soon, and not from within the call. */
  readonly onKick?: () => void;
}

/** What happened so far. */
export interface RangeCounters {
  /** Uses of a range that was there. */
  hits: number;
  /** Mappings made. */
  maps: number;
  /** Read-only mappings made writable. */
  upgrades: number;
  /** Mappings removed. */
  unmaps: number;
  /** Ranges that a file took from itself. */
  reclaimedInline: number;
  /** Ranges that the worker took back. */
  reclaimedByWorker: number;
  /** Uses that found no range. */
  misses: number;
}

/** What one range is used for. */
export interface RangeInfo {
  /** The file. */
  readonly nodeid: number;
  /** Where its piece of the file starts. */
  readonly fileOffset: number;
  /** Where it is in the window. */
  readonly windowOffset: number;
  /** Whether it is mapped for writing. */
  readonly writable: boolean;
  /** 1 is the tree's own. */
  readonly references: number;
}
