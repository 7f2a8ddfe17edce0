/**
 * A device that does nothing but note what the back end asks of it.
 *
 * @module
 */

import type { RegionAddresses } from "../../src/memory/guest_memory.ts";
import type { QueueSetup, VhostUserDevice } from "../../src/vhost_user/device.ts";

/** Every call is one line in `calls`; queues that run are in `running`. */
export class FakeDevice implements VhostUserDevice {
  readonly queueCount = 3;
  readonly features = (1n << 32n) | (1n << 29n) | (1n << 28n);
  readonly shmemBit: number | null = null;
  readonly observer = { setConnected() {}, setFeatures() {}, setProtocolFeatures() {} };
  readonly config: Uint8Array | null;
  readonly calls: string[] = [];
  readonly running: Map<number, QueueSetup> = new Map();
  regions: readonly RegionAddresses[] = [];
  /** The indices at which stopped queues are left. */
  readonly bases: Map<number, number> = new Map();
  /** The answer of `startQueue`. */
  refusal: string | null = null;

  constructor(config: Uint8Array | null = defaultConfig()) {
    this.config = config;
  }

  setMemory(regions: readonly RegionAddresses[]): Promise<void> {
    this.calls.push(`memory ${regions.map((region) => region.guestAddress).join(" ")}`.trim());
    this.regions = regions;
    return Promise.resolve();
  }

  startQueue(setup: QueueSetup): Promise<string | null> {
    this.calls.push(`start ${setup.index}`);
    if (this.running.has(setup.index)) throw new Error(`queue ${setup.index} is started twice`);
    if (this.refusal !== null) return Promise.resolve(this.refusal);
    this.running.set(setup.index, setup);
    return Promise.resolve(null);
  }

  stopQueue(index: number): Promise<number> {
    this.calls.push(`stop ${index}`);
    const setup = this.running.get(index);
    if (setup === undefined) throw new Error(`queue ${index} is stopped and does not run`);
    this.running.delete(index);
    return Promise.resolve(this.bases.get(index) ?? setup.base);
  }

  setCallFd(index: number, callFd: number): Promise<void> {
    const setup = this.running.get(index);
    if (setup === undefined) throw new Error(`queue ${index} does not run`);
    this.calls.push(`call ${index}`);
    this.running.set(index, { ...setup, callFd });
    return Promise.resolve();
  }

  openShmem(): Promise<readonly number[]> {
    return Promise.resolve([]);
  }

  setShmemChannel(): void {}

  hasMapped(): boolean {
    return false;
  }

  addDataRegion(): boolean {
    return false;
  }

  removeDataRegion(): Promise<void> {
    return Promise.resolve();
  }

  reset(): Promise<void> {
    if (this.running.size > 0) throw new Error("reset while queues run");
    this.calls.push("reset");
    return Promise.resolve();
  }
}

/** The tag "fs" and two request queues. */
export function defaultConfig(): Uint8Array {
  const config = new Uint8Array(40);
  config.set(new TextEncoder().encode("fs"));
  config[36] = 2;
  return config;
}
