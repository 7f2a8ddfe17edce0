/**
 * One configuration from end to end: a fresh shared directory, a daemon, a booted guest that runs the
 * workloads, and the host's look at what they left.
 *
 * @module
 */
import { daemonFlags, type GuestConfiguration } from "./configurations.ts";
import { type GuestRecord, HostControl, type Plan, readJsonLines } from "./control.ts";
import { Daemon, isRustPeer, TAG } from "./daemon.ts";
import { hostPrefix } from "./tools.ts";
import { bootUml, type UmlResult } from "./uml.ts";
import { WORKLOADS } from "./workloads/all.ts";
import type { Workload } from "./workloads/workload.ts";

/** What the guest mounts: the daemon's device, or a control target that has no daemon. */
export type Target = "virtiofs" | "hostfs" | "tmpfs";

/** How to run a configuration. */
export interface SessionOptions {
  readonly configuration: GuestConfiguration;
  readonly target?: Target;
  /** Only the workloads with these names. */
  readonly only?: readonly string[];
  readonly isQuick?: boolean;
  /** The POSIX suite's script, to be run on the mount as well. */
  readonly posixSuite?: string | null;
  readonly timeoutMs?: number;
}

/** One workload's outcome. */
export interface WorkloadOutcome {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly ms: number;
}

/** One line of the POSIX suite. */
export interface PosixOutcome {
  readonly name: string;
  readonly ok: boolean;
  readonly detail?: string;
}

/** What a session found. */
export interface SessionReport {
  readonly outcomes: readonly WorkloadOutcome[];
  readonly posix: readonly PosixOutcome[];
  /** Why the session as a whole went wrong, or null. */
  readonly problem: string | null;
  /** How the daemon's end went wrong, or null. */
  readonly daemonEndProblem: string | null;
  readonly console: string;
  readonly daemonOutput: string;
}

const MIB = 1024 * 1024;

/** The workloads of a configuration, in order. */
export function workloadsFor(configuration: GuestConfiguration): Workload[] {
  return WORKLOADS.filter((workload) =>
    (workload.core || configuration.workloads === "full") &&
    (!configuration.readonly || workload.name === "read-only") &&
    (workload.notFor?.(configuration) ?? null) === null
  );
}

function bigFileBytes(options: SessionOptions): number {
  if (options.isQuick === true) return 32 * MIB;
  return options.configuration.workloads === "full" ? 1024 * MIB : 128 * MIB;
}

function guestScript(workDir: string, target: Target): string {
  const inside = `${import.meta.dirname}/inside.ts`;
  const mount = {
    virtiofs: `"$b" mount -t virtiofs ${TAG} $GUEST/mount`,
    hostfs: `"$b" mount -t hostfs -o ${hostPrefix}${workDir}/shared none $GUEST/mount`,
    tmpfs: `"$b" mount -t tmpfs none $GUEST/mount && cp -a ${workDir}/shared/. $GUEST/mount/`,
  }[target];
  return `
mkdir $GUEST/mount $GUEST/control $GUEST/scratch
chmod 1777 $GUEST/scratch
"$b" mount -t hostfs -o ${hostPrefix}${workDir}/control none $GUEST/control || echo "init: no control directory"
if ${mount}; then
  DENO_DIR=$GUEST/deno NO_COLOR=1 DENO_NO_UPDATE_CHECK=1 "${Deno.execPath()}" run -A \\
    --no-config --no-lock --no-remote "${inside}" $GUEST/mount $GUEST/control $GUEST/scratch 2>&1
  echo "init: workloads ended with $?"
  "$b" umount $GUEST/mount || echo "init: cannot unmount"
else
  echo "init: cannot mount"
fi
"$b" sync
`;
}

async function prepare(workloads: readonly Workload[], sharedDir: string, options: SessionOptions) {
  const { configuration } = options;
  Deno.mkdirSync(sharedDir);
  Deno.chmodSync(sharedDir, 0o755);
  for (const workload of workloads) {
    const dir = `${sharedDir}/${workload.name}`;
    Deno.mkdirSync(dir);
    Deno.chmodSync(dir, 0o755);
    await workload.prepare?.({ dir, configuration });
  }
  Deno.mkdirSync(`${sharedDir}/posix`);
  Deno.chmodSync(`${sharedDir}/posix`, 0o755);
}

async function verify(
  workload: Workload,
  records: readonly GuestRecord[],
  sharedDir: string,
  options: SessionOptions,
): Promise<WorkloadOutcome> {
  const { name } = workload;
  const end = records.find((record) => record.kind === "end" && record.name === name);
  if (end === undefined || end.kind !== "end") {
    const hasStarted = records.some((record) => record.kind === "start" && record.name === name);
    const detail = hasStarted ? "the guest did not come back from it" : "the guest never began it";
    return { name, ok: false, detail, ms: 0 };
  }
  const { ok, detail, ms, facts } = end;
  if (!ok || options.target === "tmpfs") return { name, ok, detail, ms };
  try {
    const dir = `${sharedDir}/${name}`;
    await workload.verify?.({ dir, configuration: options.configuration }, facts);
    return { name, ok: true, detail: "", ms };
  } catch (error) {
    const text = error instanceof Error ? error.stack ?? error.message : String(error);
    return { name, ok: false, detail: `on the host: ${text}`, ms };
  }
}

async function boot(
  workDir: string,
  options: SessionOptions,
  daemon: Daemon | null,
  socketPath: string,
): Promise<UmlResult> {
  return await bootUml({
    workDir,
    sockets: daemon === null ? [] : [socketPath],
    script: guestScript(workDir, options.target ?? "virtiofs"),
    timeoutMs: options.timeoutMs ?? 600_000,
    watch: daemon === null ? () => null : daemon.deathWatch(),
  });
}

/** Runs one configuration. Throws only if the session could not be set up at all. */
export async function runSession(options: SessionOptions): Promise<SessionReport> {
  const workDir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-guest-" });
  Deno.chmodSync(workDir, 0o755);
  try {
    return await runSessionIn(workDir, options);
  } finally {
    // Deep trees near PATH_MAX are beyond what Deno.remove() takes in one path.
    await new Deno.Command("rm", { args: ["-rf", workDir] }).output();
  }
}

async function runSessionIn(workDir: string, options: SessionOptions): Promise<SessionReport> {
  const target = options.target ?? "virtiofs";
  const sharedDir = `${workDir}/shared`;
  const controlDir = `${workDir}/control`;
  const socketPath = `${workDir}/fs.sock`;
  const workloads = workloadsFor(options.configuration)
    .filter((workload) => options.only === undefined || options.only.includes(workload.name));
  await prepare(workloads, sharedDir, options);
  Deno.mkdirSync(controlDir);
  const plan: Plan = {
    configuration: options.configuration,
    isVirtiofs: target === "virtiofs",
    bigFileBytes: bigFileBytes(options),
    workloads: workloads.map((workload) => workload.name),
    posixSuite: options.posixSuite ?? null,
  };
  await using control = new HostControl(controlDir, sharedDir, plan);
  const flags = daemonFlags(options.configuration, workDir);
  await using daemon = target === "virtiofs"
    ? await Daemon.start({ socketPath, sharedDir, flags })
    : null;
  const result = await boot(workDir, options, daemon, socketPath);
  const daemonEndProblem = await daemon?.orderlyEnd() ?? null;
  const records = control.records();
  const outcomes: WorkloadOutcome[] = [];
  for (const workload of workloads) {
    outcomes.push(await verify(workload, records, sharedDir, options));
  }
  return {
    outcomes,
    posix: readJsonLines<PosixOutcome>(`${controlDir}/posix.jsonl`)
      .filter((outcome) => typeof outcome.name === "string"),
    problem: sessionProblem(result, records),
    daemonEndProblem: isRustPeer ? null : daemonEndProblem,
    console: result.console,
    daemonOutput: daemon?.output ?? "",
  };
}

function sessionProblem(result: UmlResult, records: readonly GuestRecord[]): string | null {
  if (result.problem !== null) return result.problem;
  if (!records.some((record) => record.kind === "done")) return "the guest's work ended early";
  if (result.console.includes("init: cannot unmount")) return "the guest could not unmount";
  const oops = result.console.match(
    /^.*(BUG:|WARNING: CPU|Oops|Kernel panic|blocked for more).*$/m,
  );
  if (oops !== null) return `the guest kernel complained: ${oops[0]}`;
  if (!result.isHalted) return "the guest did not power off";
  return null;
}
