/**
 * Raw FUSE requests over a virtqueue. Every reply is held to what the Linux guest enforces: the used
 * length equals the header's, and the reply belongs to the request.
 *
 * @module
 */
import assert from "node:assert/strict";
import {
  type Attr,
  type Dirent,
  type Entry,
  initBody,
  type InitReply,
  LINUX_INIT_FLAGS,
  O,
  OP,
  readAttr,
  readDirents,
  readEntry,
  readInit,
  setattrBody,
  type SetattrFields,
} from "./fuse_wire.ts";
import { concat, name, viewOf, words } from "./little_endian.ts";
import type { SplitQueue, Used } from "./split_queue.ts";

/** The root directory. */
export const ROOT = 1n;

/** What a request carries beside its body. */
export interface RequestOptions {
  readonly uid?: number;
  readonly gid?: number;
  readonly pid?: number;
  /** Extension blocks at the end of the body (each padded to 8). */
  readonly extension?: Uint8Array;
  /** Bytes of room behind the 16-byte reply header. */
  readonly room?: number;
  /** Cuts the whole request into pieces of these lengths; the last one takes the rest. */
  readonly readableCuts?: readonly number[];
  readonly writableCuts?: readonly number[];
  readonly indirect?: boolean;
  /** Overrides of header fields, for hostile requests. */
  readonly headerLength?: number;
  readonly extensionWords?: number;
  readonly unique?: bigint;
}

/** An answer: 0 or a negative errno, and the bytes behind the header. */
export interface Reply {
  readonly error: number;
  readonly body: Uint8Array;
}

/** A request that is with the device. */
export interface Pending {
  readonly head: number;
  readonly unique: bigint;
  readonly opcode: number;
}

let nextUnique = 2n;

/** The bytes of one request. */
export function encodeRequest(
  opcode: number,
  nodeid: bigint,
  body: Uint8Array,
  options: RequestOptions,
  unique: bigint,
): Uint8Array<ArrayBuffer> {
  // The extension follows the last NUL at once: Linux pads its blocks, but not what precedes them.
  const extension = options.extension ?? new Uint8Array(0);
  const length = 40 + body.length + extension.length;
  const extensionWords = options.extensionWords ?? extension.length / 8;
  return concat(
    words(options.headerLength ?? length, opcode, unique, nodeid),
    words(options.uid ?? 0, options.gid ?? 0, options.pid ?? 4711, extensionWords),
    body,
    extension,
  );
}

/** Cuts bytes into pieces of the given lengths; the rest is the last piece. */
export function cut(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const length of lengths) {
    if (at >= bytes.length) break;
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  if (at < bytes.length) pieces.push(bytes.subarray(at));
  return pieces;
}

/** As `cut`, for lengths alone. */
export function cutLength(total: number, lengths: readonly number[]): number[] {
  const pieces: number[] = [];
  let left = total;
  for (const length of lengths) {
    if (left <= 0) break;
    pieces.push(Math.min(length, left));
    left -= length;
  }
  if (left > 0) pieces.push(left);
  return pieces;
}

/** A FUSE client on one request queue. */
export class FuseClient {
  readonly #finished = new Map<number, Used>();

  constructor(readonly queue: SplitQueue) {}

  /** Puts a request into the ring without showing it to the device. */
  add(
    opcode: number,
    nodeid: bigint,
    body: Uint8Array,
    options: RequestOptions = {},
  ): Pending {
    const unique = options.unique ?? nextUnique;
    nextUnique += 2n;
    const request = encodeRequest(opcode, nodeid, body, options, unique);
    const readable = cut(request, options.readableCuts ?? [40]);
    const room = options.room ?? 4096;
    const writable = cutLength(16 + room, options.writableCuts ?? [16]);
    const layout = { indirect: options.indirect ?? false };
    return { head: this.queue.add(readable, writable, layout), unique, opcode };
  }

  /** Puts a request into the ring and publishes it. */
  submit(
    opcode: number,
    nodeid: bigint,
    body: Uint8Array,
    options: RequestOptions = {},
  ): Pending {
    const pending = this.add(opcode, nodeid, body, options);
    this.queue.publish();
    return pending;
  }

  /** Waits for one request; others that finish meanwhile are kept. */
  wait(pending: Pending, timeoutMs?: number): Reply {
    for (;;) {
      const used = this.#finished.get(pending.head);
      if (used !== undefined) {
        this.#finished.delete(pending.head);
        return readReply(used, pending);
      }
      const next = this.queue.waitTake(timeoutMs);
      this.#finished.set(next.head, next);
    }
  }

  /** Has the request finished? Waits at most that long. */
  poll(pending: Pending, timeoutMs: number): boolean {
    const deadline = performance.now() + timeoutMs;
    while (!this.#finished.has(pending.head)) {
      const next = this.queue.tryTake(Math.max(0, deadline - performance.now()));
      if (next === null) return false;
      this.#finished.set(next.head, next);
    }
    return true;
  }

  /** One request and its answer. */
  call(
    opcode: number,
    nodeid: bigint,
    body: Uint8Array = new Uint8Array(0),
    options: RequestOptions = {},
  ): Reply {
    return this.wait(this.submit(opcode, nodeid, body, options));
  }

  /** A request without a writable part; the device must give it back with used length 0. */
  send(opcode: number, nodeid: bigint, body: Uint8Array, options: RequestOptions = {}): void {
    const unique = nextUnique;
    nextUnique += 2n;
    const request = encodeRequest(opcode, nodeid, body, options, unique);
    const head = this.queue.add([request], []);
    this.queue.publish();
    for (;;) {
      const used = this.#finished.get(head);
      if (used !== undefined) {
        this.#finished.delete(head);
        assert.equal(used.length, 0, "used length of a chain without a writable part");
        return;
      }
      const next = this.queue.waitTake();
      this.#finished.set(next.head, next);
    }
  }

  // --- what most tests start with; each asserts success ------------------------------------

  /** INIT as Linux 7.2 sends it. */
  init(flags: bigint = LINUX_INIT_FLAGS, minor = 45): InitReply {
    return readInit(this.ok(OP.INIT, 0n, initBody(7, minor, flags), { room: 64 }));
  }

  /** `call` that must succeed; returns the body. */
  ok(
    opcode: number,
    nodeid: bigint,
    body: Uint8Array = new Uint8Array(0),
    options: RequestOptions = {},
  ): Uint8Array {
    const reply = this.call(opcode, nodeid, body, options);
    assert.equal(reply.error, 0, `error of opcode ${opcode}`);
    return reply.body;
  }

  /** `call` that must fail; returns the positive errno. An error reply has no body. */
  fails(
    opcode: number,
    nodeid: bigint,
    body: Uint8Array = new Uint8Array(0),
    options: RequestOptions = {},
  ): number {
    const reply = this.call(opcode, nodeid, body, options);
    assert.ok(reply.error < 0, `opcode ${opcode} succeeded`);
    assert.equal(reply.body.length, 0, "an error reply is the header alone");
    return -reply.error;
  }

  lookup(parent: bigint, entry: string | Uint8Array): Entry {
    return readEntryBody(this.ok(OP.LOOKUP, parent, name(entry), { room: 128 }));
  }

  /** Follows several names from the root. */
  walk(...names: string[]): bigint {
    return names.reduce((parent, entry) => this.lookup(parent, entry).nodeid, ROOT);
  }

  getattr(nodeid: bigint, fh?: bigint): Attr {
    const body = words(fh === undefined ? 0 : 1, 0, fh ?? 0n);
    const reply = this.ok(OP.GETATTR, nodeid, body, { room: 104 });
    assert.equal(reply.length, 104, "attr_out");
    return readAttr(reply, 16);
  }

  setattr(nodeid: bigint, fields: SetattrFields, options: RequestOptions = {}): Attr {
    const reply = this.ok(OP.SETATTR, nodeid, setattrBody(fields), { ...options, room: 104 });
    assert.equal(reply.length, 104, "attr_out");
    return readAttr(reply, 16);
  }

  open(nodeid: bigint, flags: number = O.RDONLY, options: RequestOptions = {}): bigint {
    return readHandle(this.ok(OP.OPEN, nodeid, words(flags, 0), { ...options, room: 16 }));
  }

  opendir(nodeid: bigint): bigint {
    return readHandle(this.ok(OP.OPENDIR, nodeid, words(0, 0), { room: 16 }));
  }

  release(nodeid: bigint, fh: bigint, opcode: number = OP.RELEASE): void {
    this.ok(opcode, nodeid, words(fh, 0, 0, 0n), { room: 0 });
  }

  read(nodeid: bigint, fh: bigint, offset: bigint, size: number): Uint8Array {
    return this.ok(OP.READ, nodeid, readBody(fh, offset, size), { room: size });
  }

  /** Writes and returns how much the device took. */
  write(nodeid: bigint, fh: bigint, offset: bigint, data: Uint8Array): number {
    const reply = this.ok(OP.WRITE, nodeid, writeBody(fh, offset, data), { room: 8 });
    assert.equal(reply.length, 8, "write_out");
    return viewOf(reply).getUint32(0, true);
  }

  create(
    parent: bigint,
    entry: string,
    fields: { flags?: number; mode?: number; umask?: number } = {},
    options: RequestOptions = {},
  ): { entry: Entry; fh: bigint } {
    const reply = this.ok(OP.CREATE, parent, createBody(entry, fields), { ...options, room: 144 });
    assert.equal(reply.length, 144, "entry_out and open_out");
    return { entry: readEntry(reply), fh: viewOf(reply).getBigUint64(128, true) };
  }

  mkdir(parent: bigint, entry: string, mode = 0o755, options: RequestOptions = {}): Entry {
    const body = concat(words(mode, 0), name(entry));
    return readEntryBody(this.ok(OP.MKDIR, parent, body, { ...options, room: 128 }));
  }

  mknod(
    parent: bigint,
    entry: string,
    mode: number,
    options: RequestOptions & { rdev?: number; umask?: number } = {},
  ): Entry {
    const body = concat(words(mode, options.rdev ?? 0, options.umask ?? 0, 0), name(entry));
    return readEntryBody(this.ok(OP.MKNOD, parent, body, { ...options, room: 128 }));
  }

  /** One READDIR or READDIRPLUS. */
  readdir(
    nodeid: bigint,
    fh: bigint,
    offset: bigint,
    options: { size?: number; plus?: boolean } = {},
  ): Dirent[] {
    const size = options.size ?? 4096;
    const plus = options.plus ?? false;
    const opcode = plus ? OP.READDIRPLUS : OP.READDIR;
    return readDirents(this.ok(opcode, nodeid, readBody(fh, offset, size), { room: size }), plus);
  }

  /** All records of a directory, following the cookies. */
  readdirAll(
    nodeid: bigint,
    fh: bigint,
    options: { size?: number; plus?: boolean } = {},
  ): Dirent[] {
    const all: Dirent[] = [];
    let offset = 0n;
    for (;;) {
      const part = this.readdir(nodeid, fh, offset, options);
      if (part.length === 0) return all;
      all.push(...part);
      offset = part.at(-1)!.off;
      assert.ok(all.length < 1_000_000, "a directory without an end");
    }
  }
}

/** The checks that a Linux guest makes before it believes a reply. */
export function readReply(used: Used, pending: Pending): Reply {
  const view = viewOf(used.written);
  assert.ok(used.length >= 16, `opcode ${pending.opcode}: used length ${used.length}, want ≥ 16`);
  assert.equal(view.getUint32(0, true), used.length, "out_header.len equals the used length");
  assert.equal(view.getBigUint64(8, true), pending.unique, "unique of the reply");
  const error = view.getInt32(4, true);
  assert.ok(error <= 0 && error > -512, `error ${error} is in range`);
  return { error, body: used.written.subarray(16) };
}

function readEntryBody(body: Uint8Array): Entry {
  assert.equal(body.length, 128, "entry_out");
  return readEntry(body);
}

function readHandle(body: Uint8Array): bigint {
  assert.equal(body.length, 16, "open_out");
  return viewOf(body).getBigUint64(0, true);
}

/** struct fuse_read_in. */
export function readBody(fh: bigint, offset: bigint, size: number): Uint8Array {
  return words(fh, offset, size, 0, 0n, 0, 0);
}

/** struct fuse_write_in and the data. */
export function writeBody(
  fh: bigint,
  offset: bigint,
  data: Uint8Array,
  size = data.length,
  flags = 0,
): Uint8Array {
  return concat(words(fh, offset, size, flags, 0n, 0, 0), data);
}

/** struct fuse_create_in and the name. */
export function createBody(
  entry: string | Uint8Array,
  fields: { flags?: number; mode?: number; umask?: number } = {},
): Uint8Array {
  const flags = fields.flags ?? (O.RDWR | O.CREAT | O.EXCL);
  return concat(words(flags, fields.mode ?? 0o100644, fields.umask ?? 0, 0), name(entry));
}
