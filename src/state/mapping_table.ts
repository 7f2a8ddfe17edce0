/**
 * The live mappings of the DAX window, in an interval tree over window offsets, shared by all queues.
 *
 * A slot's life: free → COMING (the front end is asked to map it) → LIVE → GOING (asked to unmap it) → free. What is left of a mapping that
 * lost a part is PLANNED until there is time to map it anew. Everything but free is in the tree, so no two overlap.
 *
 * Whoever calls holds {@linkcode MappingTable.mutex}. Others may look without it: SEQUENCE is odd, or has changed, when what they saw
 * may be torn.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { IntervalNodes, IntervalTree } from "../intervals/interval_tree.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import {
  DAX_HEADER,
  MAPPING_COUNT_MAX,
  MAPPING_FREE,
  MAPPING_NODES_OFFSET,
  MAPPING_PLANNED,
  MAPPING_SLOT,
  MAPPING_TABLE_OFFSET,
  STATE_HEADER,
} from "./layout.ts";
import { Mutex } from "./mutex.ts";

const SLOT_WORDS = MAPPING_SLOT.SIZE >>> 2;
const SLOT_DOUBLES = MAPPING_SLOT.SIZE >>> 3;
const TABLE = MAPPING_TABLE_OFFSET / 4;
const TABLE_DOUBLES = MAPPING_TABLE_OFFSET / 8;
const STATE = MAPPING_SLOT.STATE >>> 2;
const NODEID = MAPPING_SLOT.NODEID >>> 2;
const NEXT = MAPPING_SLOT.NEXT >>> 2;
const WRITABLE = MAPPING_SLOT.WRITABLE >>> 2;
const FILE_OFFSET = MAPPING_SLOT.FILE_OFFSET >>> 3;
const SINCE = MAPPING_SLOT.SINCE >>> 3;

const HEADER = STATE_HEADER.DAX >>> 2;
const SEQUENCE = HEADER + (DAX_HEADER.SEQUENCE >>> 2);
const ROOT = HEADER + (DAX_HEADER.ROOT >>> 2);
const FRESH = HEADER + (DAX_HEADER.FRESH >>> 2);
const FREE = HEADER + (DAX_HEADER.FREE >>> 2);
const USED = HEADER + (DAX_HEADER.USED >>> 2);
const IN_FLIGHT = HEADER + (DAX_HEADER.IN_FLIGHT >>> 2);
const PLANNED = HEADER + (DAX_HEADER.PLANNED >>> 2);
const CUT_START = (STATE_HEADER.DAX + DAX_HEADER.CUT_START) >>> 3;
const CUT_END = (STATE_HEADER.DAX + DAX_HEADER.CUT_END) >>> 3;

assert(MAPPING_NODES_OFFSET % 8 === 0, "doubles of the tree are aligned");
assert(MAPPING_TABLE_OFFSET % 8 === 0, "doubles of the table are aligned");

/** The table, seen by one thread. Slots are numbers from 1; 0 = none. */
export class MappingTable {
  readonly mutex: Mutex;
  readonly #nodes: IntervalNodes;
  readonly #tree: IntervalTree;
  readonly #i32: Int32Array;
  readonly #f64: Float64Array;

  constructor(memory: NativeMemory) {
    this.mutex = new Mutex(memory, STATE_HEADER.DAX + DAX_HEADER.MUTEX);
    const { buffer } = memory.u8;
    this.#nodes = new IntervalNodes(MAPPING_COUNT_MAX, buffer, MAPPING_NODES_OFFSET);
    this.#i32 = memory.i32;
    this.#f64 = memory.f64;
    this.#tree = new IntervalTree(this.#nodes, this.#i32, ROOT);
  }

  /** Mappings that are not free. */
  get count(): number {
    return this.#i32[USED]!;
  }

  /** Takes a free slot for window offsets [start, end), which nothing overlaps. 0 if the table is full. */
  insert(
    start: number,
    end: number,
    nodeid: number,
    fileOffset: number,
    writable: boolean,
    state: number,
  ): number {
    assert(this.#tree.first(start, end) === 0, "mappings do not overlap");
    const slot = this.#take();
    if (slot === 0) return 0;
    this.#change();
    const word = this.#word(slot);
    this.#i32[word + STATE] = state;
    this.#i32[word + NODEID] = nodeid;
    this.#i32[word + WRITABLE] = writable ? 1 : 0;
    this.#f64[this.#double(slot) + FILE_OFFSET] = fileOffset;
    this.#f64[this.#double(slot) + SINCE] = Date.now();
    this.#tree.insert(slot, start, end);
    this.#i32[USED]!++;
    if (state === MAPPING_PLANNED) {
      this.#i32[word + NEXT] = this.#i32[PLANNED]!;
      this.#i32[PLANNED] = slot;
    }
    this.#changed();
    return slot;
  }

  /** Gives a slot back. It is not planned. */
  remove(slot: number): void {
    this.#change();
    const word = this.#word(slot);
    assert(this.#i32[word + STATE] !== MAPPING_PLANNED, "planned slots are taken off their list");
    this.#tree.remove(slot);
    this.#i32[word + STATE] = MAPPING_FREE;
    this.#i32[word + NEXT] = this.#i32[FREE]!;
    this.#i32[FREE] = slot;
    this.#i32[USED]!--;
    this.#changed();
  }

  /** The first mapping that overlaps window offsets [start, end), or 0. */
  first(start: number, end: number): number {
    return this.#tree.first(start, end);
  }

  /** The first of all, or 0. */
  any(): number {
    return this.#tree.first(0, Number.MAX_SAFE_INTEGER);
  }

  start(slot: number): number {
    return this.#nodes.start(slot);
  }

  end(slot: number): number {
    return this.#nodes.end(slot);
  }

  nodeid(slot: number): number {
    return this.#i32[this.#word(slot) + NODEID]!;
  }

  fileOffset(slot: number): number {
    return this.#f64[this.#double(slot) + FILE_OFFSET]!;
  }

  writable(slot: number): boolean {
    return this.#i32[this.#word(slot) + WRITABLE] !== 0;
  }

  state(slot: number): number {
    return this.#i32[this.#word(slot) + STATE]!;
  }

  setState(slot: number, state: number): void {
    this.#change();
    this.#i32[this.#word(slot) + STATE] = state;
    this.#changed();
  }

  /** What the mapping in flight is to lose, in window offsets. */
  get cutStart(): number {
    return this.#f64[CUT_START]!;
  }

  get cutEnd(): number {
    return this.#f64[CUT_END]!;
  }

  setCut(start: number, end: number): void {
    this.#f64[CUT_START] = start;
    this.#f64[CUT_END] = end;
  }

  /** The slot that the front end has been asked about; 0 = none, -1 = a trial. */
  get inFlight(): number {
    return this.#i32[IN_FLIGHT]!;
  }

  set inFlight(slot: number) {
    this.#i32[IN_FLIGHT] = slot;
  }

  /** Takes a planned slot off their list, or returns 0. Its state is the caller's to set. */
  takePlanned(): number {
    const slot = this.#i32[PLANNED]!;
    if (slot !== 0) this.#i32[PLANNED] = this.#i32[this.#word(slot) + NEXT]!;
    return slot;
  }

  #take(): number {
    const free = this.#i32[FREE]!;
    if (free !== 0) {
      this.#i32[FREE] = this.#i32[this.#word(free) + NEXT]!;
      return free;
    }
    const used = this.#i32[FRESH]!;
    if (used >= MAPPING_COUNT_MAX) return 0;
    this.#i32[FRESH] = used + 1;
    return used + 1;
  }

  #change(): void {
    Atomics.add(this.#i32, SEQUENCE, 1);
  }

  #changed(): void {
    Atomics.add(this.#i32, SEQUENCE, 1);
  }

  #word(slot: number): number {
    assert(slot >= 1 && slot <= MAPPING_COUNT_MAX, "a slot of the table");
    return TABLE + slot * SLOT_WORDS;
  }

  #double(slot: number): number {
    return TABLE_DOUBLES + slot * SLOT_DOUBLES;
  }
}
