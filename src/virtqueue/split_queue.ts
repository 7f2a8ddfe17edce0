/**
 * The device's side of a split virtqueue (virtio 1.3, 2.7).
 *
 * Addresses are validated once, when the queue is made; after that the ring's fields have named accessors. The
 * guest writes to this memory while we read it: every field is read once per use, and the copy is checked.
 *
 * A driver that breaks the ring's rules breaks this queue only: `broken` then says why, and nothing more is
 * taken from it until it is set up anew.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { GuestMemory, GuestRegion } from "../memory/guest_memory.ts";
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
  VIRTQ_DESC_F_WRITE,
  VIRTQ_SIZE_MAX,
  VIRTQ_USED_F_NO_NOTIFY,
} from "../wire/virtio_ring.ts";
import type { Chain } from "./chain.ts";
import { passes, wrap16 } from "../wire/ring_index.ts";

/** Where a queue lies, in front-end addresses (vhost-user: SET_VRING_ADDR), and where it was left off. */
export interface QueueAddresses {
  readonly size: number;
  readonly descriptors: number;
  readonly avail: number;
  readonly used: number;
  /** The next avail index to take (vhost-user: SET_VRING_BASE). */
  readonly base: number;
  readonly eventIdx: boolean;
}

/** Guest-physical addresses at or above 2^53 are in no region; they are not representable, so they become this. */
const NOWHERE = 2 ** 53;

/** One queue, used by one thread. */
export class SplitQueue {
  /** Why the queue broke, or null while it works. */
  broken: string | null = null;

  readonly size: number;
  readonly #memory: GuestMemory;
  readonly #eventIdx: boolean;
  readonly #descView: DataView;
  readonly #desc: number;
  /** Views whose element 0 is the area's first byte. */
  readonly #avail: Uint16Array;
  readonly #used16: Uint16Array;
  readonly #used32: Uint32Array;
  #nextAvail: number;
  #nextUsed: number;
  /** The used index as the driver last saw it when we decided on a notification. */
  #notifiedUsed: number;

  private constructor(
    memory: GuestMemory,
    addresses: QueueAddresses,
    desc: GuestRegion,
    avail: GuestRegion,
    used: GuestRegion,
  ) {
    const { size } = addresses;
    this.size = size;
    this.#memory = memory;
    this.#eventIdx = addresses.eventIdx;
    this.#descView = desc.bytes.view;
    this.#desc = addresses.descriptors - desc.userAddress;
    this.#avail = new Uint16Array(
      avail.bytes.u8.buffer,
      addresses.avail - avail.userAddress,
      availAreaSize(size) / 2,
    );
    const usedOffset = addresses.used - used.userAddress;
    this.#used16 = new Uint16Array(used.bytes.u8.buffer, usedOffset, usedAreaSize(size) / 2);
    this.#used32 = new Uint32Array(used.bytes.u8.buffer, usedOffset, (usedAreaSize(size) - 2) / 4);
    this.#nextAvail = addresses.base;
    // The used index continues where the ring left it: after a restart it differs from the base by nothing in flight.
    this.#nextUsed = Atomics.load(this.#used16, USED.IDX / 2);
    this.#notifiedUsed = this.#nextUsed;
  }

  /** The queue at these addresses, or the reason why they cannot hold one. */
  static create(memory: GuestMemory, addresses: QueueAddresses): SplitQueue | string {
    const { size } = addresses;
    if (size < 1 || size > VIRTQ_SIZE_MAX || (size & (size - 1)) !== 0) {
      return `queue size ${size} is not a power of two up to ${VIRTQ_SIZE_MAX}`;
    }
    const desc = memory.regionOfUser(addresses.descriptors, descriptorAreaSize(size));
    const avail = memory.regionOfUser(addresses.avail, availAreaSize(size));
    const used = memory.regionOfUser(addresses.used, usedAreaSize(size));
    if (desc === null) return "the descriptor table lies outside the guest's memory";
    if (avail === null) return "the available ring lies outside the guest's memory";
    if (used === null) return "the used ring lies outside the guest's memory";
    // virtio 1.3, 2.7: alignments 16, 2 and 4. The table is read through a DataView, which needs none.
    if ((addresses.avail - avail.userAddress) % 2 !== 0 || avail.bytes.address % 2 !== 0) {
      return "the available ring is not aligned to 2 bytes";
    }
    if ((addresses.used - used.userAddress) % 4 !== 0 || used.bytes.address % 4 !== 0) {
      return "the used ring is not aligned to 4 bytes";
    }
    return new SplitQueue(memory, addresses, desc, avail, used);
  }

  /** The next avail index: the answer to vhost-user: GET_VRING_BASE. */
  get base(): number {
    return this.#nextAvail;
  }

  /** The next used index. */
  get nextUsed(): number {
    return this.#nextUsed;
  }

  /** Whether used buffers were staged that {@linkcode publish} was not called for. */
  get hasUnpublished(): boolean {
    return this.#notifiedUsed !== this.#nextUsed;
  }

  /** Whether the driver has made something available that was not taken yet. */
  get hasAvailable(): boolean {
    return this.broken === null && this.#availIdx() !== this.#nextAvail;
  }

  /** Takes the next chain. False if there is none, or if the queue is (or thereby became) broken. */
  pop(chain: Chain): boolean {
    if (this.broken !== null) return false;
    // Atomics.load: orders the read of the index before the reads of the ring entry and the descriptors.
    const waiting = wrap16(this.#availIdx() - this.#nextAvail);
    if (waiting === 0) return false;
    if (waiting > this.size) {
      return this.#break(
        `the driver claims ${waiting} available buffers in a queue of ${this.size}`,
      );
    }
    const entry = AVAIL.RING / 2 + (this.#nextAvail & (this.size - 1));
    const head = this.#avail[entry]!;
    if (head >= this.size) {
      return this.#break(`available entry names descriptor ${head} in a queue of ${this.size}`);
    }
    if (!this.load(chain, head)) return false;
    this.#nextAvail = wrap16(this.#nextAvail + 1);
    return true;
  }

  /** Loads the chain that starts at `head` (again, for a request that was put aside). False breaks the queue. */
  load(chain: Chain, head: number): boolean {
    chain.clear(head);
    return this.#walk(chain, this.#descView, this.#desc, this.size, head, false);
  }

  #walk(
    chain: Chain,
    view: DataView,
    table: number,
    count: number,
    first: number,
    inIndirect: boolean,
  ): boolean {
    let index = first;
    for (let walked = 0; walked < count; walked++) {
      const at = table + index * DESC.SIZE;
      const addressHi = view.getUint32(at + DESC.ADDR + 4, true);
      const address = addressHi >= 0x200000
        ? NOWHERE
        : view.getUint32(at + DESC.ADDR, true) + addressHi * 4294967296;
      const size = view.getUint32(at + DESC.LEN, true);
      const flags = view.getUint16(at + DESC.FLAGS, true);
      const next = view.getUint16(at + DESC.NEXT, true);
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        // virtio 1.3, 2.7.5.3.1: no indirect inside indirect, and not together with NEXT.
        if (inIndirect) return this.#break("an indirect descriptor inside an indirect table");
        if ((flags & VIRTQ_DESC_F_NEXT) !== 0) {
          return this.#break("an indirect descriptor with a next one");
        }
        return this.#walkIndirect(chain, address, size);
      }
      if (address === NOWHERE) return this.#break("a buffer outside the guest's memory");
      if (!chain.add(this.#memory, address, size, (flags & VIRTQ_DESC_F_WRITE) !== 0)) {
        return this.#break(
          "a buffer out of order (readable behind writable), or a chain too long",
        );
      }
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return true;
      if (next >= count) return this.#break(`descriptor ${next} of a table of ${count}`);
      index = next;
    }
    return this.#break("a descriptor chain that loops");
  }

  #walkIndirect(chain: Chain, address: number, size: number): boolean {
    const region = this.#memory.regionOf(address);
    const end = region === null || !region.touchable ? 0 : region.guestAddress + region.size;
    if (region === null || address + size > end) {
      return this.#break("an indirect table outside the guest's memory");
    }
    if (size === 0 || size % DESC.SIZE !== 0 || size / DESC.SIZE > VIRTQ_SIZE_MAX) {
      return this.#break(`an indirect table of ${size} bytes`);
    }
    const table = address - region.guestAddress;
    return this.#walk(chain, region.bytes.view, table, size / DESC.SIZE, 0, true);
  }

  /** Stages a used buffer; the driver sees it after {@linkcode publish}. */
  push(head: number, size: number): void {
    assert(head < this.size, "head < size");
    const entry = (USED.RING + (this.#nextUsed & (this.size - 1)) * USED.ELEM_SIZE) / 4;
    this.#used32[entry] = head;
    this.#used32[entry + 1] = size;
    this.#nextUsed = wrap16(this.#nextUsed + 1);
  }

  /** Shows all staged buffers to a driver that looks by itself. Whether it wants to be notified is asked by {@linkcode publish}. */
  show(): void {
    // Atomics.store: orders the used entries, and the replies they point to, before the index; and, being a full
    // barrier, the index before the read of used_event or flags in publish() (virtio 1.3, 2.7.13).
    Atomics.store(this.#used16, USED.IDX / 2, this.#nextUsed);
  }

  /** Shows all staged buffers to the driver. True if it wants to be notified of them, or of others shown since it was last asked. */
  publish(): boolean {
    const before = this.#notifiedUsed;
    if (before === this.#nextUsed) return false;
    this.show();
    this.#notifiedUsed = this.#nextUsed;
    if (!this.#eventIdx) {
      return (Atomics.load(this.#avail, AVAIL.FLAGS / 2) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
    }
    const usedEvent = Atomics.load(this.#avail, AVAIL.RING / 2 + this.size);
    return passes(usedEvent, before, this.#nextUsed);
  }

  /**
   * Asks the driver to kick at the next buffer it makes available. True if one has appeared meanwhile: then it may
   * not have kicked, and the caller must not sleep.
   */
  askForKick(): boolean {
    if (this.broken !== null) return false;
    if (this.#eventIdx) {
      // Atomics.store: a full barrier, orders avail_event before the read of the avail index below.
      Atomics.store(this.#used16, (USED.RING + this.size * USED.ELEM_SIZE) / 2, this.#nextAvail);
    } else {
      Atomics.store(this.#used16, USED.FLAGS / 2, 0);
    }
    return this.#availIdx() !== this.#nextAvail;
  }

  /** Tells the driver that kicks are not needed for now. With EVENT_IDX a stale avail_event says it already. */
  declineKicks(): void {
    if (!this.#eventIdx) Atomics.store(this.#used16, USED.FLAGS / 2, VIRTQ_USED_F_NO_NOTIFY);
  }

  #availIdx(): number {
    return Atomics.load(this.#avail, AVAIL.IDX / 2);
  }

  /** Breaks the queue for a reason that only its user can see. */
  fail(reason: string): void {
    this.broken ??= reason;
  }

  #break(reason: string): false {
    this.broken = reason;
    return false;
  }
}
