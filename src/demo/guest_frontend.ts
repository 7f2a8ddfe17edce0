/**
 * A small vhost-user front end: what a virtual machine monitor says to a file-system daemon before a
 * guest can use it. Enough for the demo, and no more; it blocks, with a deadline on every wait.
 *
 * @module
 */

import { connectUnix } from "../sys/unix_socket.ts";
import { libc, status } from "../sys/libc.ts";
import { Mapping } from "../sys/mapping.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F_VERSION_1 } from "../wire/virtio_ring.ts";
import { VIRTIO_FS_CONFIG } from "../wire/virtio_fs.ts";

/** vhost-user: front-end message types. */
const MESSAGE = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  SET_MEM_TABLE: 5,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  SET_VRING_ENABLE: 18,
  GET_CONFIG: 24,
} as const;

/** vhost-user: header {request, flags, size}; flags: version 1, need_reply bit 3. */
const HEADER_SIZE = 12;
const VERSION = 0x1;
const NEED_REPLY = 0x8;
/** vhost-user: protocol features REPLY_ACK and CONFIG. */
const PROTOCOL_FEATURES = 2n ** 3n | 2n ** 9n;
/** vhost-user: GET_CONFIG's {offset, size, flags} before the bytes. */
const CONFIG_HEADER_SIZE = 12;

const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000;
const MFD_CLOEXEC = 1;
const POLLIN = 1;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
/** socket(7): struct msghdr and struct cmsghdr on 64-bit. */
const MSGHDR = { IOV: 16, IOVLEN: 24, CONTROL: 32, CONTROLLEN: 40, SIZE: 56 } as const;
const CMSGHDR = { LEN: 0, LEVEL: 8, TYPE: 12, DATA: 16, SIZE: 16 } as const;

/** Scratch: the message, then iovec, msghdr, control, pollfd at fixed places behind it. */
const SCRATCH = { MESSAGE: 0, IOVEC: 1024, MSGHDR: 1040, CONTROL: 1104, POLL: 1136, SIZE: 4096 };
const DEADLINE_MS = 10_000;

/** Where a queue's three areas lie in the guest's memory. */
export interface RingLayout {
  /** Descriptors of the queue. */
  readonly size: number;
  /** Offset of the descriptor table. */
  readonly descriptors: number;
  /** Offset of the available ring. */
  readonly available: number;
  /** Offset of the used ring. */
  readonly used: number;
}

/** A queue's two eventfds. */
export interface QueueDoorbells {
  /** Written by the driver when requests are there. */
  readonly kick: number;
  /** Written by the device when answers are there. */
  readonly call: number;
}

/** One connection to a daemon, with `memorySize` bytes of guest memory from guest address 0 on. */
export class GuestFrontend implements Disposable {
  readonly #socket: number;
  readonly #memoryFd: number;
  readonly #mapping: Mapping;
  readonly #scratch = NativeMemory.allocate(SCRATCH.SIZE);
  readonly #doorbells: QueueDoorbells[] = [];
  #connected = true;

  /** Connects and agrees on features, as a monitor does when its machine starts. */
  constructor(socketPath: string, memorySize: number) {
    this.#socket = must(status(libc.socket(AF_UNIX, SOCK_STREAM_CLOEXEC, 0)), "socket");
    must(connectUnix(this.#socket, socketPath), `connect to ${socketPath}`);
    const name = NativeMemory.allocate(16);
    name.u8.set(new TextEncoder().encode("guest-ram\0"));
    this.#memoryFd = must(
      status(libc.memfd_create(name.pointerAt(0), MFD_CLOEXEC)),
      "memfd_create",
    );
    must(status(libc.ftruncate(this.#memoryFd, BigInt(memorySize))), "ftruncate");
    this.#mapping = new Mapping(this.#memoryFd, 0, memorySize);
    const features = this.#ask(MESSAGE.GET_FEATURES).getBigUint64(0, true);
    const wanted = 2n ** BigInt(VIRTIO_F_VERSION_1) | 2n ** BigInt(VHOST_USER_F_PROTOCOL_FEATURES);
    if ((features & wanted) !== wanted) throw new Error("the daemon lacks VERSION_1 or CONFIG");
    const offered = this.#ask(MESSAGE.GET_PROTOCOL_FEATURES).getBigUint64(0, true);
    this.#tell(MESSAGE.SET_PROTOCOL_FEATURES, u64(offered & PROTOCOL_FEATURES), null);
    this.#tell(MESSAGE.SET_OWNER, new Uint8Array(0), null);
    this.#tell(MESSAGE.SET_FEATURES, u64(wanted), null);
    this.#order(MESSAGE.SET_MEM_TABLE, this.#memoryTable(memorySize), this.#memoryFd);
  }

  /** The guest's memory. */
  get memory(): NativeMemory {
    return this.#mapping.memory;
  }

  /** The mount tag and the number of request queues in the device's configuration space. */
  deviceConfig(): { tag: string; requestQueueCount: number } {
    const request = new Uint8Array(CONFIG_HEADER_SIZE + VIRTIO_FS_CONFIG.SIZE);
    new DataView(request.buffer).setUint32(4, VIRTIO_FS_CONFIG.SIZE, true);
    const reply = this.#ask(MESSAGE.GET_CONFIG, request);
    const tag = new Uint8Array(
      reply.buffer,
      reply.byteOffset + CONFIG_HEADER_SIZE,
      VIRTIO_FS_CONFIG.TAG_SIZE,
    );
    const end = tag.indexOf(0);
    return {
      tag: new TextDecoder().decode(end < 0 ? tag : tag.subarray(0, end)),
      requestQueueCount: reply.getUint32(
        CONFIG_HEADER_SIZE + VIRTIO_FS_CONFIG.NUM_REQUEST_QUEUES,
        true,
      ),
    };
  }

  /** Starts one queue. */
  startQueue(index: number, ring: RingLayout): QueueDoorbells {
    const doorbells = {
      kick: must(status(libc.eventfd(0, 0)), "eventfd"),
      call: must(status(libc.eventfd(0, 0)), "eventfd"),
    };
    this.#doorbells.push(doorbells);
    this.#order(MESSAGE.SET_VRING_NUM, vringState(index, ring.size), null);
    this.#order(MESSAGE.SET_VRING_BASE, vringState(index, 0), null);
    this.#order(MESSAGE.SET_VRING_ADDR, this.#vringAddress(index, ring), null);
    this.#order(MESSAGE.SET_VRING_CALL, u64(BigInt(index)), doorbells.call);
    this.#order(MESSAGE.SET_VRING_KICK, u64(BigInt(index)), doorbells.kick);
    this.#order(MESSAGE.SET_VRING_ENABLE, vringState(index, 1), null);
    return doorbells;
  }

  /** Rings a doorbell. */
  ring(fd: number): void {
    this.#scratch.view.setBigUint64(SCRATCH.MESSAGE, 1n, true);
    must(status(libc.write(fd, this.#scratch.pointerAt(SCRATCH.MESSAGE), 8)), "kick");
  }

  /** Waits for a doorbell and silences it. */
  await(fd: number): void {
    this.#waitReadable(fd, "an answer of the queue");
    must(status(libc.read(fd, this.#scratch.pointerAt(SCRATCH.MESSAGE), 8)), "read a doorbell");
  }

  /** Stops a queue; the daemon has finished with it when this returns. */
  stopQueue(index: number): void {
    this.#ask(MESSAGE.GET_VRING_BASE, vringState(index, 0));
  }

  /** Hangs up. */
  [Symbol.dispose](): void {
    if (!this.#connected) return;
    this.#connected = false;
    libc.close(this.#socket);
    for (const { kick, call } of this.#doorbells) {
      libc.close(kick);
      libc.close(call);
    }
    this.#mapping.unmap();
    libc.close(this.#memoryFd);
  }

  #memoryTable(size: number): Uint8Array<ArrayBuffer> {
    const table = new DataView(new ArrayBuffer(8 + 32));
    table.setUint32(0, 1, true);
    table.setBigUint64(16, BigInt(size), true);
    table.setBigUint64(24, BigInt(this.#mapping.address), true);
    return new Uint8Array(table.buffer);
  }

  #vringAddress(index: number, ring: RingLayout): Uint8Array<ArrayBuffer> {
    const base = BigInt(this.#mapping.address);
    const address = new DataView(new ArrayBuffer(40));
    address.setUint32(0, index, true);
    address.setBigUint64(8, base + BigInt(ring.descriptors), true);
    address.setBigUint64(16, base + BigInt(ring.used), true);
    address.setBigUint64(24, base + BigInt(ring.available), true);
    return new Uint8Array(address.buffer);
  }

  /** Sends a request and returns the reply's payload. */
  #ask(request: number, payload: Uint8Array = new Uint8Array(0)): DataView<ArrayBuffer> {
    this.#send(request, VERSION, payload, null);
    return this.#receive(request);
  }

  /** Sends a message that has no answer. */
  #tell(request: number, payload: Uint8Array, fd: number | null): void {
    this.#send(request, VERSION, payload, fd);
  }

  /** Sends a message and waits until the daemon has obeyed (REPLY_ACK). */
  #order(request: number, payload: Uint8Array, fd: number | null): void {
    this.#send(request, VERSION | NEED_REPLY, payload, fd);
    const refusal = this.#receive(request).getBigUint64(0, true);
    if (refusal !== 0n) throw new Error(`the daemon refused vhost-user message ${request}`);
  }

  #send(request: number, flags: number, payload: Uint8Array, fd: number | null): void {
    const { view, u8, address } = this.#scratch;
    view.setUint32(0, request, true);
    view.setUint32(4, flags, true);
    view.setUint32(8, payload.length, true);
    u8.set(payload, HEADER_SIZE);
    view.setBigUint64(SCRATCH.IOVEC, BigInt(address + SCRATCH.MESSAGE), true);
    view.setBigUint64(SCRATCH.IOVEC + 8, BigInt(HEADER_SIZE + payload.length), true);
    u8.fill(0, SCRATCH.MSGHDR, SCRATCH.MSGHDR + MSGHDR.SIZE);
    view.setBigUint64(SCRATCH.MSGHDR + MSGHDR.IOV, BigInt(address + SCRATCH.IOVEC), true);
    view.setBigUint64(SCRATCH.MSGHDR + MSGHDR.IOVLEN, 1n, true);
    if (fd !== null) {
      view.setBigUint64(SCRATCH.CONTROL + CMSGHDR.LEN, BigInt(CMSGHDR.SIZE + 4), true);
      view.setInt32(SCRATCH.CONTROL + CMSGHDR.LEVEL, SOL_SOCKET, true);
      view.setInt32(SCRATCH.CONTROL + CMSGHDR.TYPE, SCM_RIGHTS, true);
      view.setInt32(SCRATCH.CONTROL + CMSGHDR.DATA, fd, true);
      view.setBigUint64(SCRATCH.MSGHDR + MSGHDR.CONTROL, BigInt(address + SCRATCH.CONTROL), true);
      view.setBigUint64(SCRATCH.MSGHDR + MSGHDR.CONTROLLEN, BigInt(CMSGHDR.SIZE + 8), true);
    }
    must(status(libc.sendmsg(this.#socket, this.#scratch.pointerAt(SCRATCH.MSGHDR), 0)), "sendmsg");
  }

  #receive(request: number): DataView<ArrayBuffer> {
    const header = this.#receiveBytes(HEADER_SIZE);
    if (header.getUint32(0, true) !== request) {
      throw new Error(`the daemon answered ${header.getUint32(0, true)} to message ${request}`);
    }
    return this.#receiveBytes(header.getUint32(8, true));
  }

  #receiveBytes(length: number): DataView<ArrayBuffer> {
    if (length > SCRATCH.IOVEC) throw new Error(`the daemon sent a message of ${length} bytes`);
    let received = 0;
    const bytes = new Uint8Array(length);
    while (received < length) {
      this.#waitReadable(this.#socket, "the daemon");
      const pointer = this.#scratch.pointerAt(SCRATCH.MESSAGE);
      const count = must(status(libc.read(this.#socket, pointer, length - received)), "read");
      if (count === 0) throw new Error("the daemon hung up");
      bytes.set(this.#scratch.u8.subarray(0, count), received);
      received += count;
    }
    return new DataView(bytes.buffer);
  }

  #waitReadable(fd: number, what: string): void {
    this.#scratch.view.setInt32(SCRATCH.POLL, fd, true);
    this.#scratch.view.setUint32(SCRATCH.POLL + 4, POLLIN, true);
    const ready = must(
      status(libc.poll(this.#scratch.pointerAt(SCRATCH.POLL), 1, DEADLINE_MS)),
      "poll",
    );
    if (ready === 0) throw new Error(`no sign of ${what} for ${DEADLINE_MS / 1000} seconds`);
  }
}

function must(result: number, what: string): number {
  if (result < 0) throw new Error(`${what} failed (errno ${-result})`);
  return result;
}

function u64(value: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setBigUint64(0, value, true);
  return new Uint8Array(bytes.buffer);
}

function vringState(index: number, value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Uint32Array([index, value]).buffer);
}
