/**
 * One file's data through the DAX window: reading, writing and looking at it where the host has it, without a request in the common case.
 *
 * Copies survive a file that somebody else cuts short (`sys/fault_safe_copy.ts`): one that comes to less than was asked has met the
 * end of the file, or something that only the daemon can explain, so the attributes are asked for, and what is left goes as a request. So
 * does everything when there is no range and none can be taken back: daemons serve READ and WRITE whatever is mapped (virtio 1.3, 5.11.6.4).
 *
 * @module
 */

import { EAGAIN, EIO, ENXIO, type Status } from "../../sys/errno.ts";
import { DaxView } from "../dax/dax_view.ts";
import type { DaxWindow } from "../dax/dax_window.ts";
import type { RangeFile } from "../dax/range_allocator.ts";
import { readDirect, writeDirect } from "./direct_io.ts";
import type { DataFile, DataInode } from "./file_blocks.ts";
import { PAGE_SIZE, type PageCache } from "./page_cache.ts";

/** Linux has no such thing: after so many mappings of a file the daemon is asked whether it is still to be mapped. */
const SETUPS_PER_QUESTION = 32;
/** How long a file whose mapping was refused goes without. */
const REFUSED_MS = 1000;

/** What the rest of the guest does for a mapped file. */
export interface DaxInode extends DataInode {
  /** Asks the daemon for the attributes, now. */
  refresh(): Status;
  /** Keeps the inode, or lets it go. */
  hold(count: 1 | -1): void;
  /**
   * The session's window, if it has one, whether it is for all files, and whether files are written through it: where others rely on
   * versions a store would tell them nothing, so it is WRITE that changes data.
   */
  readonly dax: {
    readonly window: DaxWindow | null;
    readonly always: boolean;
    readonly isStoredTo: boolean;
  };
}

/** A mapped page and the range that it is in. */
export interface DaxPage {
  readonly range: number;
  /** Where it is in the window. */
  readonly offset: number;
}

/** The mapped side of one regular file. */
export class DaxData {
  /** Whether the file is to be mapped. What is mapped when that ends is removed when nobody holds a view of it. */
  active = true;
  readonly #window: DaxWindow;
  readonly #cache: PageCache;
  readonly #inode: DaxInode;
  readonly #file: RangeFile;
  /** Called when bytes have been written. */
  readonly #written: () => void;
  #setups = 0;
  #refusedUntil = 0;

  constructor(window: DaxWindow, cache: PageCache, inode: DaxInode, written: () => void) {
    this.#window = window;
    this.#cache = cache;
    this.#inode = inode;
    this.#written = written;
    this.#file = window.ranges.addFile(inode.nodeid);
  }

  /** Reads up to `into.length` bytes: the count, 0 at the end of the file, or a negative errno. */
  read(file: DataFile, offset: number, into: Uint8Array): number {
    const { ranges } = this.#window;
    let done = 0;
    while (done < into.length) {
      const at = offset + done;
      const left = Math.min(into.length - done, this.#inode.attr.size - at);
      if (left <= 0) break;
      const size = Math.min(left, ranges.rangeSize - at % ranges.rangeSize);
      const range = this.#range(at, false, true);
      if (range >= 0) {
        const copied = this.#window.read(range, at, into, done, size);
        ranges.release(range);
        done += copied;
        if (copied === size) continue;
        const status = this.#inode.refresh();
        if (status < 0) return done > 0 ? done : status;
        const end = this.#inode.attr.size - offset;
        if (end <= done) return Math.max(0, end);
      }
      const rest = at + size - (offset + done);
      const count = this.#readRequest(file, offset + done, into.subarray(done, done + rest));
      if (count < 0) return done > 0 ? done : count;
      done += count;
      if (count < rest) break;
    }
    this.#ask();
    return done;
  }

  /** Writes all of `from`, which ends before the end of the file as we know it: the count, or a negative errno. */
  write(file: DataFile, offset: number, from: Uint8Array): number {
    const { ranges } = this.#window;
    let done = 0;
    while (done < from.length) {
      const at = offset + done;
      const size = Math.min(from.length - done, ranges.rangeSize - at % ranges.rangeSize);
      const range = this.#range(at, true, true);
      if (range >= 0) {
        const copied = this.#window.write(range, at, from, done, size);
        ranges.release(range);
        done += copied;
        if (copied > 0) this.#written();
        if (copied === size) continue;
        const status = this.#inode.refresh();
        if (status < 0) return done > 0 ? done : status;
        // What went into the last page behind the end is not in the file.
        done = Math.max(0, Math.min(done, this.#inode.attr.size - offset));
      }
      const rest = at + size - (offset + done);
      this.#window.fallbacks++;
      const piece = from.subarray(done, done + rest);
      const count = writeDirect(this.#cache, this.#inode, file.handle, offset + done, piece);
      if (count < 0) return done > 0 ? done : count;
      done += count;
      if (count < rest) break;
    }
    this.#ask();
    return done;
  }

  /** A page of the file, to be given back with {@linkcode DaxData.unpin}; or a negative errno. */
  page(index: number, writable: boolean): DaxPage | Status {
    const at = index * PAGE_SIZE;
    if (at >= this.#inode.attr.size) return -ENXIO;
    const range = this.#range(at, writable, false);
    if (range < 0) return range;
    this.#ask();
    return { range, offset: this.#window.ranges.windowOffset(range, at) };
  }

  unpin(page: DaxPage): void {
    this.#window.ranges.release(page.range);
    this.#forgetIfLeft();
  }

  /** The window, for those who touch pages. */
  get bytes(): Uint8Array {
    return this.#window.bytes.u8;
  }

  /**
   * A view of up to `length` bytes from `offset` on: up to the end of the file, and of the range, at most. A negative errno: -ENXIO at the
   * end of the file, -EAGAIN while all ranges are in use.
   */
  view(offset: number, length: number, writable: boolean): DaxView | Status {
    const status = this.#inode.refresh();
    if (status < 0) return status;
    const left = Math.min(length, this.#inode.attr.size - offset);
    if (left <= 0) return -ENXIO;
    const { ranges } = this.#window;
    const range = this.#range(offset, writable, false);
    if (range < 0) return range;
    const size = Math.min(left, ranges.rangeSize - offset % ranges.rangeSize);
    const pointer = this.#window.bytes.pointerAt(ranges.windowOffset(range, offset));
    const buffer = Deno.UnsafePointerView.getArrayBuffer(pointer, size);
    const view = new DaxView({
      bytes: new Uint8Array(buffer),
      offset,
      writable,
      owner: this,
      release: (ended) => {
        this.#window.views.delete(ended);
        ranges.release(range);
        if (writable) this.#written();
        this.#inode.hold(-1);
        this.#forgetIfLeft();
      },
    });
    this.#window.views.add(view);
    this.#inode.hold(1);
    return view;
  }

  /** The file ends at `size` now: views that reach further end. */
  truncated(size: number): void {
    for (const view of [...this.#window.views]) {
      if (view.owner === this && view.end > size) view.revoke("the file was truncated");
    }
  }

  /** Removes what is mapped and not in use, in batches. */
  forget(): void {
    this.#window.ranges.remove(this.#file);
  }

  /** The file is not to be mapped any more. */
  leave(): void {
    this.active = false;
    this.forget();
  }

  #forgetIfLeft(): void {
    if (!this.active && this.#file.count > 0) this.forget();
  }

  /** A range that shows `offset`, or a negative errno. */
  #range(offset: number, writable: boolean, inline: boolean): number {
    if (!this.active) return -EIO;
    if (this.#refusedUntil !== 0) {
      if (performance.now() < this.#refusedUntil) return -EIO;
      this.#refusedUntil = 0;
    }
    const { ranges } = this.#window;
    const { counters } = ranges;
    const before = counters.maps;
    let range = ranges.acquire(this.#file, offset, writable, inline);
    if (range === -EAGAIN && ranges.busyCount > 0) {
      // Nobody else runs, so the worker's turn may as well be now.
      ranges.work();
      range = ranges.acquire(this.#file, offset, writable, inline);
    }
    if (range >= 0 && counters.maps !== before) {
      this.#setups++;
      this.#window.mapped(range);
    }
    if (range < 0 && range !== -EAGAIN) this.#refusedUntil = performance.now() + REFUSED_MS;
    return range;
  }

  /** Whether the file is still to be mapped the daemon may see differently by now (see `attributesSet()` of `file_data.ts`). */
  #ask(): void {
    if (this.#setups < SETUPS_PER_QUESTION) return;
    this.#setups = 0;
    this.#inode.refresh();
  }

  #readRequest(file: DataFile, offset: number, into: Uint8Array): number {
    this.#window.fallbacks++;
    return readDirect(this.#cache, this.#inode.nodeid, file.handle, offset, into);
  }
}
