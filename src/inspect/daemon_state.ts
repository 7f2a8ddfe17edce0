/**
 * One daemon to be looked at: its state memory and, if it runs, its process.
 *
 * @module
 */

import { StateReader } from "./state_reader.ts";
import { holdersOf } from "./state_mappings.ts";

/** What every view of a daemon is read from. */
export interface DaemonState extends Disposable {
  readonly reader: StateReader;
  /** The process, as numbered here. */
  readonly pid: number;
  /** Whether there was such a process when this was opened. */
  readonly running: boolean;
}

/** The daemon of a running process, whose descriptor `fd` is the state memory. Throws `InspectError`. */
export function openRunning(pid: number, fd: number): DaemonState {
  return daemonState(new StateReader(`/proc/${pid}/fd/${fd}`, `the state of process ${pid}`), pid);
}

/** A state memory that this process has open, of itself or of the process `pid` that serves for it. Throws `InspectError`. */
export function openOwn(fd: number, pid: number): DaemonState {
  return daemonState(new StateReader(`/proc/self/fd/${fd}`, "the state of this daemon"), pid);
}

/** What `serve --state-file` has written, whether or not the daemon still runs. Throws `InspectError`. */
export function openStateFile(path: string): DaemonState {
  const reader = new StateReader(path, `the state file ${path}`);
  const holder = holdersOf(Deno.realPathSync(path)).at(0);
  reader.isAbandoned = holder === undefined;
  return daemonState(reader, holder ?? reader.pid, holder !== undefined);
}

function daemonState(reader: StateReader, pid: number, running = true): DaemonState {
  return { reader, pid, running, [Symbol.dispose]: () => reader.close() };
}
