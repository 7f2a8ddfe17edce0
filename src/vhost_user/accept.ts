/**
 * Taking the next front end from the listening socket.
 *
 * @module
 */

import { EAGAIN, EINTR, errnoName } from "../sys/errno.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import { SOCK_CLOEXEC } from "../wire/linux.ts";
import { Readiness } from "../sys/readiness.ts";

/** accept(2): the peer left between our waking up and our asking. */
const ECONNABORTED = 103;

/** Waits for a front end on a listening socket. Null when `signal` is aborted; throws where accept(2) fails. */
export async function acceptFrontend(
  listenerFd: number,
  signal: AbortSignal,
): Promise<OwnedFd | null> {
  using readiness = new Readiness(listenerFd, signal);
  while (await readiness.wait()) {
    const fd = status(libc.accept4(listenerFd, null, null, SOCK_CLOEXEC));
    if (fd >= 0) return new OwnedFd(fd);
    if (fd !== -EAGAIN && fd !== -EINTR && fd !== -ECONNABORTED) {
      throw new Error(`Cannot accept a front end: ${errnoName(fd)}`);
    }
  }
  return null;
}
