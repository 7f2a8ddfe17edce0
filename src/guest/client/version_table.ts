/**
 * The table of shared versions as a guest sees it: memory that all daemons of the host write and this guest reads (wire/shared_versions.ts).
 *
 * @module
 */

import { readUntouched } from "../../sys/fault_safe_copy.ts";
import {
  CHANGES_IN_PROGRESS,
  VERSION_MAGIC_HI,
  VERSION_MAGIC_LO,
  VERSION_SLOT_FIRST,
  VERSION_SLOT_SIZE,
  VERSION_TABLE,
  VERSION_TABLE_LAYOUT,
} from "../../wire/shared_versions.ts";
import type { ShmemRegion } from "../frontend/shmem_region.ts";

/** Slots that a guest can name: the index of a word must be one that arrays have. */
const SLOT_COUNT_MAX = 2 ** 30;
const PAGE_SIZE = 4096;

/**
 * Slots by index, each a low and a high word.
 *
 * A check is an atomic load of the low word and a plain one of the high word. The atomic load is a call that V8 does not look into, so
 * neither load can be moved out of a loop or be made once for two checks, and what is loaded after it is not older. 7 ns, where two
 * plain loads are 2 ns and nobody promises anything.
 */
export class VersionTable {
  /** 0 once the table is closed: then no index is in range. */
  #slotCount: number;
  #words: Int32Array<ArrayBuffer>;
  /** What {@linkcode VersionTable.read} has found. */
  low = 0;
  high = 0;

  /** `words` are those of the whole table; its header has been checked. */
  constructor(words: Int32Array<ArrayBuffer>) {
    this.#words = words;
    this.#slotCount = words.length / 2;
  }

  /** The table in a region, or why there is none that can be used. From then on the region stays as it is. */
  static open(region: ShmemRegion | undefined): VersionTable | string {
    if (region === undefined) return "the device has no region for it";
    const { size, address } = region;
    if (size % VERSION_SLOT_SIZE !== 0 || size < VERSION_TABLE.SIZE) {
      return `it cannot have ${size} bytes`;
    }
    if (size / VERSION_SLOT_SIZE > SLOT_COUNT_MAX) return `${size} bytes are more than it can have`;
    // A daemon that maps nothing there, or a file that is shorter, would make each load a crash.
    region.settle();
    if (!region.covers(0, size, false)) return "the daemon has not mapped it";
    const header = new Uint8Array(VERSION_TABLE.SIZE);
    const last = address + Math.floor((size - 1) / PAGE_SIZE) * PAGE_SIZE;
    const isThere = readUntouched(last, header, 0, 1) === 1 &&
      readUntouched(address, header, 0, header.length) === header.length;
    if (!isThere) return "it is shorter than its region";
    const view = new DataView(header.buffer);
    const isTable = view.getUint32(VERSION_TABLE.MAGIC, true) === VERSION_MAGIC_LO &&
      view.getUint32(VERSION_TABLE.MAGIC + 4, true) === VERSION_MAGIC_HI;
    if (!isTable) return "something else is mapped in its place";
    const layout = Number(view.getBigUint64(VERSION_TABLE.LAYOUT_VERSION, true));
    if (layout !== VERSION_TABLE_LAYOUT) {
      return `its layout is ${layout}, and this guest knows ${VERSION_TABLE_LAYOUT}`;
    }
    const count = Number(view.getBigUint64(VERSION_TABLE.SLOT_COUNT, true));
    // A region is made of whole pages.
    const rest = size - count * VERSION_SLOT_SIZE;
    if (count <= VERSION_SLOT_FIRST || rest < 0 || rest >= PAGE_SIZE) {
      return `it has ${count} slots in ${size} bytes`;
    }
    return new VersionTable(region.bytes.i32.subarray(0, count * 2));
  }

  /** Slots, the header's included. */
  get slotCount(): number {
    return this.#slotCount;
  }

  /** Whether an index can be an inode's. */
  isInRange(index: number): boolean {
    return index >= VERSION_SLOT_FIRST && index < this.#slotCount && Number.isInteger(index);
  }

  /**
   * Whether a slot has this value. Values only grow, so a low word that is loaded first and a high word that is still the same were there
   * together.
   */
  holds(index: number, low: number, high: number): boolean {
    return index < this.#slotCount && Atomics.load(this.#words, 2 * index) === low &&
      this.#words[2 * index + 1] === high;
  }

  /** Reads a slot's value into `low` and `high` (as signed words), the two being of the same moment. The index is in range. */
  read(index: number): void {
    const words = this.#words;
    do {
      this.high = Atomics.load(words, 2 * index + 1);
      this.low = Atomics.load(words, 2 * index);
    } while (Atomics.load(words, 2 * index + 1) !== this.high);
  }

  /** The memory goes: nothing is loaded from it any more, and nothing holds. */
  close(): void {
    this.#slotCount = 0;
    this.#words = new Int32Array(0);
  }
}

/** Whether nobody is changing anything, by a value's low word. */
export function isStable(low: number): boolean {
  return (low & CHANGES_IN_PROGRESS) === 0;
}
