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
  /** Null for what the device has had mapped itself: nothing of it is guest memory to us. */
  readonly region: MappedRegion | null;
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
    if (added.every(({ region }) => region === null)) this.#slots = slots;
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
    if (removed.every(({ region }) => region === null)) this.#slots = kept;
    else await this.#install(kept);
  }

  /** Takes all memory away from the device and gives it back. */
  async clear(): Promise<void> {
    if (this.#slots.length > 0) await this.#install([]);
  }

  async #install(slots: readonly Slot[]): Promise<void> {
    const old = this.#slots;
    try {
      await this.#device.setMemory(
        slots.flatMap(({ region }) => region === null ? [] : [region.addresses]),
      );
    } catch (error) {
      unmapAllBut(slots, old);
      throw error;
    }
    this.#slots = slots;
    unmapAllBut(old, slots);
  }

  /**
   * Maps all or none. Front ends may count the device's own mappings into its shared memory as memory of the guest. They are not mapped
   * back: a file that is cut short would kill the daemon (SIGBUS) as soon as the guest put a ring or a request there.
   */
  #mapAll(descriptions: readonly RegionDescription[], fds: readonly OwnedFd[]): Slot[] {
    const slots: Slot[] = [];
    for (const [index, description] of descriptions.entries()) {
      const fd = fds[index]!.number;
      try {
        const region = this.#device.hasMapped(fd) ? null : MappedRegion.map(fd, description);
        slots.push({ description, region });
      } catch (error) {
        unmapAllBut(slots, []);
        const reason = error instanceof Error ? error.message : String(error);
        throw new RequestError(`region ${index} cannot be used: ${reason}`);
      }
    }
    return slots;
  }
}

function check(descriptions: readonly RegionDescription[]): void {
  const conflict = regionConflict(descriptions);
  if (conflict !== null) throw new RequestError(conflict);
}

function unmapAllBut(slots: readonly Slot[], kept: readonly Slot[]): void {
  for (const slot of slots) {
    if (!kept.includes(slot)) slot.region?.unmap();
  }
}
