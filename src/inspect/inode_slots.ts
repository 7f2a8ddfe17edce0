/**
 * The slots of the inode table that are in use, a block at a time: there may be millions.
 *
 * Each block is copied twice. What names an inode is written before the slot says that it is in use, and its generation goes up with each new
 * inode; so a slot that is the same in both copies is whole. The others are looked at again one by one.
 *
 * @module
 */

import { INODE_COUNT_MAX, INODE_SLOT, INODE_TABLE_OFFSET, STATE_HEADER } from "../state/layout.ts";
import { FUSE_ROOT_ID } from "../wire/fuse.ts";
import type { Piece } from "./read_only_file.ts";
import type { StateReader } from "./state_reader.ts";

const BLOCK_SLOTS = 8192;
const WORDS = INODE_SLOT.SIZE >>> 2;
/** A slot that is given to one inode after another, again and again, is left out. */
const TRIES = 20;
const WORD = 4294967296;

/** Fields that stay the same as long as the slot is one inode's. */
const NAMING = [
  INODE_SLOT.DEV_LO,
  INODE_SLOT.DEV_HI,
  INODE_SLOT.INO_LO,
  INODE_SLOT.INO_HI,
  INODE_SLOT.GENERATION,
  INODE_SLOT.FD,
  INODE_SLOT.MODE,
].map((offset) => offset >>> 2);

/** One known inode: what its slot said at one moment. */
export interface InodeSlot {
  readonly nodeid: number;
  readonly generation: number;
  readonly devLo: number;
  readonly devHi: number;
  readonly inoLo: number;
  readonly inoHi: number;
  readonly mode: number;
  readonly lookups: number;
  /** O_PATH descriptor in the daemon, or -1: held by file handle. */
  readonly fd: number;
  readonly versionSlot: number;
}

/** Every inode in use, by nodeid. */
export function* inodeSlots(reader: StateReader): Generator<InodeSlot> {
  const fresh = freshSlot(reader);
  for (let first = FUSE_ROOT_ID; first < fresh; first += BLOCK_SLOTS) {
    const count = Math.min(BLOCK_SLOTS, fresh - first);
    const before = readSlots(reader, first, count);
    const after = readSlots(reader, first, count);
    for (let i = 0; i < count; i++) {
      const slot = isSame(before, after, i)
        ? slotAt(after, i, first + i)
        : inodeSlot(reader, first + i);
      if (slot !== null) yield slot;
    }
  }
}

/** One inode; null if the nodeid names none. */
export function inodeSlot(reader: StateReader, nodeid: number): InodeSlot | null {
  if (!Number.isInteger(nodeid) || nodeid < FUSE_ROOT_ID || nodeid >= freshSlot(reader)) {
    return null;
  }
  for (let i = 0; i < TRIES; i++) {
    const before = readSlots(reader, nodeid, 1);
    const after = readSlots(reader, nodeid, 1);
    if (isSame(before, after, 0)) return slotAt(after, 0, nodeid);
  }
  return null;
}

/** Whether a slot is still the same inode's, held by the same descriptor. */
export function isStill(reader: StateReader, slot: InodeSlot): boolean {
  const now = slotAt(readSlots(reader, slot.nodeid, 1), 0, slot.nodeid);
  return now !== null && now.generation === slot.generation && now.fd === slot.fd;
}

function freshSlot(reader: StateReader): number {
  return reader.word(reader.header(), STATE_HEADER.INODE_FRESH, INODE_COUNT_MAX, "INODE_FRESH");
}

function readSlots(reader: StateReader, first: number, count: number): Piece {
  return reader.read(INODE_TABLE_OFFSET + first * INODE_SLOT.SIZE, count * INODE_SLOT.SIZE);
}

function isSame(before: Piece, after: Piece, index: number): boolean {
  const base = index * WORDS;
  if (before.u32[base + (INODE_SLOT.REFERENCES >>> 2)] === 0) {
    return after.u32[base + (INODE_SLOT.REFERENCES >>> 2)] === 0;
  }
  for (const word of NAMING) {
    if (before.u32[base + word] !== after.u32[base + word]) return false;
  }
  return true;
}

function slotAt({ u32, i32 }: Piece, index: number, nodeid: number): InodeSlot | null {
  const base = index * WORDS;
  if (u32[base + (INODE_SLOT.REFERENCES >>> 2)] === 0) return null;
  return {
    nodeid,
    generation: u32[base + (INODE_SLOT.GENERATION >>> 2)]!,
    devLo: u32[base + (INODE_SLOT.DEV_LO >>> 2)]!,
    devHi: u32[base + (INODE_SLOT.DEV_HI >>> 2)]!,
    inoLo: u32[base + (INODE_SLOT.INO_LO >>> 2)]!,
    inoHi: u32[base + (INODE_SLOT.INO_HI >>> 2)]!,
    mode: u32[base + (INODE_SLOT.MODE >>> 2)]!,
    lookups: u32[base + (INODE_SLOT.LOOKUPS_LO >>> 2)]! +
      u32[base + (INODE_SLOT.LOOKUPS_HI >>> 2)]! * WORD,
    fd: i32[base + (INODE_SLOT.FD >>> 2)]!,
    versionSlot: u32[base + (INODE_SLOT.VERSION_SLOT >>> 2)]!,
  };
}
