/**
 * Runs the core workload by hand in a QEMU guest (TCG, no KVM needed) with four processors and four request
 * queues:
 *
 *     deno run -A tests/guest/run_qemu.ts [--verbose] [DAEMON FLAG]...
 *
 * On Debian 12: `apt-get install qemu-system-x86 linux-image-cloud-amd64 busybox-static`. Other places
 * for QEMU and the kernel: `VIRTIOFSD_TS_QEMU=PROGRAM`, `VIRTIOFSD_TS_KERNEL=IMAGE` (its modules in /lib/modules), or
 * `VIRTIOFSD_TS_GUEST_ROOT=DIR`, a directory tree of a newer distribution that holds both.
 * `VIRTIOFSD_TS_PEER=rust` puts Rust virtiofsd in the place of ours.
 *
 * @module
 */
import { Daemon, isRustPeer } from "./daemon.ts";
import { bootQemu, findQemuTools, type QemuTools } from "./qemu.ts";
import { prepareQemuShare, QEMU_SCRIPT, verifyQemuShare } from "./qemu_workload.ts";

const REQUEST_QUEUES = 4;

/** Boots, works, verifies; true if everything was as it must be. */
async function runQemu(tools: QemuTools, workDir: string, flags: string[]): Promise<boolean> {
  const sharedDir = `${workDir}/shared`;
  const socketPath = `${workDir}/fs.sock`;
  Deno.mkdirSync(sharedDir);
  prepareQemuShare(sharedDir);
  const queueFlags = isRustPeer ? [] : [`--num-request-queues=${REQUEST_QUEUES}`];
  await using daemon = await Daemon.start({
    socketPath,
    sharedDir,
    flags: [...queueFlags, ...flags],
  });
  const result = await bootQemu(tools, {
    workDir,
    socketPath,
    script: QEMU_SCRIPT,
    processors: 4,
    requestQueues: isRustPeer ? 1 : REQUEST_QUEUES,
    timeoutMs: 120_000,
  });
  for (const line of result.lines) console.log(`  ${line}`);
  const problems = result.lines.filter((line) => line.startsWith("FAIL"));
  if (!result.isHalted) problems.push("the guest did not power off");
  const endProblem = await daemon.orderlyEnd();
  if (endProblem !== null) problems.push(endProblem);
  if (problems.length === 0) verifyQemuShare(sharedDir);
  if (problems.length > 0 || Deno.args.includes("--verbose")) {
    console.log(`--- console ---\n${result.console}\n--- daemon ---\n${daemon.output}`);
  }
  for (const problem of problems) console.log(`PROBLEM: ${problem}`);
  return problems.length === 0;
}

const tools = findQemuTools();
if (typeof tools === "string") {
  console.error(`Cannot boot a QEMU guest: ${tools}`);
  Deno.exit(1);
}
console.log(`QEMU ${tools.qemu}, kernel ${tools.version}`);
const workDir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-qemu-" });
try {
  const isGood = await runQemu(tools, workDir, Deno.args.filter((arg) => arg !== "--verbose"));
  console.log(isGood ? "all good" : "failed");
  Deno.exitCode = isGood ? 0 : 1;
} finally {
  Deno.removeSync(workDir, { recursive: true });
}
