import { deepEqual, equal, match } from "node:assert/strict";
import { systemCallNumber } from "../../src/sys/architecture.ts";
import type { SystemCallName } from "../../src/wire/system_calls.ts";

const SCRIPT = new URL("./forbidden_call.ts", import.meta.url).pathname;
const SIGSYS = 31;

const NAMES: readonly SystemCallName[] = [
  ...["execve", "execveat", "ptrace", "mount", "pivot_root", "chroot", "unshare", "setns"] as const,
  ...["open_by_handle_at", "bpf", "keyctl", "io_uring_setup", "userfaultfd", "kexec_load"] as const,
  ...["process_vm_writev", "pidfd_getfd", "connect", "seccomp"] as const,
];

async function run(...args: string[]): Promise<Deno.CommandOutput> {
  return await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", SCRIPT, ...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
}

for (const name of NAMES) {
  Deno.test(`--seccomp trap: ${name} ends the process and is named`, async () => {
    const { code, stdout, stderr } = await run("trap", name, "main");
    equal(code, 128 + SIGSYS, new TextDecoder().decode(stderr));
    const report = new DataView(stdout.buffer, stdout.byteOffset, stdout.length);
    deepEqual(
      [stdout.length, report.getInt32(0, true), report.getInt32(24, true)],
      [32, SIGSYS, systemCallNumber(name)],
    );
  });
}

Deno.test("--seccomp kill ends the process by SIGSYS", async () => {
  equal((await run("kill", "execve", "main")).signal, "SIGSYS");
});

Deno.test("--seccomp kill: threads from before the filter have it, too", async () => {
  equal((await run("kill", "mount", "worker")).signal, "SIGSYS");
});

Deno.test("--seccomp log and none let a call pass to the kernel, which refuses it", async () => {
  for (const action of ["log", "none"]) {
    const { code, stderr } = await run(action, "execve", "main");
    equal(code, 0);
    match(new TextDecoder().decode(stderr), /execve returned -1/);
  }
});

Deno.test("a socket cannot be made, which ends nobody: libc tries when the system log has gone", async () => {
  const { code, stderr } = await run("kill", "socket", "main");
  equal(code, 0);
  match(new TextDecoder().decode(stderr), /socket returned -1/);
});
