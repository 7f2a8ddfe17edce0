/**
 * Requests about the DAX window: SETUPMAPPING, REMOVEMAPPING.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import type { Status } from "../../sys/errno.ts";
import {
  FUSE_SETUPMAPPING_FLAG_READ,
  FUSE_SETUPMAPPING_FLAG_WRITE,
  Opcode,
  REMOVEMAPPING_IN,
  REMOVEMAPPING_ONE,
  SETUPMAPPING_IN,
} from "../../wire/fuse.ts";
import type { FuseClient } from "./fuse_client.ts";

/** "No handle": mappings are of the inode, whoever has it open. */
const ALL_ONES = 0xffffffff;
const WORD = 4294967296;

/** fuse.h: FUSE_SETUPMAPPING: shows `length` bytes of a file at a place of the window. */
export function setupMapping(
  client: FuseClient,
  nodeid: number,
  fileOffset: number,
  windowOffset: number,
  length: number,
  writable: boolean,
): Status {
  const request = client.begin(Opcode.SETUPMAPPING, nodeid, SETUPMAPPING_IN.SIZE);
  request.setHalves(SETUPMAPPING_IN.FH, ALL_ONES, ALL_ONES);
  request.setU64(SETUPMAPPING_IN.FOFFSET, fileOffset);
  request.setU64(SETUPMAPPING_IN.LEN, length);
  const write = writable ? FUSE_SETUPMAPPING_FLAG_WRITE : 0;
  request.setU64(SETUPMAPPING_IN.FLAGS, FUSE_SETUPMAPPING_FLAG_READ | write);
  request.setU64(SETUPMAPPING_IN.MOFFSET, windowOffset);
  return client.callPlain(request);
}

/** fuse.h: FUSE_REMOVEMAPPING: ends the mappings of `length` bytes at some places of the window. */
export function removeMappings(
  client: FuseClient,
  nodeid: number,
  windowOffsets: readonly number[],
  length: number,
): Status {
  assert(windowOffsets.length > 0, "something is removed");
  const request = client.begin(Opcode.REMOVEMAPPING, nodeid, REMOVEMAPPING_IN.SIZE);
  request.setU32(REMOVEMAPPING_IN.COUNT, windowOffsets.length);
  const entries = new DataView(new ArrayBuffer(windowOffsets.length * REMOVEMAPPING_ONE.SIZE));
  for (let i = 0; i < windowOffsets.length; i++) {
    const at = i * REMOVEMAPPING_ONE.SIZE;
    setU64(entries, at + REMOVEMAPPING_ONE.MOFFSET, windowOffsets[i]!);
    setU64(entries, at + REMOVEMAPPING_ONE.LEN, length);
  }
  request.putBytes(new Uint8Array(entries.buffer));
  return client.callPlain(request);
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / WORD), true);
}
