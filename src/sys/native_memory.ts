/**
 * Memory outside the JavaScript heap: its address never changes, so system calls can be given pointers
 * into it that were made once.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { MAP_ANONYMOUS, MAP_NORESERVE, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../wire/linux.ts";
import { errnoName } from "./errno.ts";
import { libc, status } from "./libc.ts";

/** 2^32, to join and split the halves of 64-bit values. */
const WORD = 4294967296;

/**
 * A piece of native memory with views of it. Offsets are bytes from its start. The memory lives as long as
 * the program: pieces are made at start-up and never given back.
 *
 * @example
 * ```ts
 * import { NativeMemory } from "./native_memory.ts";
 *
 * const memory = NativeMemory.allocate(4096);
 * memory.setU64(8, 2 ** 40 + 7);
 * if (memory.u64(8) !== 2 ** 40 + 7) throw new Error("lost");
 * ```
 */
export class NativeMemory {
  readonly address: number;
  readonly size: number;
  readonly u8: Uint8Array<ArrayBuffer>;
  readonly u32: Uint32Array<ArrayBuffer>;
  readonly i32: Int32Array<ArrayBuffer>;
  readonly f64: Float64Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  #pointers: Deno.PointerObject[] = [];

  constructor(address: number, size: number) {
    const pointer = Deno.UnsafePointer.create(BigInt(address));
    assert(pointer !== null, "pointer !== null");
    const buffer = Deno.UnsafePointerView.getArrayBuffer(pointer, size);
    this.address = address;
    this.size = size;
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer, 0, Math.floor(size / 4));
    this.i32 = new Int32Array(buffer, 0, Math.floor(size / 4));
    this.f64 = new Float64Array(buffer, 0, Math.floor(size / 8));
    this.view = new DataView(buffer);
  }

  /** Fresh zeroed memory; pages cost nothing until they are touched. */
  static allocate(size: number): NativeMemory {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    return new NativeMemory(mapAddress(null, size, PROT_READ | PROT_WRITE, flags, -1, 0), size);
  }

  /** A pointer to `offset`, made on the first call and kept: 2 ns afterwards, where a fresh one is 200 ns and garbage. */
  pointerAt(offset: number): Deno.PointerObject {
    return this.#pointers[offset] ?? this.#makePointer(offset);
  }

  #makePointer(offset: number): Deno.PointerObject {
    assert(offset >= 0 && offset < this.size, "offset >= 0 && offset < this.size");
    const pointer = Deno.UnsafePointer.create(BigInt(this.address + offset))!;
    this.#pointers[offset] = pointer;
    return pointer;
  }

  /** Reads a byte of each page from `start` to `end`, so that none has to be brought in later: 0.1 to 5 µs a page. */
  touch(start: number, end: number): number {
    let sum = 0;
    for (let at = start; at < end; at += 4096) sum += this.u8[at]!;
    return sum;
  }

  /** The u64 at `offset` as a number; exact below 2^53, which callers check where it matters. */
  u64(offset: number): number {
    return this.view.getUint32(offset, true) + this.view.getUint32(offset + 4, true) * WORD;
  }

  /** Stores a non-negative integer below 2^53. */
  setU64(offset: number, value: number): void {
    this.view.setUint32(offset, value >>> 0, true);
    this.view.setUint32(offset + 4, (value / WORD) >>> 0, true);
  }

  /** Stores bytes followed by a NUL; for paths at set-up time. Returns the offset. */
  setCString(offset: number, text: string | Uint8Array): number {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    this.u8.set(bytes, offset);
    this.u8[offset + bytes.length] = 0;
    return offset;
  }
}

/** mmap, returning the address. Throws with the reason: mapping is set-up, never the data path. */
export function mapAddress(
  hint: Deno.PointerValue,
  size: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
): number {
  const pointer = libc.mmap(hint, BigInt(size), protection, flags, fd, BigInt(offset));
  const error = status(-1);
  const address = pointer === null
    ? 0
    : Number(BigInt.asIntN(64, Deno.UnsafePointer.value(pointer)));
  if (address <= 0) {
    throw new Error(`Cannot map ${size} bytes: mmap failed with ${errnoName(error)}`);
  }
  return address;
}

/** munmap of what {@linkcode mapAddress} returned. Every view of it must have been dropped before. */
export function unmapAddress(address: number, size: number): void {
  const result = libc.munmap(Deno.UnsafePointer.create(BigInt(address)), BigInt(size));
  assert(result === 0, "munmap of our own mapping succeeds");
}
