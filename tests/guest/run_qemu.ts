/**
 * Runs the core workload by hand in a QEMU guest (TCG, no KVM needed) with four processors and four request
 * queues:
 *
 *     deno run -A tests/guest/run_qemu.ts [--verbose] [DAEMON FLAG]...
 *
 * On Debian 12: `apt-get install qemu-system-x86 linux-image-cloud-amd64 busybox-static`. Other places
 * for QEMU and the kernel: `VIRTIOFSD_TS_QEMU=PROGRAM`, `VIRTIOFSD_TS_KERNEL=ROOT/boot/vmlinuz-VERSION` (its modules in ROOT/lib/modules), or
 * `VIRTIOFSD_TS_GUEST_ROOT=DIR`, a directory tree of a newer distribution that holds both.
 * `VIRTIOFSD_TS_PEER=rust` puts Rust virtiofsd in the place of ours.
 *
 * @module
 */
import { findQemuTools } from "./qemu.ts";
import { runQemuSession } from "./qemu_session.ts";

const tools = findQemuTools();
if (typeof tools === "string") {
  console.error(`Cannot boot a QEMU guest: ${tools}`);
  Deno.exit(1);
}
console.log(`QEMU ${tools.qemu}, kernel ${tools.version}`);
const isVerbose = Deno.args.includes("--verbose");
const report = await runQemuSession(tools, Deno.args.filter((arg) => arg !== "--verbose"));
for (const line of report.lines) console.log(`  ${line}`);
if (report.problems.length > 0 || isVerbose) {
  console.log(`--- console ---\n${report.console}\n--- daemon ---\n${report.daemonOutput}`);
}
for (const problem of report.problems) console.log(`PROBLEM: ${problem}`);
console.log(report.problems.length === 0 ? "all good" : "failed");
Deno.exitCode = report.problems.length === 0 ? 0 : 1;
