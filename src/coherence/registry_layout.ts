/**
 * The registry: which inode has which slot of the version table, and which daemons use it. A file in shared memory that all daemons of the
 * host work on with atomics; nobody serves it.
 *
 * A slot is found in the one bucket that its inode hashes to. A slot is in use while any of its owners' bits is set, so setting
 * the first bit is what makes an entry, clearing the last one what removes it: a daemon that is killed between any two instructions leaves an
 * entry that is whole, or none.
 *
 * | part    | bytes                               | holds                                                          |
 * |---------|-------------------------------------|----------------------------------------------------------------|
 * | header  | 4096                                | magic, layout version, size, counters                          |
 * | owners  | {@linkcode OWNER_COUNT_MAX} x 2176  | one record per daemon: pid, start time, changes in progress    |
 * | buckets | 3392 for 64 slots                   | a lock, then one column of 64 words per field                  |
 *
 * @module
 */

import { VERSION_SLOT_COUNT_MAX } from "../state/layout.ts";
import { VERSION_SLOT_FIRST, VERSION_SLOT_SIZE } from "../wire/shared_versions.ts";

/** "vrfsregi" in little-endian bytes. */
export const REGISTRY_MAGIC_LO = 0x73667276;
export const REGISTRY_MAGIC_HI = 0x69676572;
/** Increased whenever an offset below changes its meaning. */
export const REGISTRY_LAYOUT_VERSION = 1;

/** Daemons at a time. Further ones do not start. */
export const OWNER_COUNT_MAX = 256;
/** Threads of one daemon that change versions: a queue each, and the main thread as the last. */
export const THREAD_COUNT_MAX = 65;
/** The main thread's number. */
export const MAIN_THREAD: number = THREAD_COUNT_MAX - 1;
/** Words of a thread's list of changes. A request changes four inodes at most (RENAME). */
export const CHANGES_MAX = 8;

/** The header page. */
export const REGISTRY_HEADER = {
  MAGIC_LO: 0,
  MAGIC_HI: 4,
  LAYOUT_VERSION: 8,
  SLOT_COUNT: 12,
  /** The table's. */
  IDENTITY_LO: 16,
  IDENTITY_HI: 20,
  /** How often an inode got no slot because its bucket was full. */
  REFUSALS: 24,
  /** Dead daemons whose references were taken back. */
  SWEEPS: 28,
  SIZE: 4096,
} as const;

/** A daemon's record. It is alive while it holds a lock on the byte of its number in the registry's file (fcntl: F_OFD_SETLK). */
export const OWNER = {
  /** OWNER_* */
  STATE: 0,
  PID: 4,
  /** Double: clock ticks between the boot and the start of the process (proc(5): /proc/pid/stat, starttime). */
  START: 8,
  /** Double: milliseconds since 1970. */
  SINCE: 16,
  /** For each thread, {@linkcode CHANGES_MAX} words: slots that it has changes in progress in, 0 = none. */
  CHANGES: 64,
  SIZE: 2176,
} as const;
export const OWNER_FREE = 0;
export const OWNER_USED = 1;

/** Slots of a bucket. */
export const BUCKET_SLOTS = 64;
/** A bucket: its lock, then columns of {@linkcode BUCKET_SLOTS} words. */
export const BUCKET = {
  LOCK: 0,
  INO_LO: 64,
  INO_HI: 320,
  DEV_LO: 576,
  DEV_HI: 832,
  /** Locks of directories, which a hash of the inode chooses: held while names are changed. */
  NAMES_LOCK: 1088,
  /** {@linkcode OWNER_WORDS} columns: bit n of column m = owner 32 m + n uses the slot. */
  OWNERS: 1344,
  SIZE: 3392,
} as const;
export const OWNER_WORDS: number = OWNER_COUNT_MAX / 32;

export const OWNERS_OFFSET: number = REGISTRY_HEADER.SIZE;
/** A multiple of 64. */
export const BUCKETS_OFFSET: number = OWNERS_OFFSET + OWNER_COUNT_MAX * OWNER.SIZE;

const PAGE_SIZE = 4096;
/** Fewest and most slots of a table; powers of two. */
export const SLOT_COUNT_MIN = 64;
export const SLOT_COUNT_MAX: number = VERSION_SLOT_COUNT_MAX;

/** Bytes of the registry of a table with so many slots. */
export function registrySize(slotCount: number): number {
  return BUCKETS_OFFSET + slotCount / BUCKET_SLOTS * BUCKET.SIZE;
}

/** Bytes of the table. */
export function tableSize(slotCount: number): number {
  return slotCount * VERSION_SLOT_SIZE;
}

/** Index of the u32 of column `column` (BUCKET.*) that belongs to a slot. */
export function slotWord(slot: number, column: number): number {
  return ((BUCKETS_OFFSET + column) >>> 2) + (slot >>> 6) * (BUCKET.SIZE >>> 2) + (slot & 63);
}

/** Bytes of the shared-memory region in which guests see the table: whole pages. */
export function regionSize(slotCount: number): number {
  return Math.ceil(tableSize(slotCount) / PAGE_SIZE) * PAGE_SIZE;
}

/** Whether a slot number can be an inode's. */
export function isInodeSlot(slot: number, slotCount: number): boolean {
  return slot >= VERSION_SLOT_FIRST && slot < slotCount;
}
