/**
 * Giving up the host's files, from inside: the helper (`plan.ts`) is told, and waited for.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { SandboxMode } from "../isolation_config.ts";
import { errnoName } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { __WALL } from "../wire/isolation.ts";
import { openOwnDirectories, type OwnDirectories } from "../sys/own_directories.ts";
import { writeEvent } from "./server_process.ts";

/** The root could not be changed. Which call failed, and why, the process outside reads in the helper's report, and says. */
export class RootRefused extends Error {
  /** The name that distinguishes it. */
  override readonly name = "RootRefused";
}

/**
 * Changes the root of all threads, unless there is no sandbox. Returns the directories that were prepared, if that could be done (`plan.ts`). No
 * thread has left the others' working directory yet.
 */
export function confine(
  sandbox: SandboxMode,
  confineFd: number,
  prepared: OwnDirectories,
): OwnDirectories {
  let directories = prepared;
  if (!isDirectory(prepared.fd) || !isDirectory(prepared.fdinfo)) {
    assert(sandbox !== "namespace", "a namespace has the directories of descriptors");
    libc.close(prepared.fd);
    libc.close(prepared.fdinfo);
    directories = openOwnDirectories();
  }
  if (sandbox !== "none") changeRoot(confineFd);
  libc.close(confineFd);
  return directories;
}

function isDirectory(fd: number): boolean {
  return Deno.statSync(`/proc/self/fd/${fd}`).isDirectory;
}

function changeRoot(confineFd: number): void {
  const memory = NativeMemory.allocate(4096);
  writeEvent(confineFd);
  const child = status(libc.waitpid(-1, memory.pointerAt(0), __WALL));
  if (child < 0) throw new Error(`The sandbox's helper has gone: ${errnoName(child)}`);
  if (memory.u32[0] !== 0) throw new RootRefused("The root cannot be changed");
  memory.setCString(0, "/");
  const moved = status(libc.chdir(memory.pointerAt(0)));
  if (moved < 0) throw new Error(`The new root cannot be entered: ${errnoName(moved)}`);
}
