/**
 * `--seccomp trap`: the call that the filter stopped is named before the process ends.
 *
 * The handler of SIGSYS is machine code: it may be called on any thread, at any moment, which JavaScript cannot.
 *
 * @module
 */

import { ARCHITECTURE } from "../sys/architecture.ts";
import { errnoName } from "../sys/errno.ts";
import { executable } from "../sys/executable.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { SYSTEM_CALL_CODE, TRAP_REPORT_SIZE } from "../sys/system_call_code.ts";
import { SA_SIGINFO, SIGACTION, SIGINFO_SYS, SIGSYS } from "../wire/isolation.ts";
import { SYSTEM_CALLS } from "../wire/system_calls.ts";

/** From now on, a trapped call is written to `reportFd` and ends the process. */
export function reportTraps(reportFd: number): void {
  const { trapped, trappedFd } = SYSTEM_CALL_CODE[ARCHITECTURE.name];
  const code = trapped.slice();
  new DataView(code.buffer).setInt32(trappedFd, reportFd, true);
  const handler = Number(Deno.UnsafePointer.value(executable(code)));
  const memory = NativeMemory.allocate(4096);
  memory.setU64(SIGACTION.HANDLER, handler);
  memory.view.setUint32(SIGACTION.FLAGS, SA_SIGINFO, true);
  const result = status(libc.sigaction(SIGSYS, memory.pointerAt(0), null));
  if (result < 0) throw new Error(`Cannot handle SIGSYS: ${errnoName(result)}`);
}

/** The name of the call that a report is about; null if it is none. */
export function readTrap(report: Uint8Array): string | null {
  if (report.length !== TRAP_REPORT_SIZE) return null;
  const view = new DataView(report.buffer, report.byteOffset, report.length);
  if (view.getInt32(SIGINFO_SYS.SIGNO, true) !== SIGSYS) return null;
  const number = view.getInt32(SIGINFO_SYS.SYSCALL, true);
  const column = ARCHITECTURE.name === "x86_64" ? 0 : 1;
  const found = Object.entries(SYSTEM_CALLS).find(([, numbers]) => numbers[column] === number);
  return found === undefined ? `number ${number}` : found[0];
}
