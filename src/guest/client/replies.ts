/**
 * Replies that name an inode, decoded: each field is read once from the guest's memory into an object that is
 * used again and again.
 *
 * @module
 */

import { EIO, type Status } from "../../sys/errno.ts";
import type { NativeMemory } from "../../sys/native_memory.ts";
import { ATTR, ATTR_OUT, ENTRY_OUT, OPEN_OUT } from "../../wire/fuse.ts";
import { ENTRYVER_OUT } from "../../wire/shared_versions.ts";

const WORD = 4294967296;
/** Nothing is valid for longer: a century in milliseconds, so that "for ever" stays a number. */
const VALID_MS_MAX = 3.2e12;
const NSEC_MAX = 999_999_999;

/** fuse.h: fuse_attr. Times are seconds (below 0 before 1970) and nanoseconds. */
export class Attr {
  ino = 0;
  size = 0;
  blocks = 0;
  atime = 0;
  mtime = 0;
  ctime = 0;
  atimeNsec = 0;
  mtimeNsec = 0;
  ctimeNsec = 0;
  mode = 0;
  nlink = 0;
  uid = 0;
  gid = 0;
  rdev = 0;
  blksize = 0;
  flags = 0;

  /** Reads the struct at `at`. */
  read(bytes: NativeMemory, at: number): void {
    const { view } = bytes;
    this.ino = bytes.u64(at + ATTR.INO);
    this.size = bytes.u64(at + ATTR.SIZE_);
    this.blocks = bytes.u64(at + ATTR.BLOCKS);
    this.atime = i64(view, at + ATTR.ATIME);
    this.mtime = i64(view, at + ATTR.MTIME);
    this.ctime = i64(view, at + ATTR.CTIME);
    this.atimeNsec = Math.min(view.getUint32(at + ATTR.ATIMENSEC, true), NSEC_MAX);
    this.mtimeNsec = Math.min(view.getUint32(at + ATTR.MTIMENSEC, true), NSEC_MAX);
    this.ctimeNsec = Math.min(view.getUint32(at + ATTR.CTIMENSEC, true), NSEC_MAX);
    this.mode = view.getUint32(at + ATTR.MODE, true);
    this.nlink = view.getUint32(at + ATTR.NLINK, true);
    this.uid = view.getUint32(at + ATTR.UID, true);
    this.gid = view.getUint32(at + ATTR.GID, true);
    this.rdev = view.getUint32(at + ATTR.RDEV, true);
    this.blksize = view.getUint32(at + ATTR.BLKSIZE, true);
    this.flags = view.getUint32(at + ATTR.FLAGS, true);
  }

  /** Takes over another's values. */
  assign(other: Attr): void {
    Object.assign(this, other);
  }
}

/** fuse.h: fuse_attr_out */
export class AttrReply {
  validMs = 0;
  readonly attr: Attr = new Attr();

  /** Reads the struct at `at`. Returns 0, or -EIO for what no inode can have. */
  read(bytes: NativeMemory, at: number): Status {
    this.validMs = validMs(
      bytes.u64(at + ATTR_OUT.ATTR_VALID),
      bytes.view.getUint32(at + ATTR_OUT.ATTR_VALID_NSEC, true),
    );
    this.attr.read(bytes, at + ATTR_OUT.ATTR);
    return sane(this.attr);
  }
}

/** fuse.h: fuse_entry_out. A nodeid of 0 says that the name does not exist. */
export class EntryReply {
  nodeid = 0;
  /** As two halves in one comparable number: inexact above 2^53, where it still differs in practice. */
  generation = 0;
  entryValidMs = 0;
  attrValidMs = 0;
  /** The inode's slot in the table of versions, and the version from before the attributes as two signed words; 0 without one. */
  versionIndex = 0;
  versionLow = 0;
  versionHigh = 0;
  readonly attr: Attr = new Attr();

  /** Reads the struct at `at`, and fuse_entryver_out at `versionAt` if the session has versions (0: it has none). Returns 0, or -EIO for what no inode can have. */
  read(bytes: NativeMemory, at: number, versionAt = 0): Status {
    const { view } = bytes;
    this.versionIndex = 0;
    if (versionAt !== 0) this.#readVersion(bytes, versionAt);
    this.nodeid = bytes.u64(at + ENTRY_OUT.NODEID);
    this.generation = bytes.u64(at + ENTRY_OUT.GENERATION);
    this.entryValidMs = validMs(
      bytes.u64(at + ENTRY_OUT.ENTRY_VALID),
      view.getUint32(at + ENTRY_OUT.ENTRY_VALID_NSEC, true),
    );
    this.attrValidMs = validMs(
      bytes.u64(at + ENTRY_OUT.ATTR_VALID),
      view.getUint32(at + ENTRY_OUT.ATTR_VALID_NSEC, true),
    );
    if (this.nodeid === 0) return 0;
    // Nodes are named by numbers that a double holds; no daemon comes near 2^53 of them.
    if (this.nodeid > Number.MAX_SAFE_INTEGER) return -EIO;
    this.attr.read(bytes, at + ENTRY_OUT.ATTR);
    return sane(this.attr);
  }

  #readVersion(bytes: NativeMemory, at: number): void {
    const version = at + ENTRYVER_OUT.INITIAL_VERSION;
    this.versionIndex = bytes.u64(at + ENTRYVER_OUT.VERSION_INDEX);
    this.versionLow = bytes.view.getInt32(version, true);
    this.versionHigh = bytes.view.getInt32(version + 4, true);
  }
}

/** fuse.h: fuse_open_out: an open file's name at the daemon, as two halves, and FOPEN_* flags. */
export class OpenReply {
  fhLow = 0;
  fhHigh = 0;
  openFlags = 0;

  /** Reads the struct at `at`. */
  read(bytes: NativeMemory, at: number): void {
    this.fhLow = bytes.view.getUint32(at + OPEN_OUT.FH, true);
    this.fhHigh = bytes.view.getUint32(at + OPEN_OUT.FH + 4, true);
    this.openFlags = bytes.view.getUint32(at + OPEN_OUT.OPEN_FLAGS, true);
  }
}

/** Whether the type bits are those of a file (fuse.h has no others; Linux answers EIO as well). */
function sane(attr: Attr): Status {
  const type = attr.mode >>> 12;
  const known = type === 1 || type === 2 || type === 4 || type === 6 || type === 8 ||
    type === 10 || type === 12;
  return known && attr.size <= Number.MAX_SAFE_INTEGER ? 0 : -EIO;
}

function validMs(seconds: number, nsec: number): number {
  return Math.min(seconds * 1000 + Math.min(nsec, NSEC_MAX) / 1e6, VALID_MS_MAX);
}

function i64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getInt32(at + 4, true) * WORD;
}
