/**
 * One request, copied out of guest memory once: whatever the guest does to its memory afterwards, what was
 * checked is what is used.
 *
 * @module
 */

import { NativeMemory } from "../sys/native_memory.ts";
import { EINVAL, type Status } from "../sys/errno.ts";
import {
  EXT_HEADER,
  FUSE_EXT_GROUPS,
  FUSE_MAX_NR_SECCTX,
  IN_HEADER,
  Opcode,
  SECCTX,
  SECCTX_HEADER,
  SUPP_GROUPS,
  WRITE_IN,
} from "../wire/fuse.ts";
import type { RequestBuffers } from "./buffers.ts";

/** Largest request apart from WRITE's data: SETXATTR with the largest value, or BATCH_FORGET of as many. */
export const REQUEST_SIZE_MAX = 128 * 1024;
/** Copied before the opcode is known: all of GETATTR, READ and most LOOKUPs in one go. */
const FIRST_COPY = 128;
/** The most that INIT lets a guest write at once (`server.ts`): beyond it nothing is allocated for it. */
const WRITE_SIZE_MAX = 1024 * 1024;
const NO_GROUP = -1;

/**
 * The request being served: one object per queue, loaded again and again. Offsets given to the accessors are
 * those of `wire/fuse.ts`, from the start of the struct that follows the header.
 *
 * @example
 * ```ts
 * import type { Request } from "./request.ts";
 * import { READ_IN } from "../wire/fuse.ts";
 *
 * // The bytes of a file that a READ asks for.
 * function asked(request: Request, file: Uint8Array): Uint8Array {
 *   const start = request.u64(READ_IN.OFFSET);
 *   return file.subarray(start, start + request.u32(READ_IN.SIZE_));
 * }
 *
 * const request = { u64: () => 2, u32: () => 3 } as unknown as Request;
 * if (asked(request, new Uint8Array(4)).length !== 2) throw new Error("past the end");
 * ```
 */
export class Request {
  /** `fuse.Opcode`: which method of the file system was called, for those that serve several. */
  opcode = 0;
  /** The inode asked about; -1 if the guest sent a number that no table has. */
  nodeid = 0;
  /** The guest's number of this request, low and high half. */
  uniqueLo = 0;
  /** See {@linkcode uniqueLo}. */
  uniqueHi = 0;
  /** The caller's user id: who owns what is created. */
  uid = 0;
  /** The caller's group id. */
  gid = 0;
  /** The caller's process id in the guest; 0 if the guest's kernel asks for itself. */
  pid = 0;
  /** Bytes of the request, header included; for WRITE without its data. */
  size = 0;

  /** First name: where it starts in `bytes`, and its length without the NUL. It is NUL-terminated. */
  nameOffset = 0;
  /** Bytes of the first name. */
  nameSize = 0;
  /** Second name: RENAME's new name, SYMLINK's target. */
  name2Offset = 0;
  /** Bytes of the second name. */
  name2Size = 0;
  /** Where the bytes after struct and names start (SETXATTR's value), and their number. */
  dataOffset = 0;
  /** Number of those bytes. */
  dataSize = 0;

  /** The caller's group that owns the parent directory (CREATE_SUPP_GROUP), or -1. */
  supplementaryGroup: number = NO_GROUP;
  /** Security label for a new inode (SECURITY_CTX): the xattr's name and value in `bytes`; no label if the name is empty. */
  labelNameOffset = 0;
  /** Bytes of the label's name. */
  labelNameSize = 0;
  /** Where the label's value starts. */
  labelOffset = 0;
  /** Bytes of the label's value. */
  labelSize = 0;

  /**
   * The copy.
   *
   * @internal
   */
  readonly bytes: NativeMemory = NativeMemory.allocate(REQUEST_SIZE_MAX + 8);
  /**
   * The guest's memory, for file data.
   *
   * @internal
   */
  buffers!: RequestBuffers;

  /**
   * Copies the request in. Negative errno if it is too short to have a header, or lies about its length.
   *
   * @internal
   */
  load(buffers: RequestBuffers): Status {
    this.buffers = buffers;
    const { readableSize } = buffers;
    const { view } = this.bytes;
    const first = Math.min(readableSize, FIRST_COPY);
    if (first < IN_HEADER.SIZE) this.bytes.u8.fill(0, 0, IN_HEADER.SIZE);
    buffers.copyIn(0, this.bytes, 0, first);
    this.opcode = view.getUint32(IN_HEADER.OPCODE, true);
    this.uniqueLo = view.getUint32(IN_HEADER.UNIQUE, true);
    this.uniqueHi = view.getUint32(IN_HEADER.UNIQUE + 4, true);
    this.nodeid = view.getUint32(IN_HEADER.NODEID + 4, true) === 0
      ? view.getUint32(IN_HEADER.NODEID, true)
      : -1;
    this.uid = view.getUint32(IN_HEADER.UID, true);
    this.gid = view.getUint32(IN_HEADER.GID, true);
    this.pid = view.getUint32(IN_HEADER.PID, true);
    const size = view.getUint32(IN_HEADER.LEN, true);
    if (readableSize < IN_HEADER.SIZE || size < IN_HEADER.SIZE || size > readableSize) {
      this.size = 0;
      return -EINVAL;
    }
    this.size = this.opcode === Opcode.WRITE
      ? Math.min(size, IN_HEADER.SIZE + WRITE_IN.SIZE)
      : size;
    if (this.size > REQUEST_SIZE_MAX) return -EINVAL;
    if (this.size > first) buffers.copyIn(first, this.bytes, first, this.size - first);
    // A NUL behind the last byte: a name is never read past the request.
    this.bytes.u8[this.size] = 0;
    return 0;
  }

  /**
   * Finds `count` NUL-terminated names after a struct of `structSize` bytes, and the extensions at the end.
   * False if a NUL is missing or the extensions are malformed. With `labelFollows`, a security context may stand
   * behind the names although the header does not say so.
   *
   * @internal
   */
  parse(structSize: number, count: number, labelFollows = false): boolean {
    let end = this.#parseExtensions();
    let offset = IN_HEADER.SIZE + structSize;
    if (end < offset) return false;
    this.nameSize = 0;
    this.name2Size = 0;
    if (count >= 1) {
      this.nameOffset = offset;
      this.nameSize = this.#stringSize(offset, end);
      if (this.nameSize < 0) return false;
      offset += this.nameSize + 1;
    }
    if (count >= 2) {
      this.name2Offset = offset;
      this.name2Size = this.#stringSize(offset, end);
      if (this.name2Size < 0) return false;
      offset += this.name2Size + 1;
    }
    if (labelFollows && end === this.size && offset < end) {
      if (!this.#parseBlocks(offset)) return false;
      end = offset;
    }
    this.dataOffset = offset;
    this.dataSize = end - offset;
    return true;
  }

  /** The u16 at `offset` of the struct. */
  u16(offset: number): number {
    return this.bytes.view.getUint16(IN_HEADER.SIZE + offset, true);
  }

  /** The u32 at `offset` of the struct. */
  u32(offset: number): number {
    return this.bytes.view.getUint32(IN_HEADER.SIZE + offset, true);
  }

  /** A u64 as a number: exact below 2^53; above it compares as too large for anything, which is all callers need. */
  u64(offset: number): number {
    return this.bytes.u64(IN_HEADER.SIZE + offset);
  }

  /** The two halves of a u64 that is only handed on (lock owners, cookies, seconds). */
  lo(offset: number): number {
    return this.u32(offset);
  }

  /** The high half, see {@linkcode lo}. */
  hi(offset: number): number {
    return this.u32(offset + 4);
  }

  /** The first name for a system call: NUL-terminated, good until the next request. */
  get namePointer(): Deno.PointerObject {
    return this.bytes.pointerAt(this.nameOffset);
  }

  /** The second name for a system call. */
  get name2Pointer(): Deno.PointerObject {
    return this.bytes.pointerAt(this.name2Offset);
  }

  /**
   * The first name as text, for file systems that prefer strings; bytes that are not UTF-8 become U+FFFD, so two
   * such names may look the same. Allocates.
   */
  nameText(): string {
    return this.#text(this.nameOffset, this.nameSize);
  }

  /** The second name as text. Allocates. */
  name2Text(): string {
    return this.#text(this.name2Offset, this.name2Size);
  }

  /** A copy of the first name's bytes. Allocates. */
  nameBytes(): Uint8Array<ArrayBuffer> {
    return this.bytes.u8.slice(this.nameOffset, this.nameOffset + this.nameSize);
  }

  /** A copy of the second name's bytes (SYMLINK's target). Allocates. */
  name2Bytes(): Uint8Array<ArrayBuffer> {
    return this.bytes.u8.slice(this.name2Offset, this.name2Offset + this.name2Size);
  }

  /** A copy of the bytes after struct and names: SETXATTR's value. Allocates. */
  dataBytes(): Uint8Array<ArrayBuffer> {
    return this.bytes.u8.slice(this.dataOffset, this.dataOffset + this.dataSize);
  }

  /**
   * A copy of WRITE's data, WRITE_IN.SIZE_ bytes of it; null if the guest sent fewer than that, or more than INIT
   * allows, which is to be answered with EINVAL. Allocates, which a file system in JavaScript memory has to do anyway.
   */
  writeData(): Uint8Array<ArrayBuffer> | null {
    const start = IN_HEADER.SIZE + WRITE_IN.SIZE;
    const size = this.u32(WRITE_IN.SIZE_);
    if (size > WRITE_SIZE_MAX || size > this.buffers.readableSize - start) return null;
    const data = new Uint8Array(size);
    // The request itself ends at `start`: what is behind it in the copy is free.
    const pieceSizeMax = REQUEST_SIZE_MAX - start;
    for (let done = 0; done < size; done += pieceSizeMax) {
      const pieceSize = Math.min(size - done, pieceSizeMax);
      this.buffers.copyIn(start + done, this.bytes, start, pieceSize);
      data.set(this.bytes.u8.subarray(start, start + pieceSize), done);
    }
    return data;
  }

  /** Seconds since 1970 from a struct's seconds and nanoseconds (SETATTR's times), as `Attributes` has them. */
  time(secondsOffset: number, nanosecondsOffset: number): number {
    const seconds = (this.hi(secondsOffset) | 0) * 2 ** 32 + this.lo(secondsOffset);
    return seconds + this.u32(nanosecondsOffset) / 1e9;
  }

  #text(offset: number, size: number): string {
    return new TextDecoder().decode(this.bytes.u8.slice(offset, offset + size));
  }

  /** Length up to the NUL, or -1 if there is none before `end`. */
  #stringSize(offset: number, end: number): number {
    const { u8 } = this.bytes;
    for (let i = offset; i < end; i++) {
      if (u8[i] === 0) return i - offset;
    }
    return -1;
  }

  /** Reads the extension blocks at the end of a create request; returns where they start, or -1 if malformed. */
  #parseExtensions(): number {
    this.supplementaryGroup = NO_GROUP;
    this.labelNameSize = 0;
    const { view } = this.bytes;
    const extensionSize = view.getUint16(IN_HEADER.TOTAL_EXTLEN, true) * 8;
    if (extensionSize === 0) return this.size;
    const start = this.size - extensionSize;
    return start >= IN_HEADER.SIZE && this.#parseBlocks(start) ? start : -1;
  }

  #parseBlocks(start: number): boolean {
    const { view } = this.bytes;
    let at = start;
    while (at + EXT_HEADER.SIZE <= this.size) {
      const size = view.getUint32(at + EXT_HEADER.SIZE_, true);
      const type = view.getUint32(at + EXT_HEADER.TYPE, true);
      if (size < EXT_HEADER.SIZE || at + size > this.size) return false;
      if (type <= FUSE_MAX_NR_SECCTX) {
        if (type > 0 && !this.#parseLabel(at + SECCTX_HEADER.SIZE, at + size)) return false;
      } else if (type === FUSE_EXT_GROUPS) {
        const groups = at + EXT_HEADER.SIZE;
        if (groups + SUPP_GROUPS.SIZE > at + size) return false;
        // fuse.h: Linux sends at most one; with more the server may use any, and the first is the parent's.
        if (view.getUint32(groups + SUPP_GROUPS.NR_GROUPS, true) > 0) {
          if (groups + SUPP_GROUPS.GROUPS + 4 > at + size) return false;
          this.supplementaryGroup = view.getUint32(groups + SUPP_GROUPS.GROUPS, true);
        }
      }
      at += Math.ceil(size / 8) * 8;
    }
    return true;
  }

  #parseLabel(at: number, end: number): boolean {
    if (at + SECCTX.SIZE > end) return false;
    const nameOffset = at + SECCTX.SIZE;
    const nameSize = this.#stringSize(nameOffset, end);
    const labelSize = this.bytes.view.getUint32(at + SECCTX.SIZE_, true);
    if (nameSize <= 0 || nameOffset + nameSize + 1 + labelSize > end) return false;
    this.labelNameOffset = nameOffset;
    this.labelNameSize = nameSize;
    this.labelOffset = nameOffset + nameSize + 1;
    this.labelSize = labelSize;
    return true;
  }
}
