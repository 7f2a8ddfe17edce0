/**
 * What an idle daemon costs: resident memory, and processor time over some seconds.
 *
 *     deno task bench:idle [SECONDS]
 *
 * @module
 */

import { TestProcess, waitUntil } from "../../tests/guest/process.ts";
import { exists } from "../../tests/guest/tools.ts";
import { processorTime } from "../guest/probe.ts";

const SECONDS = Number(Deno.args[0] ?? 5);
/** The promise. */
const RESIDENT_MIB_MAX = 100;
/** Time for the engine to finish compiling what start-up has run. */
const SETTLE_MS = 1500;
/** A thousandth of a processor: the measurement's own noise. */
const PROCESSOR_SHARE_MAX = 0.001;

interface Memory {
  readonly all: number;
  /** Without the executable's own pages, which all daemons of a host share. */
  readonly own: number;
}

function memoryOf(pid: number): Memory {
  const text = Deno.readTextFileSync(`/proc/${pid}/status`);
  const mib = (name: string) =>
    Number(text.match(new RegExp(`^${name}:\\s*(\\d+) kB`, "m"))?.[1] ?? NaN) / 1024;
  return { all: mib("VmRSS"), own: mib("RssAnon") + mib("RssShmem") };
}

async function measure(name: string, command: string, args: readonly string[]): Promise<boolean> {
  const dir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-bench-" });
  try {
    const socket = `${dir}/fs.sock`;
    await using process = new TestProcess({
      command,
      args: [...args, "--socket-path", socket, "--shared-dir", dir, "--log-level", "error"],
    });
    if (!await waitUntil(() => exists(socket), 30_000)) {
      throw new Error(`${name} does not start:\n${process.output}`);
    }
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const before = processorTime(process.pid);
    await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
    const share = (processorTime(process.pid) - before) / (SECONDS * 1e9);
    const { all, own } = memoryOf(process.pid);
    const ok = all < RESIDENT_MIB_MAX && share < PROCESSOR_SHARE_MAX;
    console.log(
      `${ok ? "ok  " : "FAIL"} ${name}: ${all.toFixed(1)} MiB resident, ${
        own.toFixed(1)
      } MiB of it ` +
        `not shared with other daemons, ${(share * 100).toFixed(3)} % of a processor`,
    );
    return ok;
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

const main = new URL("../../main.ts", import.meta.url).pathname;
const binary = new URL("../../dist/virtiofsd-ts", import.meta.url).pathname;
let isGood = await measure("deno run main.ts", Deno.execPath(), ["run", "-A", main]);
if (exists(binary)) isGood = await measure("dist/virtiofsd-ts", binary, []) && isGood;
else console.log("dist/virtiofsd-ts has not been made (deno task compile)");
Deno.exit(isGood ? 0 : 1);
