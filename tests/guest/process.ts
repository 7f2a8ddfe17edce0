/**
 * A child process whose output is kept, which can be waited for with a deadline and always ends.
 *
 * @module
 */

/** How to start a process. */
export interface ProcessOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Record<string, string>;
  readonly cwd?: string;
}

/** A running child in a session of its own, so that a kill reaches whatever it started. */
export class TestProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #pumps: Promise<void>[];
  #output = "";
  #status: Deno.CommandStatus | null = null;

  constructor(options: ProcessOptions) {
    // Should the test itself be killed, its children must not stay behind.
    this.#child = new Deno.Command("setpriv", {
      args: ["--pdeathsig", "KILL", options.command, ...options.args],
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      detached: true,
    }).spawn();
    this.#pumps = [this.#pump(this.#child.stdout), this.#pump(this.#child.stderr)];
    this.#child.status.then((status) => this.#status = status);
  }

  /** The process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Everything written to standard output and standard error so far. */
  get output(): string {
    return this.#output;
  }

  /** How the process ended, or null while it runs. */
  get status(): Deno.CommandStatus | null {
    return this.#status;
  }

  /** Waits for the end; null if the deadline came first. */
  async waitForEnd(timeoutMs: number): Promise<Deno.CommandStatus | null> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const deadline = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), timeoutMs);
    });
    const status = await Promise.race([this.#child.status, deadline]);
    clearTimeout(timer);
    if (status !== null) await Promise.all(this.#pumps);
    return status;
  }

  /** Sends a signal to the process itself. */
  signal(signal: Deno.Signal): void {
    if (this.#status === null) this.#child.kill(signal);
  }

  /** Kills the process and everything in its session, and waits until it is gone. */
  async kill(): Promise<void> {
    try {
      // The negative number means the process group, which `detached` gave the child's own id.
      Deno.kill(-this.pid, "SIGKILL");
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    await this.#child.status;
    await Promise.all(this.#pumps);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #pump(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) this.#output += decoder.decode(chunk, { stream: true });
  }
}

/** Waits until a condition holds; false if the deadline came first. */
export async function waitUntil(
  condition: () => boolean,
  timeoutMs: number,
  stepMs = 10,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) return condition();
    await new Promise((resolve) => setTimeout(resolve, stepMs));
  }
  return true;
}
