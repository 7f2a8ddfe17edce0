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
  readonly region: MappedRegion;
}

/** The regions of one connection. */
export class MemoryTable {
  readonly #device: VhostUserDevice;
  #slots: readonly Slot[] = [];

  constructor(device: VhostUserDevice) {
    this.#device = device;
  }

  /** vhost-user: SET_MEM_TABLE. `fds[i]` is the file of `descriptions[i]`. */
  async replace(
    descriptions: readonly RegionDescription[],
    fds: readonly OwnedFd[],
  ): Promise<void> {
    check(descriptions);
    await this.#install(mapAll(descriptions, fds));
  }

  /** vhost-user: ADD_MEM_REG */
  async add(description: RegionDescription, fd: OwnedFd): Promise<void> {
    if (this.#slots.length >= MEMORY_SLOT_COUNT_MAX) {
      throw new RequestError(`all ${MEMORY_SLOT_COUNT_MAX} memory slots are in use`);
    }
    check([...this.#slots.map((slot) => slot.description), description]);
    await this.#install([...this.#slots, ...mapAll([description], [fd])]);
  }

  /** vhost-user: REM_MEM_REG. The region is named by its addresses and size; the offset does not count. */
  async remove(description: RegionDescription): Promise<void> {
    const kept = this.#slots.filter(({ description: slot }) =>
      slot.guestAddress !== description.guestAddress ||
      slot.userAddress !== description.userAddress || slot.size !== description.size
    );
    if (kept.length === this.#slots.length) throw new RequestError("there is no such region");
    await this.#install(kept);
  }

  /** Takes all memory away from the device and gives it back. */
  async clear(): Promise<void> {
    if (this.#slots.length > 0) await this.#install([]);
  }

  async #install(slots: readonly Slot[]): Promise<void> {
    const old = this.#slots;
    try {
      await this.#device.setMemory(slots.map((slot) => slot.region.addresses));
    } catch (error) {
      unmapAllBut(slots, old);
      throw error;
    }
    this.#slots = slots;
    unmapAllBut(old, slots);
  }
}

function check(descriptions: readonly RegionDescription[]): void {
  const conflict = regionConflict(descriptions);
  if (conflict !== null) throw new RequestError(conflict);
}

/** Maps all or none. */
function mapAll(descriptions: readonly RegionDescription[], fds: readonly OwnedFd[]): Slot[] {
  const slots: Slot[] = [];
  for (const [index, description] of descriptions.entries()) {
    try {
      slots.push({ description, region: MappedRegion.map(fds[index]!.number, description) });
    } catch (error) {
      unmapAllBut(slots, []);
      const reason = error instanceof Error ? error.message : String(error);
      throw new RequestError(`region ${index} cannot be used: ${reason}`);
    }
  }
  return slots;
}

function unmapAllBut(slots: readonly Slot[], kept: readonly Slot[]): void {
  for (const slot of slots) {
    if (!kept.includes(slot)) slot.region.unmap();
  }
}
