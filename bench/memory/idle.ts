/**
 * What an idle daemon costs: memory (PSS), and processor time over some seconds.
 *
 *     deno task bench:idle [SECONDS]
 *
 * @module
 */

import { TestProcess, waitUntil } from "../../tests/guest/process.ts";
import { exists } from "../../tests/guest/tools.ts";
import { processorTime, withChildren } from "../guest/probe.ts";

const SECONDS = Number(Deno.args[0] ?? 5);
/** The promise, for each process of a daemon. */
const PROCESS_MIB_MAX = 100;
/** Time for the engine to finish compiling what start-up has run. */
const SETTLE_MS = 1500;
/** A thousandth of a processor: the measurement's own noise. */
const PROCESSOR_SHARE_MAX = 0.001;

interface Memory {
  /** Pages that several processes share count in part. */
  readonly all: number;
  /** Without the executable's own pages, which all daemons of a host share. */
  readonly own: number;
}

function memoryOf(pid: number): Memory {
  const text = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
  const mib = (name: string) =>
    Number(text.match(new RegExp(`^${name}:\\s*(\\d+) kB`, "m"))?.[1] ?? NaN) / 1024;
  return { all: mib("Pss"), own: mib("Pss_Anon") + mib("Pss_Shmem") };
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
    const processes = withChildren(process.pid).map(memoryOf);
    const ok = processes.every(({ all }) => all < PROCESS_MIB_MAX) && share < PROCESSOR_SHARE_MAX;
    const figures = processes.map(({ all, own }) =>
      `${all.toFixed(1)} MiB (own ${own.toFixed(1)})`
    );
    console.log(
      `${ok ? "ok  " : "FAIL"} ${name}: ${figures.join(" + ")}, ` +
        `${(share * 100).toFixed(3)} % of a processor`,
    );
    return ok;
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

const main = new URL("../../main.ts", import.meta.url).pathname;
const binary = new URL("../../dist/virtiofsd-ts", import.meta.url).pathname;
const bare = ["--sandbox", "none", "--seccomp", "none"];
const daemons = [["deno run main.ts", Deno.execPath(), ["run", "-A", main]]] as [
  string,
  string,
  string[],
][];
if (exists(binary)) daemons.push(["dist/virtiofsd-ts", binary, []]);
else console.log("dist/virtiofsd-ts has not been made (deno task compile)");
let isGood = true;
for (const [name, command, args] of daemons) {
  isGood = await measure(`${name}, in its sandbox`, command, args) && isGood;
  isGood = await measure(`${name} ${bare.join(" ")}`, command, [...args, ...bare]) && isGood;
}
Deno.exit(isGood ? 0 : 1);
