/**
 * The daemon that a command is about: one that listens already, or one that is started for it.
 *
 * @module
 */

import { SetupError } from "../setup_error.ts";
import { ChildDaemon, type DaemonStart } from "./child_daemon.ts";
import { selfCommand } from "./self_command.ts";

/** Which daemon: `--socket-path SOCK`, `--shared-dir DIR`, or `--command 'CMD with {socket} and {dir}'`. */
export type SubjectSource =
  | { readonly kind: "socket"; readonly socketPath: string }
  | { readonly kind: "directory"; readonly directory: string; readonly args?: readonly string[] }
  /** Without `directory` it serves a new one. */
  | { readonly kind: "command"; readonly command: string; readonly directory?: string };

/** A daemon to talk to. */
export class Subject {
  /** What to call it in a table. */
  readonly name: string;
  readonly socketPath: string;
  /** The directory that it serves, where that is known. */
  readonly directory: string | null;
  readonly #daemon: ChildDaemon | null;
  readonly #temporary: string | null;

  private constructor(
    place: { name: string; socketPath: string; directory: string | null },
    daemon: ChildDaemon | null,
    temporary: string | null,
  ) {
    this.name = place.name;
    this.socketPath = place.socketPath;
    this.directory = place.directory;
    this.#daemon = daemon;
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
      const { name, directory } = start;
      const daemon = await ChildDaemon.start(start, socketPath);
      return new Subject({ name, socketPath, directory }, daemon, temporary);
    } catch (error) {
      Deno.removeSync(temporary, { recursive: true });
      throw error;
    }
  }

  /** The process id of a daemon that was started here, or null. */
  get pid(): number | null {
    return this.#daemon?.pid ?? null;
  }

  /** Kills the daemon, if it was started here, with SIGKILL. It is still to be closed. */
  kill(): void {
    this.#daemon?.kill();
  }

  /** Ends the daemon, if it was started here, and removes what was made for it. */
  async close(): Promise<void> {
    await this.#daemon?.end();
    if (this.#temporary !== null) Deno.removeSync(this.#temporary, { recursive: true });
  }
}

interface Start extends DaemonStart {
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
  const args = [...self.args, ...options, "--keep-listening", ...more, "--log-level", "info"];
  return { program: self.program, args, saysWhen: true, name: "virtiofsd-ts", directory };
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
  const args = ["-c", `exec ${line}`];
  return { program: "/bin/sh", args, saysWhen: false, name, directory };
}
