/**
 * Which processes have a state memory mapped, from /proc/PID/maps.
 *
 * Not from /proc/PID/fd alone: a daemon may have a million descriptors, one for each inode that its guest knows; its mappings are some hundred
 * lines. The descriptor is then looked for from 0 on, where it is found at once, since the state memory is among the first things that a daemon opens.
 *
 * @module
 */

import { STATE_MEMORY_NAME } from "../state/layout.ts";

/** The name of the memfd in /proc. */
const MEMFD = `/memfd:${STATE_MEMORY_NAME} (deleted)`;
/** A shared mapping of an ordinary file that is so large may be a state file (`serve --state-file`), of whatever layout version. */
const STATE_FILE_SIZE_MIN = 2 ** 30;

/** One state memory, or what may be one, in one process. */
export interface StateMapping {
  readonly pid: number;
  /** As /proc names the file. */
  readonly path: string;
  /** Inode number of the file; "device:inode" would not do, since overlayfs has two. */
  readonly ino: number;
  /** Whether the name says what it is: else the magic has to. */
  readonly isCertain: boolean;
}

/** All of this host, and how many processes could not be looked into. */
export interface StateMappings {
  readonly found: readonly StateMapping[];
  readonly unreadable: number;
}

/** Looks through all processes. */
export function stateMappings(): StateMappings {
  const found: StateMapping[] = [];
  let unreadable = 0;
  for (const pid of processes()) {
    const lines = mapsOf(pid);
    if (lines === "forbidden") unreadable++;
    else found.push(...mappingsIn(pid, lines));
  }
  return { found, unreadable };
}

/** The processes that have a file of this path mapped as a state memory is. */
export function holdersOf(path: string): number[] {
  const pids: number[] = [];
  for (const pid of processes()) {
    const lines = mapsOf(pid);
    if (lines === "forbidden") continue;
    if (mappingsIn(pid, lines).some((mapping) => mapping.path === path)) pids.push(pid);
  }
  return pids;
}

/** The descriptor of a mapping's file in its process, or -1. */
export function descriptorOf({ pid, path, ino, isCertain }: StateMapping): number {
  for (const fd of descriptors(pid)) {
    try {
      const link = `/proc/${pid}/fd/${fd}`;
      if (Deno.readLinkSync(link) !== path) continue;
      // Several memfds have the same name.
      if (!isCertain || Deno.statSync(link).ino === ino) return fd;
    } catch {
      // Closed meanwhile, or the process is gone.
    }
  }
  return -1;
}

function processes(): number[] {
  return Array.from(Deno.readDirSync("/proc"), ({ name }) => Number(name))
    .filter((pid) => Number.isInteger(pid))
    .sort((a, b) => a - b);
}

function mapsOf(pid: number): string | "forbidden" {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/maps`);
  } catch (error) {
    // Gone meanwhile is as if it had not been there.
    const isForbidden = error instanceof Deno.errors.PermissionDenied ||
      error instanceof Deno.errors.NotCapable;
    return isForbidden ? "forbidden" : "";
  }
}

/** proc(5): "start-end rw-s offset dev inode   path", a line each. */
function mappingsIn(pid: number, maps: string): StateMapping[] {
  const found = new Map<string, StateMapping>();
  for (const line of maps.split("\n")) {
    const [range = "", access = "", , , inode = "", ...rest] = line.split(/ +/);
    if (access !== "rw-s" || inode === "0") continue;
    const path = rest.join(" ");
    const isCertain = path === MEMFD;
    if (!isCertain && (path.startsWith("/memfd:") || sizeOf(range) < STATE_FILE_SIZE_MIN)) continue;
    found.set(inode + path, { pid, path, ino: Number(inode), isCertain });
  }
  return [...found.values()];
}

function sizeOf(range: string): number {
  const [start = "", end = ""] = range.split("-");
  return parseInt(end, 16) - parseInt(start, 16);
}

/** From 0 on, the first ones without a list of all. */
function* descriptors(pid: number): Generator<number> {
  const FIRST = 256;
  for (let fd = 0; fd < FIRST; fd++) yield fd;
  let names: string[] = [];
  try {
    names = Array.from(Deno.readDirSync(`/proc/${pid}/fd`), ({ name }) => name);
  } catch {
    // Gone.
  }
  for (const fd of names.map(Number).sort((a, b) => a - b)) if (fd >= FIRST) yield fd;
}
