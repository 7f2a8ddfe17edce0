/**
 * Runs the DAX guests by hand:
 *
 *     deno run -A tests/guest/newer_root.ts DIR       # once
 *     VIRTIOFSD_TS_DAX_ROOT=DIR deno run -A tests/guest/run_qemu_dax.ts [--verbose] [--only=BOOT] [--script=CHECKS] [DAEMON FLAG]...
 *
 * `--only` takes the beginning of a boot's name. `--script` gives shell text to run in the place of the boot's own
 * checks; `probe`, `timed` and the other functions of `qemu_dax_workload.ts` are there.
 *
 * @module
 */
import { findDaxTools } from "./qemu_dax.ts";
import { runDaxSession } from "./qemu_dax_session.ts";
import { DAX_BOOTS, withScript } from "./qemu_dax_workload.ts";

const tools = await findDaxTools();
if (typeof tools === "string") {
  console.error(`Cannot boot a DAX guest: ${tools}`);
  Deno.exit(1);
}
console.log(`QEMU ${tools.qemu}, kernel ${tools.version}`);
const isVerbose = Deno.args.includes("--verbose");
const valueOf = (name: string) =>
  Deno.args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
const flags = Deno.args.filter((arg) => !/^--(verbose$|only=|script=)/.test(arg));
const only = valueOf("only") ?? "";
const script = valueOf("script");
let isGood = true;
for (const boot of DAX_BOOTS.filter(({ name }) => name.startsWith(only))) {
  console.log(`== ${boot.name}`);
  const report = await runDaxSession(
    tools,
    script === undefined ? boot : withScript(boot, script),
    flags,
  );
  for (const line of [...report.checks, ...report.facts]) console.log(`  ${line}`);
  const isBootGood = report.problems.length === 0 &&
    report.checks.every((line) => line.startsWith("ok "));
  if (!isBootGood || isVerbose) {
    console.log(`--- console ---\n${report.console}\n--- daemon ---\n${report.daemonOutput}`);
  }
  for (const problem of report.problems) console.log(`PROBLEM: ${problem}`);
  console.log(`${isBootGood ? "all good" : "failed"} in ${report.seconds.toFixed(0)} s`);
  isGood &&= isBootGood;
}
Deno.exitCode = isGood ? 0 : 1;
