/**
 * The daemons that are soaked: started, measured, ended in order.
 *
 * @module
 */

import { selfCommand } from "../../src/cli/self_command.ts";
import { type DaemonState, openRunning } from "../../src/inspect/daemon_state.ts";
import { readOps } from "../../src/inspect/ops.ts";
import { descriptorOf, stateMappings } from "../../src/inspect/state_mappings.ts";
import { readSummary } from "../../src/inspect/summary.ts";
import { VersionTableReader } from "../../src/inspect/version_table.ts";
import { TestProcess, waitUntil } from "../guest/process.ts";
import { exists } from "../guest/tools.ts";
import { familyOf, measure } from "./processes.ts";
import type { ProcessSample, StateSample } from "./sample.ts";

const STARTED_MS = 60_000;
const ENDED_MS = 20_000;
/** The shared root is an inode that is always known. */
const ROOTS = 1;

/** How they are started. */
export interface DaemonOptions {
  /** A temporary directory. */
  readonly place: string;
  readonly share: string;
  /** Of another daemon, with `{socket}` and `{dir}`; null for this checkout's. */
  readonly command: string | null;
  readonly cache: string | null;
  readonly dax: boolean;
  readonly sandbox: string | null;
  readonly seccomp: string | null;
  /** In shared memory; for `cache` shared. */
  readonly versionTable: string;
}

interface Daemon {
  readonly letter: string;
  readonly socketPath: string;
  readonly process: TestProcess;
  readonly state: DaemonState | null;
}

/** One daemon, or with `cache` shared two on one table. */
export class Daemons {
  readonly #options: DaemonOptions;
  readonly #daemons: Daemon[] = [];

  constructor(options: DaemonOptions) {
    this.#options = options;
  }

  get socketPaths(): string[] {
    return this.#daemons.map(({ socketPath }) => socketPath);
  }

  /** Whether their state can be looked into. */
  get areOurs(): boolean {
    return this.#options.command === null;
  }

  /** The last lines of what they have logged. */
  get log(): string {
    const lines = this.#daemons.flatMap(({ process }) => process.output.trim().split("\n"));
    return lines.filter((line) => line !== "").slice(-20).join("\n");
  }

  async start(): Promise<void> {
    const letters = this.#options.cache === "shared" && this.areOurs ? ["a", "b"] : [""];
    for (const letter of letters) {
      const socketPath = `${this.#options.place}/daemon${letter}.sock`;
      const process = new TestProcess(this.#command(socketPath));
      if (!await waitUntil(() => exists(socketPath) || process.status !== null, STARTED_MS)) {
        throw new Error(`The daemon does not start:\n${process.output}`);
      }
      if (process.status !== null) throw new Error(`The daemon has ended:\n${process.output}`);
      const state = this.areOurs ? await stateOf(process.pid) : null;
      this.#daemons.push({ letter, socketPath, process, state });
    }
  }

  /** Why it makes no sense to go on, or null. */
  get ended(): string | null {
    const dead = this.#daemons.find(({ process }) => process.status !== null);
    if (dead === undefined) return null;
    const { code, signal } = dead.process.status!;
    return `A daemon has ended by itself: exit code ${code}, signal ${signal}\n${this.log}`;
  }

  processes(): ProcessSample[] {
    return this.#daemons.flatMap(({ letter, process }) => {
      const family = familyOf(process.pid);
      return family.map((pid, i) => {
        const role = family.length === 1 ? "daemon" : i === 0 ? "started" : "serving";
        // There are no more than two, and if there were, they would be seen.
        const name = i > 1 ? `${role} ${i}` : role;
        return measure(pid, letter === "" ? name : `${letter} ${name}`);
      });
    });
  }

  state(): StateSample | null {
    if (!this.areOurs) return null;
    const sum = { inodes: 0, handles: 0, requests: 0, bytes: 0, slots: 0 };
    for (const { state } of this.#daemons) {
      const { inodes, openHandles, requests } = readSummary(state!);
      sum.inodes += inodes - ROOTS;
      sum.handles += openHandles;
      sum.requests += requests;
      for (const { bytesIn, bytesOut } of readOps(state!).rows) sum.bytes += bytesIn + bytesOut;
    }
    sum.slots = this.#usedSlots();
    return sum;
  }

  /** Whether no guest is connected and nothing is known of the last one. */
  get isQuiet(): boolean {
    return this.#daemons.every(({ state }) => {
      if (state === null) return true;
      const { connected, inodes, openHandles } = readSummary(state);
      return !connected && inodes === ROOTS && openHandles === 0;
    });
  }

  /** Ends them, and says what was wrong with that. */
  async stop(): Promise<string[]> {
    const faults: string[] = [];
    for (const { process, state } of this.#daemons.splice(0).reverse()) {
      state?.[Symbol.dispose]();
      process.signal("SIGTERM");
      const status = await process.waitForEnd(ENDED_MS);
      await process.kill();
      if (status === null) faults.push(`A daemon did not end at SIGTERM:\n${process.output}`);
      else if (!status.success && this.areOurs) {
        faults.push(`A daemon ended with ${status.signal ?? status.code}:\n${process.output}`);
      }
    }
    return faults;
  }

  #command(socketPath: string): { command: string; args: string[] } {
    const { command, share, cache, dax, sandbox, seccomp, versionTable } = this.#options;
    if (command !== null) {
      const line = command.replaceAll("{socket}", socketPath).replaceAll("{dir}", share);
      return { command: "/bin/sh", args: ["-c", `exec ${line}`] };
    }
    const self = selfCommand();
    const option = (name: string, value: string | null) => value === null ? [] : [name, value];
    return {
      command: self.program,
      args: [
        ...[...self.args, "serve", "--shared-dir", share, "--socket-path", socketPath],
        ...["--keep-listening", "--log-level", "warn", "--num-request-queues", "2"],
        ...["--xattr", "--posix-lock", "--flock", "--writeback"],
        ...option("--cache", cache),
        ...option("--version-table", cache === "shared" ? versionTable : null),
        ...option("--dax", dax ? "always" : null),
        ...option("--sandbox", sandbox),
        ...option("--seccomp", seccomp),
      ],
    };
  }

  #usedSlots(): number {
    if (this.#options.cache !== "shared") return 0;
    using table = new VersionTableReader(this.#options.versionTable);
    return [...table.usedSlots()].length;
  }
}

/** The state memory of the process among a daemon's that has one. */
async function stateOf(pid: number): Promise<DaemonState> {
  const find = () => {
    const family = familyOf(pid);
    return stateMappings().found.find((mapping) =>
      mapping.isCertain && family.includes(mapping.pid)
    );
  };
  let mapping = find();
  await waitUntil(() => (mapping ??= find()) !== undefined, STARTED_MS, 100);
  if (mapping === undefined) throw new Error("The daemon's state memory is not to be found");
  return openRunning(mapping.pid, descriptorOf(mapping));
}
