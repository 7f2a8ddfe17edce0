/**
 * Requests about open files: OPEN, READ, WRITE, FLUSH, FSYNC, RELEASE, FALLOCATE, LSEEK, COPY_FILE_RANGE.
 *
 * READ and WRITE name memory of the guest: file data is not copied here.
 *
 * @module
 */

import { EIO, type Status } from "../../sys/errno.ts";
import {
  COPY_FILE_RANGE_IN,
  COPY_FILE_RANGE_OUT,
  FALLOCATE_IN,
  FLUSH_IN,
  FSYNC_IN,
  FUSE_FSYNC_FDATASYNC,
  FUSE_OPEN_KILL_SUIDGID,
  FUSE_READ_LOCKOWNER,
  FUSE_RELEASE_FLOCK_UNLOCK,
  FUSE_WRITE_LOCKOWNER,
  LSEEK_IN,
  LSEEK_OUT,
  Opcode,
  OPEN_IN,
  OPEN_OUT,
  READ_IN,
  RELEASE_IN,
  WRITE_IN,
  WRITE_OUT,
} from "../../wire/fuse.ts";
import type { FuseClient } from "./fuse_client.ts";
import type { FuseRequest } from "./fuse_request.ts";
import type { OpenReply } from "./replies.ts";

/** An open file's name at the daemon, and the O_* flags that it was opened with. */
export interface Handle {
  readonly fhLow: number;
  readonly fhHigh: number;
  readonly flags: number;
}

/** Who owns POSIX locks, as two halves of a number that the guest chose. */
export interface LockOwner {
  readonly low: number;
  readonly high: number;
}

/** fuse.h: FUSE_OPEN, or FUSE_OPENDIR for a directory. `killSuidGid`: O_TRUNC is to clear set-id bits. */
export function open(
  client: FuseClient,
  nodeid: number,
  flags: number,
  directory: boolean,
  killSuidGid: boolean,
  opened: OpenReply,
): Status {
  const opcode = directory ? Opcode.OPENDIR : Opcode.OPEN;
  const request = client.begin(opcode, nodeid, OPEN_IN.SIZE);
  request.setU32(OPEN_IN.FLAGS, flags);
  if (killSuidGid) request.setU32(OPEN_IN.OPEN_FLAGS, FUSE_OPEN_KILL_SUIDGID);
  request.expect(OPEN_OUT.SIZE);
  const status = client.call(request);
  if (status === 0) opened.read(request.bytes, request.body);
  client.end(request);
  return status;
}

/** fuse.h: FUSE_RELEASE, or FUSE_RELEASEDIR for a directory. Its outcome interests nobody (close(2) has asked FLUSH). */
export function release(
  client: FuseClient,
  nodeid: number,
  handle: Handle,
  directory: boolean,
  flockOwner: LockOwner | null,
): Status {
  const opcode = directory ? Opcode.RELEASEDIR : Opcode.RELEASE;
  const request = client.begin(opcode, nodeid, RELEASE_IN.SIZE);
  request.setHalves(RELEASE_IN.FH, handle.fhLow, handle.fhHigh);
  request.setU32(RELEASE_IN.FLAGS, handle.flags);
  if (flockOwner !== null) {
    request.setU32(RELEASE_IN.RELEASE_FLAGS, FUSE_RELEASE_FLOCK_UNLOCK);
    request.setHalves(RELEASE_IN.LOCK_OWNER, flockOwner.low, flockOwner.high);
  }
  return client.callPlain(request);
}

/**
 * Begins a READ of up to `size` bytes at `offset`. The caller names the memory (`addRoom()`, `size` bytes together), sends it,
 * and finds in `replySize` how much there was.
 */
export function beginRead(
  client: FuseClient,
  nodeid: number,
  handle: Handle,
  offset: number,
  size: number,
  lockOwner: LockOwner | null,
): FuseRequest {
  const request = client.begin(Opcode.READ, nodeid, READ_IN.SIZE);
  request.setHalves(READ_IN.FH, handle.fhLow, handle.fhHigh);
  request.setU64(READ_IN.OFFSET, offset);
  request.setU32(READ_IN.SIZE_, size);
  request.setU32(READ_IN.FLAGS, handle.flags);
  if (lockOwner !== null) {
    request.setU32(READ_IN.READ_FLAGS, FUSE_READ_LOCKOWNER);
    request.setHalves(READ_IN.LOCK_OWNER, lockOwner.low, lockOwner.high);
  }
  request.expectUpTo(0);
  return request;
}

/**
 * Begins a WRITE of `size` bytes at `offset`. The caller names the memory (`addData()`, `size` bytes together) and calls
 * `expect(WRITE_OUT.SIZE)`; {@linkcode written} reads the outcome.
 */
export function beginWrite(
  client: FuseClient,
  nodeid: number,
  handle: Handle,
  offset: number,
  size: number,
  writeFlags: number,
  lockOwner: LockOwner | null,
): FuseRequest {
  const request = client.begin(Opcode.WRITE, nodeid, WRITE_IN.SIZE);
  request.setHalves(WRITE_IN.FH, handle.fhLow, handle.fhHigh);
  request.setU64(WRITE_IN.OFFSET, offset);
  request.setU32(WRITE_IN.SIZE_, size);
  request.setU32(WRITE_IN.FLAGS, handle.flags);
  const owned = lockOwner !== null ? FUSE_WRITE_LOCKOWNER : 0;
  request.setU32(WRITE_IN.WRITE_FLAGS, writeFlags | owned);
  if (lockOwner !== null) request.setHalves(WRITE_IN.LOCK_OWNER, lockOwner.low, lockOwner.high);
  return request;
}

/** How many of `size` bytes a successful WRITE has written, or -EIO for more than were sent. */
export function written(request: FuseRequest, size: number): Status {
  const count = request.u32(WRITE_OUT.SIZE_);
  return count > size ? -EIO : count;
}

/** fuse.h: FUSE_FLUSH: a descriptor of the file is closed; POSIX locks of `lockOwner` are dropped. */
export function flush(
  client: FuseClient,
  nodeid: number,
  handle: Handle,
  lockOwner: LockOwner,
): Status {
  const request = client.begin(Opcode.FLUSH, nodeid, FLUSH_IN.SIZE);
  request.setHalves(FLUSH_IN.FH, handle.fhLow, handle.fhHigh);
  request.setHalves(FLUSH_IN.LOCK_OWNER, lockOwner.low, lockOwner.high);
  return client.callPlain(request);
}

/** fuse.h: FUSE_FSYNC, or FUSE_FSYNCDIR for a directory. */
export function fsync(
  client: FuseClient,
  nodeid: number,
  handle: Handle,
  directory: boolean,
  dataOnly: boolean,
): Status {
  const opcode = directory ? Opcode.FSYNCDIR : Opcode.FSYNC;
  const request = client.begin(opcode, nodeid, FSYNC_IN.SIZE);
  request.setHalves(FSYNC_IN.FH, handle.fhLow, handle.fhHigh);
  if (dataOnly) request.setU32(FSYNC_IN.FSYNC_FLAGS, FUSE_FSYNC_FDATASYNC);
  return client.callPlain(request);
}

/** fuse.h: FUSE_FALLOCATE */
export function fallocate(
  client: FuseClient,
  nodeid: number,
  handle: Handle,
  mode: number,
  offset: number,
  length: number,
): Status {
  const request = client.begin(Opcode.FALLOCATE, nodeid, FALLOCATE_IN.SIZE);
  request.setHalves(FALLOCATE_IN.FH, handle.fhLow, handle.fhHigh);
  request.setU64(FALLOCATE_IN.OFFSET, offset);
  request.setU64(FALLOCATE_IN.LENGTH, length);
  request.setU32(FALLOCATE_IN.MODE, mode);
  return client.callPlain(request);
}

/** fuse.h: FUSE_LSEEK: the next data or hole. Returns an offset or a negative errno. */
export function lseek(
  client: FuseClient,
  nodeid: number,
  handle: Handle,
  offset: number,
  whence: number,
): number {
  const request = client.begin(Opcode.LSEEK, nodeid, LSEEK_IN.SIZE);
  request.setHalves(LSEEK_IN.FH, handle.fhLow, handle.fhHigh);
  request.setU64(LSEEK_IN.OFFSET, offset);
  request.setU32(LSEEK_IN.WHENCE, whence);
  request.expect(LSEEK_OUT.SIZE);
  const status = client.call(request);
  const found = status < 0 ? status : request.u64(LSEEK_OUT.OFFSET);
  client.end(request);
  return found;
}

/** One end of a copy. */
export interface CopyEnd {
  readonly nodeid: number;
  readonly handle: Handle;
  readonly offset: number;
}

/** fuse.h: FUSE_COPY_FILE_RANGE. Returns the bytes copied or a negative errno. */
export function copyFileRange(
  client: FuseClient,
  source: CopyEnd,
  target: CopyEnd,
  length: number,
): number {
  const request = client.begin(Opcode.COPY_FILE_RANGE, source.nodeid, COPY_FILE_RANGE_IN.SIZE);
  request.setHalves(COPY_FILE_RANGE_IN.FH_IN, source.handle.fhLow, source.handle.fhHigh);
  request.setU64(COPY_FILE_RANGE_IN.OFF_IN, source.offset);
  request.setU64(COPY_FILE_RANGE_IN.NODEID_OUT, target.nodeid);
  request.setHalves(COPY_FILE_RANGE_IN.FH_OUT, target.handle.fhLow, target.handle.fhHigh);
  request.setU64(COPY_FILE_RANGE_IN.OFF_OUT, target.offset);
  request.setU64(COPY_FILE_RANGE_IN.LEN, length);
  request.expect(COPY_FILE_RANGE_OUT.SIZE);
  const status = client.call(request);
  let copied = status < 0 ? status : request.u32(COPY_FILE_RANGE_OUT.BYTES_COPIED);
  if (copied > length) copied = -EIO;
  client.end(request);
  return copied;
}
