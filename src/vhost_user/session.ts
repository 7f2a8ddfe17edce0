/**
 * What one front end has negotiated and handed over: everything that its connection owns.
 *
 * @module
 */

import type { OwnedFd } from "../sys/fd.ts";
import { shutDown } from "../sys/unix_socket.ts";
import { VHOST_USER_F_PROTOCOL_FEATURES } from "../wire/virtio_ring.ts";
import type { VhostUserDevice } from "./device.ts";
import { VHOST_USER_PROTOCOL_F } from "../wire/vhost_user.ts";
import { RequestError } from "./errors.ts";
import {
  hasFeature,
  offeredFeatures,
  offeredProtocolFeatures,
  protocolFeatureNames,
} from "./features.ts";
import { MemoryTable } from "./memory_table.ts";
import { Vring } from "./vring.ts";

/** What mapping into a region takes: descriptors sent by us, over our own channel, and answers. */
const SHMEM_NEEDS = [
  VHOST_USER_PROTOCOL_F.REPLY_ACK,
  VHOST_USER_PROTOCOL_F.BACKEND_REQ,
  VHOST_USER_PROTOCOL_F.BACKEND_SEND_FD,
] as const;

/**
 * QEMU takes each mapping for a memory region of the guest as well, and ends itself when it has more than 512 of them
 * (VHOST_USER_MAX_RAM_SLOTS). The larger half of them is left to real memory, because windows have sizes of powers of two. Front ends that do not know CONFIGURE_MEM_SLOTS do nothing of the kind.
 */
const COUNTED_MAPPINGS_MAX = 256;

/** The state of a connection, from the front end's first message to its last. */
export class Session {
  readonly device: VhostUserDevice;
  readonly memory: MemoryTable;
  readonly #vrings: readonly Vring[];
  #features = 0n;
  #protocolFeatures = 0n;
  #backendChannel: OwnedFd | null = null;
  readonly #formerChannels: OwnedFd[] = [];
  #hasShmem = false;

  constructor(device: VhostUserDevice) {
    this.device = device;
    this.memory = new MemoryTable(device);
    this.#vrings = Array.from(
      { length: device.queueCount },
      (_, index) => new Vring(index, device),
    );
  }

  get protocolFeatures(): bigint {
    return this.#protocolFeatures;
  }

  /** The socket for messages of ours (vhost-user: SET_BACKEND_REQ_FD), or null. The session's. */
  get backendChannel(): OwnedFd | null {
    return this.#backendChannel;
  }

  /** The ring of this index, which came from a message. */
  vring(index: number): Vring {
    const vring = this.#vrings[index];
    if (vring === undefined) {
      throw new RequestError(`there is no ring ${index}, only ${this.#vrings.length} of them`);
    }
    return vring;
  }

  /** vhost-user: SET_FEATURES */
  async setFeatures(features: bigint): Promise<void> {
    const excess = features & ~offeredFeatures(this.device);
    if (excess !== 0n) {
      throw new RequestError(`features 0x${excess.toString(16)} were never offered`);
    }
    const before = this.#features;
    this.#features = features;
    try {
      for (const vring of this.#vrings) await vring.setFeatures(features);
      this.device.observer.setFeatures(features);
    } catch (error) {
      this.#features = before;
      for (const vring of this.#vrings) await vring.setFeatures(before);
      throw error;
    }
  }

  /** vhost-user: SET_PROTOCOL_FEATURES */
  setProtocolFeatures(features: bigint): void {
    const excess = features & ~offeredProtocolFeatures(this.device);
    if (excess !== 0n) {
      throw new RequestError(
        `protocol features ${protocolFeatureNames(excess)} were never offered`,
      );
    }
    this.#protocolFeatures = features;
    this.device.observer.setProtocolFeatures(features);
  }

  /** vhost-user: SET_BACKEND_REQ_FD. The descriptor is the session's. */
  setBackendChannel(fd: OwnedFd): void {
    this.#hangUpChannel();
    this.#backendChannel = fd;
    this.#offerChannel();
  }

  /** vhost-user: GET_SHMEM_CONFIG: the sizes of the regions, which the front end has from now on; none if it lacks what they need. */
  async openShmem(): Promise<readonly number[]> {
    if (!SHMEM_NEEDS.every((bit) => hasFeature(this.#protocolFeatures, bit))) return [];
    const counted = hasFeature(this.#protocolFeatures, VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS);
    const sizes = await this.device.openShmem(counted ? COUNTED_MAPPINGS_MAX : Infinity);
    this.#hasShmem = sizes.some((size) => size > 0);
    this.#offerChannel();
    return sizes;
  }

  /** The device maps nothing more. Who waits for an answer sees the end; the descriptor's number is not used again before all have. */
  #hangUpChannel(): void {
    this.device.setShmemChannel(-1);
    if (this.#backendChannel === null) return;
    shutDown(this.#backendChannel.number);
    this.#formerChannels.push(this.#backendChannel);
    this.#backendChannel = null;
  }

  /** The device may map when the front end knows of the regions and has given us the channel, in whatever order. */
  #offerChannel(): void {
    if (this.#hasShmem && this.#backendChannel !== null) {
      this.device.setShmemChannel(this.#backendChannel.number);
    }
  }

  /**
   * vhost-user: RESET_DEVICE. The guest's part goes: rings, session, features of the driver. What the front end and
   * we agreed on between us stays, and so does the memory, which is the machine's and not the device's.
   */
  async reset(): Promise<void> {
    for (const vring of this.#vrings) await vring.reset();
    await this.device.reset();
    await this.setFeatures(this.#features & (1n << BigInt(VHOST_USER_F_PROTOCOL_FEATURES)));
  }

  /** The end: queues stopped, the guest's session dropped, memory unmapped, descriptors closed. */
  async close(): Promise<void> {
    try {
      this.#hangUpChannel();
      for (const vring of this.#vrings) await vring.close();
      await this.device.reset();
      await this.memory.clear();
    } finally {
      for (const channel of this.#formerChannels.splice(0)) channel.close();
    }
  }
}
