/**
 * What the server writes to its standard output and error. It has a pipe in the place of both, because the launcher's may be a file or a
 * terminal, with which more can be done than to write.
 *
 * @module
 */

import type { Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { Readiness } from "../sys/readiness.ts";
import { F_SETFL } from "../wire/isolation.ts";
import { O_NONBLOCK } from "../wire/linux.ts";

/** A pipe holds no more. */
const PIECE_SIZE = 65_536;

/** Writes what comes through a pipe to this process's standard error, until its other ends are closed; once aborted, until it is empty. */
export async function passOutputOn(pipe: number, signal: AbortSignal): Promise<void> {
  libc.fcntl_int(pipe, F_SETFL, O_NONBLOCK);
  const memory = NativeMemory.allocate(PIECE_SIZE);
  using readiness = new Readiness(pipe, signal);
  while (await readiness.wait()) {
    if (passPieceOn(pipe, memory) === 0) return;
  }
  while (passPieceOn(pipe, memory) > 0);
}

/** Returns how many bytes there were: 0 at the end, negative if there are none at the moment. */
function passPieceOn(pipe: number, memory: NativeMemory): Status {
  const size = status(libc.read(pipe, memory.pointerAt(0), PIECE_SIZE));
  try {
    for (let at = 0; at < size;) at += Deno.stderr.writeSync(memory.u8.subarray(at, size));
  } catch {
    // Nobody reads (kata takes one line and may leave): the server goes on, and must not find its pipe full.
  }
  return size;
}
