/**
 * A version table of a test's own, daemons that use it, and what is left in it.
 *
 * @module
 */

import {
  BUCKET,
  BUCKET_SLOTS,
  BUCKETS_OFFSET,
  OWNER,
  OWNER_COUNT_MAX,
  OWNER_WORDS,
  OWNERS_OFFSET,
  REGISTRY_HEADER,
  registrySize,
  slotWord,
  tableSize,
} from "../../src/coherence/registry_layout.ts";
import { SharedVersions, type VersionsThread } from "../../src/coherence/versions.ts";
import { StateMemory } from "../../src/state/state_memory.ts";
import { libc } from "../../src/sys/libc.ts";
import { NativeMemory, unmapAddress } from "../../src/sys/native_memory.ts";
import { CHANGES_IN_PROGRESS, VERSION_SLOT_FIRST } from "../../src/wire/shared_versions.ts";

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

/** Everything in a table that is held or under way by others than `living`, one line each: locks, references, changes, records. */
export function leftovers(daemon: Daemon, living: readonly Daemon[] = []): string[] {
  const { slots } = daemon.thread;
  const { u32 } = daemon.registry;
  const owners = new Set(living.map(({ owner }) => owner));
  const found: string[] = [];
  for (let bucket = 0; bucket < slots.count / BUCKET_SLOTS; bucket++) {
    const word = u32[(BUCKETS_OFFSET + bucket * BUCKET.SIZE + BUCKET.LOCK) >>> 2]!;
    if (word !== 0) found.push(`bucket ${bucket} is locked: ${word.toString(16)}`);
  }
  for (let slot = 0; slot < slots.count; slot++) {
    const names = u32[slotWord(slot, BUCKET.NAMES_LOCK)]!;
    if (names !== 0) found.push(`the names of slot ${slot} are locked: ${names.toString(16)}`);
    for (let owner = 0; owner < OWNER_WORDS * 32; owner++) {
      if (!owners.has(owner) && uses(u32, slot, owner)) {
        found.push(`slot ${slot} is used by ${owner}`);
      }
    }
    if (slot >= VERSION_SLOT_FIRST && (slots.low(slot) & CHANGES_IN_PROGRESS) !== 0) {
      found.push(`slot ${slot} has changes in progress: ${slots.low(slot).toString(16)}`);
    }
  }
  for (let owner = 0; owner < OWNER_COUNT_MAX; owner++) {
    const record = (OWNERS_OFFSET + owner * OWNER.SIZE) >>> 2;
    if (u32[record]! !== 0 && !owners.has(owner)) found.push(`the record of ${owner} is in use`);
    for (let at = record + OWNER.CHANGES / 4; at < record + OWNER.SIZE / 4; at++) {
      if (u32[at] !== 0) found.push(`${owner} has slot ${u32[at]} written down`);
    }
  }
  return found;
}

/** Slots that `owner` uses. */
export function slotsOf(daemon: Daemon): number[] {
  const { u32 } = daemon.registry;
  const found: number[] = [];
  for (let slot = 0; slot < daemon.thread.slots.count; slot++) {
    if (uses(u32, slot, daemon.owner)) found.push(slot);
  }
  return found;
}

function uses(u32: Uint32Array, slot: number, owner: number): boolean {
  const word = u32[slotWord(slot, BUCKET.OWNERS + (owner >>> 5) * BUCKET_SLOTS * 4)]!;
  return ((word >>> (owner & 31)) & 1) !== 0;
}
