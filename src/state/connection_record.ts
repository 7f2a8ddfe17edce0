/**
 * The front end, for whoever looks from outside: written by the main thread, read without a lock (see `queue_record.ts`).
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";
import { CONNECTION, CONNECTION_OFFSET, CONNECTION_REGION_MAX } from "./layout.ts";

/** A piece of the guest's memory. */
export interface MemoryRegion {
  readonly guestAddress: number;
  readonly size: number;
}

/** The record of one daemon. */
export class ConnectionRecord {
  readonly #u32: Uint32Array;
  readonly #f64: Float64Array;

  constructor(memory: NativeMemory) {
    this.#u32 = memory.u32;
    this.#f64 = memory.f64;
  }

  /** A front end has come, or gone. */
  setConnected(isConnected: boolean): void {
    this.#write(() => {
      this.#set(CONNECTION.CONNECTED, isConnected ? 1 : 0);
      if (isConnected) this.#u32[(CONNECTION_OFFSET + CONNECTION.COUNT) >>> 2]! += 1;
      this.#f64[(CONNECTION_OFFSET + CONNECTION.SINCE) / 8] = Date.now();
      if (isConnected) return;
      this.#setFeatures(CONNECTION.FEATURES_LO, 0n);
      this.#setFeatures(CONNECTION.PROTOCOL_LO, 0n);
      this.#set(CONNECTION.REGION_COUNT, 0);
    });
  }

  /** The driver has taken these features of the device. */
  setFeatures(features: bigint): void {
    this.#write(() => this.#setFeatures(CONNECTION.FEATURES_LO, features));
  }

  /** The front end has taken these features of the protocol. */
  setProtocolFeatures(features: bigint): void {
    this.#write(() => this.#setFeatures(CONNECTION.PROTOCOL_LO, features));
  }

  /** The guest's memory is this. */
  setRegions(regions: readonly MemoryRegion[]): void {
    this.#write(() => {
      const count = Math.min(regions.length, CONNECTION_REGION_MAX);
      this.#set(CONNECTION.REGION_COUNT, count);
      for (let i = 0; i < count; i++) {
        const at = (CONNECTION_OFFSET + CONNECTION.REGIONS + i * CONNECTION.REGION_SIZE) / 8;
        this.#f64[at] = regions[i]!.guestAddress;
        this.#f64[at + 1] = regions[i]!.size;
      }
    });
  }

  #write(fields: () => void): void {
    const sequence = (CONNECTION_OFFSET + CONNECTION.SEQUENCE) >>> 2;
    Atomics.add(this.#u32, sequence, 1);
    fields();
    Atomics.add(this.#u32, sequence, 1);
  }

  #setFeatures(offset: number, features: bigint): void {
    this.#set(offset, Number(features & 0xffffffffn));
    this.#set(offset + 4, Number(features >> 32n));
  }

  #set(offset: number, value: number): void {
    this.#u32[(CONNECTION_OFFSET + offset) / 4] = value;
  }
}
