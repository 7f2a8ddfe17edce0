/**
 * A back end and a front end in one thread, at the two ends of a socket pair.
 *
 * @module
 */

import assert from "node:assert/strict";
import { OwnedFd } from "../../src/sys/fd.ts";
import { Backend } from "../../src/vhost_user/backend.ts";
import {
  close,
  eventfd,
  memfd,
  receiveWithFds,
  sendWithFds,
  socketPair,
  waitReadable,
} from "../support/libc.ts";
import { concat, viewOf, words } from "../support/little_endian.ts";
import { encodeMessage, FLAGS, mask, PROTOCOL, REQUEST } from "../support/vhost_messages.ts";
import { FakeDevice } from "./fake_device.ts";

/** How long anything may take before the test fails. */
export const TIMEOUT_MS = 5_000;

/** A reply as it came. */
export interface Reply {
  readonly request: number;
  readonly flags: number;
  readonly payload: Uint8Array;
}

/** Lets the back end run until `done`, or fails. */
export async function until(what: string, done: () => boolean): Promise<void> {
  const deadline = performance.now() + TIMEOUT_MS;
  while (!done()) {
    assert.ok(performance.now() < deadline, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** One connection. Disposing it hangs up and waits for the back end to be done. */
export class Conversation implements AsyncDisposable {
  readonly device: FakeDevice;
  readonly log: string[];
  readonly controller = new AbortController();
  /** The front end's descriptors: the socket, and what the test lets it own. */
  readonly #owned: number[] = [];
  readonly #socket: number;
  readonly #served: Promise<void>;
  #hungUp = false;
  /** Whether the back end has come to its end. */
  ended = false;

  constructor(device = new FakeDevice(), backend?: Backend, log: string[] = []) {
    this.device = device;
    this.log = log;
    const [ours, theirs] = socketPair();
    this.#socket = ours;
    const served = (backend ?? new Backend(device, logInto(log)))
      .serve(new OwnedFd(theirs), this.controller.signal);
    this.#served = served.finally(() => this.ended = true);
    this.#served.catch(() => {});
  }

  /** Resolves when the back end is done; rejects where it threw. */
  get served(): Promise<void> {
    return this.#served;
  }

  /** An eventfd that is closed with the conversation. */
  eventfd(): number {
    return this.#own(eventfd());
  }

  /** Shared memory that is closed with the conversation. */
  memfd(size: number): number {
    return this.#own(memfd("test", size));
  }

  #own(fd: number): number {
    this.#owned.push(fd);
    return fd;
  }

  raw(bytes: Uint8Array<ArrayBuffer>, fds: number[] = []): void {
    sendWithFds(this.#socket, bytes, fds);
  }

  send(request: number, payload: Uint8Array = new Uint8Array(0), fds: number[] = []): void {
    this.raw(encodeMessage(request, FLAGS.VERSION, payload), fds);
  }

  /** The next reply, or null when the back end has hung up. */
  async receive(): Promise<Reply | null> {
    const header = await this.#exactly(12);
    if (header === null) return null;
    const view = viewOf(header);
    const payload = await this.#exactly(view.getUint32(8, true));
    assert.ok(payload !== null, "the back end hung up within a reply");
    return { request: view.getUint32(0, true), flags: view.getUint32(4, true), payload };
  }

  async #exactly(size: number): Promise<Uint8Array | null> {
    let bytes = new Uint8Array(0);
    while (bytes.length < size) {
      await until("a reply", () => waitReadable(this.#socket, 0));
      const part = receiveWithFds(this.#socket, size - bytes.length);
      assert.equal(part.fds.length, 0);
      if (part.bytes.length === 0) return null;
      bytes = concat(bytes, part.bytes) as Uint8Array<ArrayBuffer>;
    }
    return bytes;
  }

  /** A message with a reply of its own. */
  async ask(request: number, payload?: Uint8Array): Promise<Uint8Array> {
    this.send(request, payload);
    const reply = await this.receive();
    assert.ok(reply !== null, `the back end hung up on request ${request}: ${this.log.join("; ")}`);
    assert.equal(reply.request, request);
    assert.equal(reply.flags, FLAGS.VERSION | FLAGS.REPLY);
    return reply.payload;
  }

  async askU64(request: number): Promise<bigint> {
    const payload = await this.ask(request);
    assert.equal(payload.length, 8);
    return viewOf(payload).getBigUint64(0, true);
  }

  /** A message with NEED_REPLY: its acknowledgement. */
  async acknowledge(
    request: number,
    payload: Uint8Array = new Uint8Array(0),
    fds: number[] = [],
  ): Promise<bigint> {
    this.raw(encodeMessage(request, FLAGS.VERSION | FLAGS.NEED_REPLY, payload), fds);
    const reply = await this.receive();
    assert.ok(reply !== null, `the back end hung up on request ${request}: ${this.log.join("; ")}`);
    assert.equal(reply.request, request);
    assert.equal(reply.flags, FLAGS.VERSION | FLAGS.REPLY);
    assert.equal(reply.payload.length, 8);
    return viewOf(reply.payload).getBigUint64(0, true);
  }

  /** A message with NEED_REPLY that must be done. */
  async set(request: number, payload?: Uint8Array, fds?: number[]): Promise<void> {
    const status = await this.acknowledge(request, payload, fds);
    assert.equal(status, 0n, `request ${request}: ${this.log.join("; ")}`);
  }

  /** A message with NEED_REPLY that must be refused, for a reason that the log tells. */
  async refused(
    request: number,
    payload: Uint8Array,
    fds: number[],
    reason: RegExp,
  ): Promise<void> {
    const before = this.log.length;
    const status = await this.acknowledge(request, payload, fds);
    assert.notEqual(status, 0n, "refused");
    assert.equal(this.log.length, before + 1, "one line for one refusal");
    assert.match(this.log.at(-1)!, reason);
  }

  /** The back end hangs up and says why, in one line. */
  async dropped(reason: RegExp): Promise<void> {
    assert.equal(await this.receive(), null);
    await this.#served;
    assert.equal(this.log.length, 1, this.log.join("; "));
    assert.match(this.log[0]!, reason);
  }

  /** Everything offered, everything taken: what QEMU does. */
  async negotiate(features = mask(28n, 29n, 30n, 32n)): Promise<void> {
    const offered = await this.askU64(REQUEST.GET_PROTOCOL_FEATURES);
    this.send(REQUEST.SET_PROTOCOL_FEATURES, words(offered));
    assert.notEqual(offered & mask(PROTOCOL.REPLY_ACK), 0n);
    await this.set(REQUEST.SET_OWNER);
    await this.set(REQUEST.SET_FEATURES, words(features));
  }

  hangUp(): void {
    if (this.#hungUp) return;
    this.#hungUp = true;
    close(this.#socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.hangUp();
    for (const fd of this.#owned) close(fd);
    await this.#served;
  }
}

/** A log whose warnings are gathered. */
export function logInto(warnings: string[]) {
  return {
    debug: () => {},
    info: () => {},
    warn: (message: string) => void warnings.push(message),
  };
}

/** struct VhostUserMemoryRegion */
export function region(guest: number, size: number, user: number, offset = 0): Uint8Array {
  return words(BigInt(guest), BigInt(size), BigInt(user), BigInt(offset));
}

/** struct VhostUserMemory */
export function table(...regions: Uint8Array[]): Uint8Array {
  return concat(words(regions.length, 0), ...regions);
}

/** struct vhost_vring_addr */
export function addresses(index: number, first = 0x1000, flags = 0): Uint8Array {
  return words(
    index,
    flags,
    BigInt(first),
    BigInt(first + 0x2000),
    BigInt(first + 0x1000),
    0xffff_ffff_ffff_ffffn,
  );
}
