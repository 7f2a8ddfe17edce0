/**
 * A pretended guest, put together: front end, memory, rings and a FUSE client on each request queue.
 *
 * @module
 */
import { Frontend } from "./frontend.ts";
import { FuseClient } from "./fuse_client.ts";
import { OP } from "./fuse_wire.ts";
import { type GuestRegion, ordinaryRegions } from "./guest_memory.ts";
import { words } from "./little_endian.ts";
import { SplitQueue } from "./split_queue.ts";
import { FEATURE, mask, PROTOCOL, REQUEST } from "./vhost_messages.ts";

/** How the guest is to be made. */
export interface GuestOptions {
  /** Request queues beside hiprio. */
  readonly requestQueues?: number;
  readonly queueSize?: number;
  readonly eventIdx?: boolean;
  readonly regions?: GuestRegion[];
  /** Sends INIT when the rings run. */
  readonly init?: boolean;
  readonly initFlags?: bigint;
  /** Where all ring counters start. */
  readonly startIndex?: number;
  /** Protocol features to ask for, in place of QEMU's. */
  readonly protocolFeatures?: bigint;
}

/** A guest on one connection. */
export class Guest implements Disposable {
  readonly queues: SplitQueue[];
  readonly clients: FuseClient[];
  #disposed = false;

  private constructor(
    readonly frontend: Frontend,
    readonly regions: GuestRegion[],
    queues: SplitQueue[],
  ) {
    this.queues = queues;
    this.clients = queues.slice(1).map((queue) => new FuseClient(queue));
  }

  /** Connects, negotiates, gives memory and rings away in QEMU's order, starts, sends INIT. */
  static connect(socketPath: string, options: GuestOptions = {}): Guest {
    const frontend = Frontend.connect(socketPath);
    const eventIdx = options.eventIdx ?? true;
    const features = mask(FEATURE.VERSION_1, FEATURE.INDIRECT_DESC);
    frontend.negotiate(
      eventIdx ? features | mask(FEATURE.EVENT_IDX) : features,
      options.protocolFeatures,
    );
    const regions = options.regions ?? ordinaryRegions();
    const slots = mask(PROTOCOL.CONFIGURE_MEM_SLOTS);
    if ((frontend.protocolFeatures & slots) === slots) {
      frontend.askU64(REQUEST.GET_MAX_MEM_SLOTS);
      for (const region of regions) frontend.addMemReg(region);
    } else {
      frontend.setMemTable(regions);
    }
    const count = 1 + (options.requestQueues ?? 1);
    const queues = Array.from({ length: count }, (_, index) => {
      const queue = new SplitQueue(options.queueSize ?? 128, {
        eventIdx: eventIdx && (frontend.features & mask(FEATURE.EVENT_IDX)) !== 0n,
        ring: regions[index % regions.length]!,
        buffers: regions,
      });
      queue.startAt(options.startIndex ?? 0);
      return queue;
    });
    queues.forEach((queue, index) => setUpRing(frontend, index, queue));
    queues.forEach((_, index) => frontend.enable(index, true));
    const guest = new Guest(frontend, regions, queues);
    if (options.init ?? true) guest.fuse.init(options.initFlags);
    return guest;
  }

  /** The client on the first request queue. */
  get fuse(): FuseClient {
    return this.clients[0]!;
  }

  /** A client on the hiprio queue. */
  get hiprio(): FuseClient {
    return this.#hiprio ??= new FuseClient(this.queues[0]!);
  }
  #hiprio: FuseClient | undefined;

  /** FORGET on hiprio, as Linux sends it. */
  forget(nodeid: bigint, count = 1n): void {
    this.hiprio.send(OP.FORGET, nodeid, words(count), { pid: 0 });
  }

  /** Hangs up and frees the memory. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.frontend.close();
    for (const queue of this.queues) queue.dispose();
    for (const region of this.regions) region.dispose();
  }
}

/**
 * NUM, BASE, ADDR, KICK, CALL for one ring: QEMU's order. QEMU has given the ring an interrupt
 * before, and passes on what it signals: without one, work done before CALL would go unnoticed.
 */
export function setUpRing(frontend: Frontend, index: number, queue: SplitQueue): void {
  frontend.set(REQUEST.SET_VRING_CALL, words(BigInt(index)), [queue.callFd]);
  frontend.set(REQUEST.SET_VRING_NUM, words(index, queue.size));
  frontend.set(REQUEST.SET_VRING_BASE, words(index, queue.availIndex));
  frontend.set(REQUEST.SET_VRING_ADDR, vringAddr(index, queue));
  frontend.set(REQUEST.SET_VRING_KICK, words(BigInt(index)), [queue.kickFd]);
  frontend.set(REQUEST.SET_VRING_CALL, words(BigInt(index)), [queue.callFd]);
}

/** The payload of SET_VRING_ADDR: user addresses, in the order descriptors, used, available. */
export function vringAddr(index: number, queue: SplitQueue): Uint8Array {
  const base = BigInt(queue.ring.userAddress);
  return words(
    index,
    0,
    base + BigInt(queue.descriptorOffset),
    base + BigInt(queue.usedOffset),
    base + BigInt(queue.availOffset),
    0n,
  );
}
