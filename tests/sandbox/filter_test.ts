import { equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { type Decision, decisionProgram, encodeProgram } from "../../src/sandbox/bpf.ts";
import { filterProgram } from "../../src/sandbox/filter.ts";
import { SYSTEM_CALLS, type SystemCallName } from "../../src/wire/system_calls.ts";
import { runFilter } from "./bpf_machine.ts";

/** linux/seccomp.h and linux/audit.h, as the manual pages have them. */
const KILL_PROCESS = 0x80000000;
const TRAP = 0x00030000;
const LOG = 0x7ffc0000;
const ALLOW = 0x7fff0000;
const ERRNO = 0x00050000;
const ENOSYS = 38;
const EPERM = 1;
const X86_64 = 0xc000003e;
const AARCH64 = 0xc00000b7;

const MACHINES = [["x86_64", X86_64, 0], ["aarch64", AARCH64, 1]] as const;
const OPTIONS = { usesFileHandles: true, pid: 7 };

/** What a daemon must not do, by name. */
const FORBIDDEN: readonly SystemCallName[] = [
  ...["execve", "execveat", "ptrace", "mount", "umount2", "pivot_root", "chroot"] as const,
  ...["open_tree", "move_mount", "fsopen", "fsmount", "bpf", "keyctl", "add_key"] as const,
  ...["request_key", "io_uring_setup", "userfaultfd", "kexec_load", "seccomp"] as const,
  ...["pidfd_open", "pidfd_getfd", "perf_event_open", "init_module"] as const,
  ...["finit_module", "delete_module", "reboot", "swapon", "setns", "unshare"] as const,
  ...["personality", "setuid", "setgid", "fork", "vfork", "connect", "bind", "listen"] as const,
  ...["process_vm_readv", "process_vm_writev", "kill", "chdir", "fchdir"] as const,
];

for (const [machine, architecture, column] of MACHINES) {
  const program = encodeProgram(filterProgram(machine, "kill", OPTIONS));
  const decide = (name: SystemCallName, ...args: bigint[]): number =>
    runFilter(program, { number: SYSTEM_CALLS[name][column]!, architecture, arguments: args });

  Deno.test(`${machine}: what a daemon does not do is not let pass`, () => {
    for (const name of FORBIDDEN) {
      if (SYSTEM_CALLS[name][column] !== null) equal(decide(name), KILL_PROCESS, name);
    }
    equal(decide("socket"), ERRNO | EPERM);
  });

  Deno.test(`${machine}: what it does is`, () => {
    for (const name of ["openat", "preadv", "pwritev", "statx", "futex", "mmap"] as const) {
      equal(decide(name), ALLOW, name);
    }
  });

  Deno.test(`${machine}: threads are made, processes are not`, () => {
    equal(decide("clone", 0x3d0f00n), ALLOW, "a thread of libc's");
    equal(decide("clone", 17n), KILL_PROCESS, "fork: SIGCHLD");
    equal(decide("clone", 0x10000000n | 17n), KILL_PROCESS, "a user namespace");
    for (const flag of [0x20000n, 0x2000000n, 0x10000000n, 0x40000000n]) {
      equal(decide("clone", 0x3d0f00n | flag), KILL_PROCESS, "a thread with a namespace");
    }
    equal(decide("clone3"), ERRNO | ENOSYS);
  });

  Deno.test(`${machine}: arguments are looked at whole`, () => {
    equal(decide("prctl", 15n), ALLOW, "a thread's name");
    equal(decide("prctl", 22n), KILL_PROCESS, "seccomp");
    equal(decide("prctl", 15n | (1n << 32n)), KILL_PROCESS, "upper half");
    for (const command of [0n, 1n, 2n, 3n, 4n, 36n, 37n, 1030n]) {
      equal(decide("fcntl", 5n, command), ALLOW, `command ${command}`);
    }
    for (const command of [8n, 10n, 15n, 1024n, 1026n]) {
      equal(decide("fcntl", 5n, command), KILL_PROCESS, "signals, leases, notices");
    }
    equal(decide("tgkill", 7n), ALLOW);
    equal(decide("tgkill", 8n), KILL_PROCESS);
    equal(decide("prlimit64", 0n, 7n, 0n), ALLOW);
    equal(decide("prlimit64", 0n, 7n, 0x7fff_0000_0000n), KILL_PROCESS, "a new limit");
    equal(decide("prlimit64", 9n, 7n, 0n), KILL_PROCESS, "somebody else's");
    equal(decide("ioctl", 1n, 0x5401n), ALLOW, "is it a terminal?");
    equal(decide("ioctl", 1n, 0x5412n), KILL_PROCESS, "TIOCSTI");
  });

  Deno.test(`${machine}: another architecture's calls end the process, whatever the action`, () => {
    const other = architecture === X86_64 ? 0x40000003 : 0x40000028;
    for (const action of ["kill", "log", "trap"] as const) {
      const code = encodeProgram(filterProgram(machine, action, OPTIONS));
      for (const number of [0, 1, 59, 1000]) {
        equal(runFilter(code, { number, architecture: other }), KILL_PROCESS);
      }
    }
    // x32: x86-64's own numbers with bit 30.
    equal(runFilter(program, { number: 0x40000000, architecture }), KILL_PROCESS);
  });

  Deno.test(`${machine}: the action is for what is missing in the table`, () => {
    const number = SYSTEM_CALLS.execve[column];
    for (const [action, value] of [["kill", KILL_PROCESS], ["log", LOG], ["trap", TRAP]] as const) {
      const code = encodeProgram(filterProgram(machine, action, OPTIONS));
      equal(runFilter(code, { number, architecture }), value);
      equal(runFilter(code, { number: 0xffffffff, architecture }), value);
    }
  });

  Deno.test(`${machine}: file handles are opened where they are used`, () => {
    const without = encodeProgram(
      filterProgram(machine, "kill", { ...OPTIONS, usesFileHandles: false }),
    );
    const number = SYSTEM_CALLS.open_by_handle_at[column];
    equal(runFilter(without, { number, architecture }), KILL_PROCESS);
    equal(decide("open_by_handle_at"), ALLOW);
  });
}

Deno.test("a program decides as its table does, for any table", () => {
  const actions = [ALLOW, TRAP, ERRNO | EPERM];
  const decision = fc.record({
    action: fc.constantFrom(...actions),
    tests: fc.array(
      fc.record({
        index: fc.nat(5),
        mask: fc.option(fc.constantFrom(1, 0x10000, 0xffffffff), { nil: undefined }),
        values: fc.uniqueArray(fc.nat(20), { minLength: 1, maxLength: 4 }),
      }),
      { maxLength: 2 },
    ),
  });
  const table = fc.uniqueArray(fc.tuple(fc.nat(500), decision), {
    selector: ([number]) => number,
    maxLength: 90,
  });
  const call = fc.tuple(fc.nat(520), fc.array(fc.nat(21), { minLength: 6, maxLength: 6 }));
  fc.assert(
    fc.property(table, fc.array(call, { minLength: 20 }), (rows, calls) => {
      const map = new Map(rows as [number, Decision][]);
      const program = encodeProgram(decisionProgram(X86_64, map, KILL_PROCESS, LOG));
      ok(program.length > 0);
      for (const [number, args] of calls) {
        const found = map.get(number);
        const passes = found !== undefined &&
          (found.tests ?? []).every(({ index, mask, values }) =>
            values.includes(mask === undefined ? args[index]! : (args[index]! & mask) >>> 0)
          );
        const expected = passes ? found.action : KILL_PROCESS;
        const seen = { number, architecture: X86_64, arguments: args.map(BigInt) };
        equal(runFilter(program, seen), expected);
      }
    }),
    { numRuns: 200 },
  );
});
