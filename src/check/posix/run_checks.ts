/**
 * Runs the map of checks on a directory.
 *
 * @module
 */

import type { Need } from "./check.ts";
import { O, resultName } from "./linux_constants.ts";
import { POSIX_CHECKS } from "./posix_checks.ts";
import { ALICE, CheckFailure, removeTree, Scope } from "./scope.ts";
import { sys, type SystemCalls, useSystemCalls } from "./system_calls.ts";

/** What came of one check. `skipped` is the need that was not there. */
export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  readonly skipped?: Need;
  readonly detail: string;
  readonly ms: number;
}

/** Which checks to run. */
export interface RunOptions {
  readonly filter?: RegExp;
  readonly without?: ReadonlySet<Need>;
}

/** Sets the tree up under a directory, runs the checks there one by one, removes the tree. */
export class CheckRun {
  readonly #root: string;
  readonly #probe: number;
  readonly #without: Set<Need>;
  #count = 0;

  /** `directory` is a path that `calls` can use, without symbolic links in it. */
  constructor(calls: SystemCalls, directory: string, without: ReadonlySet<Need> = new Set()) {
    useSystemCalls(calls);
    const parent = directory === "/" ? "" : directory;
    this.#root = `${parent}/posix-${crypto.randomUUID().slice(0, 8)}`;
    this.#without = new Set(without);
    if (sys.geteuid() !== 0) this.#without.add("root").add("mknod");
    this.#must(sys.mkdir(this.#root, 0o755), "mkdir");
    this.#must(sys.chmod(this.#root, 0o755), "chmod");
    this.#probe = this.#must(
      sys.open(`${this.#root}/clock`, O.CREAT | O.RDWR, 0o600),
      "open",
    );
    if (!this.#without.has("root")) this.#assertReachable();
  }

  /** Runs one check in a fresh directory. */
  async run(name: string): Promise<CheckResult> {
    const check = POSIX_CHECKS.get(name);
    if (check === undefined) throw new Error(`No check is called "${name}"`);
    const missing = check.needs.find((need) => this.#without.has(need));
    if (missing !== undefined) {
      return { name, ok: true, skipped: missing, detail: `needs ${missing}`, ms: 0 };
    }
    const dir = `${this.#root}/${this.#count++}`;
    this.#must(sys.mkdir(dir, 0o777), "mkdir");
    this.#must(sys.chmod(dir, 0o777), "chmod");
    const scope = new Scope(dir, this.#probe);
    const start = performance.now();
    let detail = "";
    try {
      await check.run(scope);
    } catch (error) {
      detail = error instanceof CheckFailure ? error.message : String((error as Error).stack);
    }
    const ms = Math.round((performance.now() - start) * 10) / 10;
    try {
      scope.dispose();
    } catch (error) {
      detail ||= error instanceof CheckFailure ? error.message : String(error);
    }
    return { name, ok: detail === "", detail, ms };
  }

  /** Removes the tree. */
  [Symbol.dispose](): void {
    sys.close(this.#probe);
    this.#must(removeTree(-100, this.#root), "remove");
  }

  #must(result: number, what: string): number {
    if (result < 0) throw new Error(`Cannot ${what} in ${this.#root}: ${resultName(result)}`);
    return result;
  }

  /** Checks as other users would all fail for the wrong reason in a closed place. */
  #assertReachable(): void {
    const scope = new Scope(this.#root, this.#probe);
    const result = scope.as(ALICE, () => sys.access(this.#root, 1));
    if (result < 0) {
      throw new Error(
        `Cannot use ${this.#root}: another user cannot reach it (${resultName(result)}); ` +
          "every directory above it must be searchable by all",
      );
    }
  }
}

/** The names of the checks that a filter leaves. */
export function checkNames(filter?: RegExp): string[] {
  return [...POSIX_CHECKS.keys()].filter((name) => filter === undefined || filter.test(name));
}
