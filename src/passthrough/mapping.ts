/**
 * SETUPMAPPING and REMOVEMAPPING: pieces of regular files into the guest's DAX window and out of it.
 *
 * @module
 */

import { MAPPABLE_END, type MappingRequest } from "../fuse/dax_window.ts";
import type { Request } from "../fuse/request.ts";
import {
  EACCES,
  EBADF,
  EFBIG,
  EINVAL,
  EIO,
  EOPNOTSUPP,
  EPERM,
  EROFS,
  ESTALE,
  ETXTBSY,
  type Status,
} from "../sys/errno.ts";
import {
  FUSE_SETUPMAPPING_FLAG_READ,
  FUSE_SETUPMAPPING_FLAG_WRITE,
  REMOVEMAPPING_IN,
  REMOVEMAPPING_ONE,
  SETUPMAPPING_IN,
} from "../wire/fuse.ts";
import { S_IFMT, S_IFREG, STATX } from "../wire/linux.ts";
import { birthOf, leaveOut } from "./dax_files.ts";
import { SCRATCH } from "./scratch.ts";
import type { Share } from "./share.ts";

const PAGE_SIZE = 4096;
const KNOWN_FLAGS = FUSE_SETUPMAPPING_FLAG_READ | FUSE_SETUPMAPPING_FLAG_WRITE;
/** Linux names no handle but the inode alone: fh = -1. */
const NO_HANDLE = 0xffffffff;

/** What a file that cannot be opened as it must be, or that the front end refuses, comes to. */
const UNMAPPABLE: ReadonlySet<Status> = new Set([-EACCES, -EIO, -ETXTBSY, -EPERM]);

/** fuse.h: fuse_init_out.map_alignment: offsets and lengths are multiples of 2 to the power of this. */
export const MAP_ALIGNMENT = 12;

export function setupmapping(share: Share, request: Request): Status {
  if (share.window.size === 0) return -EOPNOTSUPP;
  const { nodeid } = request;
  const fileOffset = request.u64(SETUPMAPPING_IN.FOFFSET);
  const length = request.u64(SETUPMAPPING_IN.LEN);
  const offset = request.u64(SETUPMAPPING_IN.MOFFSET);
  const flags = request.u64(SETUPMAPPING_IN.FLAGS);
  if (flags > KNOWN_FLAGS || flags === 0) return -EINVAL;
  const writable = (flags & FUSE_SETUPMAPPING_FLAG_WRITE) !== 0;
  if (!isInWindow(share, offset, length)) return -EINVAL;
  if (fileOffset % PAGE_SIZE !== 0) return -EINVAL;
  if (fileOffset + length > MAPPABLE_END) return -EFBIG;
  if (writable && share.config.readonly) return -EROFS;
  if (!share.inodes.acquire(nodeid)) return -ESTALE;
  const result = mapFile(share, request, { nodeid, fileOffset, length, offset, writable });
  share.inodes.release(nodeid);
  return result;
}

function mapFile(
  share: Share,
  request: Request,
  mapping: Omit<MappingRequest, "fileSize" | "birth">,
): Status {
  const { nodeid } = mapping;
  if ((share.inodes.mode(nodeid) & S_IFMT) !== S_IFREG) return -EINVAL;
  const slot = request.lo(SETUPMAPPING_IN.FH);
  const generation = request.hi(SETUPMAPPING_IN.FH);
  if (slot !== NO_HANDLE || generation !== NO_HANDLE) {
    if (share.acquireHandle(slot, generation, nodeid) < 0) return -EBADF;
    share.handles.release(slot);
  }
  const fd = share.borrow(nodeid);
  if (fd < 0) return fd;
  const stated = share.statFd(fd);
  share.giveBack(nodeid, fd);
  if (stated < 0) return stated;
  const fileSize = share.scratch.memory.u64(SCRATCH.STATX + STATX.SIZE_);
  const birth = birthOf(share);
  const result = share.window.map({ ...mapping, fileSize, birth });
  if (UNMAPPABLE.has(result)) leaveOut(share, nodeid, birth);
  return result;
}

export function removemapping(share: Share, request: Request): Status {
  if (share.window.size === 0) return -EOPNOTSUPP;
  const count = request.u32(REMOVEMAPPING_IN.COUNT);
  if (count === 0 || count * REMOVEMAPPING_ONE.SIZE > request.dataSize) return -EINVAL;
  // All are looked at before anything is done.
  for (let i = 0; i < count; i++) {
    const one = REMOVEMAPPING_IN.SIZE + i * REMOVEMAPPING_ONE.SIZE;
    const offset = request.u64(one + REMOVEMAPPING_ONE.MOFFSET);
    if (!isInWindow(share, offset, request.u64(one + REMOVEMAPPING_ONE.LEN))) return -EINVAL;
  }
  for (let i = 0; i < count; i++) {
    const one = REMOVEMAPPING_IN.SIZE + i * REMOVEMAPPING_ONE.SIZE;
    const offset = request.u64(one + REMOVEMAPPING_ONE.MOFFSET);
    const result = share.window.unmap(offset, request.u64(one + REMOVEMAPPING_ONE.LEN));
    if (result !== 0) return result;
  }
  return 0;
}

function isInWindow(share: Share, offset: number, length: number): boolean {
  return length > 0 && offset % PAGE_SIZE === 0 && length % PAGE_SIZE === 0 &&
    offset + length <= share.window.size;
}
