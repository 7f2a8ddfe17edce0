/**
 * One request's buffers: a descriptor chain as two byte streams, what the device reads and what it writes.
 * Descriptor boundaries carry no meaning (virtio 1.3, 2.7.4), so users name bytes by their offset in a
 * stream.
 *
 * One object per queue, loaded again for each request: nothing is allocated.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { copyBytes } from "../memory/copy.ts";
import type { GuestMemory, GuestRegion } from "../memory/guest_memory.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { IOV_MAX, IOVEC } from "../wire/linux.ts";
import { VIRTQ_SIZE_MAX } from "../wire/virtio_ring.ts";

/** Pieces of host memory in one chain: a descriptor each, a few more where one crosses into the next region. */
export const SEGMENT_COUNT_MAX = VIRTQ_SIZE_MAX + 64;

const IOVEC_WORDS = IOVEC.SIZE >>> 2;
const LEN_LO = IOVEC.LEN >>> 2;

/** Bytes in each direction; beyond any request (1 MiB of data), below what an i32 result can say. */
const STREAM_SIZE_MAX = 1 << 30;

/** The loaded chain. */
export class Chain {
  /** Index of the first descriptor: what goes into the used ring. */
  head = 0;
  /** Bytes the device may read, and write; up to the first byte that lies outside the guest's memory. */
  readableSize = 0;
  writableSize = 0;
  /**
   * Some buffer lies outside the guest's memory as we know it. Not always nonsense: User Mode Linux names its page of zeros,
   * which is in its program and not in the memory it shares.
   */
  hasUnreachable = false;
  /** iovec array filled by {@linkcode readable} and {@linkcode writable}, for preadv and pwritev. */
  readonly iovecPointer: Deno.PointerObject;
  /** Bytes covered by the array. */
  iovecSize = 0;

  readonly #iovecs: NativeMemory;
  readonly #regions: GuestRegion[] = [];
  readonly #offsets = new Float64Array(SEGMENT_COUNT_MAX);
  readonly #sizes = new Uint32Array(SEGMENT_COUNT_MAX);
  #readableCount = 0;
  #count = 0;
  #hasWritable = false;
  /** The stream being added to has met an unreachable byte. */
  #ended = false;

  constructor() {
    this.#iovecs = NativeMemory.allocate(IOV_MAX * IOVEC.SIZE);
    this.iovecPointer = this.#iovecs.pointerAt(0);
  }

  clear(head: number): void {
    this.head = head;
    this.readableSize = 0;
    this.writableSize = 0;
    this.hasUnreachable = false;
    this.#readableCount = 0;
    this.#count = 0;
    this.#hasWritable = false;
    this.#ended = false;
  }

  /**
   * Adds a descriptor's buffer. False if it is readable after a writable one (virtio 1.3, 2.7.4.2), or if the chain is
   * longer than any driver makes.
   */
  add(memory: GuestMemory, guestAddress: number, size: number, writable: boolean): boolean {
    let address = guestAddress;
    let left = size;
    if (!writable && this.#hasWritable) return false;
    // A stream ends at its first unreachable byte: it has no holes.
    if (writable && !this.#hasWritable) this.#ended = false;
    this.#hasWritable = writable;
    while (left > 0 && !this.#ended) {
      if (this.#count >= SEGMENT_COUNT_MAX) return false;
      const region = memory.regionOf(address);
      if (region === null) {
        this.#ended = true;
        this.hasUnreachable = true;
        break;
      }
      const offset = address - region.guestAddress;
      const here = Math.min(left, region.size - offset);
      this.#regions[this.#count] = region;
      this.#offsets[this.#count] = offset;
      this.#sizes[this.#count] = here;
      this.#count++;
      address += here;
      left -= here;
    }
    const reached = size - left;
    if (writable) {
      this.writableSize += reached;
    } else {
      this.#readableCount = this.#count;
      this.readableSize += reached;
    }
    return this.readableSize <= STREAM_SIZE_MAX && this.writableSize <= STREAM_SIZE_MAX;
  }

  /** Copies readable bytes from `offset` into `target`. What must not be touched counts as zeros: no guest has a request there. */
  copyIn(offset: number, target: NativeMemory, targetOffset: number, size: number): void {
    assert(offset + size <= this.readableSize, "offset + size <= readableSize");
    let skip = offset;
    let to = targetOffset;
    let left = size;
    for (let i = 0; left > 0; i++) {
      const length = this.#sizes[i]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const here = Math.min(left, length - skip);
      const region = this.#regions[i]!;
      if (region.touchable) copyBytes(region.bytes, this.#offsets[i]! + skip, target, to, here);
      else target.u8.fill(0, to, to + here);
      skip = 0;
      to += here;
      left -= here;
    }
  }

  /** Copies `source` into the writable bytes from `offset`, except for those that must not be touched. */
  copyOut(offset: number, source: NativeMemory, sourceOffset: number, size: number): void {
    assert(offset + size <= this.writableSize, "offset + size <= writableSize");
    let skip = offset;
    let from = sourceOffset;
    let left = size;
    for (let i = this.#readableCount; left > 0; i++) {
      const length = this.#sizes[i]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const here = Math.min(left, length - skip);
      const region = this.#regions[i]!;
      if (region.touchable) copyBytes(source, from, region.bytes, this.#offsets[i]! + skip, here);
      skip = 0;
      from += here;
      left -= here;
    }
  }

  /** Fills the iovec array with readable bytes from `offset`, at most `size`; returns the number of vectors. */
  readable(offset: number, size: number): number {
    return this.#fill(0, this.#readableCount, offset, size);
  }

  /** Fills the iovec array with writable bytes from `offset`, at most `size`; returns the number of vectors. */
  writable(offset: number, size: number): number {
    return this.#fill(this.#readableCount, this.#count, offset, size);
  }

  #fill(first: number, end: number, offset: number, size: number): number {
    const iovecs = this.#iovecs.u32;
    let skip = offset;
    let left = size;
    let count = 0;
    let expected = -1;
    for (let i = first; i < end && left > 0; i++) {
      const length = this.#sizes[i]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const here = Math.min(left, length - skip);
      const address = this.#regions[i]!.hostAddress + this.#offsets[i]! + skip;
      if (address === expected) {
        // Guests hand out consecutive pages as separate descriptors: one vector serves both.
        iovecs[(count - 1) * IOVEC_WORDS + LEN_LO]! += here;
      } else {
        if (count === IOV_MAX) break;
        const word = count * IOVEC_WORDS;
        // Halves by hand: a call with a number above 2^31 would box it.
        iovecs[word] = address >>> 0;
        iovecs[word + 1] = (address / 4294967296) >>> 0;
        iovecs[word + LEN_LO] = here;
        iovecs[word + LEN_LO + 1] = 0;
        count++;
      }
      expected = address + here;
      skip = 0;
      left -= here;
    }
    this.iovecSize = size - left;
    return count;
  }
}
