/**
 * Directories: OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR.
 *
 * The cookie of an entry is the host's own (d_off). Entries are read into scratch in pieces so small that all
 * of a piece fits the reply whatever its names: nothing is left over, so the descriptor's position always is
 * where the guest will go on, and no seek is needed (which on ext4 would mean building its tree anew).
 *
 * @module
 */

import type { Reply } from "../fuse/reply.ts";
import type { Request } from "../fuse/request.ts";
import { O_DIRECTORY } from "../sys/architecture.ts";
import { EINVAL, ENFILE, ESTALE, type Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import {
  DIRENT,
  DIRENTPLUS,
  ENTRY_OUT,
  FUSE_ROOT_ID,
  OPEN_OUT,
  OUT_HEADER,
  READ_IN,
  RELEASE_IN,
} from "../wire/fuse.ts";
import { REPLY_SIZE_MAX } from "../fuse/reply.ts";
import { DIRENT64, DIRENT64_SIZE_MAX, O_RDONLY, SEEK_SET } from "../wire/linux.ts";
import { isDot, isDotDot } from "../fuse/names.ts";
import { DIRENTPLUS_VERSIONED } from "../wire/shared_versions.ts";
import { VERSIONED_DIRECTORY_FLAGS } from "./cache_policy.ts";
import { lookupEntry, lookupNewEntry, writeVersion } from "./names.ts";
import { keepOpen } from "./opens.ts";
import { ENTRIES_SIZE, SCRATCH } from "./scratch.ts";
import type { Share } from "./share.ts";

/** The shortest linux_dirent64: 4 bytes of name. It becomes a dirent of 32, with an entry in front for READDIRPLUS: no other grows more. */
const DIRENT64_SIZE_MIN = 24;
const GROWTH = 32 / DIRENT64_SIZE_MIN;

/** What READDIRPLUS has in front of each dirent: the entry, and its version where the guest wants it. */
function entrySizeOf(share: Share): number {
  return share.sharesVersions ? DIRENTPLUS_VERSIONED.DIRENT : DIRENTPLUS.DIRENT;
}

export function opendir(share: Share, request: Request, reply: Reply): Status {
  const { nodeid } = request;
  if (!share.budget.allowsOpen) return -ENFILE;
  if (!share.inodes.acquire(nodeid)) return -ESTALE;
  const fd = share.reopen(nodeid, O_RDONLY | O_DIRECTORY);
  share.inodes.release(nodeid);
  if (fd < 0) return fd;
  const slot = keepOpen(share, fd, nodeid);
  if (slot < 0) return slot;
  const flags = share.sharesVersions ? VERSIONED_DIRECTORY_FLAGS : share.policy.directoryFlags;
  reply.setOpen(0, slot, share.handles.generation(slot), flags);
  reply.size = OPEN_OUT.SIZE;
  return 0;
}

export function readdir(share: Share, request: Request, reply: Reply): Status {
  return readEntries(share, request, reply, false);
}

export function readdirplus(share: Share, request: Request, reply: Reply): Status {
  return readEntries(share, request, reply, true);
}

export function releasedir(share: Share, request: Request): Status {
  const slot = request.lo(RELEASE_IN.FH);
  const fd = share.acquireHandle(slot, request.hi(RELEASE_IN.FH), request.nodeid);
  if (fd < 0) return fd;
  share.handles.close(slot);
  share.handles.release(slot);
  return 0;
}

function readEntries(share: Share, request: Request, reply: Reply, plus: boolean): Status {
  const { nodeid } = request;
  const slot = request.lo(READ_IN.FH);
  const fd = share.acquireHandle(slot, request.hi(READ_IN.FH), nodeid);
  if (fd < 0) return fd;
  const mutex = share.handles.directoryMutex(slot);
  const sizeMax = Math.min(request.u32(READ_IN.SIZE_), reply.sizeMax, REPLY_SIZE_MAX);
  mutex.lock();
  try {
    const sought = seekTo(share, slot, fd, request.lo(READ_IN.OFFSET), request.hi(READ_IN.OFFSET));
    return sought < 0 ? sought : fillReply(share, slot, fd, nodeid, reply, sizeMax, plus);
  } finally {
    mutex.unlock();
    share.handles.release(slot);
  }
}

/** Moves the descriptor to a cookie, if it is not there already. */
function seekTo(share: Share, slot: number, fd: number, lo: number, hi: number): Status {
  const { handles } = share;
  if (handles.cursorLo(slot) === lo && handles.cursorHi(slot) === hi) return 0;
  // Cookies use up to 63 bits (ext4's hashes): this rare call is the one place where they must become one number.
  const cookie = BigInt.asIntN(64, (BigInt(hi) << 32n) | BigInt(lo));
  const result = libc.lseek(fd, cookie, SEEK_SET);
  if (result < 0) return status(-1);
  handles.setCursor(slot, lo, hi);
  return 0;
}

function fillReply(
  share: Share,
  slot: number,
  fd: number,
  nodeid: number,
  reply: Reply,
  sizeMax: number,
  plus: boolean,
): Status {
  const entrySize = plus ? entrySizeOf(share) : 0;
  const growth = GROWTH + entrySize / DIRENT64_SIZE_MIN;
  const entries = share.scratch.memory.pointerAt(SCRATCH.ENTRIES);
  for (;;) {
    const room = sizeMax - reply.size;
    let pieceSize = Math.min(ENTRIES_SIZE, Math.floor(room / growth));
    if (pieceSize < DIRENT64_SIZE_MAX) {
      if (reply.size > 0) return 0;
      // A guest with little room: getdents64 wants space for any name, and emit() keeps what fits.
      pieceSize = DIRENT64_SIZE_MAX;
    }
    const size = status(libc.getdents64(fd, entries, pieceSize));
    if (size < 0) return reply.size > 0 ? 0 : size;
    if (size === 0) return 0;
    if (!emit(share, slot, fd, nodeid, reply, size, sizeMax, entrySize)) {
      return reply.size > 0 ? 0 : -EINVAL;
    }
  }
}

/**
 * Turns `size` bytes of linux_dirent64 in scratch into records of the reply, each with `entrySize` bytes in front. Returns false if the reply is full: then the
 * descriptor is moved back behind the last entry that fit.
 */
function emit(
  share: Share,
  slot: number,
  fd: number,
  nodeid: number,
  reply: Reply,
  size: number,
  sizeMax: number,
  entrySize: number,
): boolean {
  const { memory } = share.scratch;
  const { view, u8 } = memory;
  let at: number = SCRATCH.ENTRIES;
  const end = at + size;
  while (at < end) {
    const name = at + DIRENT64.NAME;
    let nameSize = 0;
    while (u8[name + nameSize] !== 0) nameSize++;
    const recordSize = (entrySize + DIRENT.NAME + nameSize + 7) & ~7;
    if (reply.size + recordSize > sizeMax) {
      const { handles } = share;
      const lo = handles.cursorLo(slot);
      const hi = handles.cursorHi(slot);
      handles.setCursor(slot, 0xffffffff, 0xffffffff);
      seekTo(share, slot, fd, lo, hi);
      return false;
    }
    if (entrySize > 0) {
      // "." and ".." are not looked up, nor counted; an entry that cannot be looked up now (ENFILE, or gone
      // meanwhile) is still listed, without attributes.
      const found = isDots(u8, name, nameSize) ? -1 : lookupRecord(share, fd, nodeid, at, reply);
      if (found < 0) reply.zero(reply.size, entrySize);
      else writeVersion(share, reply, reply.size + ENTRY_OUT.SIZE);
    }
    const dirent = reply.size + entrySize;
    writeDirent(share, fd, nodeid, at, nameSize, reply, dirent, reply.size + recordSize);
    const cookieLo = view.getUint32(at + DIRENT64.OFF, true);
    const cookieHi = view.getUint32(at + DIRENT64.OFF + 4, true);
    reply.size += recordSize;
    share.handles.setCursor(slot, cookieLo, cookieHi);
    at += view.getUint16(at + DIRENT64.RECLEN, true);
  }
  return true;
}

function isDots(bytes: Uint8Array, offset: number, size: number): boolean {
  return isDot(bytes, offset, size) || isDotDot(bytes, offset, size);
}

/** fuse.h: fuse_dirent at `dirent` of the reply, from the linux_dirent64 at `at`, zeroed up to `end`. */
function writeDirent(
  share: Share,
  fd: number,
  nodeid: number,
  at: number,
  nameSize: number,
  reply: Reply,
  dirent: number,
  end: number,
): void {
  const { view, u8 } = share.scratch.memory;
  const name = at + DIRENT64.NAME;
  reply.setHalves(
    dirent + DIRENT.INO,
    view.getUint32(at + DIRENT64.INO, true),
    view.getUint32(at + DIRENT64.INO + 4, true),
  );
  if (nodeid === FUSE_ROOT_ID && isDotDot(u8, name, nameSize) && share.statFd(fd) === 0) {
    // What lies above the root is none of the guest's business, its number included.
    share.loadKey();
    reply.setHalves(dirent + DIRENT.INO, share.key.inoLo, share.key.inoHi);
  }
  reply.setHalves(
    dirent + DIRENT.OFF,
    view.getUint32(at + DIRENT64.OFF, true),
    view.getUint32(at + DIRENT64.OFF + 4, true),
  );
  reply.setU32(dirent + DIRENT.NAMELEN, nameSize);
  reply.setU32(dirent + DIRENT.TYPE, u8[at + DIRENT64.TYPE]!);
  const { u8: out } = reply.bytes;
  let to = OUT_HEADER.SIZE + dirent + DIRENT.NAME;
  for (let i = 0; i < nameSize; i++) out[to++] = u8[name + i]!;
  while (to < OUT_HEADER.SIZE + end) out[to++] = 0;
}

/** Looks up the name of the linux_dirent64 at `at`. Its inode number tells which way is likely the cheaper one. */
function lookupRecord(share: Share, fd: number, nodeid: number, at: number, reply: Reply): Status {
  const { inodes, scratch } = share;
  const { view } = scratch.memory;
  const name = scratch.memory.pointerAt(at + DIRENT64.NAME);
  const inoLo = view.getUint32(at + DIRENT64.INO, true);
  const inoHi = view.getUint32(at + DIRENT64.INO + 4, true);
  const guess = inodes.guess(inodes.devLo(nodeid), inodes.devHi(nodeid), inoLo, inoHi);
  return guess !== 0
    ? lookupEntry(share, fd, nodeid, name, reply, reply.size, guess)
    : lookupNewEntry(share, fd, nodeid, name, reply, reply.size);
}
