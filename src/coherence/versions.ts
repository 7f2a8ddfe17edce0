/**
 * A daemon's part in the shared versions: the files, its number among their owners, and what each of its threads needs.
 *
 * @module
 */

import type { VersionTableConfig } from "../config.ts";
import { SetupError } from "../setup_error.ts";
import { STATE_HEADER, VERSION_REFERENCES_OFFSET, VERSIONS_HEADER } from "../state/layout.ts";
import { Mutex } from "../state/mutex.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { VERSION_SLOT_FIRST } from "../wire/shared_versions.ts";
import { ChangeLog } from "./change_log.ts";
import { holderWord, OwnerLocks } from "./owner_lock.ts";
import { Owners } from "./owners.ts";
import { Registry } from "./registry.ts";
import {
  MAIN_THREAD,
  OWNER_COUNT_MAX,
  OWNER_FREE,
  regionSize,
  registrySize,
  tableSize,
} from "./registry_layout.ts";
import { Sweeper } from "./sweeper.ts";
import { VersionFiles } from "./version_files.ts";
import { VersionSlots } from "./version_slots.ts";

/** Where a thread of the daemon finds everything. Plain data, valid in this process only. */
export interface VersionsPlace {
  readonly tableAddress: number;
  readonly registryAddress: number;
  readonly slotCount: number;
  /** The table, for reading, to be handed to a front end. */
  readonly guestFd: number;
  readonly registryFd: number;
  readonly owner: number;
}

/** What one thread works with. */
export class VersionsThread {
  readonly slots: VersionSlots;
  readonly registry: Registry;
  readonly log: ChangeLog;
  readonly sweeper: Sweeper;

  /** `thread` is the queue's number, or MAIN_THREAD. */
  constructor(place: VersionsPlace, state: NativeMemory, thread: number) {
    const table = new NativeMemory(place.tableAddress, tableSize(place.slotCount));
    const registry = new NativeMemory(place.registryAddress, registrySize(place.slotCount));
    this.slots = new VersionSlots(table, place.slotCount);
    this.sweeper = new Sweeper({
      registry,
      slots: this.slots,
      owners: new Owners(registry, place.registryFd),
      self: () => place.owner,
      mutex: new Mutex(state, STATE_HEADER.VERSIONS + VERSIONS_HEADER.SWEEP_MUTEX),
    });
    this.registry = new Registry({
      registry,
      slots: this.slots,
      locks: new OwnerLocks(
        registry,
        holderWord(place.owner, thread),
        (holder) => this.sweeper.sweepIfDead(holder),
      ),
      owner: place.owner,
      references: state.u32.subarray(
        VERSION_REFERENCES_OFFSET / 4,
        VERSION_REFERENCES_OFFSET / 4 + place.slotCount,
      ),
    });
    this.log = new ChangeLog(registry, place.owner, thread);
  }
}

/** The daemon's share, owned by its main thread. */
export class SharedVersions {
  readonly place: VersionsPlace;
  readonly main: VersionsThread;
  readonly #files: VersionFiles;
  readonly #owners: Owners;
  readonly #state: NativeMemory;

  private constructor(files: VersionFiles, place: VersionsPlace, state: NativeMemory) {
    this.#files = files;
    this.place = place;
    this.#state = state;
    this.#owners = new Owners(files.registry.memory, place.registryFd);
    this.main = new VersionsThread(place, state, MAIN_THREAD);
  }

  /** Opens or makes the files and takes a number. Throws {@linkcode SetupError}. */
  static open(config: VersionTableConfig, state: NativeMemory): SharedVersions {
    const files = VersionFiles.open(config);
    const registry = files.registry.memory;
    const owners = new Owners(registry, files.registryFd.number);
    let self = -1;
    const sweeper = new Sweeper({
      registry,
      slots: new VersionSlots(files.table.memory, files.slotCount),
      owners,
      self: () => self,
      mutex: new Mutex(state, STATE_HEADER.VERSIONS + VERSIONS_HEADER.SWEEP_MUTEX),
    });
    const owner = owners.claim((predecessor) => sweeper.sweepDead(predecessor));
    if (owner < 0) {
      files.close();
      throw new SetupError(
        `The version table ${config.path} is in use by ${OWNER_COUNT_MAX} daemons, the most there can be: give another with --version-table`,
      );
    }
    self = owner;
    // Inodes are spread over all of it: their first slots would cost a request some 10 µs of page faults.
    files.table.memory.touch(0, files.table.size);
    registry.touch(0, files.registry.size);
    state.touch(VERSION_REFERENCES_OFFSET, VERSION_REFERENCES_OFFSET + files.slotCount * 4);
    state.u32[(STATE_HEADER.VERSIONS + VERSIONS_HEADER.OWNER) >>> 2] = owner + 1;
    const place: VersionsPlace = {
      tableAddress: files.table.address,
      registryAddress: files.registry.address,
      slotCount: files.slotCount,
      guestFd: files.guestFd.number,
      registryFd: files.registryFd.number,
      owner,
    };
    return new SharedVersions(files, place, state);
  }

  /** Bytes of the region in which guests see the table. */
  get regionSize(): number {
    return regionSize(this.place.slotCount);
  }

  /** How often a guest of this daemon was told of an inode for which there was no slot. */
  get unversioned(): number {
    return this.#state.u32[(STATE_HEADER.VERSIONS + VERSIONS_HEADER.UNVERSIONED) >>> 2]!;
  }

  /** Whether daemons that start now share this table. */
  get isCurrent(): boolean {
    return this.#files.isCurrent;
  }

  /** The table's file, as stat(2) names it. */
  get tableIdentity(): { readonly device: number; readonly inode: number } {
    return this.#files.identity;
  }

  /** The processes that use the registry. */
  daemons(): ReadonlySet<number> {
    const pids = new Set<number>();
    for (let owner = 0; owner < OWNER_COUNT_MAX; owner++) {
      if (this.#owners.state(owner) !== OWNER_FREE) pids.add(this.#owners.pid(owner));
    }
    return pids;
  }

  /** An inode has been changed by somebody else. */
  changed(devLo: number, devHi: number, inoLo: number, inoHi: number): void {
    const slot = this.main.registry.find(devLo, devHi, inoLo, inoHi);
    if (slot !== 0) this.main.slots.count1(slot);
  }

  /** Somebody else has changed nobody knows what. */
  allChanged(): void {
    const { slots } = this.main;
    for (let slot = VERSION_SLOT_FIRST; slot < slots.count; slot++) slots.count1(slot);
  }

  /** Takes back what dead daemons left. Returns how many there were. */
  sweep(): number {
    return this.main.sweeper.sweepAll();
  }

  /** Gives everything back. No thread of this daemon uses the table any more. */
  close(): void {
    const { owner } = this.place;
    const isClean = this.main.sweeper.sweep(owner);
    // The lock goes with the descriptor at the latest; a number that is not clean is swept by others.
    if (isClean) this.#owners.unlock(owner);
    this.#files.close();
  }
}
