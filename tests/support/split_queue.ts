/**
 * The driver's side of a split virtqueue (virtio 1.3, 2.7): any layout of descriptors, direct or
 * indirect, many chains outstanding, both ways of suppressing notifications.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { GuestRegion } from "./guest_memory.ts";
import { close, eventfd, eventfdSignal, eventfdTake, waitReadable } from "./libc.ts";

/** Descriptor flags (virtio 1.3, 2.7.5). */
export const DESC_F = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;

/** How long a chain may stay with the device before the test fails. */
export const USED_TIMEOUT_MS = 10_000;

interface Block {
  readonly region: GuestRegion;
  readonly offset: number;
  readonly size: number;
}

interface Outstanding {
  readonly descriptors: number[];
  readonly table: Block | null;
  readonly readable: Block[];
  readonly writable: Block[];
}

/** A chain that the device has given back. */
export interface Used {
  readonly head: number;
  /** The length in the used ring. */
  readonly length: number;
  /** The bytes of the writable part, as many as the device says it wrote. */
  readonly written: Uint8Array;
}

/** How a ring is to be driven. */
export interface SplitQueueOptions {
  readonly eventIdx?: boolean;
  /** Where the three parts of the ring lie; buffers go round robin into `buffers`. */
  readonly ring: GuestRegion;
  readonly buffers: readonly GuestRegion[];
}

/** One ring. The index fields are free-running 16-bit counters, as in the specification. */
export class SplitQueue {
  readonly kickFd = eventfd();
  readonly callFd = eventfd();
  readonly descriptorOffset: number;
  readonly availOffset: number;
  readonly usedOffset: number;
  readonly eventIdx: boolean;
  readonly ring: GuestRegion;
  /** Notifications sent to the device, and received from it. */
  kicks = 0;
  interrupts = 0;
  readonly #buffers: readonly GuestRegion[];
  readonly #free: number[] = [];
  readonly #outstanding = new Map<number, Outstanding>();
  readonly #ring16: Uint16Array;
  #availIndex = 0;
  #published = 0;
  #usedIndex = 0;
  #nextBuffer = 0;

  constructor(readonly size: number, options: SplitQueueOptions) {
    this.eventIdx = options.eventIdx ?? false;
    this.ring = options.ring;
    this.#buffers = options.buffers;
    this.descriptorOffset = this.ring.allocate(16 * size, 16, true);
    this.availOffset = this.ring.allocate(6 + 2 * size, 2, true);
    this.usedOffset = this.ring.allocate(6 + 8 * size, 4, true);
    this.#ring16 = new Uint16Array(this.ring.bytes.buffer);
    for (let index = size - 1; index >= 0; index -= 1) this.#free.push(index);
  }

  /** Chains that the device has not given back. */
  get outstanding(): number {
    return this.#outstanding.size;
  }

  /** Descriptors that are not in any chain. */
  get freeDescriptors(): number {
    return this.#free.length;
  }

  get availIndex(): number {
    return this.#availIndex;
  }

  get usedIndex(): number {
    return this.#usedIndex;
  }

  /** Starts both counters at a value, as after a migration or just before the wrap-around. */
  startAt(index: number): void {
    assert.equal(this.#outstanding.size, 0);
    this.#availIndex = this.#published = this.#usedIndex = index & 0xffff;
    this.#store16(this.availOffset + 2, this.#availIndex);
    this.#store16(this.usedOffset + 2, this.#usedIndex);
    this.setUsedEvent(this.#usedIndex);
    // avail_event belongs to the device, which has not run yet: what a migrated ring would hold.
    this.#store16(this.usedOffset + 4 + 8 * this.size, this.#availIndex);
  }

  // --- raw access, for tests that build the rings they want ---------------------------------

  /** Writes one descriptor into the ring's table. */
  writeDescriptor(index: number, address: number, length: number, flags: number, next = 0): void {
    writeDescriptor(this.ring.view, this.descriptorOffset + 16 * index, {
      address,
      length,
      flags,
      next,
    });
  }

  /** Makes a head available without looking at what it leads to. */
  pushHead(head: number): void {
    const slot = this.#availIndex % this.size;
    this.ring.view.setUint16(this.availOffset + 4 + 2 * slot, head, true);
    this.#availIndex = (this.#availIndex + 1) & 0xffff;
  }

  /** Moves the available index without having filled the slots. */
  jumpAvailIndex(by: number): void {
    this.#availIndex = (this.#availIndex + by) & 0xffff;
  }

  /** Kicks whether the device wants it or not. */
  kickAlways(): void {
    this.kicks += 1;
    eventfdSignal(this.kickFd);
  }

  /** The index that the device has written into the used ring. */
  deviceUsedIndex(): number {
    return this.#load16(this.usedOffset + 2);
  }

  /** One element of the used ring. */
  usedElement(index: number): { id: number; length: number } {
    const at = this.usedOffset + 4 + 8 * (index % this.size);
    return {
      id: this.ring.view.getUint32(at, true),
      length: this.ring.view.getUint32(at + 4, true),
    };
  }

  /** `avail.flags`: 1 asks the device not to interrupt (without EVENT_IDX). */
  setAvailFlags(flags: number): void {
    this.#store16(this.availOffset, flags);
  }

  /** EVENT_IDX: the device interrupts when its used index passes this value. */
  setUsedEvent(index: number): void {
    this.#store16(this.availOffset + 4 + 2 * this.size, index & 0xffff);
  }

  // --- chains ------------------------------------------------------------------------------

  /**
   * Puts a chain into the available ring: one descriptor for each piece. Not visible to the device
   * before `publish`. `contiguous` places the pieces one behind the other in one block of memory.
   */
  add(
    readable: readonly Uint8Array[],
    writable: readonly number[],
    layout: { indirect?: boolean } = {},
  ): number {
    const count = readable.length + writable.length;
    assert.ok(count > 0, "a chain has at least one descriptor");
    const readableBlocks = readable.map((piece) => {
      const block = this.#allocate(piece.length);
      block.region.bytes.set(piece, block.offset);
      return block;
    });
    // Stale bytes would hide a device that reports more than it wrote.
    const writableBlocks = writable.map((size) => {
      const block = this.#allocate(size);
      block.region.bytes.fill(0xa5, block.offset, block.offset + Math.min(size, 4096));
      return block;
    });
    const blocks = [...readableBlocks, ...writableBlocks];
    const indirect = layout.indirect ?? false;
    assert.ok(this.#free.length >= (indirect ? 1 : count), "the ring is full");
    const descriptors = Array.from({ length: indirect ? 1 : count }, () => this.#free.pop()!);
    const table = indirect ? this.#allocate(16 * count) : null;
    blocks.forEach((block, index) => {
      const last = index === count - 1;
      const flags = (last ? 0 : DESC_F.NEXT) | (index >= readable.length ? DESC_F.WRITE : 0);
      const fields = { address: addressOf(block), length: block.size, flags, next: 0 };
      if (table !== null) {
        fields.next = last ? 0 : index + 1;
        writeDescriptor(table.region.view, table.offset + 16 * index, fields);
      } else {
        fields.next = last ? 0 : descriptors[index + 1]!;
        writeDescriptor(
          this.ring.view,
          this.descriptorOffset + 16 * descriptors[index]!,
          fields,
        );
      }
    });
    const head = descriptors[0]!;
    if (table !== null) {
      this.writeDescriptor(head, addressOf(table), table.size, DESC_F.INDIRECT);
    }
    this.#outstanding.set(head, {
      descriptors,
      table,
      readable: readableBlocks,
      writable: writableBlocks,
    });
    this.pushHead(head);
    return head;
  }

  /** Shows the device everything that was added, and kicks if the device asked for it. */
  publish(): void {
    const before = this.#published;
    this.#store16(this.availOffset + 2, this.#availIndex); // seq-cst: orders it before the next load
    this.#published = this.#availIndex;
    if (before === this.#availIndex) return;
    if (this.eventIdx) {
      const event = this.#load16(this.usedOffset + 4 + 8 * this.size);
      if (!passes(event, this.#availIndex, before)) return;
    } else if ((this.#load16(this.usedOffset) & 1) !== 0) {
      return;
    }
    this.kickAlways();
  }

  /** Takes one chain back, or null when the device has not finished any. */
  take(): Used | null {
    if (this.deviceUsedIndex() === this.#usedIndex) return null;
    const { id, length } = this.usedElement(this.#usedIndex);
    this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    const chain = this.#outstanding.get(id);
    assert.ok(chain !== undefined, `the device gave back ${id}, which it does not have`);
    this.#outstanding.delete(id);
    const capacity = chain.writable.reduce((sum, block) => sum + block.size, 0);
    assert.ok(length <= capacity, `used length ${length} exceeds the writable part, ${capacity}`);
    const written = new Uint8Array(length);
    let at = 0;
    for (const block of chain.writable) {
      if (at >= length) break;
      const part = Math.min(block.size, length - at);
      written.set(block.region.bytes.subarray(block.offset, block.offset + part), at);
      at += part;
    }
    for (const block of [...chain.readable, ...chain.writable]) {
      block.region.release(block.offset, block.size);
    }
    if (chain.table !== null) chain.table.region.release(chain.table.offset, chain.table.size);
    for (const descriptor of chain.descriptors.reverse()) this.#free.push(descriptor);
    return { head: id, length, written };
  }

  /** Takes one chain back and sleeps on the interrupt until there is one. */
  waitTake(timeoutMs = USED_TIMEOUT_MS): Used {
    const used = this.tryTake(timeoutMs);
    if (used !== null) return used;
    throw new Error(
      `no interrupt within ${timeoutMs} ms; used index ${this.deviceUsedIndex()}, ` +
        `taken ${this.#usedIndex}, available ${this.#availIndex}`,
    );
  }

  /** As `waitTake`, but null when nothing came. Once asleep, only an interrupt wakes it. */
  tryTake(timeoutMs: number): Used | null {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const used = this.take();
      if (used !== null) return used;
      // Arm, then look again: a chain that comes in between has its interrupt suppressed.
      if (this.eventIdx) this.setUsedEvent(this.#usedIndex);
      const late = this.take();
      if (late !== null) return late;
      if (!waitReadable(this.callFd, deadline - performance.now())) return null;
      this.interrupts += eventfdTake(this.callFd);
    }
  }

  /** Interrupts that have arrived and that nobody took. */
  takeInterrupts(): number {
    return eventfdTake(this.callFd);
  }

  /** Closes the eventfds. */
  dispose(): void {
    close(this.kickFd);
    close(this.callFd);
  }

  #allocate(size: number): Block {
    const region = this.#buffers[this.#nextBuffer % this.#buffers.length]!;
    this.#nextBuffer += 1;
    return { region, offset: region.allocate(size), size };
  }

  #store16(offset: number, value: number): void {
    Atomics.store(this.#ring16, offset / 2, value);
  }

  #load16(offset: number): number {
    return Atomics.load(this.#ring16, offset / 2);
  }
}

/** virtio 1.3, 2.7.7.2: has the index `event` been passed by moving from `before` to `now`? */
export function passes(event: number, now: number, before: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
}

function addressOf(block: Block): number {
  return block.region.guestAddress + block.offset;
}

/** Writes one descriptor anywhere, for instance into an indirect table. */
export function writeDescriptor(
  view: DataView,
  at: number,
  fields: { address: number | bigint; length: number; flags: number; next: number },
): void {
  view.setBigUint64(at, BigInt(fields.address), true);
  view.setUint32(at + 8, fields.length, true);
  view.setUint16(at + 12, fields.flags, true);
  view.setUint16(at + 14, fields.next, true);
}
