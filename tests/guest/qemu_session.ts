/**
 * A QEMU guest from end to end: a fresh shared directory, a daemon with several request queues, a booted
 * guest that does the work, and the host's look at what it left.
 *
 * @module
 */
import { Daemon, isRustPeer, TAG } from "./daemon.ts";
import { bootQemu, mounted, type QemuTools } from "./qemu.ts";
import { prepareQemuShare, QEMU_SCRIPT, verifyQemuShare } from "./qemu_workload.ts";

const REQUEST_QUEUES = 4;

/** What a QEMU session found. */
export interface QemuReport {
  /** The guest's own lines: what it is, and one per check. */
  readonly lines: readonly string[];
  /** What was not as it must be; empty if all is well. */
  readonly problems: readonly string[];
  readonly console: string;
  readonly daemonOutput: string;
}

/** Boots, works, verifies. */
export async function runQemuSession(
  tools: QemuTools,
  flags: readonly string[],
): Promise<QemuReport> {
  const workDir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-qemu-" });
  try {
    return await runIn(workDir, tools, flags);
  } finally {
    Deno.removeSync(workDir, { recursive: true });
  }
}

async function runIn(
  workDir: string,
  tools: QemuTools,
  flags: readonly string[],
): Promise<QemuReport> {
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
    device: `vhost-user-fs-pci,chardev=c0,tag=${TAG},num-request-queues=${
      isRustPeer ? 1 : REQUEST_QUEUES
    }`,
    script: mounted(QEMU_SCRIPT),
    processors: 4,
    timeoutMs: 240_000,
  });
  const problems = result.lines.filter((line) => line.startsWith("FAIL"));
  if (result.problem !== null) problems.push(result.problem);
  const endProblem = await daemon.orderlyEnd();
  if (endProblem !== null) problems.push(endProblem);
  if (problems.length === 0) problems.push(...hostProblems(sharedDir));
  const { lines, console } = result;
  return { lines, problems, console, daemonOutput: daemon.output };
}

function hostProblems(sharedDir: string): string[] {
  try {
    verifyQemuShare(sharedDir);
    return [];
  } catch (error) {
    return [`on the host: ${error instanceof Error ? error.stack ?? error.message : error}`];
  }
}
