/**
 * Replies with versions (`wire/shared_versions.ts`), and what the kernel gets of them: the same replies without.
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";
import {
  ATTR_OUT,
  DIRENT,
  DIRENTPLUS,
  ENTRY_OUT,
  Opcode,
  OPEN_OUT,
  STATX_OUT,
} from "../wire/fuse.ts";
import { DIRENTPLUS_VERSIONED, ENTRYVER_OUT } from "../wire/shared_versions.ts";

/** Bytes of the body that the kernel knows, for replies that have a version behind it; 0 for others. */
export function entryReplySize(opcode: number): number {
  switch (opcode) {
    case Opcode.LOOKUP:
    case Opcode.MKNOD:
    case Opcode.MKDIR:
    case Opcode.SYMLINK:
    case Opcode.LINK:
      return ENTRY_OUT.SIZE;
    case Opcode.CREATE:
    case Opcode.TMPFILE:
      return ENTRY_OUT.SIZE + OPEN_OUT.SIZE;
    default:
      return 0;
  }
}

/** Bytes that a versioned reply is longer than the kernel's. */
export function versionSize(opcode: number): number {
  return entryReplySize(opcode) > 0 ? ENTRYVER_OUT.SIZE : 0;
}

/** Called for each record, once it is where the kernel will find it: where its fuse_entry_out is, where the version was, and its name. */
export type RecordVisitor = (
  entry: number,
  index: number,
  low: number,
  high: number,
  nameAt: number,
  nameSize: number,
) => void;

/**
 * Turns the versioned records of a READDIRPLUS reply, `size` bytes at `at`, into fuse_direntplus in place. Returns how many bytes they take
 * now, or -1 if they were none.
 */
export function takeVersions(
  bytes: NativeMemory,
  at: number,
  size: number,
  visit: RecordVisitor,
): number {
  const { view, u8 } = bytes;
  const end = at + size;
  let from = at;
  let to = at;
  while (from < end) {
    if (end - from < DIRENTPLUS_VERSIONED.NAME) return -1;
    const version = from + DIRENTPLUS_VERSIONED.ENTRYVER;
    const index = bytes.u64(version + ENTRYVER_OUT.VERSION_INDEX);
    const low = view.getUint32(version + ENTRYVER_OUT.INITIAL_VERSION, true);
    const high = view.getUint32(version + ENTRYVER_OUT.INITIAL_VERSION + 4, true);
    const nameSize = view.getUint32(from + DIRENTPLUS_VERSIONED.DIRENT + DIRENT.NAMELEN, true);
    const recordSize = Math.ceil((DIRENTPLUS_VERSIONED.NAME + nameSize) / 8) * 8;
    if (nameSize === 0 || recordSize > end - from) return -1;
    u8.copyWithin(to, from, from + ENTRY_OUT.SIZE);
    u8.copyWithin(to + DIRENTPLUS.DIRENT, from + DIRENTPLUS_VERSIONED.DIRENT, from + recordSize);
    visit(to + DIRENTPLUS.ENTRY, index, low, high, to + DIRENTPLUS.NAME, nameSize);
    from += recordSize;
    to += recordSize - ENTRYVER_OUT.SIZE;
  }
  return to - at;
}

/** The kernel is not to keep the name of the fuse_entry_out at `entry`. */
export function expireName(bytes: NativeMemory, entry: number): void {
  bytes.setU64(entry + ENTRY_OUT.ENTRY_VALID, 0);
  bytes.view.setUint32(entry + ENTRY_OUT.ENTRY_VALID_NSEC, 0, true);
}

/** The kernel is not to keep the attributes of the fuse_entry_out at `entry`. */
export function expireAttributes(bytes: NativeMemory, entry: number): void {
  bytes.setU64(entry + ENTRY_OUT.ATTR_VALID, 0);
  bytes.view.setUint32(entry + ENTRY_OUT.ATTR_VALID_NSEC, 0, true);
}

/** The same for the fuse_attr_out or fuse_statx_out at `body`, which begin alike. */
export function expireAttrOut(bytes: NativeMemory, body: number): void {
  bytes.setU64(body + ATTR_OUT.ATTR_VALID, 0);
  bytes.view.setUint32(body + ATTR_OUT.ATTR_VALID_NSEC, 0, true);
}

/** Bytes of a reply that {@linkcode expireAttrOut} is for; 0 for others. */
export function attributeReplySize(opcode: number): number {
  switch (opcode) {
    case Opcode.GETATTR:
    case Opcode.SETATTR:
      return ATTR_OUT.SIZE;
    case Opcode.STATX:
      return STATX_OUT.SIZE;
    default:
      return 0;
  }
}
