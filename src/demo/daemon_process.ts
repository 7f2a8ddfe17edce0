/**
 * The daemon of the demo: another copy of this program, whose log is shown line by line.
 *
 * @module
 */

import { TextLineStream } from "./text_lines.ts";

/** The phrase that launchers wait for. */
const LISTENING = "Waiting for vhost-user socket connection";
const DEADLINE_MS = 20_000;

/** A running daemon. */
export class DaemonProcess {
  readonly #child: Deno.ChildProcess;
  readonly #logShown: Promise<void>;

  private constructor(child: Deno.ChildProcess, logShown: Promise<void>) {
    this.#child = child;
    this.#logShown = logShown;
  }

  /** Starts `program` and returns when it listens; throws if it ends before, or takes too long. */
  static async start(
    program: string,
    args: readonly string[],
    show: (line: string) => void,
  ): Promise<DaemonProcess> {
    const child = new Deno.Command(program, {
      args: [...args],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const listening = Promise.withResolvers<void>();
    const logShown = showLog(child, show, listening.resolve);
    const timer = setTimeout(
      () => listening.reject(new Error("The daemon does not listen")),
      DEADLINE_MS,
    );
    const ended = child.status.then(({ code }) => {
      throw new Error(`The daemon ended with exit code ${code}`);
    });
    // Ending later is no error: only the wait below looks at it.
    ended.catch(() => {});
    try {
      await Promise.race([listening.promise, ended]);
    } catch (error) {
      kill(child, "SIGKILL");
      await logShown;
      throw error;
    } finally {
      clearTimeout(timer);
    }
    return new DaemonProcess(child, logShown);
  }

  /** Ends the daemon in order and returns its exit code. */
  async stop(): Promise<number> {
    kill(this.#child, "SIGTERM");
    const timer = setTimeout(() => kill(this.#child, "SIGKILL"), DEADLINE_MS);
    const { code } = await this.#child.status;
    clearTimeout(timer);
    await this.#logShown;
    return code;
  }
}

async function showLog(
  child: Deno.ChildProcess,
  show: (line: string) => void,
  listening: () => void,
): Promise<void> {
  const lines = child.stderr.pipeThrough(new TextDecoderStream()).pipeThrough(
    new TextLineStream(),
  );
  for await (const line of lines) {
    show(line);
    if (line.includes(LISTENING)) listening();
  }
}

function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // It has ended already.
  }
}
