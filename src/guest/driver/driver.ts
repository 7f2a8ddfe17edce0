/**
 * The virtio-fs driver: the queues of one device, their request slots, and the waiting.
 *
 * One thread uses a driver. It keeps many requests outstanding, on one or several request queues, and sleeps on all of them at once,
 * on the daemon's hang-up and on the daemon's own requests (see `frontend/backend_channel.ts`).
 *
 * @module
 */

import { assert } from "../../assert.ts";
import { EIO, ENOTCONN, ETIMEDOUT, type Status } from "../../sys/errno.ts";
import { libc } from "../../sys/libc.ts";
import { NativeMemory } from "../../sys/native_memory.ts";
import { WaitSet } from "../../sys/wait_set.ts";
import { EPOLLERR, EPOLLHUP } from "../../wire/linux.ts";
import { FIRST_REQUEST_QUEUE, HIPRIO_QUEUE } from "../../wire/virtio_fs.ts";
import { DESC } from "../../wire/virtio_ring.ts";
import { DaemonError } from "../daemon_error.ts";
import type { Frontend } from "../frontend/frontend.ts";
import { DriverRing, NOTHING_USED, ringLayout } from "./driver_ring.ts";
import { SEGMENT_COUNT_MAX, SLOT, Slot } from "./slot.ts";

/** How much a driver can have outstanding, and how large. */
export interface DriverOptions {
  /** Request queues to use; the device may have fewer. */
  readonly queueCount: number;
  /** Requests outstanding on each queue. */
  readonly slotCount: number;
  /** Bytes of a slot for the request and for the reply; data can lie elsewhere. */
  readonly requestSize: number;
  readonly replySize: number;
  /** Microseconds to watch the rings before sleeping; 0 sleeps at once. */
  readonly pollMicroseconds: number;
}

/** Descriptors of each ring. Without indirect descriptors all pieces of all requests share them. */
const RING_SIZE = 256;
/** Requests outstanding on the high-priority queue: FORGETs, which nobody waits for. */
const HIPRIO_SLOT_COUNT = 64;
const HIPRIO_REQUEST_SIZE = 4096;
const PAGE_SIZE = 4096;

/** Bytes of guest memory that a driver with these options takes, for at most `queueCount` queues. */
export function driverMemorySize(options: DriverOptions): number {
  const ring = pages(ringLayout(0, RING_SIZE).length);
  const slots = slotsSize(options.slotCount, options.requestSize, options.replySize);
  const hiprio = slotsSize(HIPRIO_SLOT_COUNT, HIPRIO_REQUEST_SIZE, 0);
  return ring + hiprio + options.queueCount * (ring + slots);
}

/** One virtqueue at work. */
interface Queue {
  readonly ring: DriverRing;
  readonly slots: readonly Slot[];
  /** Indices of free slots: a stack, so that memory in use stays little and warm. */
  readonly free: number[];
  readonly index: number;
  readonly kick: number;
  inFlight: number;
}

const ONE = NativeMemory.allocate(PAGE_SIZE);
ONE.setU64(0, 1);
const ONE_POINTER = ONE.pointerAt(0);

/** The queues of one device. */
export class Driver {
  /** Why no request can succeed any more, or null. */
  dead: string | null = null;
  readonly frontend: Frontend;
  /** The guest's memory. */
  readonly bytes: NativeMemory;
  /** The hiprio queue, then the request queues. */
  readonly #queues: readonly Queue[];
  readonly #waitSet = new WaitSet();
  readonly #onReady = new Map<number, () => void>();
  readonly #pollMs: number;
  readonly #channelFd: number;
  #nextQueue = 0;
  #failing: Status = 0;
  #stopped = false;

  private constructor(frontend: Frontend, queues: readonly Queue[], pollMicroseconds: number) {
    this.frontend = frontend;
    this.bytes = frontend.memory.bytes;
    this.#queues = queues;
    this.#pollMs = pollMicroseconds / 1000;
    this.#channelFd = frontend.backendChannel?.fd ?? -1;
  }

  /** Starts the queues. */
  static async start(frontend: Frontend, options: DriverOptions): Promise<Driver> {
    const { memory, negotiated, config } = frontend;
    const requestQueues = Math.min(options.queueCount, config.requestQueueCount);
    const queues: Queue[] = [];
    const calls: number[] = [];
    for (let index = HIPRIO_QUEUE; index < FIRST_REQUEST_QUEUE + requestQueues; index++) {
      const layout = ringLayout(
        memory.allocate(ringLayout(0, RING_SIZE).length),
        RING_SIZE,
      );
      const ring = new DriverRing(memory.bytes, layout, negotiated);
      const slots = index === HIPRIO_QUEUE
        ? makeSlots(frontend, index, HIPRIO_SLOT_COUNT, HIPRIO_REQUEST_SIZE, 0)
        : makeSlots(frontend, index, options.slotCount, options.requestSize, options.replySize);
      const { kick, call } = await frontend.startQueue(index, layout);
      const free = slots.map((slot) => slot.index).reverse();
      queues.push({ ring, slots, free, index, kick, inFlight: 0 });
      calls.push(call);
    }
    const driver = new Driver(frontend, queues, options.pollMicroseconds);
    for (const call of calls) driver.watch(call);
    driver.watch(frontend.socketFd);
    if (driver.#channelFd >= 0) driver.watch(driver.#channelFd);
    return driver;
  }

  /** Request queues in use. */
  get requestQueueCount(): number {
    return this.#queues.length - FIRST_REQUEST_QUEUE;
  }

  /** Whether the guest's memory has gone: there is nothing to write a request to. */
  get isStopped(): boolean {
    return this.#stopped;
  }

  /** Requests that the device has, on all request queues. */
  get inFlight(): number {
    let count = 0;
    for (let i = FIRST_REQUEST_QUEUE; i < this.#queues.length; i++) {
      count += this.#queues[i]!.inFlight;
    }
    return count;
  }

  /** Adds a descriptor to what {@linkcode Driver.sleep} wakes up for; `onReady` is called then, once for each new event. */
  watch(fd: number, onReady?: () => void): void {
    if (onReady !== undefined) this.#onReady.set(fd, onReady);
    const result = this.#waitSet.add(fd);
    assert(result === 0, "an open descriptor of ours can be waited for");
  }

  /** A slot of the request queue whose turn it is, or null while all are taken. */
  acquire(): Slot | null {
    const count = this.requestQueueCount;
    for (let i = 0; i < count; i++) {
      const queue = this.#queues[FIRST_REQUEST_QUEUE + (this.#nextQueue + i) % count]!;
      const slot = take(queue);
      if (slot === null) continue;
      this.#nextQueue = (this.#nextQueue + i + 1) % count;
      return slot;
    }
    return null;
  }

  /** A slot of the high-priority queue, or null while all are taken. */
  acquireHiprio(): Slot | null {
    return take(this.#queues[HIPRIO_QUEUE]!);
  }

  /** Whether the ring has room for what the slot holds; without indirect descriptors it may be full although slots are free. */
  hasRoom(slot: Slot): boolean {
    return this.#queues[slot.queue]!.ring.hasRoom(slot.segmentCount);
  }

  /** Gives the slot's request to the device, when {@linkcode Driver.publish} is called. The ring must have room. */
  add(slot: Slot): void {
    assert(slot.state === SLOT.FILLING, "a slot is sent once");
    const queue = this.#queues[slot.queue]!;
    slot.state = SLOT.SENT;
    queue.inFlight++;
    if (this.#failing < 0) {
      this.#use(queue, slot, this.#failing);
      return;
    }
    queue.ring.add(slot.index, slot.table, slot.segmentCount);
  }

  /** Shows the device what was added, and kicks it where it wants that. */
  publish(): void {
    for (let i = 0; i < this.#queues.length; i++) {
      const queue = this.#queues[i]!;
      if (queue.ring.publish()) libc.write(queue.kick, ONE_POINTER, 8);
    }
  }

  /** Takes back what the device has finished. Returns whether there was anything. */
  reap(): boolean {
    let some = false;
    for (let i = 0; i < this.#queues.length; i++) {
      const queue = this.#queues[i]!;
      for (let name = queue.ring.take(); name !== NOTHING_USED; name = queue.ring.take()) {
        const slot = queue.slots[name]!;
        slot.usedSize = queue.ring.usedSize;
        this.#use(queue, slot, 0);
        some = true;
      }
      if (queue.ring.broken !== null && this.dead === null) {
        this.fail(`Queue ${queue.index} is broken: ${queue.ring.broken}`, -EIO);
        some = true;
      }
    }
    return some;
  }

  /**
   * Waits until a slot is USED, and meanwhile takes back others. Returns 0, or -ETIMEDOUT after `timeoutMs` (0 = never). Whether the
   * request succeeded stands in the slot.
   */
  wait(slot: Slot, timeoutMs: number): Status {
    let deadline = 0;
    while (slot.state !== SLOT.USED) {
      assert(slot.state === SLOT.SENT, "only what was sent can be waited for");
      if (this.reap()) continue;
      if (timeoutMs > 0 && deadline === 0) deadline = performance.now() + timeoutMs;
      const left = timeoutMs > 0 ? Math.ceil(deadline - performance.now()) : -1;
      if (timeoutMs > 0 && left <= 0) return -ETIMEDOUT;
      this.sleep(left);
    }
    return 0;
  }

  /** Sleeps until the device has used something, a watched descriptor is ready, or `milliseconds` pass (-1 = for ever). */
  sleep(milliseconds: number): void {
    if (this.#pollMs > 0 && this.#spin()) return;
    for (let i = 0; i < this.#queues.length; i++) {
      if (this.#queues[i]!.ring.askForCall()) return;
    }
    const ready = this.#waitSet.wait(milliseconds);
    for (let i = 0; i < this.#queues.length; i++) this.#queues[i]!.ring.declineCalls();
    for (let i = 0; i < ready; i++) this.#look(this.#waitSet.readyFd(i), i);
  }

  /** Puts a slot back. It may be one that was never sent. */
  release(slot: Slot): void {
    assert(slot.state === SLOT.USED || slot.state === SLOT.FILLING, "a slot is released once");
    slot.state = SLOT.FREE;
    slot.onUsed = null;
    this.#queues[slot.queue]!.free.push(slot.index);
  }

  /** Fails what is outstanding, and everything that comes, with `status`. */
  fail(reason: string, status: Status): void {
    if (this.dead !== null) return;
    this.dead = reason;
    this.#failing = status;
    for (const queue of this.#queues) {
      for (const slot of queue.slots) {
        if (slot.state === SLOT.SENT) this.#use(queue, slot, status);
      }
    }
  }

  /** Stops the queues, in order, and hangs up. No memory of the guest may be touched afterwards. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    try {
      if (this.dead === null) {
        for (const { index } of this.#queues) await this.frontend.stopQueue(index);
      }
    } catch (error) {
      // A daemon that is gone has stopped, too.
      if (!(error instanceof DaemonError)) throw error;
    } finally {
      this.fail("The connection was closed", -ENOTCONN);
      this.#waitSet.close();
      this.frontend.close();
    }
  }

  #use(queue: Queue, slot: Slot, failure: Status): void {
    queue.inFlight--;
    slot.state = SLOT.USED;
    slot.failure = failure;
    if (slot.onUsed !== null) slot.onUsed(slot);
  }

  #spin(): boolean {
    const end = performance.now() + this.#pollMs;
    do {
      for (let i = 0; i < this.#queues.length; i++) {
        if (this.#queues[i]!.ring.hasUsed) return true;
      }
    } while (performance.now() < end);
    return false;
  }

  #look(fd: number, event: number): void {
    this.#onReady.get(fd)?.();
    if (fd === this.#channelFd) this.frontend.backendChannel!.serve();
    if (fd !== this.frontend.socketFd) return;
    if ((this.#waitSet.readyEvents(event) & (EPOLLHUP | EPOLLERR)) !== 0) {
      // What it had answered before it went is still there.
      this.reap();
      this.fail("The daemon is gone", -ENOTCONN);
    }
  }
}

function take(queue: Queue): Slot | null {
  const index = queue.free.pop();
  if (index === undefined) return null;
  const slot = queue.slots[index]!;
  slot.clear();
  slot.state = SLOT.FILLING;
  return slot;
}

function makeSlots(
  frontend: Frontend,
  queue: number,
  count: number,
  requestSize: number,
  replySize: number,
): Slot[] {
  const { memory } = frontend;
  const base = memory.allocate(slotsSize(count, requestSize, replySize));
  const slots: Slot[] = [];
  for (let index = 0, at = base; index < count; index++) {
    const table = at;
    const request = table + SEGMENT_COUNT_MAX * DESC.SIZE;
    const reply = request + requestSize;
    const areas = { table, request, requestSizeMax: requestSize, reply, replySizeMax: replySize };
    slots.push(new Slot({ index, queue }, memory.bytes, areas));
    at += slotSize(requestSize, replySize);
  }
  return slots;
}

function slotSize(requestSize: number, replySize: number): number {
  return pages(SEGMENT_COUNT_MAX * DESC.SIZE + requestSize + replySize);
}

function slotsSize(count: number, requestSize: number, replySize: number): number {
  return count * slotSize(requestSize, replySize);
}

function pages(size: number): number {
  return Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
}
