/**
 * The DAX window of one guest: shared memory in which the daemon shows pieces of files (virtio 1.3, 5.11.6.4), the allocator of its
 * ranges, and the views that are held of it.
 *
 * The worker that takes ranges back runs between system calls of the guest, and from a timer, so that it gets its turn in a program
 * that makes none.
 *
 * @module
 */

import { EIO, type Status } from "../../sys/errno.ts";
import {
  readMapped,
  readUntouched,
  writeMapped,
  writeUntouched,
} from "../../sys/fault_safe_copy.ts";
import { NativeMemory } from "../../sys/native_memory.ts";
import { FUSE2_HAS_INODE_DAX } from "../../wire/fuse.ts";
import { hasFlag } from "../client/agreement.ts";
import type { GuestDaxMode } from "../client/dax_mode.ts";
import type { FuseClient } from "../client/fuse_client.ts";
import { removeMappings, setupMapping } from "../client/mappings.ts";
import type { ShmemRegion } from "../frontend/shmem_region.ts";
import type { DaxView } from "./dax_view.ts";
import { RangeAllocator } from "./range_allocator.ts";
import type { RangeCounters } from "./range_interfaces.ts";

/** The id of the window among the device's shared-memory regions (virtio 1.3, 5.11.4.1). */
export const DAX_REGION_ID = 0;
/** How soon the worker runs when nobody makes system calls: Linux gives it a millisecond, too. */
const WORKER_MS = 1;
/** Small pieces are copied directly: asking the kernel costs 3 µs, about as much as the first touch of one page. */
const LARGE_SIZE = 16 * 1024;
/** Large pieces are, when so many times the range's size has been copied: what was saved until then is what touching it all costs. */
const TOUCH_AFTER = 4;

/** What happened in a guest's window so far, and how full it is. */
export interface GuestDaxCounters extends RangeCounters {
  /** Ranges of 2 MiB: all, those that are free, and those that show a piece of a file. */
  readonly ranges: number;
  /** Free ranges. */
  readonly free: number;
  /** Ranges that show a piece of a file. */
  readonly busy: number;
  /** Pieces of reads and writes that went as requests because there was no range or no mapping. */
  readonly fallbacks: number;
  /** Views that are held. */
  readonly views: number;
}

/** The window of one session. */
export class DaxWindow {
  readonly ranges: RangeAllocator;
  /** Where the window is in our address space. */
  readonly address: number;
  /** The window. What is not mapped, or lies behind a file's end, is not to be touched: use `fault_safe_copy.ts`. */
  readonly bytes: NativeMemory;
  /** Views that are held. */
  readonly views: Set<DaxView> = new Set();
  /** Pieces of reads and writes that went as requests although the file is mapped. */
  fallbacks = 0;
  /** By range: bytes copied in large pieces since it was mapped. */
  readonly #copied: Float64Array;
  #timer: ReturnType<typeof setTimeout> | null = null;
  readonly #waiters = new Set<(isOpen: boolean) => void>();
  #closed = false;

  constructor(client: FuseClient, region: ShmemRegion, rangeSize?: number) {
    this.address = region.address;
    this.bytes = new NativeMemory(region.address, region.size);
    this.ranges = new RangeAllocator({
      windowSize: region.size,
      ...(rangeSize === undefined ? {} : { rangeSize }),
      mapper: {
        setup(nodeid, fileOffset, at, length, writable): Status {
          const status = setupMapping(client, nodeid, fileOffset, at, length, writable);
          // A daemon that says so without having mapped anything would have us touch nothing.
          return status === 0 && !region.covers(at, length, writable) ? -EIO : status;
        },
        remove: (nodeid, offsets, length) => removeMappings(client, nodeid, offsets, length),
      },
      onKick: () => this.#scheduleWork(),
    });
    this.#copied = new Float64Array(this.ranges.rangeCount);
  }

  /** Occupancy and counters at this moment. */
  get counters(): GuestDaxCounters {
    const { ranges } = this;
    return {
      ...ranges.counters,
      ranges: ranges.rangeCount,
      free: ranges.freeCount,
      busy: ranges.busyCount,
      fallbacks: this.fallbacks,
      views: this.views.size,
    };
  }

  /** A range shows something else than before: none of its pages has been touched. */
  mapped(range: number): void {
    this.#copied[range] = 0;
  }

  /** Copies `size` bytes that a range shows to `into[at]` and what follows. Returns the count: less than `size` where it faults. */
  read(range: number, offset: number, into: Uint8Array, at: number, size: number): number {
    const from = this.address + this.ranges.windowOffset(range, offset);
    if (size < LARGE_SIZE || this.#isWorthTouching(range, size)) {
      return readMapped(from, into, at, size);
    }
    return readUntouched(from, into, at, size);
  }

  /** Copies `size` bytes of `from[at]` and what follows to where a range shows the file at `offset`. */
  write(range: number, offset: number, from: Uint8Array, at: number, size: number): number {
    const to = this.address + this.ranges.windowOffset(range, offset);
    if (size < LARGE_SIZE || this.#isWorthTouching(range, size)) {
      return writeMapped(to, from, at, size);
    }
    return writeUntouched(to, from, at, size);
  }

  #isWorthTouching(range: number, size: number): boolean {
    if (this.#copied[range]! > TOUCH_AFTER * this.ranges.rangeSize) return true;
    this.#copied[range]! += size;
    return false;
  }

  /** Between system calls: the worker's turn, if it is to run. */
  work(): void {
    if (this.ranges.isKicked) this.ranges.work();
  }

  /** Fulfilled when a range may be had: with false if the guest is closed instead. */
  whenFree(): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#waiters.add(resolve);
      this.ranges.wait(() => {
        this.#waiters.delete(resolve);
        resolve(true);
      });
    });
  }

  /** Ends all views. Mappings end with the session (fuse.h: FUSE_DESTROY). */
  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (const resolve of this.#waiters) resolve(false);
    for (const view of [...this.views]) view.revoke("the guest was closed");
  }

  #scheduleWork(): void {
    if (this.#timer !== null || this.#closed) return;
    const timer = setTimeout(() => {
      this.#timer = null;
      this.work();
    }, WORKER_MS);
    // A program that is done does not stay for this.
    Deno.unrefTimer(timer);
    this.#timer = timer;
  }
}

/** The window that files of the session are mapped into, if they are. */
export function windowOf(client: FuseClient, mode: GuestDaxMode): DaxWindow | null {
  const region = client.driver.frontend.shmemRegions.get(DAX_REGION_ID);
  const { flags2 } = client.agreement;
  const isWanted = mode === "always" || (mode === "inode" && hasFlag(flags2, FUSE2_HAS_INODE_DAX));
  return isWanted && region !== undefined ? new DaxWindow(client, region) : null;
}
