/**
 * A vhost-user front end: what QEMU, User Mode Linux and Cloud Hypervisor send to a file-system device,
 * and anything else that a test wants to throw at one.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { GuestRegion } from "./guest_memory.ts";
import {
  close,
  connectUnix,
  LibcError,
  receiveWithFds,
  sendWithFds,
  shutdown,
  socketPair,
  waitReadable,
} from "./libc.ts";
import { concat, viewOf, words } from "./little_endian.ts";
import { encodeMessage, FEATURE, FLAGS, mask, PROTOCOL, REQUEST } from "./vhost_messages.ts";

/** How long a reply may take before the test fails. */
export const REPLY_TIMEOUT_MS = 5_000;

/** A message from the back end. */
export interface Message {
  readonly request: number;
  readonly flags: number;
  readonly payload: Uint8Array;
  readonly fds: number[];
}

/** One connection to a back end. */
export class Frontend {
  /** What the last `negotiate` agreed on. */
  features = 0n;
  protocolFeatures = 0n;
  static readonly #connections = new Set<Frontend>();

  private constructor(readonly fd: number) {
    Frontend.#connections.add(this);
  }

  /** Hangs up on whatever a failed test left open: a daemon serves one front end at a time. */
  static closeAll(): void {
    for (const frontend of [...Frontend.#connections]) frontend.close();
  }

  /** Connects to a listening daemon. */
  static connect(path: string): Frontend {
    return new Frontend(connectUnix(path));
  }

  /** Sends bytes as they are. False when the back end has hung up already. */
  sendRaw(bytes: Uint8Array<ArrayBuffer>, fds: number[] = []): boolean {
    try {
      sendWithFds(this.fd, bytes, fds);
      return true;
    } catch (error) {
      // EPIPE and ECONNRESET: dropping the connection is an allowed answer to nonsense.
      if (error instanceof LibcError && (error.code === 32 || error.code === 104)) return false;
      throw error;
    }
  }

  /** Sends a message and waits for nothing. */
  send(request: number, payload: Uint8Array = new Uint8Array(0), fds: number[] = []): boolean {
    return this.sendRaw(encodeMessage(request, FLAGS.VERSION, payload), fds);
  }

  /** The next message from the back end, or null when it hung up. Silence is an error. */
  receive(timeoutMs = REPLY_TIMEOUT_MS): Message | null {
    const header = this.#receiveExactly(12, timeoutMs);
    if (header === null) return null;
    const view = viewOf(header.bytes);
    const size = view.getUint32(8, true);
    assert.ok(size <= 4096, `reply of ${size} bytes`);
    const payload = size === 0 ? header : this.#receiveExactly(size, timeoutMs);
    if (payload === null) return null;
    return {
      request: view.getUint32(0, true),
      flags: view.getUint32(4, true),
      payload: size === 0 ? new Uint8Array(0) : payload.bytes,
      fds: size === 0 ? header.fds : [...header.fds, ...payload.fds],
    };
  }

  #receiveExactly(size: number, timeoutMs: number): { bytes: Uint8Array; fds: number[] } | null {
    const deadline = performance.now() + timeoutMs;
    const parts: Uint8Array[] = [];
    const fds: number[] = [];
    let length = 0;
    while (length < size) {
      if (!waitReadable(this.fd, deadline - performance.now())) {
        throw new Error(`the back end did not answer within ${timeoutMs} ms`);
      }
      const part = receiveWithFds(this.fd, size - length);
      if (part.bytes.length === 0) return null;
      parts.push(part.bytes);
      fds.push(...part.fds);
      length += part.bytes.length;
    }
    return { bytes: concat(...parts), fds };
  }

  /** Sends a message that has a reply of its own and returns the reply's payload. */
  ask(request: number, payload: Uint8Array = new Uint8Array(0), fds: number[] = []): Uint8Array {
    assert.ok(this.send(request, payload, fds), `back end hung up before request ${request}`);
    const reply = this.receive();
    assert.ok(reply !== null, `back end hung up on request ${request}`);
    assert.equal(reply.request, request, "reply to another request");
    assert.equal(reply.flags & 3, FLAGS.VERSION, "version of the reply");
    assert.ok((reply.flags & FLAGS.REPLY) !== 0, "reply bit");
    return reply.payload;
  }

  /** As `ask`, for a reply of one 64-bit number. */
  askU64(request: number, payload: Uint8Array = new Uint8Array(0)): bigint {
    const reply = this.ask(request, payload);
    assert.equal(reply.length, 8, `payload of the reply to ${request}`);
    return viewOf(reply).getBigUint64(0, true);
  }

  /** Sends a message with NEED_REPLY: the status, or null when the back end hung up instead. */
  acknowledge(request: number, payload: Uint8Array, fds: number[] = []): bigint | null {
    const flags = FLAGS.VERSION | FLAGS.NEED_REPLY;
    if (!this.sendRaw(encodeMessage(request, flags, payload), fds)) return null;
    const reply = this.receive();
    if (reply === null) return null;
    assert.equal(reply.request, request, "acknowledgement of another request");
    assert.ok((reply.flags & FLAGS.REPLY) !== 0, "reply bit");
    assert.equal(reply.payload.length, 8, "payload of the acknowledgement");
    return viewOf(reply.payload).getBigUint64(0, true);
  }

  /** Sends a message that must succeed, with whatever proof the negotiated features allow. */
  set(request: number, payload: Uint8Array, fds: number[] = []): void {
    if ((this.protocolFeatures & mask(PROTOCOL.REPLY_ACK)) !== 0n) {
      assert.equal(this.acknowledge(request, payload, fds), 0n, `status of request ${request}`);
    } else {
      assert.ok(this.send(request, payload, fds), "back end hung up");
    }
  }

  /** True when the back end still answers on this connection. */
  isAlive(): boolean {
    if (!this.send(REQUEST.GET_FEATURES)) return false;
    return this.receive() !== null;
  }

  /** Waits for the back end to hang up. */
  waitHangUp(timeoutMs = REPLY_TIMEOUT_MS): void {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      if (!waitReadable(this.fd, deadline - performance.now())) {
        throw new Error("the back end did not drop the connection");
      }
      if (receiveWithFds(this.fd, 4096).bytes.length === 0) return;
    }
  }

  /** The handshake of QEMU: features and protocol features, restricted to what both sides have. */
  negotiate(
    wanted = mask(FEATURE.VERSION_1, FEATURE.INDIRECT_DESC, FEATURE.EVENT_IDX),
    wantedProtocol = mask(
      PROTOCOL.MQ,
      PROTOCOL.REPLY_ACK,
      PROTOCOL.BACKEND_REQ,
      PROTOCOL.CONFIG,
      PROTOCOL.BACKEND_SEND_FD,
      PROTOCOL.RESET_DEVICE,
      PROTOCOL.CONFIGURE_MEM_SLOTS,
    ),
  ): void {
    const offered = this.askU64(REQUEST.GET_FEATURES);
    this.features = offered & (wanted | mask(FEATURE.PROTOCOL_FEATURES));
    const offeredProtocol = this.askU64(REQUEST.GET_PROTOCOL_FEATURES);
    this.protocolFeatures = offeredProtocol & wantedProtocol;
    this.send(REQUEST.SET_PROTOCOL_FEATURES, words(this.protocolFeatures));
    this.set(REQUEST.SET_OWNER, new Uint8Array(0));
    this.set(REQUEST.SET_FEATURES, words(this.features));
  }

  /** Replaces the whole memory of the back end. */
  setMemTable(regions: readonly GuestRegion[]): void {
    this.set(REQUEST.SET_MEM_TABLE, memTable(regions), regions.map((region) => region.fd));
  }

  /** Adds one region (CONFIGURE_MEM_SLOTS). */
  addMemReg(region: GuestRegion): void {
    this.set(REQUEST.ADD_MEM_REG, concat(words(0n), memRegion(region)), [region.fd]);
  }

  /** Takes one region away. QEMU sends the region's fd along, and the back end has to cope. */
  remMemReg(region: GuestRegion, withFd = true): void {
    const payload = concat(words(0n), memRegion(region));
    this.set(REQUEST.REM_MEM_REG, payload, withFd ? [region.fd] : []);
  }

  /** Gives the back end its request channel; the other end is returned. */
  setBackendReqFd(): number {
    const [ours, theirs] = socketPair();
    this.set(REQUEST.SET_BACKEND_REQ_FD, new Uint8Array(0), [theirs]);
    close(theirs);
    return ours;
  }

  /** `size` bytes of the config space, as QEMU and UML ask for them. */
  getConfig(offset: number, size: number): Uint8Array {
    const reply = this.ask(
      REQUEST.GET_CONFIG,
      concat(words(offset, size, 0), new Uint8Array(size)),
    );
    const view = viewOf(reply);
    assert.equal(reply.length, 12 + size, "size of the GET_CONFIG reply");
    assert.equal(view.getUint32(0, true), offset, "offset of the GET_CONFIG reply");
    assert.equal(view.getUint32(4, true), size, "size field of the GET_CONFIG reply");
    return reply.subarray(12);
  }

  /** Stops a ring and returns the index at which it would go on. */
  getVringBase(index: number): number {
    const reply = viewOf(this.ask(REQUEST.GET_VRING_BASE, words(index, 0)));
    assert.equal(reply.byteLength, 8, "payload of the GET_VRING_BASE reply");
    assert.equal(reply.getUint32(0, true), index, "ring of the GET_VRING_BASE reply");
    return reply.getUint32(4, true);
  }

  /** Starts or stops a ring without forgetting it. */
  enable(index: number, on: boolean): void {
    this.set(REQUEST.SET_VRING_ENABLE, words(index, on ? 1 : 0));
  }

  /** Hangs up but keeps the descriptor, so that `close` stays the only place that closes it. */
  hangUp(): void {
    shutdown(this.fd);
  }

  /** Hangs up. */
  close(): void {
    if (Frontend.#connections.delete(this)) close(this.fd);
  }
}

/** The description of one region inside SET_MEM_TABLE and ADD_MEM_REG. */
export function memRegion(region: GuestRegion): Uint8Array {
  return words(
    BigInt(region.guestAddress),
    BigInt(region.size),
    BigInt(region.userAddress),
    BigInt(region.fileOffset),
  );
}

/** The payload of SET_MEM_TABLE. */
export function memTable(regions: readonly GuestRegion[]): Uint8Array {
  return concat(words(regions.length, 0), ...regions.map(memRegion));
}
