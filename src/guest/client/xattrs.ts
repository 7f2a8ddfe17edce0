/**
 * Requests about extended attributes.
 *
 * @module
 */

import { EIO, type Status } from "../../sys/errno.ts";
import {
  FUSE_SETXATTR_EXT,
  GETXATTR_IN,
  GETXATTR_OUT,
  Opcode,
  SETXATTR_IN,
} from "../../wire/fuse.ts";
import { XATTR_SIZE_MAX } from "../../wire/linux.ts";
import type { FuseClient } from "./fuse_client.ts";
import { hasFlag } from "./agreement.ts";

/** fuse.h: FUSE_SETXATTR. `flags`: XATTR_CREATE, XATTR_REPLACE. */
export function setxattr(
  client: FuseClient,
  nodeid: number,
  name: Uint8Array,
  value: Uint8Array,
  flags: number,
): Status {
  const extended = hasFlag(client.agreement.flags, FUSE_SETXATTR_EXT);
  const size = extended ? SETXATTR_IN.SIZE : SETXATTR_IN.COMPAT_SIZE;
  const request = client.begin(Opcode.SETXATTR, nodeid, size);
  request.setU32(SETXATTR_IN.SIZE_, value.length);
  request.setU32(SETXATTR_IN.FLAGS, flags);
  request.putName(name);
  request.putBytes(value);
  return client.callPlain(request);
}

/** fuse.h: FUSE_GETXATTR. Returns the value or a negative errno. */
export function getxattr(
  client: FuseClient,
  nodeid: number,
  name: Uint8Array,
): Uint8Array<ArrayBuffer> | Status {
  return read(client, Opcode.GETXATTR, nodeid, name, XATTR_SIZE_MAX);
}

/** fuse.h: FUSE_GETXATTR with size 0: the value's length, or a negative errno. */
export function getxattrSize(client: FuseClient, nodeid: number, name: Uint8Array): number {
  return readSize(client, Opcode.GETXATTR, nodeid, name);
}

/** fuse.h: FUSE_LISTXATTR. Returns the names, each with a NUL, or a negative errno. */
export function listxattr(client: FuseClient, nodeid: number): Uint8Array<ArrayBuffer> | Status {
  return read(client, Opcode.LISTXATTR, nodeid, null, XATTR_SIZE_MAX);
}

/** fuse.h: FUSE_LISTXATTR with size 0: the list's length, or a negative errno. */
export function listxattrSize(client: FuseClient, nodeid: number): number {
  return readSize(client, Opcode.LISTXATTR, nodeid, null);
}

/** fuse.h: FUSE_REMOVEXATTR */
export function removexattr(client: FuseClient, nodeid: number, name: Uint8Array): Status {
  const request = client.begin(Opcode.REMOVEXATTR, nodeid, 0);
  request.putName(name);
  return client.callPlain(request);
}

function read(
  client: FuseClient,
  opcode: number,
  nodeid: number,
  name: Uint8Array | null,
  size: number,
): Uint8Array<ArrayBuffer> | Status {
  const request = client.begin(opcode, nodeid, GETXATTR_IN.SIZE);
  request.setU32(GETXATTR_IN.SIZE_, size);
  if (name !== null) request.putName(name);
  request.expectUpTo(size);
  const status = client.call(request);
  const value = status < 0 ? status : request.copy(0, request.replySize);
  client.end(request);
  return value;
}

function readSize(
  client: FuseClient,
  opcode: number,
  nodeid: number,
  name: Uint8Array | null,
): number {
  const request = client.begin(opcode, nodeid, GETXATTR_IN.SIZE);
  if (name !== null) request.putName(name);
  request.expect(GETXATTR_OUT.SIZE);
  const status = client.call(request);
  let size = status < 0 ? status : request.u32(GETXATTR_OUT.SIZE_);
  if (size > XATTR_SIZE_MAX) size = -EIO;
  client.end(request);
  return size;
}
