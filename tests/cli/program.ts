/**
 * The program as its users start it: arguments in; exit code, stdout and stderr out.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
/** A machine that is busy with other tests, too, is slow; a program that hangs, hangs for longer. */
const DEADLINE_MS = 120_000;

/** How a run ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a run is given besides its arguments. */
export interface RunOptions {
  readonly env?: Record<string, string>;
  /** Run through bash with this line before the program, which is `"$@"`. */
  readonly through?: string;
  readonly cwd?: string;
}

/** A program that is still running. */
export class RunningProgram {
  readonly #child: Deno.ChildProcess;
  readonly #stdout: Promise<string>;
  #stdoutSoFar = "";
  readonly #stderr: Promise<string>;
  #stderrSoFar = "";
  #stderrGrew = Promise.withResolvers<void>();

  constructor(args: readonly string[], options: RunOptions = {}) {
    const command = [Deno.execPath(), "run", "-A", "--quiet", MAIN, ...args];
    const [program = "", ...rest] = options.through === undefined
      ? command
      : ["bash", "-c", `${options.through}\nexec "$@"`, "bash", ...command];
    this.#child = new Deno.Command(program, {
      args: rest,
      env: { NO_COLOR: "1", RUST_LOG: "", ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#stdout = this.#readStdout();
    this.#stderr = this.#readStderr();
  }

  /** What it has written so far. */
  get stdoutSoFar(): string {
    return this.#stdoutSoFar;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Waits until stderr holds `text`; fails when the program ends, or the deadline passes, before it does. */
  async stderrHolds(text: string): Promise<void> {
    const late = Promise.withResolvers<"late">();
    const timer = setTimeout(() => late.resolve("late"), DEADLINE_MS);
    try {
      while (!this.#stderrSoFar.includes(text)) {
        const next = await Promise.race([
          this.#stderrGrew.promise,
          this.#child.status,
          late.promise,
        ]);
        if (next !== undefined && !this.#stderrSoFar.includes(text)) {
          this.#child.kill("SIGKILL");
          throw new Error(`stderr never said "${text}":\n${this.#stderrSoFar}`);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a signal. */
  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits for the end; a program that does not come to it is killed, which its exit code then shows. */
  async outcome(deadlineMs = DEADLINE_MS): Promise<Outcome> {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), deadlineMs);
    const { code } = await this.#child.status;
    clearTimeout(timer);
    return { code, stdout: await this.#stdout, stderr: await this.#stderr };
  }

  async #readStdout(): Promise<string> {
    for await (const chunk of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      this.#stdoutSoFar += chunk;
    }
    return this.#stdoutSoFar;
  }

  async #readStderr(): Promise<string> {
    for await (const chunk of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      this.#stderrSoFar += chunk;
      this.#stderrGrew.resolve();
      this.#stderrGrew = Promise.withResolvers<void>();
    }
    return this.#stderrSoFar;
  }
}

/** Runs the program to its end. */
export function run(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return new RunningProgram(args, options).outcome();
}

/** Starts a daemon, waits until it listens, ends it by `signal` and returns how it ended. */
export async function runDaemon(
  args: readonly string[],
  options: RunOptions & { readonly signal?: Deno.Signal; readonly whileRunning?: () => void } = {},
): Promise<Outcome> {
  const program = new RunningProgram(args, options);
  await program.stderrHolds("Waiting for vhost-user socket connection");
  try {
    options.whileRunning?.();
  } finally {
    program.kill(options.signal ?? "SIGTERM");
  }
  return await program.outcome();
}

/** A directory with a share in it and room for sockets, gone when the test ends. */
export class Workplace implements Disposable {
  readonly directory: string = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-cli-" });
  readonly share: string = `${this.directory}/share`;
  readonly socket: string = `${this.directory}/vhost.sock`;

  constructor() {
    Deno.mkdirSync(this.share);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.directory, { recursive: true });
  }
}
