/**
 * Requests about attributes: GETATTR, SETATTR, and STATFS, SYNCFS for the file system's.
 *
 * @module
 */

import type { Status } from "../../sys/errno.ts";
import {
  ATTR_OUT,
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_FH,
  FATTR_GID,
  FATTR_KILL_SUIDGID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  FATTR_SIZE,
  FATTR_UID,
  FUSE_GETATTR_FH,
  FUSE_ROOT_ID,
  GETATTR_IN,
  Opcode,
  SETATTR_IN,
  STATFS_OUT,
  SYNCFS_IN,
} from "../../wire/fuse.ts";
import type { Handle } from "./files.ts";
import type { FuseClient } from "./fuse_client.ts";
import type { FuseRequest } from "./fuse_request.ts";
import type { AttrReply } from "./replies.ts";

/** A time to set: seconds and nanoseconds, or the daemon's present. */
export type NewTime = readonly [seconds: number, nanoseconds: number] | "now";

/** What SETATTR is to change; what is left out stays. */
export interface AttrChange {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly atime?: NewTime;
  readonly mtime?: NewTime;
  /** The daemon is to clear set-id bits (fuse.h: FUSE_HANDLE_KILLPRIV_V2). */
  readonly killSuidGid?: boolean;
}

/** What statfs(2) says (fuse.h: fuse_kstatfs). */
export interface StatFs {
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
  readonly bsize: number;
  readonly namelen: number;
  readonly frsize: number;
}

/** fuse.h: FUSE_GETATTR */
export function getattr(
  client: FuseClient,
  nodeid: number,
  handle: Handle | null,
  reply: AttrReply,
): Status {
  const request = client.begin(Opcode.GETATTR, nodeid, GETATTR_IN.SIZE);
  if (handle !== null) {
    request.setU32(GETATTR_IN.GETATTR_FLAGS, FUSE_GETATTR_FH);
    request.setHalves(GETATTR_IN.FH, handle.fhLow, handle.fhHigh);
  }
  return callForAttr(client, request, reply);
}

/** fuse.h: FUSE_SETATTR */
export function setattr(
  client: FuseClient,
  nodeid: number,
  handle: Handle | null,
  change: AttrChange,
  reply: AttrReply,
): Status {
  const request = client.begin(Opcode.SETATTR, nodeid, SETATTR_IN.SIZE);
  let valid = 0;
  if (handle !== null) {
    valid |= FATTR_FH;
    request.setHalves(SETATTR_IN.FH, handle.fhLow, handle.fhHigh);
  }
  if (change.mode !== undefined) {
    valid |= FATTR_MODE;
    request.setU32(SETATTR_IN.MODE, change.mode);
  }
  if (change.uid !== undefined) {
    valid |= FATTR_UID;
    request.setU32(SETATTR_IN.UID, change.uid);
  }
  if (change.gid !== undefined) {
    valid |= FATTR_GID;
    request.setU32(SETATTR_IN.GID, change.gid);
  }
  if (change.size !== undefined) {
    valid |= FATTR_SIZE;
    request.setU64(SETATTR_IN.SIZE_, change.size);
  }
  if (change.atime !== undefined) valid |= setTime(request, ATIME_FIELDS, change.atime);
  if (change.mtime !== undefined) valid |= setTime(request, MTIME_FIELDS, change.mtime);
  if (change.killSuidGid === true) valid |= FATTR_KILL_SUIDGID;
  request.setU32(SETATTR_IN.VALID, valid);
  return callForAttr(client, request, reply);
}

/** fuse.h: FUSE_STATFS. Returns the figures or a negative errno. */
export function statfs(client: FuseClient, nodeid: number): StatFs | Status {
  const request = client.begin(Opcode.STATFS, nodeid, 0);
  request.expect(STATFS_OUT.SIZE);
  const status = client.call(request);
  const figures = status < 0 ? status : {
    blocks: request.u64(STATFS_OUT.BLOCKS),
    bfree: request.u64(STATFS_OUT.BFREE),
    bavail: request.u64(STATFS_OUT.BAVAIL),
    files: request.u64(STATFS_OUT.FILES),
    ffree: request.u64(STATFS_OUT.FFREE),
    bsize: request.u32(STATFS_OUT.BSIZE),
    namelen: request.u32(STATFS_OUT.NAMELEN),
    frsize: request.u32(STATFS_OUT.FRSIZE),
  };
  client.end(request);
  return figures;
}

/** fuse.h: FUSE_SYNCFS */
export function syncfs(client: FuseClient): Status {
  return client.callPlain(client.begin(Opcode.SYNCFS, FUSE_ROOT_ID, SYNCFS_IN.SIZE));
}

interface TimeFields {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly given: number;
  readonly now: number;
}

const ATIME_FIELDS: TimeFields = {
  seconds: SETATTR_IN.ATIME,
  nanoseconds: SETATTR_IN.ATIMENSEC,
  given: FATTR_ATIME,
  now: FATTR_ATIME_NOW,
};
const MTIME_FIELDS: TimeFields = {
  seconds: SETATTR_IN.MTIME,
  nanoseconds: SETATTR_IN.MTIMENSEC,
  given: FATTR_MTIME,
  now: FATTR_MTIME_NOW,
};

function setTime(request: FuseRequest, fields: TimeFields, time: NewTime): number {
  if (time === "now") return fields.given | fields.now;
  request.setI64(fields.seconds, time[0]);
  request.setU32(fields.nanoseconds, time[1]);
  return fields.given;
}

function callForAttr(client: FuseClient, request: FuseRequest, reply: AttrReply): Status {
  request.expect(ATTR_OUT.SIZE);
  let status = client.call(request);
  if (status === 0) status = reply.read(request.bytes, request.body);
  client.end(request);
  return status;
}
