/**
 * The reply to one request, built in scratch and copied into guest memory at the end; or, for file data, written
 * there directly.
 *
 * @module
 */

import { NativeMemory } from "../sys/native_memory.ts";
import {
  ATTR,
  ATTR_OUT,
  DIRENT,
  DIRENTPLUS,
  ENTRY_OUT,
  OPEN_OUT,
  OUT_HEADER,
} from "../wire/fuse.ts";
import type { RequestBuffers } from "./buffers.ts";

/** Largest reply body built in scratch: a READDIR of max_pages. READ's data never comes here. */
export const REPLY_SIZE_MAX = 1024 * 1024;

/** Attributes as plain values, for file systems that are not in a hurry. Times are seconds. */
export interface Attributes {
  /** The inode number that the guest shows. */
  readonly ino: number;
  /** Bytes. */
  readonly size: number;
  /** Type and permissions: `S_IFREG | 0o644`. */
  readonly mode: number;
  /** Names of the inode; 1 if left out. */
  readonly nlink?: number;
  /** The owner; 0 if left out. */
  readonly uid?: number;
  /** The owning group; 0 if left out. */
  readonly gid?: number;
  /** A device node's number, as the guest's MKNOD had it; 0 if left out. */
  readonly rdev?: number;
  /** Last read; 0 if left out. */
  readonly atime?: number;
  /** Last change of the data; 0 if left out. */
  readonly mtime?: number;
  /** Last change of the inode; 0 if left out. */
  readonly ctime?: number;
}

/** An inode that a reply names: the answer of lookup and of all that creates. Gives the guest one lookup of it. */
export interface NodeEntry {
  /** By which the guest will ask for it. Not 0; 1 is the root. */
  readonly nodeid: number;
  /** To be counted up when a nodeid is used again for another inode; 0 if left out. */
  readonly generation?: number;
  /** How many seconds the guest may keep name and attributes; 0 if left out. */
  readonly validSeconds?: number;
  /** What the inode is. */
  readonly attributes: Attributes;
}

/** One name of a directory. */
export interface DirectoryEntry {
  /** One component; bytes, or text to be encoded as UTF-8. */
  readonly name: string | Uint8Array;
  /** The inode number. */
  readonly ino: number;
  /** The inode's mode, for its type; 0 = unknown. */
  readonly mode: number;
  /** Where a later READDIR goes on: its offset will be this number. Not 0. */
  readonly cookie: number;
}

const encoder = new TextEncoder();
/** Where the file type stands in a mode, which makes it a dirent's DT_* number. */
const TYPE_SHIFT = 12;

/**
 * One object per queue, cleared for each request. Offsets are those of `wire/fuse.ts`, from the start of the body.
 *
 * @example
 * ```ts
 * import { Reply } from "./reply.ts";
 * import { ATTR, ENTRY_OUT } from "../wire/fuse.ts";
 *
 * const reply = new Reply();
 * // The server's part: so much room has the guest made.
 * reply.sizeMax = 64;
 *
 * // LOOKUP: a whole struct.
 * reply.putEntry({ nodeid: 7, validSeconds: 1.5, attributes: { ino: 7, size: 5, mode: 0o100644 } });
 * if (reply.u32(ENTRY_OUT.ATTR + ATTR.MODE) !== 0o100644) throw new Error("another mode");
 *
 * // READDIR: records of 32 bytes here, so the third has no room.
 * const names = ["a", "b", "c"];
 * const fit = names.filter((name, index) =>
 *   reply.appendDirent({ name, ino: 8, mode: 0o100644, cookie: index + 1 }, 4096)
 * );
 * if (fit.length !== 2 || reply.size !== 64) throw new Error("other records");
 * ```
 */
export class Reply {
  /** Bytes of the body that are in scratch. */
  size = 0;
  /** Bytes of the body that were written into guest memory directly, after the scratch ones (none, for READ). */
  directSize = 0;
  /** Room for a body in the guest's buffers. */
  sizeMax = 0;
  /**
   * Header and body, to be copied as one.
   *
   * @internal
   */
  readonly bytes: NativeMemory = NativeMemory.allocate(OUT_HEADER.SIZE + REPLY_SIZE_MAX);
  /**
   * The guest's memory, for file data.
   *
   * @internal
   */
  buffers!: RequestBuffers;

  /**
   * Begins the reply to another request.
   *
   * @internal
   */
  clear(buffers: RequestBuffers): void {
    this.buffers = buffers;
    this.size = 0;
    this.directSize = 0;
    this.sizeMax = Math.max(0, buffers.writableSize - OUT_HEADER.SIZE);
  }

  /** The u32 of the body at `offset`, as it was put there. */
  u32(offset: number): number {
    return this.bytes.view.getUint32(OUT_HEADER.SIZE + offset, true);
  }

  /** Puts a u16 into the body. */
  setU16(offset: number, value: number): void {
    this.bytes.view.setUint16(OUT_HEADER.SIZE + offset, value, true);
  }

  /** Puts a u32 into the body; negative numbers as their two's complement. */
  setU32(offset: number, value: number): void {
    this.bytes.view.setUint32(OUT_HEADER.SIZE + offset, value, true);
  }

  /** Puts a u64 into the body: a whole number from 0 to 2^53 - 1. */
  setU64(offset: number, value: number): void {
    this.bytes.setU64(OUT_HEADER.SIZE + offset, value);
  }

  /** Puts a u64 into the body, given as two u32. */
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

  /** Validities of a fuse_entry_out that has been written, in seconds: of the name, and of the attributes. */
  setEntryValidities(offset: number, nameSeconds: number, attributeSeconds: number): void {
    this.setU64(offset + ENTRY_OUT.ENTRY_VALID, nameSeconds);
    this.setU64(offset + ENTRY_OUT.ATTR_VALID, attributeSeconds);
    this.setU32(offset + ENTRY_OUT.ENTRY_VALID_NSEC, 0);
    this.setU32(offset + ENTRY_OUT.ATTR_VALID_NSEC, 0);
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
    // Before 1970 the seconds are negative: the halves of their two's complement.
    this.setHalves(secondsOffset, seconds % 2 ** 32, Math.floor(seconds / 2 ** 32));
    this.setU32(nanosecondsOffset, Math.floor((time - seconds) * 1e9));
  }

  /** The whole ENTRY_OUT of lookup, mkdir, symlink and so on; for create, OPEN_OUT follows: `setOpen(ENTRY_OUT.SIZE, …)`. */
  putEntry(entry: NodeEntry): void {
    this.#entryAt(0, entry);
  }

  /** The whole ATTR_OUT of getattr and setattr, which the guest may keep for so many seconds. */
  putAttributes(attributes: Attributes, validSeconds = 0): void {
    this.setAttrValid(Math.floor(validSeconds), Math.floor((validSeconds % 1) * 1e9));
    this.setAttributes(ATTR_OUT.ATTR, attributes);
  }

  /**
   * Appends a record to READDIR's reply. False if it does not fit into `sizeMax` bytes (READ_IN.SIZE_), or into the
   * guest's buffers: then the reply is full, and the guest will ask again with the cookie of the last record.
   */
  appendDirent(entry: DirectoryEntry, sizeMax: number): boolean {
    return this.#direntAt(0, entry, sizeMax);
  }

  /** The same for READDIRPLUS. `node` = null for "." and "..", and where only the name is known: it gives no lookup. */
  appendDirentPlus(entry: DirectoryEntry, node: NodeEntry | null, sizeMax: number): boolean {
    const start = this.size;
    if (!this.#direntAt(DIRENTPLUS.DIRENT, entry, sizeMax)) return false;
    if (node === null) this.zero(start, ENTRY_OUT.SIZE);
    else this.#entryAt(start, node);
    return true;
  }

  #entryAt(offset: number, entry: NodeEntry): void {
    const valid = entry.validSeconds ?? 0;
    const nanoseconds = Math.floor((valid % 1) * 1e9);
    this.setEntry(offset, entry.nodeid, entry.generation ?? 0, Math.floor(valid), nanoseconds);
    this.setAttributes(offset + ENTRY_OUT.ATTR, entry.attributes);
  }

  /** Appends a dirent, with room for `before` bytes in front of it. */
  #direntAt(before: number, entry: DirectoryEntry, sizeMax: number): boolean {
    const name = typeof entry.name === "string" ? encoder.encode(entry.name) : entry.name;
    const end = this.size + before + DIRENT.NAME + name.length;
    const paddedEnd = Math.ceil(end / 8) * 8;
    if (paddedEnd > Math.min(sizeMax, this.sizeMax, REPLY_SIZE_MAX)) return false;
    const dirent = this.size + before;
    this.setU64(dirent + DIRENT.INO, entry.ino);
    this.setU64(dirent + DIRENT.OFF, entry.cookie);
    this.setU32(dirent + DIRENT.NAMELEN, name.length);
    this.setU32(dirent + DIRENT.TYPE, entry.mode >>> TYPE_SHIFT);
    this.bytes.u8.set(name, OUT_HEADER.SIZE + dirent + DIRENT.NAME);
    this.bytes.u8.fill(0, OUT_HEADER.SIZE + end, OUT_HEADER.SIZE + paddedEnd);
    this.size = paddedEnd;
    return true;
  }

  /** Appends bytes to the body, for file systems that have them in JavaScript: READ's data, READLINK's target. False if they do not fit. */
  append(data: Uint8Array): boolean {
    if (this.size + data.length > Math.min(this.sizeMax, REPLY_SIZE_MAX)) return false;
    this.bytes.u8.set(data, OUT_HEADER.SIZE + this.size);
    this.size += data.length;
    return true;
  }
}
