/**
 * The reply to one request, built in scratch and copied into guest memory at the end; or, for file data, written
 * there directly.
 *
 * @module
 */

import { NativeMemory } from "../sys/native_memory.ts";
import { ATTR, ATTR_OUT, ENTRY_OUT, OPEN_OUT, OUT_HEADER } from "../wire/fuse.ts";
import type { RequestBuffers } from "./buffers.ts";

/** Largest reply body built in scratch: a READDIR of max_pages. READ's data never comes here. */
export const REPLY_SIZE_MAX = 1024 * 1024;

/** Attributes as plain values, for file systems that are not in a hurry. Times are seconds. */
export interface Attributes {
  readonly ino: number;
  readonly size: number;
  readonly mode: number;
  readonly nlink?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly rdev?: number;
  readonly atime?: number;
  readonly mtime?: number;
  readonly ctime?: number;
}

/** One object per queue, cleared for each request. Offsets are those of `wire/fuse.ts`, from the start of the body. */
export class Reply {
  /** Bytes of the body that are in scratch. */
  size = 0;
  /** Bytes of the body that were written into guest memory directly, after the scratch ones (none, for READ). */
  directSize = 0;
  /** Room for a body in the guest's buffers. */
  sizeMax = 0;
  /** Header and body, to be copied as one. */
  readonly bytes: NativeMemory = NativeMemory.allocate(OUT_HEADER.SIZE + REPLY_SIZE_MAX);
  /** The guest's memory, for file data. */
  buffers!: RequestBuffers;

  clear(buffers: RequestBuffers): void {
    this.buffers = buffers;
    this.size = 0;
    this.directSize = 0;
    this.sizeMax = Math.max(0, buffers.writableSize - OUT_HEADER.SIZE);
  }

  u32(offset: number): number {
    return this.bytes.view.getUint32(OUT_HEADER.SIZE + offset, true);
  }

  setU16(offset: number, value: number): void {
    this.bytes.view.setUint16(OUT_HEADER.SIZE + offset, value, true);
  }

  setU32(offset: number, value: number): void {
    this.bytes.view.setUint32(OUT_HEADER.SIZE + offset, value, true);
  }

  setU64(offset: number, value: number): void {
    this.bytes.setU64(OUT_HEADER.SIZE + offset, value);
  }

  setHalves(offset: number, lo: number, hi: number): void {
    this.setU32(offset, lo);
    this.setU32(offset + 4, hi);
  }

  /** Zeroes `size` bytes, a multiple of 4, of the body. */
  zero(offset: number, size: number): void {
    for (let i = 0; i < size; i += 4) this.setU32(offset + i, 0);
  }

  /** Scratch for the body, to be given to a system call. */
  pointerAt(offset: number): Deno.PointerObject {
    return this.bytes.pointerAt(OUT_HEADER.SIZE + offset);
  }

  /** fuse.h: fuse_entry_out up to its attributes. Validities are seconds and nanoseconds. */
  setEntry(
    offset: number,
    nodeid: number,
    generation: number,
    validSeconds: number,
    validNanoseconds: number,
  ): void {
    this.setU64(offset + ENTRY_OUT.NODEID, nodeid);
    this.setU64(offset + ENTRY_OUT.GENERATION, generation);
    this.setU64(offset + ENTRY_OUT.ENTRY_VALID, validSeconds);
    this.setU64(offset + ENTRY_OUT.ATTR_VALID, validSeconds);
    this.setU32(offset + ENTRY_OUT.ENTRY_VALID_NSEC, validNanoseconds);
    this.setU32(offset + ENTRY_OUT.ATTR_VALID_NSEC, validNanoseconds);
  }

  /** fuse.h: fuse_attr_out up to its attributes. */
  setAttrValid(validSeconds: number, validNanoseconds: number): void {
    this.setU64(ATTR_OUT.ATTR_VALID, validSeconds);
    this.setU32(ATTR_OUT.ATTR_VALID_NSEC, validNanoseconds);
    this.setU32(ATTR_OUT.ATTR_VALID_NSEC + 4, 0);
  }

  /** fuse.h: fuse_open_out */
  setOpen(offset: number, handle: number, generation: number, flags: number): void {
    this.setHalves(offset + OPEN_OUT.FH, handle, generation);
    this.setU32(offset + OPEN_OUT.OPEN_FLAGS, flags);
    this.setU32(offset + OPEN_OUT.BACKING_ID, 0);
  }

  /** fuse.h: fuse_attr, from plain values. */
  setAttributes(offset: number, attributes: Attributes): void {
    this.setU64(offset + ATTR.INO, attributes.ino);
    this.setU64(offset + ATTR.SIZE_, attributes.size);
    this.setU64(offset + ATTR.BLOCKS, Math.ceil(attributes.size / 512));
    this.#setTime(offset + ATTR.ATIME, offset + ATTR.ATIMENSEC, attributes.atime ?? 0);
    this.#setTime(offset + ATTR.MTIME, offset + ATTR.MTIMENSEC, attributes.mtime ?? 0);
    this.#setTime(offset + ATTR.CTIME, offset + ATTR.CTIMENSEC, attributes.ctime ?? 0);
    this.setU32(offset + ATTR.MODE, attributes.mode);
    this.setU32(offset + ATTR.NLINK, attributes.nlink ?? 1);
    this.setU32(offset + ATTR.UID, attributes.uid ?? 0);
    this.setU32(offset + ATTR.GID, attributes.gid ?? 0);
    this.setU32(offset + ATTR.RDEV, attributes.rdev ?? 0);
    this.setU32(offset + ATTR.BLKSIZE, 4096);
    this.setU32(offset + ATTR.FLAGS, 0);
  }

  #setTime(secondsOffset: number, nanosecondsOffset: number, time: number): void {
    const seconds = Math.floor(time);
    this.setU64(secondsOffset, seconds);
    this.setU32(nanosecondsOffset, Math.floor((time - seconds) * 1e9));
  }

  /** Appends bytes to the body, for small replies of file systems that build them in JavaScript. False if they do not fit. */
  append(data: Uint8Array): boolean {
    if (this.size + data.length > Math.min(this.sizeMax, REPLY_SIZE_MAX)) return false;
    this.bytes.u8.set(data, OUT_HEADER.SIZE + this.size);
    this.size += data.length;
    return true;
  }
}
