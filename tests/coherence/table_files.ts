/**
 * A version table of a test's own, daemons that use it, and what is left in it.
 *
 * @module
 */

import { REGISTRY_HEADER, registrySize, tableSize } from "../../src/coherence/registry_layout.ts";
import * as audit from "../../src/coherence/table_audit.ts";
import { SharedVersions, type VersionsThread } from "../../src/coherence/versions.ts";
import { StateMemory } from "../../src/state/state_memory.ts";
import { libc } from "../../src/sys/libc.ts";
import { NativeMemory, unmapAddress } from "../../src/sys/native_memory.ts";

/** A directory in shared memory with a table to be, removed at the end. */
export class TableFiles implements Disposable {
  readonly directory: string;
  readonly path: string;
  readonly slotCount: number;

  constructor(slotCount: number) {
    this.directory = Deno.makeTempDirSync({ dir: "/dev/shm", prefix: "virtiofsd-ts-test-" });
    this.path = `${this.directory}/versions`;
    this.slotCount = slotCount;
  }

  /** A daemon's part, in this process. */
  daemon(): Daemon {
    return new Daemon(this.path, this.slotCount);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.directory, { recursive: true });
  }
}

/** One daemon's part in a table. Several of one process do not know of each other. */
export class Daemon implements Disposable {
  readonly state: StateMemory = StateMemory.create();
  readonly versions: SharedVersions;
  /** Its main thread. */
  readonly thread: VersionsThread;
  #isOver = false;

  constructor(path: string, slotCount: number) {
    try {
      this.versions = SharedVersions.open({ path, slotCount, watchHost: false }, this.state.memory);
    } catch (error) {
      this.state.close();
      throw error;
    }
    this.thread = this.versions.main;
  }

  get owner(): number {
    return this.versions.place.owner;
  }

  get registry(): NativeMemory {
    const { place } = this.versions;
    return new NativeMemory(place.registryAddress, registrySize(place.slotCount));
  }

  get refusals(): number {
    return this.registry.u32[REGISTRY_HEADER.REFUSALS >>> 2]!;
  }

  get sweeps(): number {
    return this.registry.u32[REGISTRY_HEADER.SWEEPS >>> 2]!;
  }

  /** What SIGKILL does: its descriptors and mappings are gone, and nothing else. */
  kill(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { place } = this.versions;
    // A mapping keeps the file open, and with it the lock that says that the daemon lives.
    unmapAddress(place.registryAddress, registrySize(place.slotCount));
    unmapAddress(place.tableAddress, tableSize(place.slotCount));
    libc.close(place.registryFd);
    libc.close(place.guestFd);
    this.state.close();
  }

  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.versions.close();
    this.state.close();
  }
}

/** Everything in a table that is held or under way by others than `living`, one line each. */
export function leftovers(daemon: Daemon, living: readonly Daemon[] = []): string[] {
  const owners = living.map(({ owner }) => owner);
  return [
    ...audit.leftovers(daemon.registry, daemon.thread.slots, owners),
    ...audit.inodesInTwoSlots(daemon.registry, daemon.thread.slots),
  ];
}

/** Slots that `owner` uses. */
export function slotsOf(daemon: Daemon): number[] {
  const { u32 } = daemon.registry;
  const slots = Array.from({ length: daemon.thread.slots.count }, (_, slot) => slot);
  return slots.filter((slot) => audit.ownersOf(u32, slot).includes(daemon.owner));
}
