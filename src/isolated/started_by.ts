/**
 * Which process was started, seen from the one that serves: for whoever has the number that stands in the pid file.
 *
 * @module
 */

import { CONFINED_COMMAND } from "./messages.ts";

/** Whether `pid` is the process that was started for the daemon that `serverPid` serves, in a sandbox. */
export function isStartedProcess(pid: number, serverPid: number): boolean {
  try {
    const words = Deno.readTextFileSync(`/proc/${serverPid}/cmdline`).split("\0");
    // Any other daemon's parent is whoever happened to start it, with other daemons perhaps.
    if (!words.includes(CONFINED_COMMAND)) return false;
    const status = Deno.readTextFileSync(`/proc/${serverPid}/status`);
    return Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]) === pid;
  } catch {
    return false;
  }
}
