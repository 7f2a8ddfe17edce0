/**
 * Requests that make inodes: MKNOD, MKDIR, SYMLINK, CREATE, TMPFILE.
 *
 * The umask has been applied to `mode` by the caller: FUSE_DONT_MASK is not asked for.
 *
 * @module
 */

import { EIO, type Status } from "../../sys/errno.ts";
import {
  CREATE_IN,
  ENTRY_OUT,
  EXT_HEADER,
  FUSE2_CREATE_SUPP_GROUP,
  FUSE_EXT_GROUPS,
  FUSE_ROOT_ID,
  IN_HEADER,
  MKDIR_IN,
  MKNOD_IN,
  Opcode,
  OPEN_OUT,
  SUPP_GROUPS,
} from "../../wire/fuse.ts";
import { S_IFMT, S_IFREG } from "../../wire/linux.ts";
import type { FuseClient } from "./fuse_client.ts";
import type { FuseRequest } from "./fuse_request.ts";
import { hasFlag } from "./agreement.ts";
import { callForEntry } from "./names.ts";
import type { EntryReply, OpenReply } from "./replies.ts";

/** Where something is made. `groupId` is the directory's: the daemon learns that the caller is a member (fuse.h: fuse_supp_groups). */
export interface NewName {
  readonly parent: number;
  readonly groupId: number;
  readonly name: Uint8Array;
}

/** fuse.h: FUSE_MKNOD. `rdev` is in the kernel's 32-bit encoding. */
export function mknod(
  client: FuseClient,
  place: NewName,
  mode: number,
  rdev: number,
  entry: EntryReply,
): Status {
  const request = client.begin(Opcode.MKNOD, place.parent, MKNOD_IN.SIZE);
  request.setU32(MKNOD_IN.MODE, mode);
  request.setU32(MKNOD_IN.RDEV, rdev);
  request.setU32(MKNOD_IN.UMASK, client.caller.umask);
  return make(client, request, place, entry);
}

/** fuse.h: FUSE_MKDIR */
export function mkdir(
  client: FuseClient,
  place: NewName,
  mode: number,
  entry: EntryReply,
): Status {
  const request = client.begin(Opcode.MKDIR, place.parent, MKDIR_IN.SIZE);
  request.setU32(MKDIR_IN.MODE, mode);
  request.setU32(MKDIR_IN.UMASK, client.caller.umask);
  return make(client, request, place, entry);
}

/** fuse.h: FUSE_SYMLINK */
export function symlink(
  client: FuseClient,
  place: NewName,
  target: Uint8Array,
  entry: EntryReply,
): Status {
  const request = client.begin(Opcode.SYMLINK, place.parent, 0);
  request.putName(place.name);
  request.putName(target);
  addGroup(client, request, place);
  return known(callForEntry(client, request, entry), entry);
}

/** fuse.h: FUSE_CREATE: makes a regular file, if there is none, and opens it. */
export function create(
  client: FuseClient,
  place: NewName,
  flags: number,
  mode: number,
  entry: EntryReply,
  opened: OpenReply,
): Status {
  return makeOpen(client, Opcode.CREATE, place, flags, mode, entry, opened);
}

/** fuse.h: FUSE_TMPFILE: opens a new file without a name. `place.name` is ignored by daemons. */
export function tmpfile(
  client: FuseClient,
  place: NewName,
  flags: number,
  mode: number,
  entry: EntryReply,
  opened: OpenReply,
): Status {
  return makeOpen(client, Opcode.TMPFILE, place, flags, mode, entry, opened);
}

function makeOpen(
  client: FuseClient,
  opcode: number,
  place: NewName,
  flags: number,
  mode: number,
  entry: EntryReply,
  opened: OpenReply,
): Status {
  const request = client.begin(opcode, place.parent, CREATE_IN.SIZE);
  request.setU32(CREATE_IN.FLAGS, flags);
  request.setU32(CREATE_IN.MODE, mode);
  request.setU32(CREATE_IN.UMASK, client.caller.umask);
  request.putName(place.name);
  addGroup(client, request, place);
  const bodySize = ENTRY_OUT.SIZE + OPEN_OUT.SIZE;
  request.expect(bodySize + client.entryVersionSize);
  let status = client.call(request);
  if (status === 0) {
    const versionAt = client.entryVersionSize > 0 ? request.body + bodySize : 0;
    status = known(entry.read(request.bytes, request.body, versionAt), entry);
    if (status === 0 && (entry.attr.mode & S_IFMT) !== S_IFREG) status = -EIO;
    opened.read(request.bytes, request.body + ENTRY_OUT.SIZE);
  }
  client.end(request);
  return status;
}

function make(
  client: FuseClient,
  request: FuseRequest,
  place: NewName,
  entry: EntryReply,
): Status {
  request.putName(place.name);
  addGroup(client, request, place);
  return known(callForEntry(client, request, entry), entry);
}

/** What was made has a node of its own, and it is not the root. */
function known(status: Status, entry: EntryReply): Status {
  if (status < 0) return status;
  return entry.nodeid === 0 || entry.nodeid === FUSE_ROOT_ID ? -EIO : 0;
}

/** fuse.h: fuse_supp_groups: sent where the caller is a member of the directory's group by a supplementary group only. */
function addGroup(client: FuseClient, request: FuseRequest, place: NewName): void {
  const { caller, agreement } = client;
  if (!hasFlag(agreement.flags2, FUSE2_CREATE_SUPP_GROUP)) return;
  if (caller.gid === place.groupId || !caller.groups.includes(place.groupId)) return;
  const at = request.argsSize;
  const size = EXT_HEADER.SIZE + SUPP_GROUPS.SIZE + 4;
  request.putBytes(new Uint8Array(size));
  request.setU32(at + EXT_HEADER.SIZE_, size);
  request.setU32(at + EXT_HEADER.TYPE, FUSE_EXT_GROUPS);
  request.setU32(at + EXT_HEADER.SIZE + SUPP_GROUPS.NR_GROUPS, 1);
  request.setU32(at + EXT_HEADER.SIZE + SUPP_GROUPS.GROUPS, place.groupId);
  const { slot, bytes } = request;
  bytes.view.setUint16(slot.request + IN_HEADER.TOTAL_EXTLEN, size / 8, true);
}
