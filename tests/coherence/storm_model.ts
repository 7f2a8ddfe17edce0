/**
 * What many threads of many processes hold them to about one version table: a file in shared memory where each writes down what it was given, and looks at what the others
 * were given. Each thread has a column, whose owner may be killed at any instant.
 *
 * @module
 */

import { OwnedFd } from "../../src/sys/fd.ts";
import { Mapping } from "../../src/sys/mapping.ts";
import type { NativeMemory } from "../../src/sys/native_memory.ts";
import { tryOpen } from "../../src/coherence/version_file_access.ts";
import { O_CREAT, O_RDWR } from "../../src/wire/linux.ts";
import { CHANGE } from "../../src/wire/shared_versions.ts";

/** Threads per process at most, and numbers of daemons that are expected. */
export const THREADS_MAX = 4;
const COLUMNS = 64 * THREADS_MAX;
export const SLOTS_MAX = 1024;
export const INODES_MAX = 4096;

/** Indices of 32-bit words. */
const STOP = 0;
const PIDS = 16;
const NAMES = PIDS + COLUMNS;
const SEEN = NAMES + SLOTS_MAX;
const INODE_OF = SEEN + SLOTS_MAX;
const SLOT_OF = INODE_OF + COLUMNS * SLOTS_MAX;
export const MODEL_SIZE = (SLOT_OF + COLUMNS * INODES_MAX) * 4;

/** How long a process that was killed takes to be seen as dead. */
const DEATH_MS = 5000;

/** Maps the model's file, making it if it is not there. Its size does not depend on anything. */
export function mapModel(path: string): Mapping {
  using fd = new OwnedFd(tryOpen(path, O_RDWR | O_CREAT));
  if (Deno.statSync(path).size !== MODEL_SIZE) Deno.truncateSync(path, MODEL_SIZE);
  return new Mapping(fd.number, 0, MODEL_SIZE);
}

/** Ends all threads, soon. */
export function stopAll(model: NativeMemory): void {
  Atomics.store(model.i32, STOP, 1);
}

/** A daemon's number is its own from now on: what the one before it left in its columns is void. Before its threads begin. */
export function takeColumns(model: NativeMemory, owner: number): void {
  if (owner >= COLUMNS / THREADS_MAX) {
    throw new Error(`number ${owner}: dead daemons' numbers leak`);
  }
  const words = model.i32;
  for (let column = owner * THREADS_MAX; column < (owner + 1) * THREADS_MAX; column++) {
    words.fill(0, INODE_OF + column * SLOTS_MAX, INODE_OF + (column + 1) * SLOTS_MAX);
    words.fill(0, SLOT_OF + column * INODES_MAX, SLOT_OF + (column + 1) * INODES_MAX);
    Atomics.store(words, PIDS + column, Deno.pid);
  }
}

/** One thread's column. Every method throws where something is not as it must be. */
export class StormModel {
  readonly #words: Int32Array;
  readonly #column: number;

  constructor(model: NativeMemory, owner: number, thread: number) {
    this.#words = model.i32;
    this.#column = owner * THREADS_MAX + thread;
  }

  get isStopped(): boolean {
    return Atomics.load(this.#words, STOP) !== 0;
  }

  /** This thread was given `slot` for an inode (not 0): nobody has the slot for another, nor the inode in another. `low` reads its version. */
  given(slot: number, inode: number, low: () => number): void {
    const words = this.#words;
    // What has been seen is looked at before the version: the version may be newer then, never older.
    const seen = Atomics.load(words, SEEN + slot) >>> 0;
    const version = low() >>> 12;
    if (seen >>> 12 > version) {
      throw new Error(`slot ${slot}: version ${seen >>> 12} was seen before ${version}`);
    }
    if (seen >>> 12 === version && (seen & 0xfff) !== inode && seen !== 0) {
      throw new Error(
        `slot ${slot}: version ${version} is inode ${inode}'s now, and was ${seen & 0xfff}'s`,
      );
    }
    Atomics.store(words, INODE_OF + this.#column * SLOTS_MAX + slot, inode);
    Atomics.store(words, SLOT_OF + this.#column * INODES_MAX + inode, slot);
    for (let column = 0; column < COLUMNS; column++) {
      const pid = Atomics.load(words, PIDS + column);
      if (pid === 0) continue;
      const otherInode = Atomics.load(words, INODE_OF + column * SLOTS_MAX + slot);
      if (otherInode !== 0 && otherInode !== inode && isAlive(pid)) {
        throw new Error(`slot ${slot} is inode ${inode}'s and, in process ${pid}, ${otherInode}'s`);
      }
      const otherSlot = Atomics.load(words, SLOT_OF + column * INODES_MAX + inode);
      if (otherSlot !== 0 && otherSlot !== slot && isAlive(pid)) {
        throw new Error(`inode ${inode} has slot ${slot} and, in process ${pid}, ${otherSlot}`);
      }
    }
    this.saw(slot, inode, low());
  }

  /** This thread will give a slot back. */
  givesBack(slot: number, inode: number): void {
    Atomics.store(this.#words, INODE_OF + this.#column * SLOTS_MAX + slot, 0);
    Atomics.store(this.#words, SLOT_OF + this.#column * INODES_MAX + inode, 0);
  }

  /** A version of a slot that this thread holds. */
  saw(slot: number, inode: number, low: number): void {
    const words = this.#words;
    const word = ((low & ~(CHANGE - 1)) | inode) >>> 0;
    for (;;) {
      const before = Atomics.load(words, SEEN + slot) >>> 0;
      if (before >= word) return;
      if (Atomics.compareExchange(words, SEEN + slot, before | 0, word | 0) === (before | 0)) {
        return;
      }
    }
  }

  /** The lock of a slot's names is this thread's: it is nobody else's. */
  namesLocked(slot: number): void {
    const words = this.#words;
    const other = Atomics.exchange(words, NAMES + slot, this.#column + 1);
    if (other === 0) return;
    const pid = Atomics.load(words, PIDS + other - 1);
    // A dead daemon's number may have another already, whose columns begin anew; then the entry cannot be told from a live one's, but for the slot.
    const isHeld = Atomics.load(words, INODE_OF + (other - 1) * SLOTS_MAX + slot) !== 0;
    if (isHeld && isAlive(pid)) {
      throw new Error(`the names of slot ${slot} are locked here and in process ${pid}`);
    }
  }

  /** It is about to be nobody's. */
  namesUnlocked(slot: number): void {
    const mine = this.#column + 1;
    const word = Atomics.compareExchange(this.#words, NAMES + slot, mine, 0);
    if (word !== mine) {
      throw new Error(`the names of slot ${slot} were locked by another meanwhile`);
    }
  }
}

/** Whether a process lives, and goes on doing so. */
function isAlive(pid: number): boolean {
  const end = Date.now() + DEATH_MS;
  while (Date.now() < end) {
    let text: string;
    try {
      text = Deno.readTextFileSync(`/proc/${pid}/stat`);
    } catch {
      return false;
    }
    if ("ZX".includes(text[text.lastIndexOf(")") + 2]!)) return false;
    pause(10);
  }
  return true;
}

/** Sleeps. */
export function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
