/**
 * A DAX guest from end to end: a fresh shared directory, a daemon with a window, a guest booted by QEMU's generic
 * vhost-user device, and the host's part in its checks.
 *
 * @module
 */
import { Daemon } from "./daemon.ts";
import { bootQemu, type QemuTools } from "./qemu.ts";
import { QemuControl } from "./qemu_control.ts";
import { buildProbe, copyCompiler } from "./qemu_dax.ts";
import { DaxHost } from "./qemu_dax_host.ts";
import { type DaxBoot, prepareDaxShare } from "./qemu_dax_workload.ts";

/** Virtio's number of a file system device. */
const VIRTIO_ID_FS = 26;
/** Bytes of the device's configuration: the tag and the number of queues. */
const CONFIG_SIZE = 40;

/** What one boot found. */
export interface DaxReport {
  /** One line per check: "ok NAME (SECONDS)" or "FAIL NAME (SECONDS): WHY". */
  readonly checks: readonly string[];
  /** Checksums and facts, as the guest printed them. */
  readonly facts: readonly string[];
  /** What went wrong outside the checks; empty if all is well. */
  readonly problems: readonly string[];
  readonly seconds: number;
  readonly console: string;
  readonly daemonOutput: string;
}

/** Boots, works, looks. */
export async function runDaxSession(
  tools: QemuTools,
  boot: DaxBoot,
  daemonFlags: readonly string[] = [],
): Promise<DaxReport> {
  // Not in /tmp, which may be in memory: it is to be a file system of files.
  const workDir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-dax-" });
  try {
    return await runIn(workDir, tools, boot, daemonFlags);
  } finally {
    await new Deno.Command("rm", { args: ["-rf", workDir] }).output();
  }
}

async function runIn(
  workDir: string,
  tools: QemuTools,
  boot: DaxBoot,
  daemonFlags: readonly string[],
): Promise<DaxReport> {
  const begin = performance.now();
  const sharedDir = `${workDir}/shared`;
  const socketPath = `${workDir}/fs.sock`;
  const controlPath = `${workDir}/control.sock`;
  Deno.mkdirSync(sharedDir);
  prepareDaxShare(sharedDir, boot);
  await copyCompiler(`${sharedDir}/compiler`);
  const probe = await buildProbe(`${workDir}/probe`);
  const window = boot.windowMiB === 0 ? [] : ["--dax-window", `${boot.windowMiB}M`];
  using host = new DaxHost(sharedDir, socketPath);
  await using _control = new QemuControl(controlPath, (request) => host.answer(request));
  await using daemon = await Daemon.start({
    socketPath,
    sharedDir,
    flags: [...boot.daemonFlags, ...window, ...daemonFlags],
  });
  const result = await bootQemu(tools, {
    workDir,
    socketPath,
    controlPath,
    device: `vhost-user-test-device-pci,virtio-id=${VIRTIO_ID_FS},` +
      `num_vqs=${1 + boot.requestQueues},vq_size=128,config_size=${CONFIG_SIZE},chardev=c0`,
    script: boot.script,
    files: [{ path: "bin/probe", mode: 0o100755, content: probe }],
    processors: boot.processors,
    timeoutMs: 240_000,
    watch: daemon.deathWatch(),
  });
  const problems: string[] = [];
  if (result.problem !== null) problems.push(result.problem);
  const endProblem = await daemon.orderlyEnd();
  if (endProblem !== null) problems.push(endProblem);
  const isCheck = (line: string) => /^(ok|FAIL) /.test(line);
  return {
    checks: result.lines.filter(isCheck),
    facts: result.lines.filter((line) => !isCheck(line) && line !== "done"),
    problems,
    seconds: (performance.now() - begin) / 1000,
    console: result.console,
    daemonOutput: daemon.output,
  };
}
