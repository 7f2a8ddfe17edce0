/**
 * Requests about names in a directory: LOOKUP, UNLINK, RMDIR, RENAME, LINK, READLINK.
 *
 * @module
 */

import { EIO, type Status } from "../../sys/errno.ts";
import { ENTRY_OUT, LINK_IN, Opcode, RENAME2_IN, RENAME_IN } from "../../wire/fuse.ts";
import { PATH_MAX } from "../../wire/linux.ts";
import type { FuseClient } from "./fuse_client.ts";
import type { FuseRequest } from "./fuse_request.ts";
import type { EntryReply } from "./replies.ts";

/** fuse.h: FUSE_LOOKUP. A reply with nodeid 0 says that the name does not exist, and for how long that can be relied on. */
export function lookup(
  client: FuseClient,
  parent: number,
  name: Uint8Array,
  entry: EntryReply,
): Status {
  const request = client.begin(Opcode.LOOKUP, parent, 0);
  request.putName(name);
  return callForEntry(client, request, entry);
}

/** fuse.h: FUSE_UNLINK */
export function unlink(client: FuseClient, parent: number, name: Uint8Array): Status {
  const request = client.begin(Opcode.UNLINK, parent, 0);
  request.putName(name);
  return client.callPlain(request);
}

/** fuse.h: FUSE_RMDIR */
export function rmdir(client: FuseClient, parent: number, name: Uint8Array): Status {
  const request = client.begin(Opcode.RMDIR, parent, 0);
  request.putName(name);
  return client.callPlain(request);
}

/** fuse.h: FUSE_RENAME, or FUSE_RENAME2 where there are flags. */
export function rename(
  client: FuseClient,
  oldParent: number,
  oldName: Uint8Array,
  newParent: number,
  newName: Uint8Array,
  flags: number,
): Status {
  const request = flags === 0
    ? client.begin(Opcode.RENAME, oldParent, RENAME_IN.SIZE)
    : client.begin(Opcode.RENAME2, oldParent, RENAME2_IN.SIZE);
  request.setU64(RENAME_IN.NEWDIR, newParent);
  if (flags !== 0) request.setU32(RENAME2_IN.FLAGS, flags);
  request.putName(oldName);
  request.putName(newName);
  return client.callPlain(request);
}

/** fuse.h: FUSE_LINK: another name for `nodeid`. */
export function link(
  client: FuseClient,
  nodeid: number,
  parent: number,
  name: Uint8Array,
  entry: EntryReply,
): Status {
  const request = client.begin(Opcode.LINK, parent, LINK_IN.SIZE);
  request.setU64(LINK_IN.OLDNODEID, nodeid);
  request.putName(name);
  return callForEntry(client, request, entry);
}

/** fuse.h: FUSE_READLINK. Returns the target or a negative errno. */
export function readlink(client: FuseClient, nodeid: number): Uint8Array<ArrayBuffer> | Status {
  const request = client.begin(Opcode.READLINK, nodeid, 0);
  request.expectUpTo(PATH_MAX - 1);
  const status = client.call(request);
  const target = status < 0 ? status : request.copy(0, request.replySize);
  client.end(request);
  return target;
}

/** Sends a request whose reply is an entry. */
export function callForEntry(
  client: FuseClient,
  request: FuseRequest,
  entry: EntryReply,
): Status {
  request.expect(ENTRY_OUT.SIZE + client.entryVersionSize);
  let status = client.call(request);
  if (status === 0) {
    const versionAt = client.entryVersionSize > 0 ? request.body + ENTRY_OUT.SIZE : 0;
    status = entry.read(request.bytes, request.body, versionAt);
  }
  // Only LOOKUP may say that there is nothing.
  if (status === 0 && entry.nodeid === 0 && request.opcode !== Opcode.LOOKUP) status = -EIO;
  client.end(request);
  return status;
}
