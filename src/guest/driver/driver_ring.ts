/**
 * The driver's side of a split virtqueue (virtio 1.3, 2.7): offers chains, takes back used ones, and decides when the
 * other side has to be told.
 *
 * The device writes the used ring while we read it. Each field is read once, and what it says is checked: a device that
 * returns what it was not given breaks this ring, once, with a reason.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import type { NativeMemory } from "../../sys/native_memory.ts";
import { passes, wrap16 } from "../../wire/ring_index.ts";
import {
  AVAIL,
  availAreaSize,
  DESC,
  descriptorAreaSize,
  USED,
  usedAreaSize,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_USED_F_NO_NOTIFY,
} from "../../wire/virtio_ring.ts";
import type { RingLayout } from "../frontend/frontend.ts";

/** {@linkcode DriverRing.take}: nothing has been used since. */
export const NOTHING_USED = -1;

const NOT_IN_FLIGHT = -1;

/** Where the three areas of a ring of `size` descriptors lie from `at` on, and how long they are together. */
export function ringLayout(at: number, size: number): RingLayout & { readonly length: number } {
  const avail = at + descriptorAreaSize(size);
  const used = (avail + availAreaSize(size) + 3) & ~3;
  return { size, descriptors: at, avail, used, length: used + usedAreaSize(size) - at };
}

/** One ring, used by one thread. */
export class DriverRing {
  /** Why the ring broke, or null while it works. */
  broken: string | null = null;
  /** Bytes that the device wrote into the chain last taken. */
  usedSize = 0;

  readonly size: number;
  readonly #indirect: boolean;
  readonly #eventIdx: boolean;
  readonly #view: DataView<ArrayBuffer>;
  readonly #desc: number;
  /** Views whose element 0 is the area's first byte. */
  readonly #avail: Uint16Array<ArrayBuffer>;
  readonly #used16: Uint16Array<ArrayBuffer>;
  readonly #used32: Uint32Array<ArrayBuffer>;
  /** The next free descriptor by descriptor: a linked list. */
  readonly #nextFree: Uint16Array<ArrayBuffer>;
  /** By head: the caller's name for the chain in flight, or NOT_IN_FLIGHT; and its number of descriptors. */
  readonly #names: Int32Array<ArrayBuffer>;
  readonly #lengths: Uint16Array<ArrayBuffer>;
  #firstFree = 0;
  #freeCount: number;
  #nextAvail = 0;
  #publishedAvail = 0;
  #nextUsed = 0;

  constructor(
    memory: NativeMemory,
    layout: RingLayout,
    features: { readonly indirect: boolean; readonly eventIdx: boolean },
  ) {
    const { size } = layout;
    this.size = size;
    this.#indirect = features.indirect;
    this.#eventIdx = features.eventIdx;
    this.#view = memory.view;
    this.#desc = layout.descriptors;
    const { buffer } = memory.u8;
    this.#avail = new Uint16Array(buffer, layout.avail, availAreaSize(size) / 2);
    this.#used16 = new Uint16Array(buffer, layout.used, usedAreaSize(size) / 2);
    this.#used32 = new Uint32Array(buffer, layout.used, (usedAreaSize(size) - 2) / 4);
    this.#nextFree = Uint16Array.from({ length: size }, (_, index) => index + 1);
    this.#names = new Int32Array(size).fill(NOT_IN_FLIGHT);
    this.#lengths = new Uint16Array(size);
    this.#freeCount = size;
  }

  /** Whether a chain of `count` descriptors finds room. */
  hasRoom(count: number): boolean {
    return this.#freeCount >= (this.#indirect ? 1 : count);
  }

  /**
   * Offers the chain whose `count` descriptors stand at `table`, an offset in the guest's memory, in the form of an indirect table. It
   * must find room. `name` (0 or more) is what {@linkcode DriverRing.take} will call it.
   */
  add(name: number, table: number, count: number): void {
    assert(this.hasRoom(count), "a chain is added where there is room");
    const head = this.#firstFree;
    if (this.#indirect) {
      this.#firstFree = this.#nextFree[head]!;
      this.#writeDescriptor(head, table, count * DESC.SIZE, VIRTQ_DESC_F_INDIRECT, 0);
      this.#lengths[head] = 1;
    } else {
      this.#copyTable(table, count);
      this.#lengths[head] = count;
    }
    this.#freeCount -= this.#lengths[head]!;
    this.#names[head] = name;
    this.#avail[AVAIL.RING / 2 + (this.#nextAvail & (this.size - 1))] = head;
    this.#nextAvail = wrap16(this.#nextAvail + 1);
  }

  /** Shows what was added. Returns whether the device wants a kick for it. */
  publish(): boolean {
    const before = this.#publishedAvail;
    const after = this.#nextAvail;
    if (before === after) return false;
    this.#publishedAvail = after;
    // Atomics.store: orders the descriptors and ring entries before the index that shows them, and the index before the
    // read of what the device last asked for.
    Atomics.store(this.#avail, AVAIL.IDX / 2, after);
    if (this.#eventIdx) {
      const event = Atomics.load(this.#used16, USED.RING / 2 + 4 * this.size);
      return passes(event, before, after);
    }
    return (Atomics.load(this.#used16, USED.FLAGS / 2) & VIRTQ_USED_F_NO_NOTIFY) === 0;
  }

  /** Whether something was used that has not been taken yet. */
  get hasUsed(): boolean {
    return this.broken === null && Atomics.load(this.#used16, USED.IDX / 2) !== this.#nextUsed;
  }

  /**
   * Takes back the next used chain: its name, or NOTHING_USED. {@linkcode DriverRing.usedSize} then says how many bytes the device wrote.
   * When the ring is broken nothing more comes back.
   */
  take(): number {
    if (this.broken !== null) return NOTHING_USED;
    // Atomics.load: orders the read of the index before the reads of the entry and of what the device wrote.
    const waiting = wrap16(Atomics.load(this.#used16, USED.IDX / 2) - this.#nextUsed);
    if (waiting === 0) return NOTHING_USED;
    if (waiting > this.size) {
      return this.#break(`the device claims ${waiting} used buffers in a queue of ${this.size}`);
    }
    const entry = (USED.RING + USED.ELEM_SIZE * (this.#nextUsed & (this.size - 1))) / 4;
    const head = this.#used32[entry + USED.ELEM_ID / 4]!;
    this.usedSize = this.#used32[entry + USED.ELEM_LEN / 4]!;
    const name = head < this.size ? this.#names[head]! : NOT_IN_FLIGHT;
    if (name === NOT_IN_FLIGHT) {
      return this.#break(`the device returned descriptor ${head}, which it does not have`);
    }
    this.#nextUsed = wrap16(this.#nextUsed + 1);
    this.#names[head] = NOT_IN_FLIGHT;
    this.#free(head);
    return name;
  }

  /**
   * Asks to be told of the next used chain. True if there is one already: then nobody will tell, and the caller looks again before it
   * sleeps.
   */
  askForCall(): boolean {
    if (this.broken !== null) return true;
    // Atomics.store, then load: the wish is visible before we look whether it came too late.
    if (this.#eventIdx) {
      Atomics.store(this.#avail, AVAIL.RING / 2 + this.size, this.#nextUsed);
    } else {
      Atomics.store(this.#avail, AVAIL.FLAGS / 2, 0);
    }
    return this.hasUsed;
  }

  /** Says that nobody sleeps. With EVENT_IDX the last wish stands until it is renewed, so there is nothing to say. */
  declineCalls(): void {
    if (!this.#eventIdx) this.#avail[AVAIL.FLAGS / 2] = VIRTQ_AVAIL_F_NO_INTERRUPT;
  }

  #copyTable(table: number, count: number): void {
    let index = this.#firstFree;
    for (let i = 0; i < count; i++) {
      const from = table + i * DESC.SIZE;
      const to = this.#desc + index * DESC.SIZE;
      const next = this.#nextFree[index]!;
      for (let at = 0; at < DESC.SIZE; at += 4) {
        this.#view.setUint32(to + at, this.#view.getUint32(from + at, true), true);
      }
      if ((this.#view.getUint16(from + DESC.FLAGS, true) & VIRTQ_DESC_F_NEXT) !== 0) {
        this.#view.setUint16(to + DESC.NEXT, next, true);
      }
      index = next;
    }
    this.#firstFree = index;
  }

  /** Descriptors keep their order in the free list, so that a chain's are found by following it. */
  #free(head: number): void {
    const length = this.#lengths[head]!;
    let last = head;
    for (let i = 1; i < length; i++) last = this.#nextFree[last]!;
    this.#nextFree[last] = this.#firstFree;
    this.#firstFree = head;
    this.#freeCount += length;
  }

  #writeDescriptor(
    index: number,
    address: number,
    length: number,
    flags: number,
    next: number,
  ): void {
    const at = this.#desc + index * DESC.SIZE;
    this.#view.setUint32(at + DESC.ADDR, address >>> 0, true);
    this.#view.setUint32(at + DESC.ADDR + 4, Math.floor(address / 4294967296), true);
    this.#view.setUint32(at + DESC.LEN, length, true);
    this.#view.setUint16(at + DESC.FLAGS, flags, true);
    this.#view.setUint16(at + DESC.NEXT, next, true);
  }

  #break(reason: string): number {
    this.broken = reason;
    return NOTHING_USED;
  }
}
