/**
 * The beginning of a session (fuse.h: FUSE_INIT): what this guest can do, and what of it the daemon takes up.
 *
 * @module
 */

import { EPROTO, type Status } from "../../sys/errno.ts";
import {
  FUSE2_CREATE_SUPP_GROUP,
  FUSE2_HAS_INODE_DAX,
  FUSE_ASYNC_DIO,
  FUSE_ASYNC_READ,
  FUSE_ATOMIC_O_TRUNC,
  FUSE_AUTO_INVAL_DATA,
  FUSE_BIG_WRITES,
  FUSE_CACHE_SYMLINKS,
  FUSE_DO_READDIRPLUS,
  FUSE_FLOCK_LOCKS,
  FUSE_HANDLE_KILLPRIV_V2,
  FUSE_INIT_EXT,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_MAP_ALIGNMENT,
  FUSE_MAX_PAGES,
  FUSE_PARALLEL_DIROPS,
  FUSE_POSIX_LOCKS,
  FUSE_READDIRPLUS_AUTO,
  FUSE_SETXATTR_EXT,
  FUSE_SUBMOUNTS,
  FUSE_WRITEBACK_CACHE,
  INIT_IN,
  INIT_OUT,
  Opcode,
} from "../../wire/fuse.ts";
import { FUSE2_SHARED_VERSIONS } from "../../wire/shared_versions.ts";
import { type Agreement, hasFlag } from "./agreement.ts";
import type { GuestDaxMode } from "./dax_mode.ts";
import type { FuseClient } from "./fuse_client.ts";

/** What a guest may leave out of the negotiation. */
export interface Wishes {
  /** Keep written data back and send it later, in larger pieces. */
  readonly writeback: boolean;
  /** Largest READ or WRITE, in bytes. */
  readonly transferSizeMax: number;
  /** Map files into the device's window: not at all, those that the daemon marks, or all. */
  readonly dax: GuestDaxMode;
  /** Be told the versions of inodes, and be shown the table of what they are now. */
  readonly sharedVersions: boolean;
}

/** Older than any virtio-fs daemon: 7.27, as our own daemon's lower bound. */
const MINOR_MIN = 27;
const PAGE_SIZE = 4096;
/** What is mapped at a time. */
const DAX_RANGE_SIZE = 2 * 1024 * 1024;
/** fuse.h: without FUSE_MAX_PAGES a request carries 32 pages. */
const PAGES_WITHOUT_MAX_PAGES = 32;
/** Our own bound on FUSE_MAX_PAGES: 1 MiB. */
const READAHEAD_MAX = 1024 * 1024;

const OFFERED = [
  FUSE_ASYNC_READ,
  FUSE_POSIX_LOCKS,
  FUSE_ATOMIC_O_TRUNC,
  FUSE_BIG_WRITES,
  FUSE_FLOCK_LOCKS,
  FUSE_AUTO_INVAL_DATA,
  FUSE_DO_READDIRPLUS,
  FUSE_READDIRPLUS_AUTO,
  FUSE_ASYNC_DIO,
  FUSE_PARALLEL_DIROPS,
  FUSE_MAX_PAGES,
  FUSE_CACHE_SYMLINKS,
  FUSE_SUBMOUNTS,
  FUSE_HANDLE_KILLPRIV_V2,
  FUSE_SETXATTR_EXT,
  FUSE_INIT_EXT,
].reduce((all, flag) => all + flag, 0);
const OFFERED2 = FUSE2_CREATE_SUPP_GROUP;

/** Agrees with the daemon, or returns a negative errno. */
export function handshake(client: FuseClient, wishes: Wishes): Agreement | Status {
  const offered = OFFERED + (wishes.writeback ? FUSE_WRITEBACK_CACHE : 0) +
    (wishes.dax !== "never" ? FUSE_MAP_ALIGNMENT : 0);
  const offered2 = OFFERED2 + (wishes.dax === "inode" ? FUSE2_HAS_INODE_DAX : 0) +
    (wishes.sharedVersions ? FUSE2_SHARED_VERSIONS : 0);
  const request = client.begin(Opcode.INIT, 0, INIT_IN.SIZE);
  request.setU32(INIT_IN.MAJOR, FUSE_KERNEL_VERSION);
  request.setU32(INIT_IN.MINOR, FUSE_KERNEL_MINOR_VERSION);
  request.setU32(INIT_IN.MAX_READAHEAD, READAHEAD_MAX);
  request.setU32(INIT_IN.FLAGS, offered);
  request.setU32(INIT_IN.FLAGS2, offered2);
  // Older daemons answer with the first 24 bytes; what they leave out counts as 0.
  request.bytes.u8.fill(0, request.body, request.body + INIT_OUT.SIZE);
  request.expectUpTo(INIT_OUT.SIZE);
  try {
    const status = client.call(request);
    if (status < 0) return status;
    const minor = request.u32(INIT_OUT.MINOR);
    if (request.u32(INIT_OUT.MAJOR) !== FUSE_KERNEL_VERSION || minor < MINOR_MIN) return -EPROTO;
    const flags = (request.u32(INIT_OUT.FLAGS) & offered) >>> 0;
    const extended = hasFlag(flags, FUSE_INIT_EXT);
    const flags2 = extended ? (request.u32(INIT_OUT.FLAGS2) & offered2) >>> 0 : 0;
    const pages = hasFlag(flags, FUSE_MAX_PAGES)
      ? request.bytes.view.getUint16(request.body + INIT_OUT.MAX_PAGES, true)
      : PAGES_WITHOUT_MAX_PAGES;
    const mapAlignment = hasFlag(flags, FUSE_MAP_ALIGNMENT)
      ? request.bytes.view.getUint16(request.body + INIT_OUT.MAP_ALIGNMENT, true)
      : 0;
    // Linux: process_init_reply(): ranges are multiples of 2 MiB, and no more can be asked.
    if (2 ** mapAlignment > DAX_RANGE_SIZE) return -EPROTO;
    const transfer = Math.min(wishes.transferSizeMax, Math.max(1, pages) * PAGE_SIZE);
    const writeMax = Math.max(PAGE_SIZE, request.u32(INIT_OUT.MAX_WRITE));
    return {
      minor,
      flags,
      flags2,
      writeSizeMax: Math.min(transfer, writeMax),
      readSizeMax: transfer,
      mapAlignment,
    };
  } finally {
    client.end(request);
  }
}
