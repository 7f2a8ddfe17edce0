/**
 * One FUSE request on its way: arguments are written straight into the guest's memory, the reply is read from
 * there.
 *
 * The order is that of the bytes: header (made by `FuseClient.begin()`), argument struct, names, then `seal()` and data to be read by the
 * device, then `expect()` and room for data that it writes.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import { EIO, type Status } from "../../sys/errno.ts";
import type { NativeMemory } from "../../sys/native_memory.ts";
import { IN_HEADER, OUT_HEADER } from "../../wire/fuse.ts";
import type { Slot } from "../driver/slot.ts";

/** The kernel never uses larger ones (linux/errno.h: ERESTARTSYS is 512). */
const ERRNO_END = 512;

/** What became of a request is known to whoever holds it; it goes back to its queue with `FuseClient.end()`. */
export class FuseRequest {
  readonly slot: Slot;
  readonly bytes: NativeMemory;
  /** Offset of the argument struct. */
  readonly args: number;
  /** Offset of the reply's body. */
  readonly body: number;
  opcode = 0;
  /** Bytes of the body, data included; valid once the request has succeeded. */
  replySize = 0;
  /** Called when the reply (or the failure) is there; the callee ends the request. Without one, somebody waits. */
  onDone: ((request: FuseRequest, status: Status) => void) | null = null;
  /** When it was sent, in performance.now()'s milliseconds. */
  sentAt = 0;
  /** Whether the reply may be shorter than what was offered for it. */
  #variable = false;
  #argsSize = 0;
  #dataSize = 0;
  #sealed = false;

  constructor(slot: Slot) {
    this.slot = slot;
    this.bytes = slot.bytes;
    this.args = slot.request + IN_HEADER.SIZE;
    this.body = slot.reply + OUT_HEADER.SIZE;
  }

  /** Starts anew, with an argument struct of `size` zeroed bytes. */
  start(opcode: number, size: number): void {
    this.opcode = opcode;
    this.replySize = 0;
    this.onDone = null;
    this.#variable = false;
    this.#dataSize = 0;
    this.#sealed = false;
    this.#argsSize = size;
    const { view } = this.bytes;
    // Structs are multiples of 4 bytes.
    for (let at = 0; at < size; at += 4) view.setUint32(this.args + at, 0, true);
  }

  /** Sets a field of the argument struct. */
  setU32(field: number, value: number): void {
    this.bytes.view.setUint32(this.args + field, value, true);
  }

  /** Sets a field of the argument struct, a number below 2^53. */
  setU64(field: number, value: number): void {
    this.bytes.setU64(this.args + field, value);
  }

  /** Sets a field of the argument struct, given as two halves. */
  setHalves(field: number, low: number, high: number): void {
    this.bytes.view.setUint32(this.args + field, low, true);
    this.bytes.view.setUint32(this.args + field + 4, high, true);
  }

  /** Sets a signed 64-bit field: seconds of a time. */
  setI64(field: number, value: number): void {
    this.bytes.view.setUint32(this.args + field, value >>> 0, true);
    this.bytes.view.setInt32(this.args + field + 4, Math.floor(value / 4294967296), true);
  }

  /** Appends a name and its NUL. */
  putName(name: Uint8Array): void {
    this.putBytes(name);
    this.bytes.u8[this.args + this.#argsSize++] = 0;
  }

  /** Appends bytes. */
  putBytes(bytes: Uint8Array): void {
    assert(
      IN_HEADER.SIZE + this.#argsSize + bytes.length < this.slot.requestSizeMax,
      "callers bound names and values below the slot's size",
    );
    const at = this.args + this.#argsSize;
    const { u8 } = this.bytes;
    for (let i = 0; i < bytes.length; i++) u8[at + i] = bytes[i]!;
    this.#argsSize += bytes.length;
  }

  /** Bytes of arguments so far: where the next will be. */
  get argsSize(): number {
    return this.#argsSize;
  }

  /** Ends the arguments. Header and arguments are descriptors of their own, as Linux makes them. */
  seal(): void {
    if (this.#sealed) return;
    this.#sealed = true;
    this.slot.addReadable(this.slot.request, IN_HEADER.SIZE);
    this.slot.addReadable(this.args, this.#argsSize);
  }

  /** Adds `size` bytes of guest memory that the device reads after the arguments: data of WRITE. */
  addData(at: number, size: number): void {
    this.seal();
    this.slot.addReadable(at, size);
    this.#dataSize += size;
  }

  /** Offers room for a reply whose body has exactly `size` bytes. */
  expect(size: number): void {
    this.seal();
    this.slot.addWritable(this.slot.reply, OUT_HEADER.SIZE);
    this.slot.addWritable(this.body, size);
    this.setLength();
  }

  /** Offers room for a reply whose body has up to `size` bytes. */
  expectUpTo(size: number): void {
    this.expect(size);
    this.#variable = true;
  }

  /** Offers `size` bytes of guest memory for data of the reply, after the body: READ's. */
  addRoom(at: number, size: number): void {
    this.slot.addWritable(at, size);
    this.#variable = true;
  }

  /** fuse.h: fuse_in_header.len counts everything that the device reads. */
  setLength(): void {
    const length = IN_HEADER.SIZE + this.#argsSize + this.#dataSize;
    this.bytes.view.setUint32(this.slot.request + IN_HEADER.LEN, length, true);
  }

  /** A field of the reply's body. */
  u32(field: number): number {
    return this.bytes.view.getUint32(this.body + field, true);
  }

  /** A field of the reply's body, below 2^53; NaN-free but inexact beyond, which callers check where it matters. */
  u64(field: number): number {
    return this.bytes.u64(this.body + field);
  }

  /** A copy of bytes of the reply's body. */
  copy(from: number, to: number): Uint8Array<ArrayBuffer> {
    return this.bytes.u8.slice(this.body + from, this.body + to);
  }

  /**
   * The outcome of a used slot: 0, or a negative errno. Every reply is held to what a kernel holds it to (Linux 7.3): anything else than a
   * well-formed answer to this very request is EIO.
   */
  outcome(): Status {
    const { slot } = this;
    if (slot.failure < 0) return slot.failure;
    if (slot.usedSize < OUT_HEADER.SIZE || slot.usedSize > slot.writableSize) return -EIO;
    const { view } = this.bytes;
    const length = view.getUint32(slot.reply + OUT_HEADER.LEN, true);
    const error = view.getInt32(slot.reply + OUT_HEADER.ERROR, true);
    if (length !== slot.usedSize || !this.#isOurs()) return -EIO;
    if (error > 0 || error <= -ERRNO_END) return -EIO;
    if (error < 0) return length === OUT_HEADER.SIZE ? error : -EIO;
    if (!this.#variable && length !== slot.writableSize) return -EIO;
    this.replySize = length - OUT_HEADER.SIZE;
    return 0;
  }

  #isOurs(): boolean {
    const { view } = this.bytes;
    const asked = this.slot.request + IN_HEADER.UNIQUE;
    const answered = this.slot.reply + OUT_HEADER.UNIQUE;
    return view.getUint32(asked, true) === view.getUint32(answered, true) &&
      view.getUint32(asked + 4, true) === view.getUint32(answered + 4, true);
  }
}
