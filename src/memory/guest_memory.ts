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

/** Regions that are for data only: found by address when no other has it. `state/data_regions.ts` has the shape. */
export interface DataRegionFinder {
  /** Whether there is one; the fields then say where. */
  find(guestAddress: number): boolean;
  readonly guestAddress: number;
  readonly hostAddress: number;
  readonly size: number;
}

/** What a region that must not be touched has in the place of its bytes. */
const UNTOUCHED = NativeMemory.allocate(8);

/** A region with views of its bytes. */
export class GuestRegion {
  readonly guestAddress: number;
  readonly userAddress: number;
  readonly hostAddress: number;
  readonly size: number;
  readonly bytes: NativeMemory;
  /**
   * Whether its bytes may be read and written here. If not it is a piece of a file that somebody may cut short, where touching is SIGBUS: only
   * system calls are given its address, and they answer EFAULT.
   */
  readonly touchable: boolean;

  constructor(addresses: RegionAddresses, touchable = true) {
    this.touchable = touchable;
    this.guestAddress = addresses.guestAddress;
    this.userAddress = addresses.userAddress;
    this.hostAddress = addresses.hostAddress;
    this.size = addresses.size;
    this.bytes = touchable ? new NativeMemory(addresses.hostAddress, addresses.size) : UNTOUCHED;
  }
}

/** All regions. Translation never throws: what lies outside is null, and the caller breaks its queue. */
export class GuestMemory {
  readonly regions: readonly GuestRegion[];
  readonly #dataRegions: DataRegionFinder | null;
  #last: GuestRegion | null;

  constructor(regions: readonly RegionAddresses[], dataRegions: DataRegionFinder | null = null) {
    this.#dataRegions = dataRegions;
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
    const data = this.#dataRegions;
    if (data === null || !data.find(guestAddress)) return null;
    const { hostAddress, size } = data;
    return new GuestRegion(
      { guestAddress: data.guestAddress, userAddress: -1, hostAddress, size },
      false,
    );
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
