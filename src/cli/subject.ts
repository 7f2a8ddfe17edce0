/**
 * The daemon that a command is about: one that listens already, or one that is started for it.
 *
 * @module
 */

import { SetupError } from "../setup_error.ts";
import { selfCommand } from "./self_command.ts";

/** Which daemon: `--socket-path SOCK`, `--shared-dir DIR`, or `--command 'CMD with {socket} and {dir}'`. */
export type SubjectSource =
  | { readonly kind: "socket"; readonly socketPath: string }
  | { readonly kind: "directory"; readonly directory: string; readonly args?: readonly string[] }
  /** Without `directory` it serves a new one. */
  | { readonly kind: "command"; readonly command: string; readonly directory?: string };

/** On a machine that is busy with other things, too. */
const STARTED_MS = 60_000;
const STOPPED_MS = 5_000;
const LOOK_MS = 20;
const LOG_LINE_COUNT = 5;

/** A daemon to talk to. */
export class Subject {
  /** What to call it in a table. */
  readonly name: string;
  readonly socketPath: string;
  /** The directory that it serves, where that is known. */
  readonly directory: string | null;
  readonly #child: Deno.ChildProcess | null;
  readonly #temporary: string | null;

  private constructor(
    place: { name: string; socketPath: string; directory: string | null },
    child: Deno.ChildProcess | null,
    temporary: string | null,
  ) {
    this.name = place.name;
    this.socketPath = place.socketPath;
    this.directory = place.directory;
    this.#child = child;
    this.#temporary = temporary;
  }

  /** Starts it if need be. A command without a directory of its own serves a new one below `directoryParent`. */
  static async open(source: SubjectSource, directoryParent?: string): Promise<Subject> {
    if (source.kind === "socket") {
      const { socketPath } = source;
      return new Subject({ name: socketPath, socketPath, directory: null }, null, null);
    }
    const temporary = Deno.makeTempDirSync({
      prefix: "virtiofsd-ts-",
      ...(directoryParent === undefined ? {} : { dir: directoryParent }),
    });
    try {
      Deno.chmodSync(temporary, 0o755);
      const socketPath = `${temporary}/daemon.sock`;
      const start = source.kind === "directory"
        ? ownDaemon(source, socketPath)
        : otherDaemon(source.command, socketPath, source.directory ?? newShare(temporary));
      const { program, args, name, directory } = start;
      const child = await startDaemon(program, args, socketPath);
      return new Subject({ name, socketPath, directory }, child, temporary);
    } catch (error) {
      Deno.removeSync(temporary, { recursive: true });
      throw error;
    }
  }

  /** The process id of a daemon that was started here, or null. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Kills the daemon, if it was started here, with SIGKILL. It is still to be closed. */
  kill(): void {
    if (this.#child !== null) kill(this.#child, "SIGKILL");
  }

  /** Ends the daemon, if it was started here, and removes what was made for it. */
  async close(): Promise<void> {
    if (this.#child !== null) {
      const child = this.#child;
      kill(child, "SIGTERM");
      const timer = setTimeout(() => kill(child, "SIGKILL"), STOPPED_MS);
      await child.status;
      clearTimeout(timer);
    }
    if (this.#temporary !== null) Deno.removeSync(this.#temporary, { recursive: true });
  }
}

interface Start {
  readonly program: string;
  readonly args: readonly string[];
  readonly name: string;
  readonly directory: string;
}

function ownDaemon(
  source: { readonly directory: string; readonly args?: readonly string[] },
  socketPath: string,
): Start {
  const self = selfCommand();
  const { directory } = source;
  const more = source.args ?? ["--xattr", "--posix-lock", "--flock"];
  const options = ["serve", "--shared-dir", directory, "--socket-path", socketPath];
  // One front end after another may come.
  const args = [...self.args, ...options, "--keep-listening", "--log-level", "warn", ...more];
  return { program: self.program, args, name: "virtiofsd-ts", directory };
}

function newShare(temporary: string): string {
  const directory = `${temporary}/share`;
  Deno.mkdirSync(directory);
  Deno.chmodSync(directory, 0o755);
  return directory;
}

function otherDaemon(command: string, socketPath: string, directory: string): Start {
  if (!command.includes("{socket}")) {
    throw new SetupError(`The command "${command}" does not say where {socket} goes`);
  }
  const line = command.replaceAll("{socket}", socketPath).replaceAll("{dir}", directory);
  const words = command.trim().split(/\s+/);
  const program = words.find((word) => word.includes("virtiofs")) ?? words[0]!;
  const name = program.split("/").at(-1)!;
  // A shell of its own reads quotes and variables; exec leaves the daemon as our child.
  return { program: "/bin/sh", args: ["-c", `exec ${line}`], name, directory };
}

async function startDaemon(
  program: string,
  args: readonly string[],
  socketPath: string,
): Promise<Deno.ChildProcess> {
  const child = new Deno.Command(program, {
    args: [...args],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const lines: string[] = [];
  const log = keepLines(child.stderr, lines);
  let ended = false;
  const status = child.status.then((result) => {
    ended = true;
    return result;
  });
  const deadline = Date.now() + STARTED_MS;
  while (!listens(socketPath)) {
    if (ended || Date.now() > deadline) {
      const isLate = !ended;
      kill(child, "SIGKILL");
      const { code } = await status;
      await log;
      const why = isLate
        ? `it does not listen after ${STARTED_MS / 1000} s`
        : `it ended with exit code ${code}`;
      throw new SetupError([`Cannot start "${program} ${args.join(" ")}": ${why}`, ...lines]
        .join("\n  "));
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return child;
}

/** Whether somebody has bound the socket. It is not connected to: a daemon may serve only one front end in its life. */
function listens(socketPath: string): boolean {
  const bound = Deno.readTextFileSync("/proc/net/unix").split("\n")
    .find((line) => line.endsWith(` ${socketPath}`));
  // The fourth column are flags; __SO_ACCEPTCON is a socket that listens.
  return bound !== undefined && (parseInt(bound.trim().split(/\s+/)[3]!, 16) & 0x10000) !== 0;
}

/** Reads a log to its end, so that its writer never waits, and keeps the last lines. */
async function keepLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  lines: string[],
): Promise<void> {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    lines.push(...text.split("\n").filter((line) => line !== ""));
    lines.splice(0, Math.max(0, lines.length - LOG_LINE_COUNT));
  }
}

function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // It has ended already.
  }
}
