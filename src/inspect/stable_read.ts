/**
 * Reading what somebody is writing: again and again until what was read belongs to one moment, but not for ever.
 *
 * @module
 */

import { BusyError } from "./inspect_error.ts";
import type { StateReader } from "./state_reader.ts";

/** Tries in a row, after which the writer is given a millisecond; and how often that is done. */
const TRIES = 20;
const PAUSES = 50;

const nobody = new Int32Array(new SharedArrayBuffer(4));

/** What `attempt` returns, as soon as it is not null. Throws {@linkcode BusyError}, which says that `what` is busy, after a thousand times. */
export function stableRead<T>(what: string, attempt: () => T | null): T {
  for (let pause = 0; pause < PAUSES; pause++) {
    for (let i = 0; i < TRIES; i++) {
      const found = attempt();
      if (found !== null) return found;
    }
    Atomics.wait(nobody, 0, 0, 1);
  }
  throw new BusyError(what);
}

/** What `read` returns between two equal and even values of a sequence counter. Nobody ends what a dead writer has begun: then it is taken as it is. */
export function sequencedRead<T>(
  reader: Pick<StateReader, "name" | "isAbandoned">,
  what: string,
  sequence: () => number,
  read: () => T,
): T {
  return stableRead(`${what} of ${reader.name}`, () => {
    const before = sequence();
    if (before % 2 !== 0 && !reader.isAbandoned) return null;
    const found = read();
    return sequence() === before ? { found } : null;
  }).found;
}
