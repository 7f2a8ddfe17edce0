/**
 * The side channel between a test and its guest: a host directory that the guest mounts as hostfs.
 *
 * - `plan.json`: what the guest is to do (host → guest).
 * - `records.jsonl`: one line per finished piece of work (guest → host), flushed line by line.
 * - `request-N.json`, `reply-N.json`: host actions asked for and answered, put in place by rename.
 *
 * Nothing of it passes the daemon under test, so that a broken daemon cannot hide its failure.
 *
 * @module
 */
import type { GuestConfiguration } from "./configurations.ts";
import { type HostAction, HostActions } from "./host_actions.ts";
import type { Facts } from "./workloads/workload.ts";

/** What the guest is told to do. */
export interface Plan {
  readonly configuration: GuestConfiguration;
  readonly isVirtiofs: boolean;
  readonly bigFileBytes: number;
  readonly workloads: readonly string[];
  /** The checkout's POSIX suite, run on the mount when it is named; its lines go to `posix.jsonl`. */
  readonly posixSuite: string | null;
}

/** One line of `records.jsonl`. */
export type GuestRecord =
  | { readonly kind: "start"; readonly name: string }
  | {
    readonly kind: "end";
    readonly name: string;
    readonly ok: boolean;
    readonly detail: string;
    readonly ms: number;
    readonly facts: Facts;
  }
  | { readonly kind: "done" };

interface Request {
  readonly workload: string;
  readonly action: HostAction;
}

type Reply = { readonly answer: unknown } | { readonly error: string };

function putJson(path: string, value: unknown): void {
  Deno.writeTextFileSync(`${path}.new`, JSON.stringify(value) ?? "null");
  Deno.renameSync(`${path}.new`, path);
}

/** The guest's end. */
export class GuestControl {
  readonly #dir: string;
  readonly #records: Deno.FsFile;
  #requestCount = 0;

  constructor(dir: string) {
    this.#dir = dir;
    this.#records = Deno.openSync(`${dir}/records.jsonl`, { write: true, create: true });
  }

  /** Reads the plan. */
  plan(): Plan {
    return JSON.parse(Deno.readTextFileSync(`${this.#dir}/plan.json`));
  }

  /** Adds a line and makes sure that the host has it. */
  record(record: GuestRecord): void {
    this.#records.writeSync(new TextEncoder().encode(JSON.stringify(record) + "\n"));
    this.#records.syncSync();
  }

  /** Asks the host for an action and waits for its answer. */
  async ask(workload: string, action: HostAction): Promise<unknown> {
    const number = ++this.#requestCount;
    const request: Request = { workload, action };
    const path = `${this.#dir}/request-${number}.json`;
    {
      using file = Deno.openSync(`${path}.new`, { write: true, create: true });
      file.writeSync(new TextEncoder().encode(JSON.stringify(request)));
      file.syncSync();
    }
    Deno.renameSync(`${path}.new`, path);
    const reply = await this.#reply(number);
    if ("error" in reply) throw new Error(`The host could not ${action.do}: ${reply.error}`);
    return reply.answer;
  }

  async #reply(number: number): Promise<Reply> {
    const path = `${this.#dir}/reply-${number}.json`;
    const deadline = performance.now() + 20_000;
    for (;;) {
      try {
        return JSON.parse(Deno.readTextFileSync(path));
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
      if (performance.now() > deadline) throw new Error("The host did not answer in 20 s");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

/** The host's end: answers requests until it is disposed of. */
export class HostControl implements AsyncDisposable {
  readonly #dir: string;
  readonly #sharedDir: string;
  readonly #actions = new HostActions();
  readonly #loop: Promise<void>;
  #isEnding = false;

  constructor(dir: string, sharedDir: string, plan: Plan) {
    this.#dir = dir;
    this.#sharedDir = sharedDir;
    putJson(`${dir}/plan.json`, plan);
    this.#loop = this.#serve();
  }

  /** The lines written so far. */
  records(): GuestRecord[] {
    return readJsonLines<GuestRecord>(`${this.#dir}/records.jsonl`);
  }

  async #serve(): Promise<void> {
    for (let number = 1; !this.#isEnding;) {
      let text: string;
      try {
        text = Deno.readTextFileSync(`${this.#dir}/request-${number}.json`);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 5));
        continue;
      }
      putJson(`${this.#dir}/reply-${number}.json`, this.#answer(JSON.parse(text)));
      number++;
    }
  }

  #answer({ workload, action }: Request): Reply {
    try {
      return { answer: this.#actions.perform(`${this.#sharedDir}/${workload}`, action) ?? null };
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true;
    await this.#loop;
    this.#actions[Symbol.dispose]();
  }
}

/** Reads a file of one JSON value per line; an incomplete last line is left out. */
export function readJsonLines<T>(path: string): T[] {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  return text.split("\n").slice(0, -1).filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
}
