/**
 * INIT between /dev/fuse and a ring: passed on, and changed only where the two transports differ.
 *
 * | field                | change                                                                       |
 * | -------------------- | ---------------------------------------------------------------------------- |
 * | offered flags        | without what exists on /dev/fuse only: PASSTHROUGH, OVER_IO_URING            |
 * | offered flags        | without what needs messages from the daemon: HAS_EXPIRE_ONLY, HAS_RESEND     |
 * | offered flags        | without REQUEST_TIMEOUT: the bridge has the deadline of its own              |
 * | offered flags        | without what needs a window: MAP_ALIGNMENT, HAS_INODE_DAX                    |
 * | offered flags        | with a version table: with SHARED_VERSIONS, which the kernel is not shown    |
 * | offered flags        | with a version table: without WRITEBACK_CACHE (see {@linkcode adjustRequest}) |
 * | accepted flags       | only those that were offered                                                 |
 * | max_write, max_pages | no more than a slot of the bridge holds                                      |
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";
import {
  FUSE2_HAS_EXPIRE_ONLY,
  FUSE2_HAS_INODE_DAX,
  FUSE2_HAS_RESEND,
  FUSE2_OVER_IO_URING,
  FUSE2_PASSTHROUGH,
  FUSE2_REQUEST_TIMEOUT,
  FUSE_INIT_EXT,
  FUSE_MAP_ALIGNMENT,
  FUSE_WRITEBACK_CACHE,
  INIT_IN,
  INIT_OUT,
} from "../wire/fuse.ts";
import { FUSE2_SHARED_VERSIONS } from "../wire/shared_versions.ts";

const NOT_OFFERED = FUSE_MAP_ALIGNMENT;
const NOT_OFFERED2 = FUSE2_HAS_EXPIRE_ONLY | FUSE2_HAS_INODE_DAX | FUSE2_HAS_RESEND |
  FUSE2_OVER_IO_URING | FUSE2_PASSTHROUGH | FUSE2_REQUEST_TIMEOUT;
const PAGE_SIZE = 4096;

/** The flags that the daemon was offered. */
export interface OfferedFlags {
  readonly flags: number;
  readonly flags2: number;
}

/**
 * Changes the kernel's request at `args` and returns what is offered in the end. With versions the kernel does not hold written data back:
 * it would believe its own idea of a file's size and times until it has forgotten the inode, whatever it is told.
 */
export function adjustRequest(
  bytes: NativeMemory,
  args: number,
  argsSize: number,
  versions: boolean,
): OfferedFlags {
  const { view } = bytes;
  const left = NOT_OFFERED | (versions ? FUSE_WRITEBACK_CACHE : 0);
  const flags = view.getUint32(args + INIT_IN.FLAGS, true) & ~left;
  view.setUint32(args + INIT_IN.FLAGS, flags, true);
  if (argsSize <= INIT_IN.FLAGS2) return { flags, flags2: 0 };
  let flags2 = view.getUint32(args + INIT_IN.FLAGS2, true) & ~NOT_OFFERED2;
  if (versions && (flags & FUSE_INIT_EXT) !== 0) flags2 |= FUSE2_SHARED_VERSIONS;
  view.setUint32(args + INIT_IN.FLAGS2, flags2, true);
  return { flags, flags2 };
}

/** Whether the daemon's reply at `body` says that all further replies have versions. */
export function hasVersions(
  bytes: NativeMemory,
  body: number,
  size: number,
  offered: OfferedFlags,
): boolean {
  if (size < INIT_OUT.FLAGS2 + 4) return false;
  const flags = bytes.view.getUint32(body + INIT_OUT.FLAGS, true) & offered.flags;
  const flags2 = bytes.view.getUint32(body + INIT_OUT.FLAGS2, true) & offered.flags2;
  return (flags & FUSE_INIT_EXT) !== 0 && (flags2 & FUSE2_SHARED_VERSIONS) !== 0;
}

/** Changes the daemon's reply at `body`, which has `size` bytes. */
export function adjustReply(
  bytes: NativeMemory,
  body: number,
  size: number,
  offered: OfferedFlags,
  dataSizeMax: number,
): void {
  const { view } = bytes;
  const limit = (field: number, length: number, most: number) => {
    if (size < field + length) return;
    const at = body + field;
    if (length === 2) view.setUint16(at, Math.min(view.getUint16(at, true), most), true);
    else view.setUint32(at, Math.min(view.getUint32(at, true), most), true);
  };
  const keep = (field: number, mask: number) => {
    if (size < field + 4) return;
    view.setUint32(body + field, view.getUint32(body + field, true) & mask, true);
  };
  keep(INIT_OUT.FLAGS, offered.flags);
  keep(INIT_OUT.FLAGS2, offered.flags2 & ~FUSE2_SHARED_VERSIONS);
  limit(INIT_OUT.MAX_WRITE, 4, dataSizeMax);
  limit(INIT_OUT.MAX_PAGES, 2, dataSizeMax / PAGE_SIZE);
  // Without PASSTHROUGH there is nothing to stack on.
  limit(INIT_OUT.MAX_STACK_DEPTH, 4, 0);
}
