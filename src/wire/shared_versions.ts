/**
 * Shared versions (`--cache shared`): the table that tells guests whether what they cached still holds, what replies say of it, and which
 * request changes what. The table and the replies are the ABI of the RFC of December 2018; the negotiation, the READDIRPLUS form and
 * the count of changes in progress are our own.
 *
 * ## The table
 *
 * An array of 64-bit slots in shared memory, little-endian, read-only for guests (shared-memory region {@linkcode VERSION_REGION_ID}). One
 * slot per inode in use by any daemon of the host. A slot never has a value twice, and equal means unchanged (larger means nothing):
 *
 * | bits     | meaning                                                                  |
 * |----------|--------------------------------------------------------------------------|
 * | 0 to 11  | changes in progress: daemons that are between "about to" and "done"      |
 * | 12 to 63 | changes done                                                             |
 *
 * What was asked for while a slot had value V and no change was in progress holds for as long as the slot has the value V. A reply
 * that was asked for while a change was in progress is good for one answer and must not be kept.
 *
 * @module
 */

import { Opcode } from "./fuse.ts";

/** FUSE_INIT's flags2 (bit 62 of all flags): offered by a guest that has the table and understands {@linkcode ENTRYVER_OUT}. */
export const FUSE2_SHARED_VERSIONS = 2 ** 30;

/** The shared-memory region of the table, beside 0, the DAX window (virtio 1.3, 2.10). */
export const VERSION_REGION_ID = 1;

/**
 * Behind the body of LOOKUP, MKNOD, MKDIR, SYMLINK, LINK (fuse_entry_out), CREATE and TMPFILE (fuse_entry_out, fuse_open_out), if the
 * flag was agreed on. The version was read before the attributes. Index 0: the inode has no slot.
 */
export const ENTRYVER_OUT = { VERSION_INDEX: 0, INITIAL_VERSION: 8, SIZE: 16 } as const;

/** READDIRPLUS with the flag agreed on: fuse_entry_out, ENTRYVER_OUT, fuse_dirent; each record padded to 8 bytes. */
export const DIRENTPLUS_VERSIONED = { ENTRY: 0, ENTRYVER: 128, DIRENT: 144, NAME: 168 } as const;

/** Bytes of a slot. */
export const VERSION_SLOT_SIZE = 8;
/** The first slots are the table's header. */
export const VERSION_TABLE = {
  /** Slot 0: "ShredVer" in little-endian bytes. Never a version, so index 0 can mean "no slot". */
  MAGIC: 0,
  /** Slot 1: {@linkcode VERSION_TABLE_LAYOUT}. */
  LAYOUT_VERSION: 8,
  /** Slot 2: how many slots the table has, the header's included. */
  SLOT_COUNT: 16,
  /** Slot 3: a random number, the same in the registry that belongs to the table. */
  IDENTITY: 24,
  /** Inodes' slots begin here. */
  SIZE: 64,
} as const;
export const VERSION_MAGIC_LO = 0x65726853;
export const VERSION_MAGIC_HI = 0x72655664;
export const VERSION_TABLE_LAYOUT = 1;
/** The first slot that can be an inode's. */
export const VERSION_SLOT_FIRST = 8;

/** Of a slot's low word: changes in progress. */
export const CHANGES_IN_PROGRESS = 0xfff;
/** What a completed change adds to a slot, all in all: 1 before its system call, the rest after it. */
export const CHANGE = 0x1000;

/** Which inodes a request may change, as a set of bits. */
export const CHANGES = {
  /** The request's nodeid: the inode itself, or the directory that a name is in. */
  NODE: 1,
  /** RENAME, RENAME2: the new directory. */
  NEW_DIRECTORY: 2,
  /** LINK: the inode that gets another name. */
  LINKED: 4,
  /** COPY_FILE_RANGE: the file written to. */
  COPY_TARGET: 8,
  /** The inode that the name leads to. */
  NAMED: 16,
  /** RENAME, RENAME2: the inode that the new name leads to, if any: it is replaced, or exchanged. */
  NEW_NAMED: 32,
  /** Of {@linkcode CHANGES}.NAMED and, for OPEN, NODE: only with O_TRUNC. */
  IF_TRUNCATED: 64,
} as const;

const { NODE, NEW_DIRECTORY, LINKED, COPY_TARGET, NAMED, NEW_NAMED, IF_TRUNCATED } = CHANGES;

/**
 * The one table of what changes what. Each inode that a successful request names in one role or several is changed exactly once: {@linkcode CHANGE}
 * is added to its slot, and guests rely on that number: {@linkcode VERSION_TABLE_LAYOUT} goes up with any change here. A failed one may have changed something, too, and counts the same. Times of last access are not versioned,
 * nor are blocks allocated late by the host, nor stores through a mapping: no request says so.
 */
export const CHANGED_BY: Readonly<Record<number, number>> = {
  [Opcode.SETATTR]: NODE,
  [Opcode.SYMLINK]: NODE,
  [Opcode.MKNOD]: NODE,
  [Opcode.MKDIR]: NODE,
  [Opcode.UNLINK]: NODE | NAMED,
  [Opcode.RMDIR]: NODE | NAMED,
  [Opcode.RENAME]: NODE | NEW_DIRECTORY | NAMED | NEW_NAMED,
  [Opcode.RENAME2]: NODE | NEW_DIRECTORY | NAMED | NEW_NAMED,
  [Opcode.LINK]: NODE | LINKED,
  [Opcode.OPEN]: NODE | IF_TRUNCATED,
  [Opcode.CREATE]: NODE | NAMED | IF_TRUNCATED,
  [Opcode.WRITE]: NODE,
  [Opcode.SETXATTR]: NODE,
  [Opcode.REMOVEXATTR]: NODE,
  [Opcode.FALLOCATE]: NODE,
  [Opcode.COPY_FILE_RANGE]: COPY_TARGET,
  [Opcode.COPY_FILE_RANGE_64]: COPY_TARGET,
};
