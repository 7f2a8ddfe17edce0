/**
 * `--seccomp`: the system call filter of this process, on all its threads.
 *
 * @module
 */

import type { SeccompAction } from "../isolation_config.ts";
import { ARCHITECTURE, systemCallNumber } from "../sys/architecture.ts";
import { errnoName } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import {
  AUDIT_ARCH_AARCH64,
  AUDIT_ARCH_X86_64,
  SECCOMP_FILTER_FLAG_TSYNC,
  SECCOMP_RET_KILL_PROCESS,
  SECCOMP_RET_LOG,
  SECCOMP_RET_TRAP,
  SECCOMP_SET_MODE_FILTER,
  SOCK_FILTER,
  SOCK_FPROG,
} from "../wire/isolation.ts";
import { SYSTEM_CALLS, type SystemCallName } from "../wire/system_calls.ts";
import { type Decision, decisionProgram, encodeProgram, type Instruction } from "./bpf.ts";
import { type FilterOptions, filterRules } from "./filter_rules.ts";
import { reportTraps } from "./trap.ts";

/** Actions by their option. */
const ACTIONS: Readonly<Record<Exclude<SeccompAction, "none">, number>> = {
  kill: SECCOMP_RET_KILL_PROCESS,
  log: SECCOMP_RET_LOG,
  trap: SECCOMP_RET_TRAP,
};

/** The filter for an architecture. */
export function filterProgram(
  architecture: "x86_64" | "aarch64",
  action: Exclude<SeccompAction, "none">,
  options: FilterOptions,
): Instruction[] {
  const table = new Map<number, Decision>();
  for (const [name, decision] of filterRules(options)) {
    const number = numberOf(name, architecture);
    if (number !== null) table.set(number, decision);
  }
  const audit = architecture === "x86_64" ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_AARCH64;
  return decisionProgram(audit, table, ACTIONS[action], SECCOMP_RET_KILL_PROCESS);
}

/** Installs the filter. Needs no_new_privs. `reportFd` is where trapped calls are reported. */
export function installFilter(
  action: SeccompAction,
  options: { readonly usesFileHandles: boolean; readonly reportFd: number },
): void {
  if (action === "none") return;
  if (action === "trap") reportTraps(options.reportFd);
  const { usesFileHandles } = options;
  const program = filterProgram(ARCHITECTURE.name, action, { usesFileHandles, pid: libc.getpid() });
  const bytes = encodeProgram(program);
  const memory = NativeMemory.allocate(SOCK_FPROG.SIZE + bytes.length);
  memory.view.setUint16(SOCK_FPROG.LEN, bytes.length / SOCK_FILTER.SIZE, true);
  memory.setU64(SOCK_FPROG.FILTER, memory.address + SOCK_FPROG.SIZE);
  memory.u8.set(bytes, SOCK_FPROG.SIZE);
  const number = systemCallNumber("seccomp")!;
  const result = status(
    libc.seccomp(
      number,
      SECCOMP_SET_MODE_FILTER,
      SECCOMP_FILTER_FLAG_TSYNC,
      memory.pointerAt(0),
    ),
  );
  if (result < 0) {
    throw new Error(
      `--seccomp ${action}: the filter is refused: ${
        errnoName(result)
      }; without one: --seccomp none`,
    );
  }
  // The thread that cannot be synchronised, of which there is none: new ones inherit no_new_privs and the lack of a filter.
  if (result > 0) throw new Error(`--seccomp ${action}: thread ${result} has another filter`);
}

function numberOf(name: SystemCallName, architecture: "x86_64" | "aarch64"): number | null {
  return SYSTEM_CALLS[name][architecture === "x86_64" ? 0 : 1];
}
