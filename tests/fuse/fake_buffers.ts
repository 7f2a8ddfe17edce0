/**
 * Request buffers without a ring: two flat pieces of native memory.
 *
 * @module
 */

import type { RequestBuffers } from "../../src/fuse/buffers.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";

const SIZE_MAX = 2 * 1024 * 1024;
/** struct iovec: base, then length. */
const IOVEC_LEN = 8;

/** A request and the room for its reply; filled again for each request. */
export class FakeBuffers implements RequestBuffers {
  hasUnreachable = false;
  readableSize = 0;
  writableSize = 0;
  iovecSize = 0;
  readonly iovecPointer: Deno.PointerObject;
  readonly #iovec = NativeMemory.allocate(4096);
  readonly #readable = NativeMemory.allocate(SIZE_MAX);
  readonly #writable = NativeMemory.allocate(SIZE_MAX);

  constructor() {
    this.iovecPointer = this.#iovec.pointerAt(0);
  }

  /** Puts a request in. The reply room is filled with a pattern, so that bytes nobody wrote show. */
  load(request: Uint8Array, writableSize: number): void {
    this.#readable.u8.set(request);
    this.readableSize = request.length;
    this.writableSize = writableSize;
    this.#writable.u8.fill(0xee, 0, Math.min(writableSize + 64, SIZE_MAX));
  }

  /** The first `size` bytes of the reply room. */
  reply(size: number): Uint8Array<ArrayBuffer> {
    return this.#writable.u8.slice(0, size);
  }

  copyIn(offset: number, target: NativeMemory, targetOffset: number, size: number): void {
    check(offset + size <= this.readableSize);
    target.u8.set(this.#readable.u8.slice(offset, offset + size), targetOffset);
  }

  copyOut(offset: number, source: NativeMemory, sourceOffset: number, size: number): void {
    check(offset + size <= this.writableSize);
    this.#writable.u8.set(source.u8.slice(sourceOffset, sourceOffset + size), offset);
  }

  readable(offset: number, size: number): number {
    return this.#fill(this.#readable.address + offset, Math.min(size, this.readableSize - offset));
  }

  writable(offset: number, size: number): number {
    return this.#fill(this.#writable.address + offset, Math.min(size, this.writableSize - offset));
  }

  #fill(address: number, size: number): number {
    this.#iovec.setU64(0, address);
    this.#iovec.setU64(IOVEC_LEN, size);
    this.iovecSize = size;
    return 1;
  }
}

function check(inside: boolean): void {
  if (!inside) throw new Error("the server reached beyond the request's buffers");
}
