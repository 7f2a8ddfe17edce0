/**
 * Runs the guest suite by hand in a User Mode Linux guest.
 *
 *     deno run -A tests/guest/run_uml.ts [--target=virtiofs|hostfs|tmpfs] [--quick] [--posix] [--verbose]
 *         [--config=NAME] [--only=WORKLOAD,WORKLOAD]
 *
 * NAME is that of a configuration in `configurations.ts` (all when left out). The control targets run the same
 * workloads without a daemon: what fails there is a workload's mistake. `VIRTIOFSD_TS_PEER=rust` puts
 * Rust virtiofsd in the place of ours.
 *
 * @module
 */
import { CONFIGURATIONS } from "./configurations.ts";
import { runSession, type SessionReport, type Target } from "./session.ts";

function option(name: string): string | null {
  const found = Deno.args.find((arg) => arg === `--${name}` || arg.startsWith(`--${name}=`));
  return found === undefined ? null : found.slice(name.length + 3);
}

function print(report: SessionReport): boolean {
  for (const { name, ok, detail, ms } of report.outcomes) {
    console.log(
      `  ${ok ? "ok  " : "FAIL"} ${name} (${ms} ms)${detail === "" ? "" : `\n${detail}`}`,
    );
  }
  const failed = report.posix.filter((outcome) => !outcome.ok);
  if (report.posix.length > 0) {
    console.log(`  POSIX: ${report.posix.length - failed.length} ok, ${failed.length} failed`);
    for (const { name, detail } of failed) console.log(`    FAIL ${name}: ${detail}`);
  }
  const problems = [report.problem, report.daemonEndProblem].filter((problem) => problem !== null);
  for (const problem of problems) console.log(`  PROBLEM: ${problem}`);
  const isGood = problems.length === 0 && report.outcomes.every((outcome) => outcome.ok);
  if (!isGood || option("verbose") !== null) {
    console.log(`--- console ---\n${report.console}\n--- daemon ---\n${report.daemonOutput}`);
  }
  return isGood;
}

let isGood = true;
for (const configuration of CONFIGURATIONS) {
  const wanted = option("config");
  if (wanted !== null && wanted !== configuration.name) continue;
  const start = performance.now();
  console.log(configuration.name);
  const only = option("only");
  const report = await runSession({
    configuration,
    target: (option("target") ?? "virtiofs") as Target,
    isQuick: option("quick") !== null,
    posixSuite: option("posix") === null ? null : `${import.meta.dirname}/../posix/run.ts`,
    ...(only === null ? {} : { only: only.split(",") }),
  });
  isGood = print(report) && isGood;
  console.log(`  ${((performance.now() - start) / 1000).toFixed(1)} s`);
}
Deno.exit(isGood ? 0 : 1);
