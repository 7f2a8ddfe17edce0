/**
 * The demo's guest where no virtual machine is at hand: it connects to a daemon's socket, mounts, reads,
 * writes and lists, as a kernel would.
 *
 * @module
 */

import { GUEST_MEMORY_SIZE, GuestFiles } from "./guest_files.ts";
import { GuestFrontend } from "./guest_frontend.ts";
import type { GuestTask } from "./sample.ts";

/**
 * Does `task` through the daemon at `socketPath` and tells `report` about each step. Returns whether everything was as it should
 * be; the writing is left for the host to verify.
 */
export function runInProcessGuest(
  socketPath: string,
  tag: string,
  task: GuestTask,
  report: (line: string) => void,
): boolean {
  using frontend = new GuestFrontend(socketPath, GUEST_MEMORY_SIZE);
  const config = frontend.deviceConfig();
  report(`device found: tag "${config.tag}", ${config.requestQueueCount} request queue(s)`);
  const files = new GuestFiles(frontend);
  report(`mounted: FUSE ${files.protocol}`);
  const text = files.readText(task.readName);
  report(`cat ${task.readName}: ${text.trimEnd()}`);
  files.writeText(task.writeName, task.writeText);
  report(`wrote ${task.writeName}`);
  const names = files.list();
  report(`ls: ${names.join("  ")}`);
  files.close();
  return config.tag === tag && text === task.readText && names.includes(task.readName) &&
    names.includes(task.writeName);
}
