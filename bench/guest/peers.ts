/**
 * Starts the daemons that are compared, each on its own directory and socket.
 *
 * @module
 */

import { TestProcess, waitUntil } from "../../tests/guest/process.ts";
import {
  type CommandLine,
  exists,
  firstExisting,
  guestRoot,
  rootedCommand,
} from "../../tests/guest/tools.ts";

/** Whom to start. */
export type PeerKind = "ours" | "ours-defaults" | "binary" | "rust" | "rust-defaults";

/** What both kinds of command line are made of. */
export interface PeerOptions {
  readonly name: string;
  readonly kind: PeerKind;
  readonly socketPath: string;
  readonly sharedDir: string;
  /** Further options of the daemon, as `--cache always`. */
  readonly flags: readonly string[];
  /** Rust virtiofsd, or null to look for it where distributions put it. */
  readonly rustPath: string | null;
}

/** As bare as it goes, so that only the file server is compared. */
const BARE = ["--sandbox", "none", "--seccomp", "none"];
const RUST_BARE = [...BARE, "--inode-file-handles=never"];

/** Rust virtiofsd as the programs of the guest root see it, or null if there is none. */
export function findRust(rustPath: string | null): string | null {
  if (rustPath !== null) return exists(guestRoot + rustPath) ? rustPath : null;
  const places = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd"];
  return firstExisting(places.map((path) => guestRoot + path))?.slice(guestRoot.length) ?? null;
}

function commandOf(options: PeerOptions): CommandLine {
  const { kind, socketPath, sharedDir, name, flags } = options;
  const isRust = kind === "rust" || kind === "rust-defaults";
  const prefix = isRust && guestRoot !== "" ? "/host" : "";
  const args = ["--socket-path", prefix + socketPath, "--shared-dir", prefix + sharedDir];
  args.push("--tag", name, "--log-level", "error", ...flags);
  const checkout = new URL("../..", import.meta.url).pathname;
  switch (kind) {
    case "ours":
      args.push(...BARE);
      return { command: Deno.execPath(), args: ["run", "-A", `${checkout}main.ts`, ...args] };
    case "ours-defaults":
      return { command: Deno.execPath(), args: ["run", "-A", `${checkout}main.ts`, ...args] };
    case "binary":
      args.push(...BARE);
      return { command: `${checkout}dist/virtiofsd-ts`, args };
    case "rust":
      args.push(...RUST_BARE);
      return rootedCommand(findRust(options.rustPath)!, args);
    case "rust-defaults":
      return rootedCommand(findRust(options.rustPath)!, args);
  }
}

/** A running daemon. */
export class Peer implements AsyncDisposable {
  readonly name: string;
  readonly #process: TestProcess;

  private constructor(name: string, process: TestProcess) {
    this.name = name;
    this.#process = process;
  }

  /** Starts a daemon and waits until its socket is there. */
  static async start(options: PeerOptions): Promise<Peer> {
    const process = new TestProcess(commandOf(options));
    const isReady = await waitUntil(
      () => exists(options.socketPath) || process.status !== null,
      30_000,
    );
    if (!isReady || process.status !== null) {
      await process.kill();
      throw new Error(`Cannot start ${options.name}:\n${process.output}`);
    }
    return new Peer(options.name, process);
  }

  /** The process id: each wrapper on the way replaces itself by the next program. */
  get pid(): number {
    return this.#process.pid;
  }

  /** What the daemon wrote. */
  get output(): string {
    return this.#process.output;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill();
  }
}
