/**
 * Requests about locks: GETLK, SETLK, SETLKW, for POSIX locks and flock(2).
 *
 * @module
 */

import type { Status } from "../../sys/errno.ts";
import { FILE_LOCK, FUSE_LK_FLOCK, LK_IN, Opcode } from "../../wire/fuse.ts";
import type { Handle, LockOwner } from "./files.ts";
import type { FuseClient } from "./fuse_client.ts";
import type { FuseRequest } from "./fuse_request.ts";

/** A byte range under a lock: `end` is the last byte, or null for the end of the file, wherever it is. */
export interface LockRange {
  readonly start: number;
  readonly end: number | null;
  /** F_RDLCK, F_WRLCK or F_UNLCK. */
  readonly type: number;
  readonly pid: number;
}

/** fuse.h: FUSE_GETLK: the lock that is in the way, its type F_UNLCK when there is none; or a negative errno. */
export function getlk(
  client: FuseClient,
  nodeid: number,
  handle: Handle,
  owner: LockOwner,
  range: LockRange,
): LockRange | Status {
  const request = beginLock(client, Opcode.GETLK, nodeid, handle, owner, range);
  request.expect(FILE_LOCK.SIZE);
  const status = client.call(request);
  const found = status < 0 ? status : readLock(request);
  client.end(request);
  return found;
}

/** fuse.h: FUSE_SETLK, or FUSE_SETLKW, which waits. */
export function setlk(
  client: FuseClient,
  nodeid: number,
  handle: Handle,
  owner: LockOwner,
  range: LockRange,
  options: { readonly wait: boolean; readonly flock: boolean },
): Status {
  const opcode = options.wait ? Opcode.SETLKW : Opcode.SETLK;
  const request = beginLock(client, opcode, nodeid, handle, owner, range);
  if (options.flock) request.setU32(LK_IN.LK_FLAGS, FUSE_LK_FLOCK);
  return client.callPlain(request);
}

function beginLock(
  client: FuseClient,
  opcode: number,
  nodeid: number,
  handle: Handle,
  owner: LockOwner,
  range: LockRange,
): FuseRequest {
  const request = client.begin(opcode, nodeid, LK_IN.SIZE);
  request.setHalves(LK_IN.FH, handle.fhLow, handle.fhHigh);
  request.setHalves(LK_IN.OWNER, owner.low, owner.high);
  request.setU64(LK_IN.LK + FILE_LOCK.START, range.start);
  if (range.end !== null) request.setU64(LK_IN.LK + FILE_LOCK.END, range.end);
  else request.setHalves(LK_IN.LK + FILE_LOCK.END, 0xffffffff, 0x7fffffff);
  request.setU32(LK_IN.LK + FILE_LOCK.TYPE, range.type);
  request.setU32(LK_IN.LK + FILE_LOCK.PID, range.pid);
  return request;
}

function readLock(request: FuseRequest): LockRange {
  const end = request.u64(FILE_LOCK.END);
  return {
    start: request.u64(FILE_LOCK.START),
    end: end > Number.MAX_SAFE_INTEGER ? null : end,
    type: request.u32(FILE_LOCK.TYPE),
    pid: request.u32(FILE_LOCK.PID),
  };
}
