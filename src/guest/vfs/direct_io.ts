/**
 * Reading and writing without the page cache: through frames that are borrowed for the transfer. Large transfers have several
 * requests in flight, so that the daemon copies one piece while we copy another.
 *
 * @module
 */

import type { Status } from "../../sys/errno.ts";
import { WRITE_OUT } from "../../wire/fuse.ts";
import { beginRead, beginWrite, type Handle, written } from "../client/files.ts";
import type { FuseRequest } from "../client/fuse_request.ts";
import type { DataInode } from "./file_blocks.ts";
import { FRAME_SIZE, type PageCache } from "./page_cache.ts";

/** Frames of one request and requests in flight: 3 x 256 KiB stay in the processor's caches, more are slower. */
const FRAMES_PER_PIECE = 16;
const PIECES_IN_FLIGHT = 3;

/** A part of a transfer on its way. */
interface Piece {
  readonly request: FuseRequest;
  readonly frames: readonly number[];
  readonly offset: number;
  readonly size: number;
}

/** Reads up to `into.length` bytes at `offset`: the count, 0 at the end of the file, or a negative errno. */
export function readDirect(
  cache: PageCache,
  nodeid: number,
  handle: Handle,
  offset: number,
  into: Uint8Array,
): number {
  return transfer(cache, cache.client.agreement.readSizeMax, into.length, {
    send(piece, frames, size) {
      const { client } = cache;
      const request = beginRead(client, nodeid, handle, offset + piece, size, null);
      eachRun(frames, size, (frame, _at, length) => request.addRoom(frame, length));
      return request;
    },
    receive(piece) {
      const size = Math.min(piece.request.replySize, piece.size);
      eachRun(piece.frames, size, (frame, at, length) => {
        into.set(cache.bytes.u8.subarray(frame, frame + length), piece.offset + at);
      });
      return size;
    },
  });
}

/** Writes `from` at `offset`: the count, less if the daemon wrote less or failed on the way; or a negative errno. */
export function writeDirect(
  cache: PageCache,
  inode: DataInode,
  handle: Handle,
  offset: number,
  from: Uint8Array,
): number {
  return transfer(cache, cache.client.agreement.writeSizeMax, from.length, {
    send(piece, frames, size) {
      const { client } = cache;
      const request = beginWrite(client, inode.nodeid, handle, offset + piece, size, 0, null);
      eachRun(frames, size, (frame, at, length) => {
        cache.bytes.u8.set(from.subarray(piece + at, piece + at + length), frame);
        request.addData(frame, length);
      });
      request.expect(WRITE_OUT.SIZE);
      inode.changing();
      return request;
    },
    receive: (piece) => written(piece.request, piece.size),
    ended: (piece, count) => inode.changed(count === piece.size, null),
  });
}

interface Direction {
  /** Makes the request of a piece. */
  send(offset: number, frames: readonly number[], size: number): FuseRequest;
  /** Takes a successful reply: how many bytes of the piece were transferred, or a negative errno. */
  receive(piece: Piece): number;
  /** Is told what became of each piece. */
  ended?(piece: Piece, count: number): void;
}

/** Transfers `length` bytes in pieces. The first that fails or falls short ends it. */
function transfer(
  cache: PageCache,
  sizeMax: number,
  length: number,
  direction: Direction,
): number {
  const { client } = cache;
  const pieceMax = Math.min(FRAMES_PER_PIECE * FRAME_SIZE, sizeMax);
  const pieces: Piece[] = [];
  let sent = 0;
  let done = 0;
  let failure: Status = 0;
  let ended = false;
  while (pieces.length > 0 || (sent < length && !ended)) {
    while (sent < length && !ended && pieces.length < PIECES_IN_FLIGHT) {
      const size = Math.min(pieceMax, length - sent);
      const frames = borrow(cache, Math.ceil(size / FRAME_SIZE));
      if (typeof frames === "number") {
        failure = frames;
        ended = true;
        break;
      }
      const request = direction.send(sent, frames, size);
      pieces.push({ request, frames, offset: sent, size });
      client.post(request);
      client.driver.publish();
      sent += size;
    }
    const piece = pieces.shift();
    if (piece === undefined) break;
    const status = client.wait(piece.request);
    const count = status < 0 ? status : direction.receive(piece);
    client.end(piece.request);
    direction.ended?.(piece, count);
    giveBack(cache, piece.frames);
    // What comes behind a gap does not count.
    if (ended) continue;
    if (count < 0) failure = count;
    else done += count;
    if (count < piece.size) ended = true;
  }
  return done > 0 ? done : failure;
}

/** Calls `act` for each piece of memory that `size` bytes in frames lie in: frames in sequence are one, and one copy. */
function eachRun(
  frames: readonly number[],
  size: number,
  act: (frame: number, at: number, length: number) => void,
): void {
  for (let i = 0; i * FRAME_SIZE < size;) {
    let end = i + 1;
    while (end < frames.length && frames[end] === frames[end - 1]! + FRAME_SIZE) end++;
    act(frames[i]!, i * FRAME_SIZE, Math.min(end * FRAME_SIZE, size) - i * FRAME_SIZE);
    i = end;
  }
}

function borrow(cache: PageCache, count: number): number[] | Status {
  const frames: number[] = [];
  for (let i = 0; i < count; i++) {
    const frame = cache.takeFrame();
    if (frame < 0) {
      giveBack(cache, frames);
      return frame;
    }
    frames.push(frame);
  }
  return frames;
}

/** Backwards: the free list is a stack, and the frames are to come back in their order. */
function giveBack(cache: PageCache, frames: readonly number[]): void {
  for (let i = frames.length - 1; i >= 0; i--) cache.giveFrame(frames[i]!);
}
