/**
 * A daemon with its share mounted on this host by `virtiofsd-ts mount`.
 *
 * @module
 */

import { Subject, type SubjectSource } from "../../src/cli/subject.ts";

const MAIN = new URL("../../main.ts", import.meta.url).href;
const DEADLINE_MS = 20_000;

/** Whether this machine can mount: root, and /dev/fuse. */
export const CAN_MOUNT: boolean = Deno.uid() === 0 && exists("/dev/fuse");

/** A mount, its daemon and its directories. */
export class Mounted implements AsyncDisposable {
  /** What the daemon serves. */
  readonly share: string;
  readonly mountPoint: string;
  readonly subject: Subject;
  readonly #directory: string;
  readonly #child: Deno.ChildProcess;
  readonly #stderr: Promise<string>;

  private constructor(
    place: { share: string; mountPoint: string; directory: string },
    subject: Subject,
    child: Deno.ChildProcess,
    stderr: Promise<string>,
  ) {
    this.share = place.share;
    this.mountPoint = place.mountPoint;
    this.#directory = place.directory;
    this.subject = subject;
    this.#child = child;
    this.#stderr = stderr;
  }

  /** Our daemon with these options, or a command's, on a directory of its own or on another's `share`. */
  static async start(daemon: readonly string[] | string, other?: Mounted): Promise<Mounted> {
    const directory = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "virtiofsd-ts-mount-" });
    Deno.chmodSync(directory, 0o755);
    const share = other?.share ?? `${directory}/share`;
    const mountPoint = `${directory}/mnt`;
    if (other === undefined) Deno.mkdirSync(share);
    Deno.mkdirSync(mountPoint);
    const source: SubjectSource = typeof daemon === "string"
      ? { kind: "command", command: daemon.replaceAll("{dir}", share) }
      : { kind: "directory", directory: share, args: daemon };
    const subject = await Subject.open(source);
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--quiet",
        MAIN,
        "mount",
        "--socket-path",
        subject.socketPath,
        mountPoint,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const stderr = new Response(child.stderr).text();
    const mounted = new Mounted({ share, mountPoint, directory }, subject, child, stderr);
    const deadline = Date.now() + DEADLINE_MS;
    while (!isMounted(mountPoint)) {
      if (Date.now() > deadline) throw new Error(`it does not mount: ${await stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return mounted;
  }

  /** The process id of the mount command. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Sends the mount command a signal. */
  signal(name: Deno.Signal): void {
    this.#child.kill(name);
  }

  /** The end of the mount command. */
  async ended(): Promise<{ code: number; stderr: string }> {
    const { code } = await this.#child.status;
    return { code, stderr: await this.#stderr };
  }

  /** Unmounts, ends everything and removes the directories. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (isMounted(this.mountPoint)) {
      await new Deno.Command("umount", { args: ["-l", this.mountPoint] }).output();
    }
    await this.#child.status;
    await this.#stderr;
    await this.subject.close();
    await Deno.remove(this.#directory, { recursive: true });
  }
}

/** Whether something is mounted there. */
export function isMounted(path: string): boolean {
  return Deno.readTextFileSync("/proc/self/mountinfo").split("\n")
    .some((line) => line.split(" ")[4] === path);
}

/** Runs a script with bash -e in a directory; its output, or a failure with it. */
export async function script(directory: string, text: string): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-euo", "pipefail", "-c", text],
    cwd: directory,
    stdin: "null",
    env: { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" },
  }).output();
  const decoder = new TextDecoder();
  const output = decoder.decode(stdout);
  if (code !== 0) throw new Error(`exit code ${code}: ${output}${decoder.decode(stderr)}`);
  return output.trim();
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
