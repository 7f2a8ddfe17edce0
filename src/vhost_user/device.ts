/**
 * What the vhost-user back end asks of a device. `device/` implements it; this layer knows messages and
 * descriptors, and nothing of what the queues carry.
 *
 * All calls come from the main thread, one after another: the back end awaits each before it reads the
 * next message, so that a reply means "done".
 *
 * @module
 */

import type { RegionAddresses } from "../memory/guest_memory.ts";

/** A queue as the front end set it up, ready to run. */
export interface QueueSetup {
  readonly index: number;
  readonly size: number;
  /** Front-end addresses (vhost-user: SET_VRING_ADDR). */
  readonly descriptors: number;
  readonly avail: number;
  readonly used: number;
  /** vhost-user: SET_VRING_BASE */
  readonly base: number;
  readonly eventIdx: boolean;
  /** eventfd that the driver kicks; -1 = none was given (the queue is polled). The back end keeps it open until the queue is stopped. */
  readonly kickFd: number;
  /** eventfd that tells the driver of used buffers; -1 = the driver polls. */
  readonly callFd: number;
}

/** Is told of the front end, for those who look from outside. */
export interface ConnectionObserver {
  setConnected(isConnected: boolean): void;
  /** vhost-user: SET_FEATURES, SET_PROTOCOL_FEATURES */
  setFeatures(features: bigint): void;
  setProtocolFeatures(features: bigint): void;
}

/** The device behind the back end. */
export interface VhostUserDevice {
  /** Number of queues, hiprio included. */
  readonly queueCount: number;
  /** Virtio feature bits offered to the driver, without VHOST_USER_F_PROTOCOL_FEATURES. */
  readonly features: bigint;
  readonly observer: ConnectionObserver;
  /** Device configuration space, or null if the front end has to make it up itself (no `--tag`). */
  readonly config: Uint8Array | null;
  /**
   * Replaces the guest's memory. Running queues are paused, given the new regions, and resumed; when the promise
   * resolves no thread uses a region that is not in `regions`, so it may be unmapped.
   */
  setMemory(regions: readonly RegionAddresses[]): Promise<void>;
  /** Starts a queue. Resolves with null, or with the reason why it cannot run (its rings lie outside memory, …). */
  startQueue(setup: QueueSetup): Promise<string | null>;
  /** Stops a queue; resolves with its next avail index (the answer to vhost-user: GET_VRING_BASE) when no request of it is in progress. */
  stopQueue(index: number): Promise<number>;
  /** Replaces the notification eventfd of a running queue. When it resolves the old one is not used any more. */
  setCallFd(index: number, callFd: number): Promise<void>;
  /**
   * vhost-user: the protocol feature bit by which shared-memory regions are offered, or null if the device has none. (The specification's is
   * VHOST_USER_PROTOCOL_F_SHMEM.)
   */
  readonly shmemBit: number | null;
  /**
   * Sizes of the shared-memory regions by id (vhost-user: GET_SHMEM_CONFIG). The front end has asked: from now on it has them. It can bear
   * `mappingCountMax` mappings at a time.
   */
  openShmem(mappingCountMax: number): Promise<readonly number[]>;
  /** Whether a file that a front end offers as guest memory is one that the device has had it map. */
  hasMapped(fd: number): boolean;
  /** Takes such a region: the guest may have data there, and nothing else. False if it cannot. */
  addDataRegion(region: RegionAddresses): boolean;
  /** Gives it up. When the promise resolves no thread uses it. */
  removeDataRegion(region: RegionAddresses): Promise<void>;
  /** The socket for messages of the device to the front end about its regions; -1 = there is none any more. */
  setShmemChannel(fd: number): void;
  /** Drops the guest's session: after a disconnect or vhost-user: RESET_DEVICE, when all queues are stopped. */
  reset(): Promise<void>;
}
