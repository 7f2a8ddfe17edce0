/**
 * What carries a request: a descriptor chain of a ring. This layer never sees a ring; it declares here what
 * it needs of one, and `virtqueue/chain.ts` has the shape.
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";

/** Two streams of bytes in guest memory: the request, and room for the reply. */
export interface RequestBuffers {
  /** Bytes of the request. */
  readonly readableSize: number;
  /** Bytes of room for the reply. */
  readonly writableSize: number;
  /** Part of the buffers cannot be reached: the sizes above end before it, and the request is to be refused. */
  readonly hasUnreachable: boolean;
  /** Copies request bytes out of guest memory. The range must be inside the stream. */
  copyIn(offset: number, target: NativeMemory, targetOffset: number, size: number): void;
  /** Copies reply bytes into guest memory. The range must be inside the stream. */
  copyOut(offset: number, source: NativeMemory, sourceOffset: number, size: number): void;
  /** Fills the iovec array with request bytes from `offset`; returns the count of vectors. */
  readable(offset: number, size: number): number;
  /** Fills the iovec array with reply room from `offset`; returns the count of vectors. */
  writable(offset: number, size: number): number;
  /** The array that the two above fill, for preadv(2) and pwritev(2). */
  readonly iovecPointer: Deno.PointerObject;
  /** Bytes the array covers: less than asked if it is full (IOV_MAX vectors). */
  readonly iovecSize: number;
}
