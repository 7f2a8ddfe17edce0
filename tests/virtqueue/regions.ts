/**
 * Guest memory for unit tests: regions over native memory of this process, and the naive view of them, byte
 * by byte.
 *
 * @module
 */

import { GuestMemory } from "../../src/memory/guest_memory.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";

/** Front-end addresses differ from guest-physical ones, so that a mix-up shows. */
export const USER_OFFSET = 0x7f00_0000_0000;

/** Where each region starts in the guest and how large it is. Neighbours may touch. */
export interface RegionSpan {
  readonly guestAddress: number;
  readonly size: number;
}

/** Regions over one piece of native memory, in which they lie in reverse order: neighbours in the guest are none here. */
export class TestRegions {
  readonly memory: GuestMemory;
  readonly spans: readonly RegionSpan[];
  readonly #backing: NativeMemory;
  readonly #offsets: readonly number[];

  constructor(spans: readonly RegionSpan[]) {
    this.spans = spans;
    const offsets: number[] = [];
    let total = 0;
    for (const span of [...spans].reverse()) {
      offsets.unshift(total);
      total += Math.ceil(span.size / 16) * 16;
    }
    this.#offsets = offsets;
    this.#backing = NativeMemory.allocate(Math.max(total, 16));
    this.memory = new GuestMemory(spans.map((span, i) => ({
      guestAddress: span.guestAddress,
      userAddress: span.guestAddress + USER_OFFSET,
      hostAddress: this.#backing.address + offsets[i]!,
      size: span.size,
    })));
  }

  /** Offset in the backing of a guest byte, or -1: every region is looked at for every byte. */
  #offsetOf(address: number): number {
    for (let i = 0; i < this.spans.length; i++) {
      const { guestAddress, size } = this.spans[i]!;
      if (address >= guestAddress && address < guestAddress + size) {
        return this.#offsets[i]! + (address - guestAddress);
      }
    }
    return -1;
  }

  /** Whether all bytes of a guest range exist. */
  contains(address: number, size: number): boolean {
    for (let i = 0; i < size; i++) if (this.#offsetOf(address + i) < 0) return false;
    return true;
  }

  byte(address: number): number {
    return this.#backing.u8[this.#offsetOf(address)]!;
  }

  setByte(address: number, value: number): void {
    this.#backing.u8[this.#offsetOf(address)] = value;
  }

  /** The host address of a guest byte. */
  hostAddress(address: number): number {
    return this.#backing.address + this.#offsetOf(address);
  }

  /** Little-endian stores and loads, byte by byte. */
  store(address: number, value: number, size: number): void {
    let rest = value;
    for (let i = 0; i < size; i++) {
      this.setByte(address + i, rest % 256);
      rest = Math.floor(rest / 256);
    }
  }

  load(address: number, size: number): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.byte(address + i);
    return value;
  }
}

/** The bytes an iovec array names, as host addresses in order. */
export function iovecBytes(pointer: Deno.PointerObject, count: number): number[] {
  const view = new DataView(
    Deno.UnsafePointerView.getArrayBuffer(pointer, Math.max(count, 1) * 16),
  );
  const addresses: number[] = [];
  for (let i = 0; i < count; i++) {
    const base = Number(view.getBigUint64(i * 16, true));
    const size = Number(view.getBigUint64(i * 16 + 8, true));
    for (let at = 0; at < size; at++) addresses.push(base + at);
  }
  return addresses;
}
