/**
 * Which daemon `inspect` looks at, by the options.
 *
 * @module
 */

import { VERSION_TABLE_DEFAULT } from "../config.ts";
import { type DaemonState, openStateFile } from "../inspect/daemon_state.ts";
import { findDaemons, type FoundDaemons } from "../inspect/find_daemons.ts";
import { InspectError } from "../inspect/inspect_error.ts";
import { VersionTableReader } from "../inspect/version_table.ts";
import { isStartedProcess } from "../isolated/started_by.ts";

/** What says which daemon is meant. */
export interface SourceOptions {
  readonly pid?: number | undefined;
  readonly socketPath?: string | undefined;
  readonly stateFile?: string | undefined;
  readonly versionTable?: string | undefined;
}

/** All that views are read from, open until it is disposed of. Looking again and again is cheap. */
export class InspectSource implements Disposable {
  /** The one daemon that was chosen, or is the only one; null if there are none or several. */
  readonly daemon: DaemonState | null;
  /** All daemons of this host, the chosen one alone if one was chosen by options. */
  readonly found: FoundDaemons;
  readonly #options: SourceOptions;
  readonly #isChosen: boolean;
  readonly #stack = new DisposableStack();
  #table: VersionTableReader | null = null;

  /** Throws {@linkcode InspectError} if what was chosen is not there. */
  constructor(options: SourceOptions) {
    this.#options = options;
    const { pid, socketPath, stateFile } = options;
    this.#isChosen = pid !== undefined || socketPath !== undefined || stateFile !== undefined;
    // Also beside a state file: other daemons know paths of versions.
    this.found = this.#stack.use(findDaemons());
    try {
      this.daemon = stateFile !== undefined
        ? this.#stack.use(openStateFile(stateFile))
        : this.#chosen();
    } catch (error) {
      this.#stack.dispose();
      throw error;
    }
  }

  /** The chosen daemon. Throws if it is not clear which one is meant. */
  get one(): DaemonState {
    if (this.daemon !== null) return this.daemon;
    const { daemons } = this.found;
    if (daemons.length === 0) throw this.nobody();
    throw new InspectError(
      `${daemons.length} daemons run: which one? --pid ${
        daemons.map(({ pid }) => pid).join(" or ")
      }`,
    );
  }

  /** The daemons that a list shows. */
  get listed(): readonly DaemonState[] {
    return this.#isChosen && this.daemon !== null ? [this.daemon] : this.found.daemons;
  }

  /** The version table: the one that was named, that of the chosen daemon, that of all daemons, or the default one. */
  get table(): VersionTableReader {
    return this.#table ??= this.#stack.use(new VersionTableReader(this.#tablePath()));
  }

  /** What is said where there is nothing to be seen. */
  nobody(): InspectError {
    const { unreadable, refused } = this.found;
    const forbidden = unreadable === 0 ? "" : `; ${unreadableText(unreadable)}`;
    return new InspectError(
      [`No daemon runs on this host${forbidden}`, ...refused].join("\n"),
    );
  }

  /** Closes all that was opened. */
  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #chosen(): DaemonState | null {
    const { daemons, refused } = this.found;
    const { pid, socketPath } = this.#options;
    if (!this.#isChosen) return daemons.length === 1 ? daemons[0]! : null;
    const matching = daemons.filter((daemon) =>
      (pid === undefined || daemon.pid === pid || isStartedProcess(pid, daemon.pid)) &&
      (socketPath === undefined ||
        isSamePath(daemon.reader.description.socket, socketPath))
    );
    if (matching.length > 0) return matching[0]!;
    if (pid !== undefined) throw new InspectError(whyNot(pid, refused));
    throw new InspectError(
      [`No daemon was started with --socket-path ${socketPath}`, ...refused].join("\n"),
    );
  }

  #tablePath(): string {
    if (this.#options.versionTable !== undefined) return this.#options.versionTable;
    if (this.daemon !== null) {
      const path = this.daemon.reader.description.versionTable;
      if (path !== null) return path;
      if (this.#isChosen) throw new InspectError("The daemon shares no versions (--cache shared)");
    }
    const paths = new Set(
      this.found.daemons.map(({ reader }) => reader.description.versionTable)
        .filter((path) => path !== null),
    );
    if (paths.size > 1) {
      throw new InspectError(
        `Several version tables are in use: which one? --version-table ${[...paths].join(" or ")}`,
      );
    }
    return [...paths][0] ?? VERSION_TABLE_DEFAULT;
  }
}

/** Of processes that may be daemons or not. */
export function unreadableText(count: number): string {
  const who = Deno.uid() === 0 ? "" : " of other users";
  return `${count} ${count === 1 ? "process" : "processes"}${who} could not be looked into`;
}

/** Why there is no daemon with this process id. */
function whyNot(pid: number, refused: readonly string[]): string {
  const name = `process ${pid}`;
  const reason = refused.find((line) => line.includes(`${name} `));
  if (reason !== undefined) return reason;
  try {
    Deno.readTextFileSync(`/proc/${pid}/maps`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return `There is no ${name}`;
    return `Process ${pid} belongs to another user: only that one and root may look into it`;
  }
  return `Process ${pid} is no daemon of this program`;
}

function isSamePath(one: string, other: string): boolean {
  return one === other || real(one) === real(other);
}

function real(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return path;
  }
}
