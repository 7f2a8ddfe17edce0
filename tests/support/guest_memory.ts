/**
 * The memory of a pretended guest: several memfds at chosen guest-physical addresses, with a small
 * allocator so that the driver can put rings and buffers into any of them.
 *
 * @module
 */
import { close, type Mapping, mapShared, memfd } from "./libc.ts";

/** One region: guest-physical `[guestAddress, guestAddress + size)` is `fd` from `fileOffset` on. */
export class GuestRegion {
  readonly fd: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly userAddress: number;
  readonly #mapping: Mapping;
  readonly #free = new Map<number, number[]>();
  #next = 0;

  constructor(
    readonly guestAddress: number,
    readonly size: number,
    readonly fileOffset = 0,
  ) {
    this.fd = memfd("guest", fileOffset + size);
    this.#mapping = mapShared(this.fd, size, fileOffset);
    this.userAddress = this.#mapping.address;
    this.bytes = new Uint8Array(this.#mapping.buffer);
    this.view = new DataView(this.#mapping.buffer);
  }

  /** An offset in the region with `size` bytes behind it that nobody uses; zeroed when `zero`. */
  allocate(size: number, alignment = 1, zero = false): number {
    const rounded = Math.max(16, 2 ** Math.ceil(Math.log2(Math.max(1, size))));
    const recycled = this.#free.get(rounded)?.pop();
    let offset = recycled;
    if (offset === undefined || offset % alignment !== 0) {
      // A recycled block that does not fit the alignment is lost; only rings ask for one.
      offset = Math.ceil(this.#next / alignment) * alignment;
      this.#next = offset + rounded;
      if (this.#next > this.size) throw new Error("guest memory is used up");
    }
    if (zero) this.bytes.fill(0, offset, offset + size);
    return offset;
  }

  /** Gives a block of `allocate` back. */
  release(offset: number, size: number): void {
    const rounded = Math.max(16, 2 ** Math.ceil(Math.log2(Math.max(1, size))));
    const list = this.#free.get(rounded);
    if (list === undefined) this.#free.set(rounded, [offset]);
    else list.push(offset);
  }

  /** Unmaps and closes; nothing may touch `bytes` or `view` afterwards. */
  dispose(): void {
    this.#mapping.unmap();
    close(this.fd);
  }
}

const MIB = 1 << 20;

/** Regions at the addresses where real machines have them, and at some where none has. */
export function ordinaryRegions(): GuestRegion[] {
  return [
    new GuestRegion(0, 16 * MIB),
    new GuestRegion(0x1_0000_0000, 16 * MIB, 0x3000),
    new GuestRegion(0x7f_dead_f000, 16 * MIB, 0x1000),
  ];
}
