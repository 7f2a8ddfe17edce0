/**
 * Puts the version table into shared-memory region 1 of a vhost-user front end (vhost-user: SHMEM_MAP), for reading only.
 *
 * It shares the back-end channel with the DAX window, and so the window's mutex and its rule: whoever waits for the front end gives up when the
 * main thread needs the queue, and the request is tried again.
 *
 * @module
 */

import type { PENDING } from "../fuse/file_system.ts";
import type { VersionRegion } from "../fuse/version_region.ts";
import {
  STATE_HEADER,
  VERSION_REGION_COMING,
  VERSION_REGION_GOING,
  VERSION_REGION_MAPPED,
  VERSION_REGION_NONE,
  VERSIONS_HEADER,
} from "../state/layout.ts";
import { MappingTable } from "../state/mapping_table.ts";
import { EOPNOTSUPP, errnoName, type Status } from "../sys/errno.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import { VERSION_REGION_ID } from "../wire/shared_versions.ts";
import { NOT_ANSWERED, ShmemChannel } from "./shmem_channel.ts";
import { VERSIONS, type VhostUserWindow } from "./vhost_user_window.ts";

const REGION = (STATE_HEADER.VERSIONS + VERSIONS_HEADER.REGION) >>> 2;

/** The table that is put there. */
export interface TableFile {
  /** Opened for reading. */
  readonly fd: number;
  readonly size: number;
}

/** The region, seen by one thread. */
export class VhostUserVersionRegion implements VersionRegion {
  readonly #table: MappingTable;
  readonly #window: VhostUserWindow;
  readonly #channel: ShmemChannel;
  readonly #i32: Int32Array;
  readonly #file: TableFile;
  readonly #warn: (message: string) => void;

  /** `window`: of the same thread, with which the channel is shared. */
  constructor(
    state: NativeMemory,
    window: VhostUserWindow,
    file: TableFile,
    warn: (message: string) => void,
  ) {
    this.#window = window;
    this.#table = new MappingTable(state);
    this.#channel = new ShmemChannel(state, VERSION_REGION_ID);
    this.#i32 = state.i32;
    this.#file = file;
    this.#warn = warn;
  }

  begin(): Status | typeof PENDING {
    if (!this.#channel.open) return -EOPNOTSUPP;
    const result = this.#window.exclusively(() => this.#map());
    if (result < 0) {
      this.#warn(
        `The front end does not map the version table (${
          errnoName(result)
        }): this guest is served without shared versions`,
      );
    }
    return result;
  }

  disconnect(): void {
    if (this.#channel.open) return;
    Atomics.store(this.#i32, REGION, VERSION_REGION_NONE);
  }

  /** What may be there from before goes first: a front end that was reset has dropped it, or not. */
  #map(): Status {
    if (this.#table.inFlight === VERSIONS) {
      // This request's own earlier try, or another's.
      const asked = this.#i32[REGION]!;
      const answer = this.#await(asked);
      if (answer === NOT_ANSWERED || asked === VERSION_REGION_COMING) return answer;
    }
    const { fd, size } = this.#file;
    if (this.#i32[REGION] !== VERSION_REGION_NONE) {
      const asked = this.#channel.askToUnmap(0, size);
      if (asked < 0) return asked;
      if (this.#await(VERSION_REGION_GOING) === NOT_ANSWERED) return NOT_ANSWERED;
    }
    const asked = this.#channel.askToMap(0, size, fd, 0, false);
    return asked < 0 ? asked : this.#await(VERSION_REGION_COMING);
  }

  #await(state: number): Status {
    this.#i32[REGION] = state;
    const answer = this.#channel.answer();
    this.#table.inFlight = answer === NOT_ANSWERED ? VERSIONS : 0;
    if (answer === NOT_ANSWERED) return answer;
    const isMapped = state === VERSION_REGION_COMING && answer === 0;
    this.#i32[REGION] = isMapped ? VERSION_REGION_MAPPED : VERSION_REGION_NONE;
    return answer;
  }
}
