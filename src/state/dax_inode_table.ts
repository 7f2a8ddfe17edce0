/**
 * What DAX knows of inodes, by nodeid: the descriptor that mappings are made from, how many there are, and how the guest
 * goes about mapping the file. And which files were found to be better read than mapped, by inode number, because that outlasts the guest's
 * knowing them.
 *
 * Descriptors and counts are guarded by the mapping table's mutex; the rest are single words and hints. A page of the table is first
 * touched when a guest with per-inode DAX meets one of its inodes.
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";
import type { InodeTable } from "./inode_table.ts";
import {
  DAX_HEADER,
  DAX_INODE,
  DAX_INODE_TABLE_OFFSET,
  DEMOTION,
  DEMOTION_COUNT,
  DEMOTION_TABLE_OFFSET,
  STATE_HEADER,
} from "./layout.ts";

const TABLE = DAX_INODE_TABLE_OFFSET / 4;
const TABLE_DOUBLES = DAX_INODE_TABLE_OFFSET / 8;
const SLOT_WORDS = DAX_INODE.SIZE >>> 2;
const SLOT_DOUBLES = DAX_INODE.SIZE >>> 3;
const GENERATION = DAX_INODE.GENERATION >>> 2;
const FD = DAX_INODE.FD >>> 2;
const MAPPINGS = DAX_INODE.MAPPINGS >>> 2;
const FLAGS = DAX_INODE.FLAGS >>> 2;
const MAPS = DAX_INODE.MAPS >>> 2;
const JUMPS = DAX_INODE.JUMPS >>> 2;
const LEVEL = DAX_INODE.LEVEL >>> 3;
const LEVEL_TIME = DAX_INODE.LEVEL_TIME >>> 3;
const LAST_END = DAX_INODE.LAST_END >>> 3;

const FDS = (STATE_HEADER.DAX + DAX_HEADER.FDS) >>> 2;
const UNTIL = DEMOTION.UNTIL >>> 2;
const BIRTH = DEMOTION.BIRTH >>> 2;

/** GENERATION while a thread empties the slot. No inode gets that far: it would take 2^32 reuses of its slot. */
const EMPTYING = -1;

/** The table, seen by one thread. The inodes named are acquired. */
export class DaxInodeTable {
  readonly #i32: Int32Array;
  readonly #f64: Float64Array;
  readonly #inodes: InodeTable;

  constructor(memory: NativeMemory, inodes: InodeTable) {
    this.#i32 = memory.i32;
    this.#f64 = memory.f64;
    this.#inodes = inodes;
  }

  /** Descriptors that mappings are made from, of all inodes. */
  get fdCount(): number {
    return Atomics.load(this.#i32, FDS);
  }

  /** The descriptor that mappings are made from, or -1. */
  fd(nodeid: number): number {
    return this.#i32[this.#word(nodeid) + FD]! - 1;
  }

  setFd(nodeid: number, fd: number): void {
    const index = this.#word(nodeid) + FD;
    const change = Number(fd >= 0) - Number(this.#i32[index] !== 0);
    if (change !== 0) Atomics.add(this.#i32, FDS, change);
    this.#i32[index] = fd + 1;
  }

  flag(nodeid: number, flag: number): boolean {
    return (this.#i32[this.#word(nodeid) + FLAGS]! & flag) !== 0;
  }

  setFlag(nodeid: number, flag: number, on: boolean): void {
    if (on) Atomics.or(this.#i32, this.#word(nodeid) + FLAGS, flag);
    else Atomics.and(this.#i32, this.#word(nodeid) + FLAGS, ~flag);
  }

  /** One mapping more (or, with -1, less); returns how many there are. */
  addMapping(nodeid: number, change: number): number {
    return this.#i32[this.#word(nodeid) + MAPPINGS]! += change;
  }

  /** Mappings made since the guest has known the file. */
  maps(nodeid: number): number {
    return this.#i32[this.#word(nodeid) + MAPS]!;
  }

  addMap(nodeid: number): void {
    this.#i32[this.#word(nodeid) + MAPS]!++;
  }

  jumps(nodeid: number): number {
    return this.#i32[this.#word(nodeid) + JUMPS]!;
  }

  setJumps(nodeid: number, jumps: number): void {
    this.#i32[this.#word(nodeid) + JUMPS] = jumps;
  }

  level(nodeid: number): number {
    return this.#f64[this.#double(nodeid) + LEVEL]!;
  }

  levelTime(nodeid: number): number {
    return this.#f64[this.#double(nodeid) + LEVEL_TIME]!;
  }

  setLevel(nodeid: number, level: number, time: number): void {
    this.#f64[this.#double(nodeid) + LEVEL] = level;
    this.#f64[this.#double(nodeid) + LEVEL_TIME] = time;
  }

  /** Where in the file the last mapping ended. */
  lastEnd(nodeid: number): number {
    return this.#f64[this.#double(nodeid) + LAST_END]!;
  }

  setLastEnd(nodeid: number, end: number): void {
    this.#f64[this.#double(nodeid) + LAST_END] = end;
  }

  /** Whether the file, whose birth time makes the 32-bit number `birth`, is better read than mapped at time `now` (milliseconds since 1970). */
  isDemoted(nodeid: number, birth: number, now: number): boolean {
    const word = this.#demotion(nodeid);
    const inodes = this.#inodes;
    return this.#i32[word] === (inodes.devLo(nodeid) | 0) &&
      this.#i32[word + 1] === (inodes.devHi(nodeid) | 0) &&
      this.#i32[word + 2] === (inodes.inoLo(nodeid) | 0) &&
      this.#i32[word + 3] === (inodes.inoHi(nodeid) | 0) &&
      this.#i32[word + BIRTH] === birth &&
      this.#f64[(word + UNTIL) / 2]! > now;
  }

  /** The file is better read than mapped until `until`. A file that was so before and has the same place is forgotten. */
  demote(nodeid: number, birth: number, until: number): void {
    const word = this.#demotion(nodeid);
    const inodes = this.#inodes;
    this.#i32[word] = inodes.devLo(nodeid);
    this.#i32[word + 1] = inodes.devHi(nodeid);
    this.#i32[word + 2] = inodes.inoLo(nodeid);
    this.#i32[word + 3] = inodes.inoHi(nodeid);
    this.#i32[word + BIRTH] = birth;
    this.#f64[(word + UNTIL) / 2] = until;
  }

  #demotion(nodeid: number): number {
    const mixed = Math.imul(this.#inodes.inoLo(nodeid), 0x9e3779b1) >>> 0;
    return (DEMOTION_TABLE_OFFSET + (mixed % DEMOTION_COUNT) * DEMOTION.SIZE) / 4;
  }

  /** The slot; emptied first if the nodeid has come to mean another inode. */
  #word(nodeid: number): number {
    const word = TABLE + nodeid * SLOT_WORDS;
    const generation = this.#inodes.generation(nodeid) | 0;
    let seen = Atomics.load(this.#i32, word + GENERATION);
    while (seen !== generation) {
      // One thread empties it, the others see that it does: a handful of stores.
      if (
        seen !== EMPTYING &&
        Atomics.compareExchange(this.#i32, word + GENERATION, seen, EMPTYING) === seen
      ) {
        // Whoever has a mapping pins the inode: there is none, and no descriptor.
        for (let i = GENERATION + 1; i < SLOT_WORDS; i++) this.#i32[word + i] = 0;
        Atomics.store(this.#i32, word + GENERATION, generation);
      }
      seen = Atomics.load(this.#i32, word + GENERATION);
    }
    return word;
  }

  #double(nodeid: number): number {
    this.#word(nodeid);
    return TABLE_DOUBLES + nodeid * SLOT_DOUBLES;
  }
}
