/**
 * The life of one ring (vhost-user, "Ring states").
 *
 * A ring is started by its kick descriptor and stopped by vhost-user: GET_VRING_BASE. Independently of that it is
 * enabled or not; without VHOST_USER_F_PROTOCOL_FEATURES it always is, with it only after SET_VRING_ENABLE. A
 * file-system device has nothing that it could do to a disabled ring without side effects, so its queue runs only while
 * the ring is both.
 *
 * Front ends send the settings in several orders, and some of them again while the queue runs: a running queue is
 * stopped for a change of its settings and goes on from where it was.
 *
 * @module
 */

import type { OwnedFd } from "../sys/fd.ts";
import {
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_EVENT_IDX,
  VIRTQ_SIZE_MAX,
} from "../wire/virtio_ring.ts";
import type { VhostUserDevice } from "./device.ts";
import { RequestError } from "./errors.ts";
import { hasFeature } from "./features.ts";

/** Where the three areas lie, in front-end addresses. */
export interface VringAddresses {
  readonly descriptors: number;
  readonly avail: number;
  readonly used: number;
}

interface Settings {
  /** 0 = not set. */
  readonly size: number;
  readonly addresses: VringAddresses | null;
  readonly base: number;
  /** Null = stopped; a kick without descriptor means that the queue is polled. */
  readonly kick: { readonly fd: OwnedFd | null } | null;
  /** What SET_VRING_ENABLE said, or null while it said nothing. */
  readonly enabled: boolean | null;
}

const INITIAL: Settings = { size: 0, addresses: null, base: 0, kick: null, enabled: null };

/** A ring and the device's queue that serves it. */
export class Vring {
  readonly index: number;
  readonly #device: VhostUserDevice;
  #settings = INITIAL;
  #features = 0n;
  #running = false;
  #call: OwnedFd | null = null;
  /** Kept because it is the front end's way to hear of a broken ring; we tell it in the log so far. */
  #error: OwnedFd | null = null;

  constructor(index: number, device: VhostUserDevice) {
    this.index = index;
    this.#device = device;
  }

  /** vhost-user: SET_VRING_NUM */
  async setSize(size: number): Promise<void> {
    if (size < 1 || size > VIRTQ_SIZE_MAX || (size & (size - 1)) !== 0) {
      throw new RequestError(`queue size ${size} is not a power of two up to ${VIRTQ_SIZE_MAX}`);
    }
    if (size !== this.#settings.size) await this.#change({ size });
  }

  /** vhost-user: SET_VRING_ADDR. QEMU repeats it for a running ring. */
  async setAddresses(addresses: VringAddresses): Promise<void> {
    const now = this.#settings.addresses;
    const same = now !== null && now.descriptors === addresses.descriptors &&
      now.avail === addresses.avail && now.used === addresses.used;
    if (!same) await this.#change({ addresses });
  }

  /** vhost-user: SET_VRING_BASE */
  async setBase(base: number): Promise<void> {
    if (base > 0xffff) throw new RequestError(`ring base ${base} is not an index of 16 bits`);
    await this.#change({ base });
  }

  /** vhost-user: SET_VRING_KICK. Starts the ring. The descriptor is the ring's when this resolves. */
  async setKick(fd: OwnedFd | null): Promise<void> {
    const old = this.#settings.kick;
    await this.#change({ kick: { fd } });
    old?.fd?.close();
  }

  /** vhost-user: SET_VRING_CALL. The descriptor is the ring's when this resolves. */
  async setCall(fd: OwnedFd | null): Promise<void> {
    if (this.#running) await this.#device.setCallFd(this.index, fd === null ? -1 : fd.number);
    const old = this.#call;
    this.#call = fd;
    old?.close();
  }

  /** vhost-user: SET_VRING_ERR. The descriptor is the ring's. */
  setError(fd: OwnedFd | null): void {
    this.#error?.close();
    this.#error = fd;
  }

  /** vhost-user: SET_VRING_ENABLE */
  async setEnabled(enabled: boolean): Promise<void> {
    if (enabled !== this.#settings.enabled) await this.#change({ enabled });
  }

  /** vhost-user: SET_FEATURES. A running queue takes them up. */
  async setFeatures(features: bigint): Promise<void> {
    if (features === this.#features) return;
    await this.#pause();
    const before = this.#features;
    this.#features = features;
    const refusal = await this.#resume();
    if (refusal === null) return;
    this.#features = before;
    await this.#resume();
    throw new RequestError(refusal);
  }

  /** vhost-user: GET_VRING_BASE. Stops the ring; resolves with the index at which it would go on. */
  async stop(): Promise<number> {
    await this.#pause();
    this.#settings.kick?.fd?.close();
    this.#settings = { ...this.#settings, kick: null };
    return this.#settings.base;
  }

  /**
   * vhost-user: RESET_DEVICE. With protocol features the ring is disabled until it is enabled again. The call descriptor
   * stays: it does no harm, and a front end need not repeat what it did not take back.
   */
  async reset(): Promise<void> {
    await this.stop();
    this.#settings = INITIAL;
  }

  /** The end of the connection. */
  async close(): Promise<void> {
    try {
      await this.reset();
    } finally {
      this.#call?.close();
      this.#call = null;
      this.setError(null);
    }
  }

  /** All or nothing: where the queue cannot run with the new settings, it goes on with the old ones. */
  async #change(change: Partial<Settings>): Promise<void> {
    await this.#pause();
    const before = this.#settings;
    this.#settings = { ...before, ...change };
    const refusal = await this.#resume();
    if (refusal === null) return;
    this.#settings = before;
    await this.#resume();
    throw new RequestError(refusal);
  }

  async #pause(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    const base = await this.#device.stopQueue(this.index);
    this.#settings = { ...this.#settings, base };
  }

  /** Starts the queue if the ring is started, enabled and described; null, or why the device refuses it. */
  async #resume(): Promise<string | null> {
    const { size, addresses, base, kick, enabled } = this.#settings;
    const isEnabled = enabled ?? !hasFeature(this.#features, VHOST_USER_F_PROTOCOL_FEATURES);
    if (kick === null || !isEnabled || size === 0 || addresses === null) return null;
    const refusal = await this.#device.startQueue({
      index: this.index,
      size,
      descriptors: addresses.descriptors,
      avail: addresses.avail,
      used: addresses.used,
      base,
      eventIdx: hasFeature(this.#features, VIRTIO_F_EVENT_IDX),
      kickFd: kick.fd === null ? -1 : kick.fd.number,
      callFd: this.#call === null ? -1 : this.#call.number,
    });
    this.#running = refusal === null;
    return refusal;
  }
}
