/**
 * The same work in one User Mode Linux guest on directories served by different daemons, turn about.
 *
 *     deno task bench:guest [--daemon ours,rust] [--rounds 15] [--quick] [--rows NAME,NAME] [--jobs 1,4]
 *         [--json FILE] [--dir DIR] [--virtiofsd PATH] [--flags='--cache always'] [--ours-flags='--poll-us 20']
 *
 * `--daemon` takes `ours` (this checkout), `binary` (dist/virtiofsd-ts), `rust` (without sandbox, seccomp and file
 * handles), `rust-defaults` and `hostfs` (no daemon: the guest kernel calls the host itself). The ratio is that of
 * the first two. Rust virtiofsd does not survive UML 6.1, see README.md.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { bootUml } from "../../tests/guest/uml.ts";
import { hostPrefix, umlObstacle } from "../../tests/guest/tools.ts";
import { findRust, Peer, type PeerKind } from "./peers.ts";
import type { Measurement, Plan } from "./plan.ts";
import { ProbeHost, processorTime } from "./probe.ts";
import { LARGE_DIRECTORY_COUNT, withNeeds } from "./rows.ts";
import { figures, tableText } from "./table.ts";

const { values: options } = parseArgs({
  options: {
    daemon: { type: "string", default: "ours,rust" },
    rounds: { type: "string", default: "15" },
    quick: { type: "boolean", default: false },
    rows: { type: "string" },
    jobs: { type: "string", default: "1,4" },
    json: { type: "string" },
    dir: { type: "string", default: "/dev/shm" },
    virtiofsd: { type: "string", default: Deno.env.get("VIRTIOFSD_TS_RUST") ?? "" },
    flags: { type: "string", default: "" },
    "ours-flags": { type: "string", default: "" },
    verbose: { type: "boolean", default: false },
  },
});

const MIB = 1024 * 1024;
const KINDS: readonly string[] = [
  "ours",
  "ours-defaults",
  "binary",
  "rust",
  "rust-defaults",
  "hostfs",
];
const rustPath = options.virtiofsd === "" ? null : options.virtiofsd;

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

/** The daemons asked for; those that are not installed are left out with a word. */
function chosenTargets(): string[] {
  const targets = options.daemon.split(",");
  const unknown = targets.find((target) => !KINDS.includes(target));
  if (unknown !== undefined) {
    console.error(`No such daemon: ${unknown}. There are ${KINDS.join(", ")}.`);
    Deno.exit(2);
  }
  const isThere = (target: string) => !target.startsWith("rust") || findRust(rustPath) !== null;
  for (const target of targets) {
    if (!isThere(target)) console.error(`Left out: ${target}; Rust virtiofsd is not installed`);
  }
  return targets.filter(isThere);
}

function parseRows(): string[] | null {
  try {
    return options.rows === undefined ? null : withNeeds(options.rows.split(","));
  } catch (error) {
    console.error((error as Error).message);
    Deno.exit(2);
  }
}

const chosenRows = parseRows();

function makePlan(
  targets: readonly string[],
): Omit<Plan, "targets"> & { names: readonly string[] } {
  return {
    names: targets,
    // The first round is not counted, see figures().
    rounds: 1 + (options.quick ? 3 : Number(options.rounds)),
    amounts: options.quick
      ? { files: 200, randomOperations: 400, fileSize: 32 * MIB }
      : { files: 600, randomOperations: 1200, fileSize: 64 * MIB },
    jobCounts: options.jobs.split(",").map(Number),
    rows: chosenRows,
  };
}

function fillLargeDirectory(dir: string): void {
  Deno.mkdirSync(dir);
  for (let i = 0; i < LARGE_DIRECTORY_COUNT; i++) Deno.createSync(`${dir}/file-${i}`).close();
}

function guestScript(workDir: string, dataDir: string, targets: readonly string[]): string {
  const inside = new URL("./inside.ts", import.meta.url).pathname;
  const mounts = targets.map((name) =>
    name === "hostfs"
      ? `"$b" mount -t hostfs -o ${hostPrefix}${dataDir}/hostfs none $GUEST/hostfs`
      : `"$b" mount -t virtiofs ${name} $GUEST/${name}`
  );
  return `
"$b" mkdir -p $GUEST/control ${targets.map((name) => `$GUEST/${name}`).join(" ")}
"$b" mount -t hostfs -o ${hostPrefix}${workDir}/control none $GUEST/control
${mounts.join("\n")}
"$b" uname -r > $GUEST/control/kernel
"$b" sed "s,@GUEST@,$GUEST,g" $GUEST/control/plan.template > $GUEST/control/plan.json
DENO_DIR=$GUEST/deno NO_COLOR=1 DENO_NO_UPDATE_CHECK=1 "${Deno.execPath()}" run -A \\
  --no-config --no-lock --no-remote "${inside}" $GUEST/control 2>&1
echo "bench: ended with $?"
"$b" sync
`;
}

function readRecords(path: string): Measurement[] {
  try {
    return Deno.readTextFileSync(path).trim().split("\n").filter((line) => line !== "")
      .map((line) => JSON.parse(line));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

async function measure(
  workDir: string,
  dataDir: string,
  targets: readonly string[],
): Promise<{ measurements: Measurement[]; kernel: string }> {
  const controlDir = `${workDir}/control`;
  Deno.mkdirSync(controlDir);
  const { names: _, ...plan } = makePlan(targets);
  const targetPlans = targets.map((name) => ({ name, mount: `@GUEST@/${name}` }));
  const template: Plan = { ...plan, targets: targetPlans };
  Deno.writeTextFileSync(`${controlDir}/plan.template`, JSON.stringify(template));
  await using stack = new AsyncDisposableStack();
  const peers: Peer[] = [];
  const sockets: string[] = [];
  for (const name of targets) {
    const sharedDir = `${dataDir}/${name}`;
    Deno.mkdirSync(sharedDir);
    fillLargeDirectory(`${sharedDir}/large-directory`);
    if (name === "hostfs") continue;
    const socketPath = `${workDir}/${name}.sock`;
    sockets.push(socketPath);
    const isOurs = name === "ours" || name === "binary";
    const flags = [...words(options.flags), ...(isOurs ? words(options["ours-flags"]) : [])];
    peers.push(
      stack.use(
        await Peer.start({ name, kind: name as PeerKind, socketPath, sharedDir, flags, rustPath }),
      ),
    );
  }
  stack.use(
    new ProbeHost(
      controlDir,
      () => Object.fromEntries(peers.map(({ name, pid }) => [name, processorTime(pid)])),
    ),
  );
  const result = await bootUml({
    workDir,
    sockets,
    script: guestScript(workDir, dataDir, targets),
    timeoutMs: 3_600_000,
    watch: () => null,
  });
  if (options.verbose || !result.console.includes("bench: ended with 0")) {
    console.error(result.console);
    for (const peer of peers) console.error(`--- ${peer.name} ---\n${peer.output}`);
  }
  const measurements = readRecords(`${controlDir}/records.jsonl`);
  return { measurements, kernel: Deno.readTextFileSync(`${controlDir}/kernel`).trim() };
}

function machine(kernel: string): string {
  const cpu = Deno.readTextFileSync("/proc/cpuinfo").match(/^model name\s*:\s*(.*)$/m)?.[1] ?? "?";
  const [load] = Deno.loadavg();
  return `${
    new Date().toISOString().slice(0, 10)
  }, ${cpu}, ${navigator.hardwareConcurrency} cores, ` +
    `host Linux ${Deno.osRelease()}, guest UML ${kernel}, Deno ${Deno.version.deno}, ` +
    `load ${load!.toFixed(1)}, flags "${options.flags}", ours "${options["ours-flags"]}"`;
}

async function main(): Promise<void> {
  const obstacle = umlObstacle();
  if (obstacle !== null) {
    console.error(`Cannot run the guest: ${obstacle}`);
    Deno.exit(1);
  }
  const targets = chosenTargets();
  const workDir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-bench-" });
  const dataDir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-bench-", dir: options.dir });
  try {
    const { measurements, kernel } = await measure(workDir, dataDir, targets);
    const rows = figures(measurements, targets);
    const where = machine(kernel);
    console.log(`${where}\n\n${tableText(rows, targets)}`);
    if (options.json !== undefined) {
      Deno.writeTextFileSync(
        options.json,
        JSON.stringify({ machine: where, rows, measurements }, null, 1),
      );
    }
  } finally {
    await new Deno.Command("rm", { args: ["-rf", workDir, dataDir] }).output();
  }
}

await main();
