/**
 * The number of this process as others know it.
 *
 * @module
 */

import { libc } from "./libc.ts";

let known: number | null = null;

/** In a pid namespace of its own, a process has to be told its number outside. */
export function setOwnPid(pid: number): void {
  known = pid;
}

/** Of this process, on the host or in the container that it was started in. */
export function ownPid(): number {
  return known ?? libc.getpid();
}
