/**
 * The DAX window of a vhost-user device: what the guest may ask for (virtio 1.3, 5.11.6.4: mappings replace, split and are cut at will), done
 * with what a front end does (vhost-user: SHMEM_MAP: no mapping over another, one is removed as a whole).
 *
 * A mapping that loses a part is removed, and what is left of it mapped again. Files are mapped writable from the start where they can be
 * opened so, because Linux guests turn a mapping they can read into one they can write by asking again for the same place,
 * and nothing has to be done then.
 *
 * A mapping pins its inode, so its file can be opened again when it has to be split.
 *
 * @module
 */

import type { DaxWindow, MappableFiles, MappingRequest } from "../fuse/dax_window.ts";
import { PENDING } from "../fuse/file_system.ts";
import type { DaxInodeTable } from "../state/dax_inode_table.ts";
import {
  DAX_ABLE_TO_MAP,
  DAX_ABLE_TO_MAP_READ_ONLY,
  DAX_HEADER,
  DAX_INODE_WRITABLE,
  DAX_TRIAL_LEFT,
  MAPPING_COMING,
  MAPPING_GOING,
  MAPPING_LIVE,
  MAPPING_PLANNED,
  STATE_HEADER,
} from "../state/layout.ts";
import { MappingTable } from "../state/mapping_table.ts";
import { EACCES, EAGAIN, ENOMEM, EOPNOTSUPP, type Status } from "../sys/errno.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import { FrontendTrial } from "./frontend_trial.ts";
import { MappedFiles } from "./mapped_files.ts";
import { NOT_ANSWERED, ShmemChannel } from "./shmem_channel.ts";
import { countMapping } from "./thrashing.ts";

const HEADER = STATE_HEADER.DAX;
const ABILITIES = (HEADER + DAX_HEADER.ABILITIES) >>> 2;
const WINDOW_SIZE = (HEADER + DAX_HEADER.WINDOW_SIZE) >>> 3;
const MAPPING_LIMIT = (HEADER + DAX_HEADER.MAPPING_LIMIT) >>> 3;
const MAPS = (HEADER + DAX_HEADER.MAPS) >>> 3;
const UNMAPS = (HEADER + DAX_HEADER.UNMAPS) >>> 3;
const REMAPS = (HEADER + DAX_HEADER.REMAPS) >>> 3;
const REFUSALS = (HEADER + DAX_HEADER.REFUSALS) >>> 3;
const DEMOTIONS = (HEADER + DAX_HEADER.DEMOTIONS) >>> 3;

/** `MappingTable.inFlight` while an answer about the version table is outstanding: see `version_region.ts`. */
export const VERSIONS = -2;

/** A front end that needs us in the midst of a trial does so once or twice. */
const DISTURBED_MAX = 16;

/** How the window behaves. */
export interface WindowOptions {
  /** Files that thrash the window are demoted (`--dax auto`). */
  readonly demotes: boolean;
  /** Most mappings at a time (`--max-mappings`). */
  readonly mappingMax: number;
  readonly warn: (message: string) => void;
}

/** The window, seen by one thread. */
export class VhostUserWindow implements DaxWindow {
  readonly #table: MappingTable;
  readonly #channel: ShmemChannel;
  readonly #inodes: DaxInodeTable;
  readonly #options: WindowOptions;
  readonly #i32: Int32Array;
  readonly #f64: Float64Array;
  readonly #trial: FrontendTrial;
  /** How often the trial of this session's front end was put off. */
  #disturbed = 0;
  readonly #descriptors: MappedFiles;

  constructor(
    state: NativeMemory,
    inodes: DaxInodeTable,
    files: MappableFiles,
    options: WindowOptions,
  ) {
    this.#table = new MappingTable(state);
    this.#channel = new ShmemChannel(state);
    this.#inodes = inodes;
    this.#options = options;
    this.#i32 = state.i32;
    this.#f64 = state.f64;
    this.#descriptors = new MappedFiles(state, inodes, files);
    this.#trial = new FrontendTrial(this.#channel, this.#table, this.#i32);
  }

  get size(): number {
    return this.#channel.open ? this.#f64[WINDOW_SIZE]! : 0;
  }

  get mapsWritable(): boolean {
    return this.#can(DAX_ABLE_TO_MAP);
  }

  get mapsReadOnly(): boolean {
    return this.#can(DAX_ABLE_TO_MAP_READ_ONLY);
  }

  begin(readOnly: boolean): Status | typeof PENDING {
    return this.#locked(() => {
      this.#i32[ABILITIES]! &= DAX_TRIAL_LEFT;
      const cleared = this.#clearAll();
      if (cleared !== 0) return cleared;
      const abilities = this.#trial.abilities(this.size, this.#descriptors.views, readOnly);
      // A front end that is always busy is not asked for ever: then nothing is mapped.
      if (abilities === NOT_ANSWERED && ++this.#disturbed < DISTURBED_MAX) return NOT_ANSWERED;
      this.#disturbed = 0;
      if (abilities === NOT_ANSWERED) return 0;
      this.#i32[ABILITIES] = abilities;
      this.#report(abilities, readOnly);
      return 0;
    });
  }

  /** Says once for each session what an operator would wonder about. */
  #report(abilities: number, readOnly: boolean): void {
    if ((abilities & DAX_ABLE_TO_MAP) === 0) {
      this.#options.warn(
        "DAX: this front end maps no file beyond its end, and padded views cannot be had here: files are read and written by request",
      );
    } else if (readOnly && (abilities & DAX_ABLE_TO_MAP_READ_ONLY) === 0) {
      this.#options.warn(
        "DAX: this front end maps no read-only descriptors: the files of this read-only share are read by request",
      );
    }
  }

  mapsFilesLike(nodeid: number): boolean {
    return this.mapsWritable && this.#descriptors.canView(nodeid);
  }

  map(request: MappingRequest): Status | typeof PENDING {
    if (this.size === 0) return -EOPNOTSUPP;
    // A front end that looks at sizes grows an empty file to the mapping's length: never without a view (QEMU: file_ram_alloc).
    if (!this.mapsWritable) return -EOPNOTSUPP;
    return this.#locked(() => {
      const before = this.#f64[MAPS];
      const result = this.#map(request);
      // Not what is there already, as when a guest asks for a mapping once more to write through it.
      if (result === 0 && this.#f64[MAPS] !== before) this.#count(request);
      return result;
    });
  }

  unmap(offset: number, length: number): Status | typeof PENDING {
    if (this.size === 0) return -EOPNOTSUPP;
    return this.#locked(() => {
      let result = this.#settle();
      if (result === 0) result = this.#cutAll(offset, offset + length);
      if (result === 0) result = this.#settle();
      return result;
    });
  }

  clear(): void {
    this.#locked(() => this.#clearAll());
  }

  /** Uses the channel for something else, with no answer to a request of the window's outstanding. */
  exclusively(act: () => Status): Status | typeof PENDING {
    return this.#locked(() => {
      const settled = this.#table.inFlight === VERSIONS ? 0 : this.#settle();
      return settled === NOT_ANSWERED ? settled : act();
    });
  }

  disconnect(): void {
    if (this.#channel.open) return;
    const table = this.#table;
    this.#locked(() => {
      table.inFlight = 0;
      this.#i32[ABILITIES] = 0;
      for (let slot = table.takePlanned(); slot !== 0; slot = table.takePlanned()) {
        table.setState(slot, MAPPING_GOING);
      }
      for (let slot = table.any(); slot !== 0; slot = table.any()) this.#free(slot);
      return 0;
    });
  }

  #can(ability: number): boolean {
    return (Atomics.load(this.#i32, ABILITIES) & ability) !== 0;
  }

  /** Nobody holds the lock while waiting for longer than it takes to notice that the main thread needs the queue. */
  #locked(act: () => Status): Status {
    this.#table.mutex.lock();
    try {
      const result = act();
      return result === NOT_ANSWERED ? PENDING : result;
    } finally {
      this.#table.mutex.unlock();
    }
  }

  #map(request: MappingRequest): Status {
    const table = this.#table;
    const { nodeid, offset, length, fileOffset, writable } = request;
    const settled = this.#settle();
    if (settled !== 0) return settled;
    const end = offset + length;
    const present = table.first(offset, end);
    if (
      present !== 0 && table.start(present) === offset && table.end(present) === end &&
      table.nodeid(present) === nodeid && table.fileOffset(present) === fileOffset &&
      (table.writable(present) || !writable)
    ) return 0;
    // Whatever can be refused is refused before what is there has to go.
    const fd = this.#descriptors.open(nodeid, writable);
    if (fd < 0) return fd === -EAGAIN ? NOT_ANSWERED : fd;
    // Held while what was mapped of the same file goes.
    this.#descriptors.hold(nodeid);
    const result = this.#replace(request);
    this.#descriptors.release(nodeid);
    return result;
  }

  /** Puts a mapping, for which there is a descriptor, in the place of what is there. */
  #replace({ nodeid, offset, length, fileOffset, writable }: MappingRequest): Status {
    const table = this.#table;
    const end = offset + length;
    const canWrite = this.#inodes.flag(nodeid, DAX_INODE_WRITABLE);
    if (!canWrite && (writable || (!this.mapsReadOnly && this.#descriptors.views !== null))) {
      return -EACCES;
    }
    if (table.count >= this.#limit && table.first(offset, end) === 0) return -ENOMEM;
    const cut = this.#cutAll(offset, end);
    if (cut !== 0) return cut;
    const remainders = this.#settle();
    if (remainders !== 0) return remainders;
    const slot = table.insert(offset, end, nodeid, fileOffset, canWrite, MAPPING_COMING);
    if (slot === 0) return -ENOMEM;
    this.#descriptors.hold(nodeid);
    return this.#ask(slot);
  }

  get #limit(): number {
    return Math.min(this.#f64[MAPPING_LIMIT]!, this.#options.mappingMax);
  }

  /** Asks the front end to map a slot that is COMING, and waits. */
  #ask(slot: number): Status {
    const table = this.#table;
    const start = table.start(slot);
    const fd = this.#inodes.fd(table.nodeid(slot));
    const length = table.end(slot) - start;
    const writable = table.writable(slot);
    const sent = this.#channel.askToMap(start, length, fd, table.fileOffset(slot), writable);
    if (sent < 0) {
      this.#free(slot);
      return sent;
    }
    table.inFlight = slot;
    return this.#await();
  }

  /** Waits for the answer about the slot in flight and does what follows from it. */
  #await(): Status {
    const table = this.#table;
    const slot = table.inFlight;
    const answer = this.#channel.answer();
    if (answer === NOT_ANSWERED) return answer;
    table.inFlight = 0;
    if (slot < 0) return answer;
    if (table.state(slot) === MAPPING_GOING) {
      // If the front end refuses, it does not have it (a reset drops all): either way it is gone.
      this.#f64[UNMAPS]!++;
      this.#keepRemainders(slot);
      return 0;
    }
    if (answer < 0) {
      this.#f64[REFUSALS]!++;
      this.#free(slot);
      return answer;
    }
    table.setState(slot, MAPPING_LIVE);
    this.#f64[MAPS]!++;
    return 0;
  }

  /** Finishes what was begun by requests that had to give up: an answer that was not there yet, parts to be mapped again. */
  #settle(): Status {
    const table = this.#table;
    if (table.inFlight !== 0) {
      const result = this.#await();
      if (result === NOT_ANSWERED) return result;
    }
    let failure: Status = 0;
    for (let slot = table.takePlanned(); slot !== 0; slot = table.takePlanned()) {
      table.setState(slot, MAPPING_COMING);
      const result = this.#ask(slot);
      if (result === NOT_ANSWERED) return result;
      if (failure === 0) failure = result;
    }
    return failure;
  }

  /** Removes everything that is mapped in [start, end); what reaches beyond is planned. */
  #cutAll(start: number, end: number): Status {
    const table = this.#table;
    for (let slot = table.first(start, end); slot !== 0; slot = table.first(start, end)) {
      const from = table.start(slot);
      const to = table.end(slot);
      // Cutting a piece out of the middle makes two of one.
      if (from < start && to > end && table.count >= this.#limit) return -ENOMEM;
      table.setCut(start, end);
      table.setState(slot, MAPPING_GOING);
      const sent = this.#channel.askToUnmap(from, to - from);
      if (sent < 0) {
        table.setState(slot, MAPPING_LIVE);
        return sent;
      }
      table.inFlight = slot;
      const result = this.#await();
      if (result !== 0) return result;
    }
    return 0;
  }

  /** A mapping has been removed because a part of it had to go: plans what is left of it. */
  #keepRemainders(slot: number): void {
    const table = this.#table;
    const { cutStart, cutEnd } = table;
    const start = table.start(slot);
    const end = table.end(slot);
    const nodeid = table.nodeid(slot);
    const fileOffset = table.fileOffset(slot);
    const writable = table.writable(slot);
    // The pieces have to be pinned before the whole lets go.
    const pieces: [number, number][] = [];
    if (start < cutStart) pieces.push([start, cutStart]);
    if (end > cutEnd) pieces.push([cutEnd, end]);
    for (let i = 0; i < pieces.length; i++) {
      this.#descriptors.hold(nodeid);
    }
    this.#free(slot);
    for (const [from, to] of pieces) {
      const piece = table.insert(
        from,
        to,
        nodeid,
        fileOffset + from - start,
        writable,
        MAPPING_PLANNED,
      );
      if (piece === 0) this.#descriptors.release(nodeid);
    }
  }

  #clearAll(): Status {
    const table = this.#table;
    if (table.inFlight !== 0) {
      const result = this.#await();
      if (result === NOT_ANSWERED) return result;
    }
    for (let slot = table.takePlanned(); slot !== 0; slot = table.takePlanned()) {
      table.setState(slot, MAPPING_COMING);
      this.#free(slot);
    }
    const result = this.#cutAll(0, Number.MAX_SAFE_INTEGER);
    return result === NOT_ANSWERED ? result : 0;
  }

  #free(slot: number): void {
    const nodeid = this.#table.nodeid(slot);
    this.#table.remove(slot);
    this.#descriptors.release(nodeid);
  }

  /** The policy of `--dax auto`, and figures to look at. */
  #count({ nodeid, fileOffset, length, fileSize, birth }: MappingRequest): void {
    const inodes = this.#inodes;
    inodes.addMap(nodeid);
    if (inodes.maps(nodeid) > Math.ceil(fileSize / length)) this.#f64[REMAPS]!++;
    if (!this.#options.demotes) return;
    if (countMapping(inodes, nodeid, fileOffset, length, fileSize, birth, Date.now())) {
      this.#f64[DEMOTIONS]!++;
    }
  }
}
