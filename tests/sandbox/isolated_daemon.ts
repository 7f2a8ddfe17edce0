/**
 * A daemon in its sandbox, looked at from outside: both processes, thread by thread.
 *
 * @module
 */

import { servingPid } from "../support/serving_process.ts";
import { TempTree } from "../support/temp_tree.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const START_TIMEOUT_MS = 60_000;
const READY = "Waiting for vhost-user socket connection";

/** How to start one. */
export interface IsolatedOptions {
  readonly args?: readonly string[];
  /** Words before the program: setpriv and the like. */
  readonly through?: readonly string[];
  /** The program and what comes before its options; this checkout's main.ts if left out. */
  readonly program?: readonly string[];
  readonly cwd?: string;
  /** Instead of a socket's path: the socket's options. */
  readonly socket?: readonly string[];
  readonly sharedDir?: string;
  /** When it listens, if it does not say so on stderr. */
  readonly isReady?: () => boolean;
}

/** A thread as /proc shows it. */
export interface ThreadState {
  readonly root: string;
  readonly noNewPrivs: string;
  readonly seccomp: string;
  readonly capabilities: Readonly<Record<"CapInh" | "CapPrm" | "CapEff" | "CapBnd", string>>;
  readonly namespaces: Readonly<Record<string, string>>;
  /** Which of the things that lie around the descriptors in /proc can be reached from its working directory. */
  readonly aroundDescriptors: readonly string[];
}

/** A daemon of two processes. */
export class IsolatedDaemon implements AsyncDisposable {
  readonly tree = new TempTree("vfsd-box-");
  readonly share: string;
  readonly socketPath: string;
  readonly #child: Deno.ChildProcess;
  readonly #stderrPath: string;
  #ended = false;

  private constructor(options: IsolatedOptions) {
    this.share = this.tree.directory("share", 0o777);
    this.socketPath = this.tree.path("run", "s");
    this.tree.directory("run", 0o777);
    this.#stderrPath = this.tree.path("stderr");
    const program = options.program ?? [Deno.execPath(), "run", "-A", "--no-check", MAIN];
    const words = [
      ...(options.through ?? []),
      ...program,
      ...(options.socket ?? ["--socket-path", this.socketPath]),
      ...["--shared-dir", options.sharedDir ?? this.share],
      ...(options.args ?? []),
    ];
    this.#child = new Deno.Command("/bin/sh", {
      args: ["-c", 'exec "$@" 2>"$0"', this.#stderrPath, ...words],
      cwd: options.cwd ?? this.tree.root,
      env: { NO_COLOR: "1", RUST_LOG: "" },
      stdin: "null",
      stdout: "null",
    }).spawn();
    this.#child.status.then(() => this.#ended = true);
  }

  /** Starts one and waits until it can be connected to, or, if that is not to be expected, has ended. */
  static async start(options: IsolatedOptions = {}): Promise<IsolatedDaemon> {
    const daemon = new IsolatedDaemon(options);
    const isReady = options.isReady ?? (() => daemon.stderr().includes(READY));
    await daemon.until(() => isReady() || daemon.#ended, "the daemon listens");
    return daemon;
  }

  /** The process that was started. */
  get pid(): number {
    return this.#child.pid;
  }

  /** The serving process: the only child. */
  get serverPid(): number {
    return servingPid(this.pid);
  }

  get status(): Promise<Deno.CommandStatus> {
    return this.#child.status;
  }

  stderr(): string {
    try {
      return Deno.readTextFileSync(this.#stderrPath);
    } catch {
      return "";
    }
  }

  signal(name: Deno.Signal): void {
    this.#child.kill(name);
  }

  /** Every thread of the serving process. */
  threads(): ThreadState[] {
    const tasks = `/proc/${this.serverPid}/task`;
    return [...Deno.readDirSync(tasks)].map(({ name }) => threadState(`${tasks}/${name}`));
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!condition()) {
      if (performance.now() > deadline) throw new Error(`not in time: ${what}\n${this.stderr()}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    this.tree[Symbol.dispose]();
  }
}

/** Device and inode of a directory. */
export function identity(path: string): string {
  const { dev, ino } = Deno.statSync(path);
  return `${dev}:${ino}`;
}

/** Whether a process is there and no zombie. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function threadState(directory: string): ThreadState {
  const status = Deno.readTextFileSync(`${directory}/status`);
  const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, "m").exec(status)?.[1] ?? "";
  const namespaces: Record<string, string> = {};
  for (const name of ["mnt", "pid", "net", "ipc", "user"]) {
    namespaces[name] = Deno.readLinkSync(`${directory}/ns/${name}`);
  }
  return {
    root: identity(`${directory}/root`),
    noNewPrivs: field("NoNewPrivs"),
    seccomp: field("Seccomp"),
    capabilities: {
      CapInh: field("CapInh"),
      CapPrm: field("CapPrm"),
      CapEff: field("CapEff"),
      CapBnd: field("CapBnd"),
    },
    namespaces,
    aroundDescriptors: ["../exe", "../root", "../mem", "../environ", "../../sys/kernel"]
      .filter((path) => exists(`${directory}/cwd/${path}`)),
  };
}
