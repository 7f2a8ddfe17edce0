/**
 * Reading directories: READDIR and READDIRPLUS.
 *
 * @module
 */

import { EIO, type Status } from "../../sys/errno.ts";
import { DIRENT, DIRENTPLUS, Opcode, READ_IN } from "../../wire/fuse.ts";
import { DIRENTPLUS_VERSIONED } from "../../wire/shared_versions.ts";
import type { Handle } from "./files.ts";
import type { FuseClient } from "./fuse_client.ts";
import type { FuseRequest } from "./fuse_request.ts";
import { EntryReply } from "./replies.ts";

/** Bytes of one piece of a directory. */
const PIECE_SIZE = 128 * 1024;

/** One name as the daemon tells it. The object is used again for the next. */
export interface DirentVisit {
  readonly name: Uint8Array<ArrayBuffer>;
  readonly ino: number;
  /** DT_*: the type bits of the mode, shifted. */
  readonly type: number;
  /** Where to go on after this entry, as two halves. */
  readonly nextLow: number;
  readonly nextHigh: number;
  /** With READDIRPLUS: what LOOKUP would have said, with a reference to the node; null where the daemon does not say. */
  readonly entry: EntryReply | null;
}

const scratchEntry = new EntryReply();

/**
 * Reads one piece of a directory from a cookie on (0 at the start) and calls `visit` for each name in it. Returns how many there
 * were (0 at the end), or a negative errno. Everything that the daemon says is checked before `visit` sees it.
 */
export function readdir(
  client: FuseClient,
  nodeid: number,
  handle: Handle,
  cookie: readonly [low: number, high: number],
  plus: boolean,
  visit: (dirent: DirentVisit) => void,
): number {
  const opcode = plus ? Opcode.READDIRPLUS : Opcode.READDIR;
  const request = client.begin(opcode, nodeid, READ_IN.SIZE);
  request.setHalves(READ_IN.FH, handle.fhLow, handle.fhHigh);
  request.setHalves(READ_IN.OFFSET, cookie[0], cookie[1]);
  request.setU32(READ_IN.SIZE_, PIECE_SIZE);
  request.setU32(READ_IN.FLAGS, handle.flags);
  request.expectUpTo(PIECE_SIZE);
  const status = client.call(request);
  const isVersioned = client.entryVersionSize > 0;
  const count = status < 0 ? status : visitAll(request, plus, isVersioned, visit);
  client.end(request);
  return count;
}

function visitAll(
  request: FuseRequest,
  plus: boolean,
  isVersioned: boolean,
  visit: (dirent: DirentVisit) => void,
): number {
  const { bytes, body } = request;
  const { view } = bytes;
  const end = body + request.replySize;
  const direntAt = !plus ? 0 : isVersioned ? DIRENTPLUS_VERSIONED.DIRENT : DIRENTPLUS.DIRENT;
  let count = 0;
  for (let at = body; end - at >= direntAt + DIRENT.NAME; count++) {
    const dirent = at + direntAt;
    const nameSize = view.getUint32(dirent + DIRENT.NAMELEN, true);
    const nameAt = dirent + DIRENT.NAME;
    if (nameSize === 0 || nameSize > end - nameAt) return -EIO;
    const name = bytes.u8.slice(nameAt, nameAt + nameSize);
    if (!isName(name)) return -EIO;
    let entry: EntryReply | null = null;
    if (plus) {
      const versionAt = isVersioned ? at + DIRENTPLUS_VERSIONED.ENTRYVER : 0;
      const status: Status = scratchEntry.read(bytes, at + DIRENTPLUS.ENTRY, versionAt);
      if (status < 0) return status;
      if (scratchEntry.nodeid !== 0) entry = scratchEntry;
    }
    visit({
      name,
      ino: bytes.u64(dirent + DIRENT.INO),
      type: view.getUint32(dirent + DIRENT.TYPE, true),
      nextLow: view.getUint32(dirent + DIRENT.OFF, true),
      nextHigh: view.getUint32(dirent + DIRENT.OFF + 4, true),
      entry,
    });
    at += Math.ceil((direntAt + DIRENT.NAME + nameSize) / 8) * 8;
  }
  return count;
}

function isName(name: Uint8Array): boolean {
  for (let i = 0; i < name.length; i++) if (name[i] === 0x2f || name[i] === 0) return false;
  return true;
}
