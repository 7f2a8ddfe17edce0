/**
 * Finding out what a front end can map, with files of our own in an empty window, instead of believing anything about it.
 *
 * A front end that refuses says so on its own terminal (QEMU does), so nothing is tried that does not matter.
 *
 * @module
 */

import {
  DAX_ABLE_TO_MAP,
  DAX_ABLE_TO_MAP_READ_ONLY,
  DAX_HEADER,
  DAX_TRIAL_LEFT,
  STATE_HEADER,
} from "../state/layout.ts";
import type { MappingTable } from "../state/mapping_table.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { AT_FDCWD, MFD_CLOEXEC, O_CLOEXEC, O_RDONLY } from "../wire/linux.ts";
import { NOT_ANSWERED, type ShmemChannel } from "./shmem_channel.ts";
import type { Views } from "./views.ts";

/** `MappingTable.inFlight` while an answer about a trial is outstanding. */
export const TRIAL = -1;

/** What a guest maps at a time. */
const TRIAL_LENGTH = 2 * 1024 * 1024;
const SHORT_SIZE = 4096;
const ABILITIES = (STATE_HEADER.DAX + DAX_HEADER.ABILITIES) >>> 2;

/** Trials of one front end. Whoever calls holds the mapping table's mutex, and nothing is mapped or in flight. */
export class FrontendTrial {
  readonly #channel: ShmemChannel;
  readonly #table: MappingTable;
  readonly #i32: Int32Array;

  constructor(channel: ShmemChannel, table: MappingTable, i32: Int32Array) {
    this.#channel = channel;
    this.#table = table;
    this.#i32 = i32;
  }

  /**
   * DAX_ABLE_TO_* bits of a front end whose window has `windowSize` bytes, or {@linkcode NOT_ANSWERED}: to be called again. With
   * `views` every file looks long enough; without, it has to map beyond a file's end by itself.
   */
  abilities(windowSize: number, views: Views | null, readOnly: boolean): number {
    const length = Math.min(TRIAL_LENGTH, windowSize);
    if ((this.#i32[ABILITIES]! & DAX_TRIAL_LEFT) !== 0 && this.#end(length) === NOT_ANSWERED) {
      return NOT_ANSWERED;
    }
    this.#i32[ABILITIES] = 0;
    const scratch = NativeMemory.allocate(4096);
    const long = views !== null ? 0 : this.#with(shortFile(scratch), length);
    if (long !== 0) return long === NOT_ANSWERED ? NOT_ANSWERED : 0;
    if (!readOnly) return DAX_ABLE_TO_MAP;
    const constant = this.#with(constantFile(scratch, length, views), length);
    if (constant === NOT_ANSWERED) return NOT_ANSWERED;
    return DAX_ABLE_TO_MAP | (constant === 0 ? DAX_ABLE_TO_MAP_READ_ONLY : 0);
  }

  /** Has a file mapped for a moment, and closes it. 0, a negative errno for a refusal, or {@linkcode NOT_ANSWERED}. */
  #with(fd: number, length: number): number {
    if (fd < 0) return fd;
    const asked = this.#channel.askToMap(0, length, fd, 0, false);
    libc.close(fd);
    if (asked < 0) return asked;
    this.#i32[ABILITIES]! |= DAX_TRIAL_LEFT;
    const mapped = this.#answer();
    if (mapped === 0) return this.#end(length);
    if (mapped !== NOT_ANSWERED) this.#i32[ABILITIES]! &= ~DAX_TRIAL_LEFT;
    return mapped;
  }

  /** Removes what a trial has mapped, if it has. */
  #end(length: number): number {
    const asked = this.#channel.askToUnmap(0, length);
    if (asked < 0) return asked;
    const result = this.#answer();
    if (result !== NOT_ANSWERED) this.#i32[ABILITIES]! &= ~DAX_TRIAL_LEFT;
    return result;
  }

  #answer(): number {
    const result = this.#channel.answer();
    if (result === NOT_ANSWERED) this.#table.inFlight = TRIAL;
    return result;
  }
}

/** A file of one page, to be mapped beyond its end: a descriptor or a negative errno. */
function shortFile(scratch: NativeMemory): number {
  return memoryFile(scratch, SHORT_SIZE);
}

/** A file that is long enough, opened for reading only, and seen as the guest's files are. The thread's working directory is /proc/self/fd. */
function constantFile(scratch: NativeMemory, size: number, views: Views | null): number {
  const file = memoryFile(scratch, size);
  if (file < 0) return file;
  const path = scratch.pointerAt(scratch.setCString(0, String(file)));
  const fd = status(libc.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
  libc.close(file);
  if (views === null || fd < 0) return fd;
  const view = views.open(fd, false);
  libc.close(fd);
  return view;
}

function memoryFile(scratch: NativeMemory, size: number): number {
  const name = scratch.pointerAt(scratch.setCString(0, "virtiofsd-ts-dax-trial"));
  const fd = status(libc.memfd_create(name, MFD_CLOEXEC));
  if (fd >= 0) libc.ftruncate(fd, BigInt(size));
  return fd;
}
