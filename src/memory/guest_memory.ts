/**
 * The guest's memory as a device thread sees it: the regions that the front end shared, and translation of
 * guest-physical and front-end addresses to bytes of ours.
 *
 * A thread builds it from plain numbers, and drops it before the main thread unmaps a region (see
 * `device/queue_worker.ts`), so that no view outlives its mapping.
 *
 * @module
 */

import { NativeMemory } from "../sys/native_memory.ts";

/** One shared region, as vhost-user: SET_MEM_TABLE describes it and as it was mapped here. */
export interface RegionAddresses {
  /** Guest-physical address of the first byte: what descriptors use. */
  readonly guestAddress: number;
  /** The front end's own address of it: what vhost-user: SET_VRING_ADDR uses. */
  readonly userAddress: number;
  /** Our address of it. */
  readonly hostAddress: number;
  readonly size: number;
}

/** A region with views of its bytes. */
export class GuestRegion {
  readonly guestAddress: number;
  readonly userAddress: number;
  readonly hostAddress: number;
  readonly size: number;
  readonly bytes: NativeMemory;

  constructor(addresses: RegionAddresses) {
    this.guestAddress = addresses.guestAddress;
    this.userAddress = addresses.userAddress;
    this.hostAddress = addresses.hostAddress;
    this.size = addresses.size;
    this.bytes = new NativeMemory(addresses.hostAddress, addresses.size);
  }
}

/** All regions. Translation never throws: what lies outside is null, and the caller breaks its queue. */
export class GuestMemory {
  readonly regions: readonly GuestRegion[];
  #last: GuestRegion | null;

  constructor(regions: readonly RegionAddresses[]) {
    this.regions = regions.map((region) => new GuestRegion(region));
    this.#last = this.regions[0] ?? null;
  }

  /** The region that holds a guest-physical address, or null. Guests use one region nearly always: it is tried first. */
  regionOf(guestAddress: number): GuestRegion | null {
    const last = this.#last;
    if (
      last !== null && guestAddress >= last.guestAddress &&
      guestAddress < last.guestAddress + last.size
    ) return last;
    for (let i = 0; i < this.regions.length; i++) {
      const region = this.regions[i]!;
      if (
        guestAddress >= region.guestAddress && guestAddress < region.guestAddress + region.size
      ) {
        this.#last = region;
        return region;
      }
    }
    return null;
  }

  /** The region that holds `size` bytes at a front-end address as one piece, or null. */
  regionOfUser(userAddress: number, size: number): GuestRegion | null {
    for (const region of this.regions) {
      if (
        userAddress >= region.userAddress &&
        userAddress + size <= region.userAddress + region.size
      ) return region;
    }
    return null;
  }
}
