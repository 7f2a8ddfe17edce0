/**
 * One directory mounted twice, through two daemons that share versions.
 *
 * @module
 */

import { servingPid } from "../support/serving_process.ts";
import { Mounted } from "./mounted.ts";

/** How long a change may take to be seen; it takes milliseconds, but machines that run tests stall. */
const SEEN_WITHIN_MS = 5000;

/** Two mounts and their daemons. */
export class SharedPair implements AsyncDisposable {
  readonly one: Mounted;
  readonly two: Mounted;
  readonly #table: string;

  private constructor(one: Mounted, two: Mounted, table: string) {
    this.one = one;
    this.two = two;
    this.#table = table;
  }

  static async start(...more: readonly string[]): Promise<SharedPair> {
    const table = Deno.makeTempFileSync({ dir: "/dev/shm", prefix: "virtiofsd-ts-test-" });
    Deno.removeSync(table);
    const args = ["--cache", "shared", "--version-table", table, "--version-slots", "65536"];
    const one = await Mounted.start([...args, ...more]);
    return new SharedPair(one, await Mounted.start([...args, ...more], one), table);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.two[Symbol.asyncDispose]();
    await this.one[Symbol.asyncDispose]();
    for (const path of [this.#table, `${this.#table}.registry`]) {
      try {
        Deno.removeSync(path);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
  }
}

/** Milliseconds until `look` says yes; an error if it does not. */
export async function seen(what: string, look: () => boolean): Promise<number> {
  const start = performance.now();
  while (!look()) {
    if (performance.now() - start > SEEN_WITHIN_MS) throw new Error(`not seen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return performance.now() - start;
}

/** Runs `work` while nobody answers requests: what needs an answer does not end, and is an error after two seconds. */
export async function withoutDaemon<T>(mounted: Mounted, work: () => Promise<T>): Promise<T> {
  const pid = servingPid(mounted.subject.pid!);
  Deno.kill(pid, "SIGSTOP");
  let answered = true;
  const timer = setTimeout(() => {
    answered = false;
    // It sleeps in the kernel, which no signal ends.
    Deno.kill(pid, "SIGCONT");
  }, 2000);
  let result: T;
  try {
    result = await work();
  } finally {
    clearTimeout(timer);
    Deno.kill(pid, "SIGCONT");
  }
  if (!answered) throw new Error("the daemon was needed");
  return result;
}

/** Whether there is such a name. */
export function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
