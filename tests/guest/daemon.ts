/**
 * Starts the daemon under test: this checkout's `main.ts`, the compiled file named by
 * `VIRTIOFSD_TS_BINARY`, or (for comparison, `VIRTIOFSD_TS_PEER=rust`) Rust virtiofsd.
 *
 * @module
 */
import { type CommandLine, exists, firstExisting, guestRoot, rootedCommand } from "./tools.ts";
import { TestProcess, waitUntil } from "./process.ts";

/** The mount tag that every guest test uses. */
export const TAG = "shared";

/** How to start a daemon. */
export interface DaemonOptions {
  readonly socketPath: string;
  readonly sharedDir: string;
  readonly flags?: readonly string[];
  /** Overrides the environment's choice. */
  readonly peer?: "ours" | "rust";
}

/** True if the environment asks for Rust virtiofsd in the place of ours. */
export const isRustPeer = Deno.env.get("VIRTIOFSD_TS_PEER") === "rust";

function ourCommand(args: readonly string[]): CommandLine {
  const binary = Deno.env.get("VIRTIOFSD_TS_BINARY");
  if (binary !== undefined) return { command: binary, args: [...args] };
  const main = `${import.meta.dirname}/../../main.ts`;
  return { command: Deno.execPath(), args: ["run", "-A", main, ...args] };
}

function rustCommand(args: readonly string[]): CommandLine {
  const program = firstExisting(
    ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"].map((path) => guestRoot + path),
  );
  if (program === null) throw new Error("Cannot find Rust virtiofsd");
  return rootedCommand(program.slice(guestRoot.length), [...args, "--sandbox", "none"]);
}

/** A running daemon. */
export class Daemon implements AsyncDisposable {
  readonly #process: TestProcess;
  readonly #socketPath: string;
  readonly #isOurs: boolean;

  private constructor(process: TestProcess, socketPath: string, isOurs: boolean) {
    this.#process = process;
    this.#socketPath = socketPath;
    this.#isOurs = isOurs;
  }

  /** Starts a daemon and waits until its socket is there. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const isOurs = (options.peer ?? (isRustPeer ? "rust" : "ours")) === "ours";
    const prefix = isOurs || guestRoot === "" ? "" : "/host";
    const args = [
      "--socket-path",
      prefix + options.socketPath,
      "--shared-dir",
      prefix + options.sharedDir,
      "--tag",
      TAG,
      ...options.flags ?? [],
    ];
    const process = new TestProcess(isOurs ? ourCommand(args) : rustCommand(args));
    const daemon = new Daemon(process, options.socketPath, isOurs);
    const isReady = await waitUntil(
      () => exists(options.socketPath) || process.status !== null,
      30_000,
    );
    if (!isReady || process.status !== null) {
      await process.kill();
      throw new Error(`The daemon did not open its socket:\n${process.output}`);
    }
    return daemon;
  }

  /** What the daemon wrote. */
  get output(): string {
    return this.#process.output;
  }

  /** The daemon's process id. */
  get pid(): number {
    return this.#process.pid;
  }

  /** True while the daemon runs. */
  get isRunning(): boolean {
    return this.#process.status === null;
  }

  /** For a guest's `watch`: one whose daemon has died under it would wait for answers until the deadline. */
  deathWatch(): () => string | null {
    // A daemon that ends because the guest has just gone needs a moment to be seen in that order.
    const graceMs = 60_000;
    let deadSince: number | null = null;
    return () => {
      if (this.isRunning) return null;
      deadSince ??= performance.now();
      return performance.now() - deadSince > graceMs ? "the daemon died while the guest ran" : null;
    };
  }

  /** After the front end is gone: null if the daemon ended as it must, or what is wrong. */
  async orderlyEnd(timeoutMs = 10_000): Promise<string | null> {
    const status = await this.#process.waitForEnd(timeoutMs);
    if (status === null) return "the daemon still runs 10 s after its front end has gone";
    return this.#endProblem(status);
  }

  /** Sends SIGTERM; null if the daemon then ended as it must, or what is wrong. */
  async terminate(timeoutMs = 10_000): Promise<string | null> {
    this.#process.signal("SIGTERM");
    const status = await this.#process.waitForEnd(timeoutMs);
    if (status === null) return "the daemon still runs 10 s after SIGTERM";
    return this.#endProblem(status);
  }

  #endProblem(status: Deno.CommandStatus): string | null {
    if (!this.#isOurs) return null; // Rust virtiofsd leaves its pid file, and ends with 1 on SIGTERM.
    if (status.code !== 0) return `exit code ${status.code}, signal ${status.signal ?? "none"}`;
    if (exists(this.#socketPath)) return "the socket was left behind";
    if (exists(`${this.#socketPath}.pid`)) return "the pid file was left behind";
    return null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill();
  }
}
