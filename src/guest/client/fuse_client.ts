/**
 * The FUSE session of a guest: makes requests, sends them, waits for their replies.
 *
 * What each request looks like stands in the files beside this one, by family, as in `fuse/`.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import { EIO, ETIMEDOUT, type Status } from "../../sys/errno.ts";
import { FORGET_IN, FUSE_ROOT_ID, IN_HEADER, Opcode } from "../../wire/fuse.ts";
import { ENTRYVER_OUT, FUSE2_SHARED_VERSIONS } from "../../wire/shared_versions.ts";
import type { Driver } from "../driver/driver.ts";
import type { Slot } from "../driver/slot.ts";
import type { Caller } from "./caller.ts";
import { FuseRequest } from "./fuse_request.ts";
import { type Agreement, hasFlag } from "./agreement.ts";
import { opcodeName, Traffic } from "./traffic.ts";

/** Bytes of a slot for a request: SETXATTR's value of 64 KiB is the longest argument. */
export const REQUEST_SIZE: number = 72 * 1024;
/** Bytes of a slot for a reply: a directory is read in pieces of up to 128 KiB. */
export const REPLY_SIZE: number = 132 * 1024;

const WORD = 4294967296;

/** One session with a daemon. Used by one thread. */
export class FuseClient {
  readonly driver: Driver;
  readonly traffic: Traffic = new Traffic();
  /** Requests are made for this process. */
  caller: Caller;
  /** What replies that name an inode are longer by, because they tell its version; 0 in a session without versions. */
  entryVersionSize = 0;
  readonly #timeoutMs: number;
  /** The request of each slot, by queue and index. */
  readonly #requests: FuseRequest[][] = [];
  #unique = 0;
  #agreement: Agreement | null = null;

  /** A reply that takes longer than `timeoutMs` (0 = never) ends the session; waiting for a lock may take for ever. */
  constructor(driver: Driver, caller: Caller, timeoutMs: number) {
    this.driver = driver;
    this.caller = caller;
    this.#timeoutMs = timeoutMs;
  }

  /** Takes over what `handshake()` came to. */
  begun(agreement: Agreement): void {
    this.#agreement = agreement;
    const isVersioned = hasFlag(agreement.flags2, FUSE2_SHARED_VERSIONS);
    this.entryVersionSize = isVersioned ? ENTRYVER_OUT.SIZE : 0;
  }

  /** What was agreed on. */
  get agreement(): Agreement {
    assert(this.#agreement !== null, "the session has been started");
    return this.#agreement;
  }

  /** A request about `nodeid` whose argument struct has `argsSize` bytes. Waits while all slots are taken. */
  begin(opcode: number, nodeid: number, argsSize: number): FuseRequest {
    if (this.driver.isStopped) throw new Error("Cannot ask the daemon: the guest was closed");
    let slot = this.driver.acquire();
    while (slot === null) {
      assert(this.driver.inFlight > 0, "whoever holds a slot sends it or ends it");
      this.progress();
      slot = this.driver.acquire();
    }
    return this.#prepare(slot, opcode, nodeid, argsSize);
  }

  /** Sends a request and waits for its outcome: 0 or a negative errno. The caller ends it. */
  call(request: FuseRequest): Status {
    this.post(request);
    this.driver.publish();
    return this.wait(request);
  }

  /** Hands a request over, to be shown to the device with others at the next `driver.publish()`. */
  post(request: FuseRequest): void {
    const { driver } = this;
    while (!driver.hasRoom(request.slot)) {
      driver.publish();
      this.progress();
    }
    request.sentAt = performance.now();
    driver.add(request.slot);
  }

  /** Waits for the outcome of a request that was posted and published. */
  wait(request: FuseRequest): Status {
    const forever = request.opcode === Opcode.SETLKW;
    const waited = this.driver.wait(request.slot, forever ? 0 : this.#timeoutMs);
    if (waited < 0) this.#giveUp(opcodeName(request.opcode));
    const status = request.outcome();
    this.#count(request, status);
    return status;
  }

  /** Takes back at least one reply of those that are outstanding, sleeping if there is none yet. */
  progress(): void {
    if (this.driver.reap()) return;
    const deadline = performance.now() + this.#timeoutMs;
    for (;;) {
      const left = this.#timeoutMs > 0 ? Math.ceil(deadline - performance.now()) : -1;
      if (this.#timeoutMs > 0 && left <= 0) return this.#giveUp("anything");
      this.driver.sleep(left);
      if (this.driver.reap() || this.driver.dead !== null) return;
    }
  }

  /** Gives a request's slot back. */
  end(request: FuseRequest): void {
    this.driver.release(request.slot);
  }

  /** Sends, has `done` called when the outcome is there, and returns at once; `done` ends the request. */
  postThen(request: FuseRequest, done: (request: FuseRequest, status: Status) => void): void {
    request.onDone = done;
    request.slot.onUsed = this.#finish;
    this.post(request);
  }

  /** A request that expects a fixed body and whose reply tells nothing but success. */
  callPlain(request: FuseRequest): Status {
    request.expect(0);
    const status = this.call(request);
    this.end(request);
    return status;
  }

  /** fuse.h: FUSE_FORGET: `count` references to a node are given up. Nobody waits for it (virtio 1.3, 5.11.6.2). */
  forget(nodeid: number, count: number): void {
    let slot = this.driver.acquireHiprio();
    while (slot === null) {
      this.progress();
      slot = this.driver.acquireHiprio();
    }
    const request = this.#prepare(slot, Opcode.FORGET, nodeid, FORGET_IN.SIZE);
    request.setU64(FORGET_IN.NLOOKUP, count);
    // The kernel sends these for nobody (FUSE virtio: uid, gid and pid are 0).
    this.#setIdentity(request, 0, 0, 0);
    request.seal();
    request.setLength();
    request.sentAt = performance.now();
    slot.onUsed = this.#finishForget;
    this.driver.add(slot);
    this.driver.publish();
  }

  /** Ends the session (fuse.h: FUSE_DESTROY). Some daemons use its buffer without writing a reply. */
  destroy(): Status {
    if (this.driver.dead !== null) return 0;
    const status = this.callPlain(this.begin(Opcode.DESTROY, FUSE_ROOT_ID, 0));
    return status === -EIO ? 0 : status;
  }

  readonly #finish = (slot: Slot): void => {
    const request = this.#requestOf(slot);
    const status = request.outcome();
    this.#count(request, status);
    const done = request.onDone;
    assert(done !== null, "a request without a waiter has a callback");
    request.onDone = null;
    done(request, status);
  };

  readonly #finishForget = (slot: Slot): void => {
    this.#count(this.#requestOf(slot), slot.failure);
    this.driver.release(slot);
  };

  /** The daemon may still write to what it was given, so nothing of this session can be used again. */
  #giveUp(what: string): void {
    const seconds = this.#timeoutMs / 1000;
    this.driver.fail(`The daemon has not answered ${what} for ${seconds} s`, -ETIMEDOUT);
  }

  #count(request: FuseRequest, status: Status): void {
    this.traffic.count(request.opcode, status < 0, performance.now() - request.sentAt);
  }

  #requestOf(slot: Slot): FuseRequest {
    const ofQueue = this.#requests[slot.queue] ??= [];
    return ofQueue[slot.index] ??= new FuseRequest(slot);
  }

  #prepare(slot: Slot, opcode: number, nodeid: number, argsSize: number): FuseRequest {
    const request = this.#requestOf(slot);
    request.start(opcode, argsSize);
    const { view } = request.bytes;
    const at = slot.request;
    view.setUint32(at + IN_HEADER.OPCODE, opcode, true);
    // Even numbers, as the kernel's: the odd ones are for interrupts.
    this.#unique += 2;
    view.setUint32(at + IN_HEADER.UNIQUE, this.#unique >>> 0, true);
    view.setUint32(at + IN_HEADER.UNIQUE + 4, Math.floor(this.#unique / WORD), true);
    request.bytes.setU64(at + IN_HEADER.NODEID, nodeid);
    const { uid, gid, pid } = this.caller;
    this.#setIdentity(request, uid, gid, pid);
    view.setUint32(at + IN_HEADER.TOTAL_EXTLEN, 0, true);
    return request;
  }

  #setIdentity(request: FuseRequest, uid: number, gid: number, pid: number): void {
    const { view } = request.bytes;
    const at = request.slot.request;
    view.setUint32(at + IN_HEADER.UID, uid, true);
    view.setUint32(at + IN_HEADER.GID, gid, true);
    view.setUint32(at + IN_HEADER.PID, pid, true);
  }
}
