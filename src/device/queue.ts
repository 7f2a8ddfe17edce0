/**
 * One queue at work: takes chains, has them served, gives them back.
 *
 * @module
 */

import type { FuseServer } from "../fuse/server.ts";
import { NOT_YET } from "../fuse/server.ts";
import type { GuestMemory } from "../memory/guest_memory.ts";
import { libc } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import type { QueueRecord, WaitingRequest } from "../state/queue_record.ts";
import type { QueueSetup } from "../vhost_user/device.ts";
import type { Chain } from "../virtqueue/chain.ts";
import { IN_HEADER, OUT_HEADER } from "../wire/fuse.ts";
import { SplitQueue } from "../virtqueue/split_queue.ts";
import type { Recorder } from "./recorder.ts";

/** Requests served before the thread's other queue has its turn. */
const TURN = 16;
/**
 * Replies from this size on are notified together with those that follow in the same turn. They are read-ahead: the guest waits for
 * all of them, and is only disturbed by each. Measured against Rust virtiofsd, 4 jobs each: notifying of everything
 * together, rename takes 1.82 of its time and sequential reads 0.4; of each at once, 0.90 and 1.18. They are shown at once, though: a
 * guest that is awake takes them while the next is being read (bench/client/sequential.ts).
 */
const BULK_SIZE = 64 * 1024;
/** So much bulk data is notified at the latest: a guest that sleeps until it is there copies it while more is being read. */
const BULK_NOTIFY_SIZE = 1024 * 1024;

const ONE = NativeMemory.allocate(4096);
ONE.setU64(0, 1);
const ONE_POINTER = ONE.pointerAt(0);

/** What a queue is given beside its ring. */
export interface QueueParts {
  readonly warn: (message: string) => void;
  /** The thread's. */
  readonly recorder: Recorder;
  readonly record: QueueRecord;
}

/** A request that could not be answered yet. */
interface PutAside extends WaitingRequest {
  /** Of its descriptor chain. */
  readonly head: number;
}

/** A running queue. Used by its Worker only. */
export class Queue {
  readonly index: number;
  readonly kickFd: number;
  #callFd: number;
  #ring: SplitQueue;
  #setup: QueueSetup;
  readonly #warn: (message: string) => void;
  /** Requests that could not be answered yet. */
  readonly #waiting: PutAside[] = [];
  readonly #recorder: Recorder;
  readonly #record: QueueRecord;
  #saidBroken = false;
  #saidUnreachable = false;

  private constructor(
    setup: QueueSetup,
    ring: SplitQueue,
    { warn, recorder, record }: QueueParts,
  ) {
    this.index = setup.index;
    this.kickFd = setup.kickFd;
    this.#callFd = setup.callFd;
    this.#ring = ring;
    this.#setup = setup;
    this.#warn = warn;
    this.#recorder = recorder;
    this.#record = record;
    record.start(setup.size, setup.eventIdx);
  }

  /** The queue, or the reason why it cannot run. */
  static create(setup: QueueSetup, memory: GuestMemory, parts: QueueParts): Queue | string {
    const ring = SplitQueue.create(memory, setup);
    return typeof ring === "string" ? ring : new Queue(setup, ring, parts);
  }

  /** Finds the rings again in new memory. If they are not there the queue is broken, and stays so until it is set up anew. */
  remap(memory: GuestMemory): void {
    const { base, broken } = this.#ring;
    const ring = SplitQueue.create(memory, { ...this.#setup, base });
    if (typeof ring === "string") {
      // The old ring object must not be touched again: its memory is about to go.
      this.#ring.broken ??= ring;
      this.#sayBroken();
      return;
    }
    ring.broken = broken;
    this.#ring = ring;
  }

  get base(): number {
    return this.#ring.base;
  }

  get waits(): boolean {
    return this.#waiting.length > 0;
  }

  get hasAvailable(): boolean {
    return this.#ring.hasAvailable;
  }

  /**
   * Replaces the notification descriptor. It is written to at once: buffers used before it came were announced to nobody,
   * and a driver takes an interrupt too many.
   */
  set callFd(fd: number) {
    this.#callFd = fd;
    if (fd >= 0) libc.write(fd, ONE_POINTER, 8);
  }

  /**
   * Serves what is available, up to a turn. Returns whether there was anything.
   *
   * A result is shown at once: with EVENT_IDX the driver says when it wants to be notified, so that replies it has not
   * taken back yet cost no further notification, and a guest with several jobs goes on meanwhile. Bulk data is the
   * exception, see BULK_SIZE.
   */
  serve(server: FuseServer, chain: Chain): boolean {
    const ring = this.#ring;
    if (!ring.hasAvailable) return false;
    ring.declineKicks();
    this.#beginTurn();
    let bulk = 0;
    for (let served = 0; served < TURN && ring.pop(chain); served++) {
      if (chain.hasUnreachable && !this.#reachesHeaders(chain)) break;
      const size = server.handle(chain);
      if (size === NOT_YET) {
        this.#putAside(chain.head, server.unique);
        continue;
      }
      ring.push(chain.head, size);
      bulk += size < BULK_SIZE ? BULK_NOTIFY_SIZE : size;
      if (bulk < BULK_NOTIFY_SIZE) {
        ring.show();
        continue;
      }
      bulk = 0;
      this.#publish();
    }
    this.#publish();
    this.#record.endTurn(ring.base, ring.nextUsed);
    if (ring.broken !== null) this.#sayBroken();
    return true;
  }

  /** The driver has kicked. */
  kicked(): void {
    this.#record.kicked();
  }

  #beginTurn(): void {
    this.#recorder.record = this.#record;
    this.#record.beginTurn();
  }

  #putAside(head: number, unique: number): void {
    const { opcode, nodeid } = this.#recorder;
    const since = performance.timeOrigin + performance.now();
    this.#waiting.push({ head, opcode, nodeid, unique, since });
    this.#record.setWaiting(this.#waiting);
  }

  /** Tries the waiting requests again, each from its beginning. */
  retry(server: FuseServer, chain: Chain): void {
    const ring = this.#ring;
    const before = this.#waiting.length;
    if (before === 0) return;
    this.#beginTurn();
    for (let i = before - 1; i >= 0; i--) {
      if (ring.broken !== null || !ring.load(chain, this.#waiting[i]!.head)) break;
      const size = server.handle(chain);
      if (size === NOT_YET) continue;
      ring.push(chain.head, size);
      this.#waiting.splice(i, 1);
    }
    if (this.#waiting.length !== before) this.#record.setWaiting(this.#waiting);
    this.#publish();
    this.#record.endTurn(ring.base, ring.nextUsed);
    if (ring.broken !== null) this.#sayBroken();
  }

  /** Answers waiting requests: the queue stops, and whatever it took must be given back. */
  interrupt(server: FuseServer, chain: Chain): void {
    const ring = this.#ring;
    this.#record.stop(ring.broken !== null);
    for (const { head } of this.#waiting.splice(0)) {
      if (ring.broken !== null || !ring.load(chain, head)) break;
      ring.push(head, server.interrupt(chain));
    }
    this.#publish();
  }

  /** Asks for a kick at the next request. True if one is there already. */
  askForKick(): boolean {
    return this.#ring.askForKick();
  }

  /**
   * A request whose headers can be reached but not all of its data is one failed request (EFAULT): User Mode Linux makes
   * such ones in all innocence. Without the headers nobody can be told, and the queue is broken.
   */
  #reachesHeaders(chain: Chain): boolean {
    if (chain.readableSize >= IN_HEADER.SIZE && chain.writableSize >= OUT_HEADER.SIZE) {
      if (!this.#saidUnreachable) {
        this.#warn(
          `Queue ${this.index}: a buffer outside the guest's memory; answered with EFAULT`,
        );
      }
      this.#saidUnreachable = true;
      return true;
    }
    this.#ring.fail("a request outside the guest's memory");
    return false;
  }

  #publish(): void {
    const ring = this.#ring;
    if (!ring.hasUnpublished) return;
    const notifies = ring.publish() && this.#callFd >= 0;
    if (notifies) libc.write(this.#callFd, ONE_POINTER, 8);
    this.#record.published(notifies);
  }

  #sayBroken(): void {
    if (this.#saidBroken) return;
    this.#saidBroken = true;
    this.#waiting.length = 0;
    this.#record.stop(true);
    this.#warn(`Queue ${this.index} is broken: ${this.#ring.broken}`);
  }
}
