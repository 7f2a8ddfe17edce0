/**
 * The guest's memory as the messages build it: vhost-user: SET_MEM_TABLE, ADD_MEM_REG and REM_MEM_REG.
 *
 * A change is made in an order that leaves nothing half done: everything new is mapped, then the device takes it, and
 * only then is the old memory unmapped.
 *
 * @module
 */

import { MappedRegion, regionConflict, type RegionDescription } from "../memory/region.ts";
import type { OwnedFd } from "../sys/fd.ts";
import type { VhostUserDevice } from "./device.ts";
import { RequestError } from "./errors.ts";

/** The answer to vhost-user: GET_MAX_MEM_SLOTS, as other back ends give it: what QEMU can have at most, and enough. */
export const MEMORY_SLOT_COUNT_MAX = 509;

interface Slot {
  readonly description: RegionDescription;
  /** Null for what is not to be had. */
  readonly region: MappedRegion | null;
  /** What the device has had mapped itself: data may lie there, and nothing else. */
  readonly isData: boolean;
}

/** The regions of one connection. */
export class MemoryTable {
  readonly #device: VhostUserDevice;
  #slots: readonly Slot[] = [];
  /** Data regions that queues may still use. */
  readonly #givenUp = new Set<Promise<void>>();

  constructor(device: VhostUserDevice) {
    this.#device = device;
  }

  /** vhost-user: SET_MEM_TABLE. `fds[i]` is the file of `descriptions[i]`. */
  async replace(
    descriptions: readonly RegionDescription[],
    fds: readonly OwnedFd[],
  ): Promise<void> {
    check(descriptions);
    await this.#install(this.#mapAll(descriptions, fds));
  }

  /** vhost-user: ADD_MEM_REG */
  async add(description: RegionDescription, fd: OwnedFd): Promise<void> {
    if (this.#slots.length >= MEMORY_SLOT_COUNT_MAX) {
      throw new RequestError(`all ${MEMORY_SLOT_COUNT_MAX} memory slots are in use`);
    }
    check([...this.#slots.map((slot) => slot.description), description]);
    const added = this.#mapAll([description], [fd]);
    const slots = [...this.#slots, ...added];
    // QEMU sends one for each mapping, in the midst of making it: the queues, one of which waits for that, are not bothered.
    if (added.every(({ isData }) => isData)) this.#slots = slots;
    else await this.#install(slots);
  }

  /** vhost-user: REM_MEM_REG. The region is named by its addresses and size; the offset does not count. */
  async remove(description: RegionDescription): Promise<void> {
    const kept = this.#slots.filter(({ description: slot }) =>
      slot.guestAddress !== description.guestAddress ||
      slot.userAddress !== description.userAddress || slot.size !== description.size
    );
    if (kept.length === this.#slots.length) throw new RequestError("there is no such region");
    const removed = this.#slots.filter((slot) => !kept.includes(slot));
    if (removed.every(({ isData }) => isData)) {
      this.#slots = kept;
      // The front end is not kept waiting: only the memory is, until no queue uses it any more.
      for (const slot of removed) this.#giveUp(slot);
    } else await this.#install(kept);
  }

  /** Takes all memory away from the device and gives it back. */
  async clear(): Promise<void> {
    if (this.#slots.length > 0) await this.#install([]);
    await Promise.all(this.#givenUp);
  }

  async #install(slots: readonly Slot[]): Promise<void> {
    const old = this.#slots;
    try {
      await this.#device.setMemory(
        slots.flatMap(({ region, isData }) => region === null || isData ? [] : [region.addresses]),
      );
    } catch (error) {
      this.#unmapAllBut(slots, old);
      throw error;
    }
    this.#slots = slots;
    this.#unmapAllBut(old, slots);
  }

  #unmapAllBut(slots: readonly Slot[], kept: readonly Slot[]): void {
    for (const slot of slots) {
      if (kept.includes(slot)) continue;
      if (slot.isData) this.#giveUp(slot);
      else slot.region?.unmap();
    }
  }

  #giveUp({ region }: Slot): void {
    if (region === null) return;
    const givenUp = this.#device.removeDataRegion(region.addresses).then(() => {
      region.unmap();
      this.#givenUp.delete(givenUp);
    });
    this.#givenUp.add(givenUp);
  }

  /** Maps all or none. */
  #mapAll(descriptions: readonly RegionDescription[], fds: readonly OwnedFd[]): Slot[] {
    const slots: Slot[] = [];
    for (const [index, description] of descriptions.entries()) {
      const fd = fds[index]!.number;
      try {
        const isData = this.#device.hasMapped(fd);
        const region = isData ? this.#mapData(fd, description) : MappedRegion.map(fd, description);
        slots.push({ description, region, isData });
      } catch (error) {
        this.#unmapAllBut(slots, []);
        const reason = error instanceof Error ? error.message : String(error);
        throw new RequestError(`region ${index} cannot be used: ${reason}`);
      }
    }
    return slots;
  }

  /**
   * Front ends may count the device's own mappings into its shared memory as memory of the guest. Nothing but data is looked for there: a file that
   * is cut short would kill the daemon (SIGBUS) as soon as it read a ring or a request.
   */
  #mapData(fd: number, description: RegionDescription): MappedRegion | null {
    let region: MappedRegion;
    try {
      region = MappedRegion.map(fd, description);
    } catch {
      // Read-only, perhaps: the guest's requests that name it are answered with EFAULT.
      return null;
    }
    if (this.#device.addDataRegion(region.addresses)) return region;
    region.unmap();
    return null;
  }
}

function check(descriptions: readonly RegionDescription[]): void {
  const conflict = regionConflict(descriptions);
  if (conflict !== null) throw new RequestError(conflict);
}
