/**
 * Room for one request in the guest's memory: its bytes, its reply's, and the descriptors that name them and
 * whatever other memory takes part.
 *
 * A slot's life: FREE, taken by `Driver.acquire()`; FILLING, while the request is written; SENT, while the device has it; USED, when it
 * came back, or never will; and FREE again by `Driver.release()`.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import type { Status } from "../../sys/errno.ts";
import type { NativeMemory } from "../../sys/native_memory.ts";
import { DESC, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from "../../wire/virtio_ring.ts";

/** The states of a slot. */
export const SLOT = { FREE: 0, FILLING: 1, SENT: 2, USED: 3 } as const;

/** Descriptors of one request: two headers, arguments, reply, and 1 MiB of data in pieces of 4 KiB at both ends of larger ones. */
export const SEGMENT_COUNT_MAX = 64;

/** One slot. Offsets are in the guest's memory. */
export class Slot {
  /** Its place among the slots of its queue. */
  readonly index: number;
  /** Which queue it belongs to, by its place in the driver's list. */
  readonly queue: number;
  readonly bytes: NativeMemory;
  /** Where a request can be written, and how many bytes there are. */
  readonly request: number;
  readonly requestSizeMax: number;
  /** Where a reply can come to lie, and how many bytes there are. */
  readonly reply: number;
  readonly replySizeMax: number;
  /** Where the descriptors are. */
  readonly table: number;

  state: number = SLOT.FREE;
  segmentCount = 0;
  /** How many bytes the device may write. */
  writableSize = 0;
  /** Bytes that the device wrote, once USED. */
  usedSize = 0;
  /** 0 if the device gave it back; a negative errno if it never will. Once USED. */
  failure: Status = 0;
  /** Called when the slot becomes USED; the callee releases it. Without one, somebody waits for it. */
  onUsed: ((slot: Slot) => void) | null = null;

  constructor(
    place: { readonly index: number; readonly queue: number },
    bytes: NativeMemory,
    areas: {
      readonly request: number;
      readonly requestSizeMax: number;
      readonly reply: number;
      readonly replySizeMax: number;
      readonly table: number;
    },
  ) {
    this.index = place.index;
    this.queue = place.queue;
    this.bytes = bytes;
    this.request = areas.request;
    this.requestSizeMax = areas.requestSizeMax;
    this.reply = areas.reply;
    this.replySizeMax = areas.replySizeMax;
    this.table = areas.table;
  }

  /** Adds `size` bytes at `at` that the device reads. All of these come before those that it writes (virtio 1.3, 2.7.4.2). */
  addReadable(at: number, size: number): void {
    assert(this.writableSize === 0, "what the device reads comes first");
    this.#add(at, size, 0);
  }

  /** Adds `size` bytes at `at` that the device may write. */
  addWritable(at: number, size: number): void {
    this.#add(at, size, VIRTQ_DESC_F_WRITE);
    this.writableSize += size;
  }

  /** Forgets what was added. */
  clear(): void {
    this.segmentCount = 0;
    this.writableSize = 0;
    this.usedSize = 0;
    this.failure = 0;
    this.onUsed = null;
  }

  #add(at: number, size: number, flags: number): void {
    if (size === 0) return;
    assert(this.segmentCount < SEGMENT_COUNT_MAX, "a request has at most 64 pieces");
    const { view } = this.bytes;
    const entry = this.table + this.segmentCount * DESC.SIZE;
    if (this.segmentCount > 0) {
      const before = entry - DESC.SIZE;
      const chained = view.getUint16(before + DESC.FLAGS, true) | VIRTQ_DESC_F_NEXT;
      view.setUint16(before + DESC.FLAGS, chained, true);
    }
    this.bytes.setU64(entry + DESC.ADDR, at);
    view.setUint32(entry + DESC.LEN, size, true);
    view.setUint16(entry + DESC.FLAGS, flags, true);
    this.segmentCount++;
    view.setUint16(entry + DESC.NEXT, this.segmentCount, true);
  }
}
