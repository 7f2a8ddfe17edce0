/**
 * Reading a descriptor of events in the thread's event loop.
 *
 * No Worker: the main thread of a daemon has little else to do (the queues have threads of their own), and a change is reported some 30 µs after it
 * was made if that thread is idle (bench/coherence/host_watch.ts). An event takes 1 µs of it, one of a name with inotify 15 µs.
 *
 * @module
 */

import { EAGAIN, EINTR, EINVAL, errnoName } from "../../sys/errno.ts";
import { libc, status } from "../../sys/libc.ts";
import { Readiness } from "../../sys/readiness.ts";
import { SCRATCH, type Scratch } from "./scratch.ts";

/** Reads between two looks at the event loop, so that a storm of events leaves time for others. */
const READS_PER_TURN = 4;

/**
 * Reads until aborted, handing over how many bytes of events there are at SCRATCH.EVENTS. `emptied` is called when for now there is no more.
 * Rejects if the descriptor cannot be read.
 */
export async function readEvents(
  fd: number,
  scratch: Scratch,
  signal: AbortSignal,
  events: (length: number) => void,
  emptied: () => void,
): Promise<void> {
  using readiness = new Readiness(fd, signal);
  const buffer = scratch.memory.pointerAt(SCRATCH.EVENTS);
  while (await readiness.wait()) {
    for (let reads = 0; reads < READS_PER_TURN; reads++) {
      const length = status(libc.read(fd, buffer, SCRATCH.EVENTS_SIZE));
      if (length === -EAGAIN || length === -EINTR) break;
      // An event that does not fit is EINVAL: none is that large.
      if (length <= 0) throw new Error(`Cannot read events: ${errnoName(length || EINVAL)}`);
      events(length);
    }
    emptied();
  }
}
