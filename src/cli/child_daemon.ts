/**
 * A daemon that a command has started, with the process that serves for it.
 *
 * @module
 */

import { SetupError } from "../setup_error.ts";
import { childrenOf } from "../sys/children.ts";

/** On a machine that is busy with other things, too. */
const STARTED_MS = 60_000;
const STOPPED_MS = 5_000;
const LOOK_MS = 20;
const LOG_LINE_COUNT = 5;
/** The phrase that launchers wait for. */
const LISTENING = "Waiting for vhost-user socket connection";

/** How to start one. */
export interface DaemonStart {
  readonly program: string;
  readonly args: readonly string[];
  /** Whether it says on stderr when it serves. If not, its socket is looked at. */
  readonly saysWhen: boolean;
}

/** A running one. */
export class ChildDaemon {
  readonly #child: Deno.ChildProcess;
  /** Serving processes that were killed. */
  #killed: readonly number[] = [];
  #hasEnded = false;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    child.status.then(() => this.#hasEnded = true);
  }

  /** Starts one and waits until it serves. Throws {@linkcode SetupError} with the end of its log. */
  static async start(start: DaemonStart, socketPath: string): Promise<ChildDaemon> {
    const { program, args, saysWhen } = start;
    const child = new Deno.Command(program, {
      args: [...args],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const log = new LogEnd(child.stderr);
    let ended = false;
    const status = child.status.then((result) => {
      ended = true;
      return result;
    });
    const deadline = Date.now() + STARTED_MS;
    // The socket is there before there is a sandbox behind it.
    while (!(saysWhen ? log.hasListening : listens(socketPath))) {
      if (ended || Date.now() > deadline) {
        const isLate = !ended;
        signal(child.pid, "SIGKILL");
        const { code } = await status;
        await log.read;
        const why = isLate
          ? `it does not listen after ${STARTED_MS / 1000} s`
          : `it ended with exit code ${code}`;
        const what = `Cannot start "${program} ${args.join(" ")}": ${why}`;
        throw new SetupError([what, ...log.lines].join("\n  "));
      }
      await look();
    }
    return new ChildDaemon(child);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Kills it with SIGKILL, at once. It is still to be ended. */
  kill(): void {
    // Its number may be another process's by now.
    if (this.#hasEnded) return;
    const { pid } = this.#child;
    const serving = childrenOf(pid);
    // The serving process is what is meant. It would go with the other one, a little later.
    for (const child of serving) signal(child, "SIGKILL");
    signal(pid, "SIGKILL");
    this.#killed = serving;
  }

  /** Ends it in order, and waits until nothing of it is left. */
  async end(): Promise<void> {
    if (!this.#hasEnded) signal(this.#child.pid, "SIGTERM");
    const timer = setTimeout(() => this.kill(), STOPPED_MS);
    await this.#child.status;
    clearTimeout(timer);
    while (this.#killed.some(isRunning)) await look();
  }
}

/** What a daemon writes, read to its end, so that it never waits; the last lines are kept. */
class LogEnd {
  readonly lines: string[] = [];
  hasListening = false;
  #tail = "";
  /** Resolves when the daemon has closed it. */
  readonly read: Promise<void>;

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.read = this.#read(stream);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      this.#tail = (this.#tail + text).slice(-LISTENING.length - text.length);
      this.hasListening ||= this.#tail.includes(LISTENING);
      this.lines.push(...text.split("\n").filter((line) => line !== ""));
      this.lines.splice(0, Math.max(0, this.lines.length - LOG_LINE_COUNT));
    }
  }
}

/** Whether somebody has bound the socket. It is not connected to: a daemon may serve only one front end in its life. */
function listens(socketPath: string): boolean {
  const bound = Deno.readTextFileSync("/proc/net/unix").split("\n")
    .find((line) => line.endsWith(` ${socketPath}`));
  // The fourth column are flags; __SO_ACCEPTCON is a socket that listens.
  return bound !== undefined && (parseInt(bound.trim().split(/\s+/)[3]!, 16) & 0x10000) !== 0;
}

/** Whether a process, now nobody's child that we know, has not ended. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

function signal(pid: number, name: Deno.Signal): void {
  try {
    Deno.kill(pid, name);
  } catch {
    // It has ended already.
  }
}

function look(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, LOOK_MS));
}
