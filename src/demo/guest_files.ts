/**
 * A small virtio-fs driver and FUSE client: one request at a time through one queue, files by name in
 * the root directory. What a guest kernel does for `cat` and `ls`, in the open.
 *
 * @module
 */

import {
  CREATE_IN,
  DIRENT,
  DIRENTPLUS,
  ENTRY_OUT,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_ROOT_ID,
  IN_HEADER,
  INIT_IN,
  INIT_OUT,
  Opcode,
  OPEN_IN,
  OPEN_OUT,
  OUT_HEADER,
  READ_IN,
  RELEASE_IN,
  WRITE_IN,
} from "../wire/fuse.ts";
import {
  AVAIL,
  availAreaSize,
  DESC,
  descriptorAreaSize,
  USED,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "../wire/virtio_ring.ts";
import { FIRST_REQUEST_QUEUE, HIPRIO_QUEUE } from "../wire/virtio_fs.ts";
import type { GuestFrontend, QueueDoorbells, RingLayout } from "./guest_frontend.ts";

/** Guest memory: both rings, then the request and the reply. */
const QUEUE_SIZE = 8;
const HIPRIO_RING_AT = 0;
const RING_AT = 4096;
const REQUEST_AT = 8192;
const REPLY_AT = 65536;
const REPLY_SIZE = 65536;
/** The guest memory that a {@linkcode GuestFiles} needs. */
export const GUEST_MEMORY_SIZE = 262144;

const O_WRONLY = 1;
const READ_SIZE = 32768;

/** The root directory of the served file system, as a guest has it. */
export class GuestFiles {
  readonly #frontend: GuestFrontend;
  readonly #ring: RingLayout = ringAt(RING_AT);
  readonly #doorbells: QueueDoorbells;
  #unique = 0;
  #nextAvailable = 0;

  /** Starts the queues and the FUSE session. */
  constructor(frontend: GuestFrontend) {
    this.#frontend = frontend;
    frontend.startQueue(HIPRIO_QUEUE, ringAt(HIPRIO_RING_AT));
    this.#doorbells = frontend.startQueue(FIRST_REQUEST_QUEUE, this.#ring);
    const init = new DataView(new ArrayBuffer(INIT_IN.SIZE));
    init.setUint32(INIT_IN.MAJOR, FUSE_KERNEL_VERSION, true);
    init.setUint32(INIT_IN.MINOR, FUSE_KERNEL_MINOR_VERSION, true);
    const reply = this.#request("INIT", Opcode.INIT, FUSE_ROOT_ID, init);
    this.protocol = `${reply.getUint32(INIT_OUT.MAJOR, true)}.${
      reply.getUint32(INIT_OUT.MINOR, true)
    }`;
  }

  /** The FUSE version that the daemon speaks. */
  readonly protocol: string;

  /** The names in the root directory, without `.` and `..`. */
  list(): string[] {
    const opened = this.#request("OPENDIR", Opcode.OPENDIR, FUSE_ROOT_ID, flags(0));
    const handle = opened.getBigUint64(OPEN_OUT.FH, true);
    const names: string[] = [];
    for (let offset = 0n;;) {
      const read = readRequest(handle, offset);
      const entries = this.#request("READDIRPLUS", Opcode.READDIRPLUS, FUSE_ROOT_ID, read);
      if (entries.byteLength === 0) break;
      for (let at = 0; at < entries.byteLength;) {
        const length = entries.getUint32(at + DIRENTPLUS.DIRENT + DIRENT.NAMELEN, true);
        offset = entries.getBigUint64(at + DIRENTPLUS.DIRENT + DIRENT.OFF, true);
        const name = new Uint8Array(
          entries.buffer,
          entries.byteOffset + at + DIRENTPLUS.NAME,
          length,
        );
        names.push(new TextDecoder().decode(name));
        at += (DIRENTPLUS.NAME + length + 7) & ~7;
      }
    }
    this.#request("RELEASEDIR", Opcode.RELEASEDIR, FUSE_ROOT_ID, release(handle));
    return names.filter((name) => name !== "." && name !== "..").sort();
  }

  /** The text of a short file in the root directory. */
  readText(name: string): string {
    const entry = this.#request("LOOKUP", Opcode.LOOKUP, FUSE_ROOT_ID, cString(name));
    const node = Number(entry.getBigUint64(ENTRY_OUT.NODEID, true));
    if (node === 0) throw new Error(`LOOKUP ${name}: there is no such file`);
    const handle = this.#request("OPEN", Opcode.OPEN, node, flags(0))
      .getBigUint64(OPEN_OUT.FH, true);
    const data = this.#request("READ", Opcode.READ, node, readRequest(handle, 0n));
    const text = new TextDecoder().decode(data);
    this.#request("RELEASE", Opcode.RELEASE, node, release(handle));
    return text;
  }

  /** Creates a file in the root directory and writes a short text to it. */
  writeText(name: string, text: string): void {
    const create = new DataView(new ArrayBuffer(CREATE_IN.SIZE));
    create.setUint32(CREATE_IN.FLAGS, O_WRONLY, true);
    create.setUint32(CREATE_IN.MODE, 0o100644, true);
    create.setUint32(CREATE_IN.UMASK, 0o022, true);
    const created = this.#request(
      "CREATE",
      Opcode.CREATE,
      FUSE_ROOT_ID,
      joined(create, cString(name)),
    );
    const node = Number(created.getBigUint64(ENTRY_OUT.NODEID, true));
    const handle = created.getBigUint64(ENTRY_OUT.SIZE + OPEN_OUT.FH, true);
    const bytes = new TextEncoder().encode(text);
    const write = new DataView(new ArrayBuffer(WRITE_IN.SIZE));
    write.setBigUint64(WRITE_IN.FH, handle, true);
    write.setUint32(WRITE_IN.SIZE_, bytes.length, true);
    this.#request("WRITE", Opcode.WRITE, node, joined(write, new DataView(bytes.buffer)));
    this.#request("RELEASE", Opcode.RELEASE, node, release(handle));
  }

  /** Ends the session and stops the queues. */
  close(): void {
    this.#request("DESTROY", Opcode.DESTROY, FUSE_ROOT_ID, new DataView(new ArrayBuffer(0)));
    this.#frontend.stopQueue(FIRST_REQUEST_QUEUE);
    this.#frontend.stopQueue(HIPRIO_QUEUE);
  }

  /** One request and its reply's body; an error of the daemon is an exception here. */
  #request(name: string, opcode: number, node: number, body: DataView): DataView<ArrayBuffer> {
    const { u8, view } = this.#frontend.memory;
    const length = IN_HEADER.SIZE + body.byteLength;
    u8.fill(0, REQUEST_AT, REQUEST_AT + IN_HEADER.SIZE);
    view.setUint32(REQUEST_AT + IN_HEADER.LEN, length, true);
    view.setUint32(REQUEST_AT + IN_HEADER.OPCODE, opcode, true);
    // Even numbers, as the kernel's: the odd ones are for interrupts.
    this.#unique += 2;
    view.setUint32(REQUEST_AT + IN_HEADER.UNIQUE, this.#unique, true);
    view.setBigUint64(REQUEST_AT + IN_HEADER.NODEID, BigInt(node), true);
    view.setUint32(REQUEST_AT + IN_HEADER.UID, Deno.uid() ?? 0, true);
    view.setUint32(REQUEST_AT + IN_HEADER.GID, Deno.gid() ?? 0, true);
    u8.set(
      new Uint8Array(body.buffer, body.byteOffset, body.byteLength),
      REQUEST_AT + IN_HEADER.SIZE,
    );
    this.#exchange(length);
    const replied = view.getUint32(REPLY_AT + OUT_HEADER.LEN, true);
    // Some daemons (Rust virtiofsd) use the buffer of DESTROY without writing a reply.
    if (opcode === Opcode.DESTROY && replied === 0) return new DataView(new ArrayBuffer(0));
    const error = view.getInt32(REPLY_AT + OUT_HEADER.ERROR, true);
    if (view.getUint32(REPLY_AT + OUT_HEADER.UNIQUE, true) !== this.#unique) {
      throw new Error(`${name}: the reply belongs to another request`);
    }
    if (error !== 0) throw new Error(`${name}: the daemon answered errno ${-error}`);
    const reply = u8.slice(REPLY_AT + OUT_HEADER.SIZE, REPLY_AT + replied);
    return new DataView(reply.buffer);
  }

  /** Makes the request available in two descriptors, and waits until it has been used. */
  #exchange(requestLength: number): void {
    const { view, u8 } = this.#frontend.memory;
    u8.fill(0, REPLY_AT, REPLY_AT + OUT_HEADER.SIZE);
    const { descriptors, available, used, size } = this.#ring;
    setDescriptor(view, descriptors, REQUEST_AT, requestLength, VIRTQ_DESC_F_NEXT, 1);
    setDescriptor(view, descriptors + DESC.SIZE, REPLY_AT, REPLY_SIZE, VIRTQ_DESC_F_WRITE, 0);
    const slot = available + AVAIL.RING + AVAIL.ELEM_SIZE * (this.#nextAvailable % size);
    view.setUint16(slot, 0, true);
    this.#nextAvailable = (this.#nextAvailable + 1) & 0xffff;
    const words = new Uint16Array(u8.buffer);
    // Orders the descriptors before the index that publishes them.
    Atomics.store(words, (available + AVAIL.IDX) / 2, this.#nextAvailable);
    this.#frontend.ring(this.#doorbells.kick);
    while (Atomics.load(words, (used + USED.IDX) / 2) !== this.#nextAvailable) {
      this.#frontend.await(this.#doorbells.call);
    }
  }
}

function ringAt(offset: number): RingLayout {
  const available = offset + descriptorAreaSize(QUEUE_SIZE);
  const used = (available + availAreaSize(QUEUE_SIZE) + 3) & ~3;
  return { size: QUEUE_SIZE, descriptors: offset, available, used };
}

function setDescriptor(
  view: DataView,
  at: number,
  address: number,
  length: number,
  descriptorFlags: number,
  next: number,
): void {
  view.setBigUint64(at + DESC.ADDR, BigInt(address), true);
  view.setUint32(at + DESC.LEN, length, true);
  view.setUint16(at + DESC.FLAGS, descriptorFlags, true);
  view.setUint16(at + DESC.NEXT, next, true);
}

function flags(openFlags: number): DataView<ArrayBuffer> {
  const body = new DataView(new ArrayBuffer(OPEN_IN.SIZE));
  body.setUint32(OPEN_IN.FLAGS, openFlags, true);
  return body;
}

function readRequest(handle: bigint, offset: bigint): DataView<ArrayBuffer> {
  const body = new DataView(new ArrayBuffer(READ_IN.SIZE));
  body.setBigUint64(READ_IN.FH, handle, true);
  body.setBigUint64(READ_IN.OFFSET, offset, true);
  body.setUint32(READ_IN.SIZE_, READ_SIZE, true);
  return body;
}

function release(handle: bigint): DataView<ArrayBuffer> {
  const body = new DataView(new ArrayBuffer(RELEASE_IN.SIZE));
  body.setBigUint64(RELEASE_IN.FH, handle, true);
  return body;
}

function cString(text: string): DataView<ArrayBuffer> {
  return new DataView(new TextEncoder().encode(text + "\0").buffer);
}

function joined(first: DataView, second: DataView): DataView<ArrayBuffer> {
  const bytes = new Uint8Array(first.byteLength + second.byteLength);
  bytes.set(new Uint8Array(first.buffer, first.byteOffset, first.byteLength));
  bytes.set(
    new Uint8Array(second.buffer, second.byteOffset, second.byteLength),
    first.byteLength,
  );
  return new DataView(bytes.buffer);
}
