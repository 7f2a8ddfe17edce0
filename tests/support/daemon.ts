/**
 * A daemon as a process: the one of this checkout, or any other that has the same command line.
 *
 * `VIRTIOFSD_TEST_COMMAND` names another daemon (words separated by blanks), to prove this client
 * against a second implementation; `VIRTIOFSD_TEST_PEER=rust` then says that it is Rust virtiofsd,
 * which ends after one connection.
 *
 * @module
 */
import { TempTree } from "./temp_tree.ts";

const command = Deno.env.get("VIRTIOFSD_TEST_COMMAND")?.split(" ").filter((word) => word !== "") ??
  [Deno.execPath(), "run", "-A", new URL("../../main.ts", import.meta.url).pathname];

/** True when the daemon under test is not ours but Rust virtiofsd. */
export const isRustPeer = Deno.env.get("VIRTIOFSD_TEST_PEER") === "rust";

/**
 * How daemons are isolated where that is not what is tested: not at all, which starts one process less each time.
 * VIRTIOFSD_TEST_ISOLATION names other options, blanks between them: "--sandbox namespace --seccomp trap" tests everything in the sandbox.
 */
const isolation = (Deno.env.get("VIRTIOFSD_TEST_ISOLATION") ?? "--sandbox none --seccomp none")
  .split(" ").filter((word) => word !== "");

/** How long the daemon may take to listen, and to end. */
const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 10_000;

/** What a daemon is started with. */
export interface DaemonOptions {
  readonly sharedDir: string;
  readonly tag?: string | null;
  readonly cache?: string;
  readonly keepListening?: boolean;
  /** The working directory of the process. */
  readonly cwd?: string;
  /** RLIMIT_NOFILE, soft and hard, that the process is born with. */
  readonly descriptorLimit?: number;
  /** Further words of the command line. */
  readonly args?: readonly string[];
}

/** A running daemon. */
export class Daemon {
  readonly #runtime: TempTree;
  readonly #child: Deno.ChildProcess;
  #status: Deno.CommandStatus | null = null;

  private constructor(
    runtime: TempTree,
    child: Deno.ChildProcess,
    readonly socketPath: string,
    readonly finished: Promise<Deno.CommandStatus>,
  ) {
    this.#runtime = runtime;
    this.#child = child;
    finished.then((status) => this.#status = status);
  }

  /** Starts a daemon and waits until it listens. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const runtime = new TempTree("vfsd-");
    const socketPath = runtime.path("s");
    const tag = options.tag === undefined ? "tests" : options.tag;
    const words = [
      ...command,
      ...["--socket-path", socketPath, "--shared-dir", options.sharedDir],
      ...isolation,
      ...["--cache", options.cache ?? "auto"],
      ...(tag === null ? [] : ["--tag", tag]),
      ...(options.keepListening === true && !isRustPeer ? ["--keep-listening"] : []),
      ...(options.args ?? []),
    ];
    const limit = options.descriptorLimit === undefined
      ? ""
      : `ulimit -n ${options.descriptorLimit}; `;
    // A shell puts stderr into a file, which no test has to drain; exec keeps the process id.
    const child = new Deno.Command("/bin/sh", {
      args: ["-c", `${limit}exec "$@" 2>"$0"`, runtime.path("stderr"), ...words],
      stdin: "null",
      stdout: "null",
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    }).spawn();
    const daemon = new Daemon(runtime, child, socketPath, child.status);
    await daemon.#waitListening();
    return daemon;
  }

  async #waitListening(): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!listens(this.socketPath)) {
      await pause(5);
      if (this.#status !== null || performance.now() > deadline) {
        const stderr = this.stderr();
        await this.kill();
        throw new Error(`the daemon does not listen; it said:\n${stderr}`);
      }
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** False as soon as the process has ended. Lets the event loop look first. */
  async isRunning(): Promise<boolean> {
    await pause(0);
    return this.#status === null;
  }

  /** Everything on standard error so far. */
  stderr(): string {
    return Deno.readTextFileSync(this.#runtime.path("stderr"));
  }

  /** Waits for the end of its own accord and returns the exit code. */
  async exitCode(timeoutMs = STOP_TIMEOUT_MS): Promise<number> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), timeoutMs);
    });
    const status = await Promise.race([this.finished, timeout]);
    clearTimeout(timer);
    if (status === null) {
      throw new Error(`the daemon did not end within ${timeoutMs} ms; it said:\n${this.stderr()}`);
    }
    return status.code;
  }

  /** Sends a signal. */
  signal(name: Deno.Signal): void {
    this.#child.kill(name);
  }

  /** Ends it whatever its state, and removes its directory. */
  async kill(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.finished;
    this.#runtime[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** Lets timers and child events run. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits for a condition, with a deadline. */
export async function until(
  what: string,
  condition: () => boolean,
  timeoutMs = 5_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await pause(5);
  }
}

/** Does a socket at this path listen? A look that does not use up a connection. */
function listens(path: string): boolean {
  // Num RefCount Protocol Flags Type St Inode Path; __SO_ACCEPTCON is flag 0x10000.
  return Deno.readTextFileSync("/proc/net/unix").split("\n")
    .some((line) => line.endsWith(` ${path}`) && line.split(/\s+/)[3] === "00010000");
}
