/**
 * The guest's side of a guest test: runs inside the guest, on the mount, and tells the host how it went.
 *
 * Usage: `deno run -A inside.ts MOUNT CONTROL SCRATCH`
 *
 * @module
 */
import { GuestControl, type Plan } from "./control.ts";
import { missingPosixNeeds } from "./posix_needs.ts";
import { WORKLOADS } from "./workloads/all.ts";
import type { GuestSide, Workload } from "./workloads/workload.ts";

function kernelVersion(): [number, number] {
  const [major, minor] = Deno.osRelease().split(".");
  return [Number(major), Number(minor)];
}

async function runWorkload(control: GuestControl, workload: Workload, guest: GuestSide) {
  const { name } = workload;
  control.record({ kind: "start", name });
  const start = performance.now();
  const end = (ok: boolean, detail: string, facts = {}) => {
    const ms = Math.round(performance.now() - start);
    control.record({ kind: "end", name, ok, detail, ms, facts });
    console.log(`${ok ? "ok  " : "FAIL"} ${name} (${ms} ms)${detail === "" ? "" : ": " + detail}`);
  };
  try {
    end(true, "", await workload.run(guest) ?? {});
  } catch (error) {
    end(false, error instanceof Error ? error.stack ?? error.message : String(error));
  }
}

/** The POSIX suite's lines are copied as they are; the host compares them. */
async function runPosixSuite(script: string, dir: string, without: string[]): Promise<string> {
  const options = without.length === 0 ? [] : ["--without", without.join(",")];
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-config",
      "--no-lock",
      "--no-remote",
      script,
      dir,
      "--json",
      ...options,
    ],
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (stderr.length > 0) console.log(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

async function main(mount: string, controlDir: string, scratch: string): Promise<void> {
  const control = new GuestControl(controlDir);
  const plan: Plan = control.plan();
  for (const workload of WORKLOADS) {
    const { name } = workload;
    if (!plan.workloads.includes(name)) continue;
    Deno.mkdirSync(`${scratch}/${name}`, { recursive: true });
    await runWorkload(control, workload, {
      dir: `${mount}/${name}`,
      scratch: `${scratch}/${name}`,
      configuration: plan.configuration,
      kernel: kernelVersion(),
      isVirtiofs: plan.isVirtiofs,
      bigFileBytes: plan.bigFileBytes,
      host: (action) => control.ask(name, action),
    });
    Deno.removeSync(`${scratch}/${name}`, { recursive: true });
  }
  if (plan.posixSuite !== null) {
    const lines = await runPosixSuite(
      plan.posixSuite,
      `${mount}/posix`,
      missingPosixNeeds(plan.configuration, kernelVersion()),
    );
    using file = Deno.openSync(`${controlDir}/posix.jsonl`, { write: true, create: true });
    const bytes = new TextEncoder().encode(lines);
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    file.syncSync();
  }
  control.record({ kind: "done" });
}

const [mount, controlDir, scratch] = Deno.args;
await main(mount!, controlDir!, scratch!);
