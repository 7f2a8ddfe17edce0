/**
 * The check of coherence as a whole: guests at work in rounds, and each round's history explained, or not.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import { DaemonError } from "../../guest/daemon_error.ts";
import type { GuestCacheMode } from "../../guest/vfs/cache_mode.ts";
import { type HostFeatures, hostState, prepare } from "./host_view.ts";
import { type DaemonKills, Killing } from "./killing.ts";
import { checkHistory } from "./linearizability.ts";
import { type Call, HANDLE_COUNT, HOST } from "./operations.ts";
import { shrink, type Violation } from "./shrink.ts";
import type { State } from "./state.ts";
import type { GuestMessage, GuestOrder, GuestStart } from "./worker_messages.ts";
import { COHERENCE_WORKER_NAME, COHERENCE_WORKER_URL } from "./worker_url.ts";

/** What to check. */
export interface CoherenceOptions {
  /** Where the daemons listen. All serve `directory`. */
  readonly socketPaths: readonly string[];
  /** Kills daemons in the midst of it. By default none is. */
  readonly kills?: DaemonKills;
  /** An empty directory of the host. */
  readonly directory: string;
  readonly cache: GuestCacheMode;
  readonly guestCount: number;
  readonly seconds: number;
  readonly seed: number;
  /** Operations of each guest between two moments without any. */
  readonly roundSize: number;
  /** End after so many violations. After each but the last the guests connect anew, which the daemons must allow. */
  readonly violationCountMax: number;
  /** Do not use extended attributes. */
  readonly withoutXattrs?: boolean;
  /** Ends the check early, after the round. */
  readonly signal?: AbortSignal;
  /** Called after each round. */
  readonly progress?: (result: CoherenceResult) => void;
}

/** What came out. */
export interface CoherenceResult {
  /** Operations done, by guest. */
  readonly operations: readonly number[];
  /** Requests that these took: the fewer, the more was cached. */
  readonly requests: number;
  readonly rounds: number;
  /** Daemons killed. */
  readonly kills: number;
  /** Operations that got no answer for it. */
  readonly unanswered: number;
  /** Rounds that could not be decided: too many orders. */
  readonly undecided: number;
  /** At most one is looked for in a round. */
  readonly violations: number;
  /** The shortest one, or null. */
  readonly shortest: Violation | null;
}

/** As much of the past is looked at for what made a violation. */
const PAST_CALL_COUNT = 4000;

/** Runs the check. Throws a {@linkcode DaemonError} if a daemon ends. */
export async function checkCoherence(options: CoherenceOptions): Promise<CoherenceResult> {
  const run = new CoherenceRun(options);
  try {
    await run.connect();
    const end = performance.now() + options.seconds * 1000;
    do {
      await run.round();
      options.progress?.(run.result);
    } while (
      performance.now() < end && options.signal?.aborted !== true &&
      run.result.violations < options.violationCountMax
    );
    await run.disconnect();
    return run.result;
  } finally {
    run.terminate();
  }
}

/** A round with the states that it could begin in. */
interface Round {
  readonly initial: readonly State[];
  readonly history: readonly Call[];
}

class CoherenceRun {
  readonly #options: CoherenceOptions;
  readonly #host: HostFeatures;
  readonly #threads: readonly (readonly number[])[];
  readonly #order = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  readonly #operations: number[];
  #connections: Connection[] = [];
  #connectionCount = 0;
  #states: readonly State[];
  /** Since the guests have connected: what a guest can know is from then. */
  #past: Round[] = [];
  readonly #killing: Killing | null;
  readonly #socketPaths: string[];
  #unanswered = 0;
  #requests = 0;
  #rounds = 0;
  #undecided = 0;
  #violations = 0;
  #shortest: Violation | null = null;

  constructor(options: CoherenceOptions) {
    const { directory, guestCount } = options;
    this.#options = options;
    this.#host = prepare(directory);
    this.#threads = sharedOut(guestCount, options.socketPaths.length);
    this.#operations = Array<number>(guestCount).fill(0);
    this.#states = [this.#look()];
    this.#socketPaths = [...options.socketPaths];
    this.#killing = options.kills === undefined
      ? null
      : new Killing(options.kills, options.seed, this.#threads.length);
  }

  get result(): CoherenceResult {
    return {
      operations: [...this.#operations],
      requests: this.#requests,
      rounds: this.#rounds,
      kills: this.#killing?.count ?? 0,
      unanswered: this.#unanswered,
      undecided: this.#undecided,
      violations: this.#violations,
      shortest: this.#shortest,
    };
  }

  async connect(): Promise<void> {
    const { cache, seed, withoutXattrs } = this.#options;
    const { countsDirectories } = this.#host;
    const xattr = this.#host.xattr && withoutXattrs !== true;
    const features = { ...this.#host, xattr };
    const connection = this.#connectionCount++;
    for (const [thread, guests] of this.#threads.entries()) {
      if (this.#killing?.isGone(thread) === true) await this.#replacement(thread, "killed");
      const socketPath = this.#socketPaths[thread]!;
      const who = { socketPath, cache, thread, guests, seed, connection };
      const opened = new Connection((reason) => this.#replacement(thread, reason));
      this.#connections.push(opened);
      await opened.start({ ...who, features, countsDirectories, order: this.#order });
    }
  }

  /** Lets all guests work, and explains what they have seen. */
  async round(): Promise<void> {
    const { roundSize } = this.#options;
    this.#killing?.begin();
    const parts = await Promise.all(this.#connections.map(async (each) => {
      const part = await each.round(roundSize);
      this.#killing?.end();
      return part;
    }));
    const calls = parts.flatMap(({ history }) => history);
    for (const { requestCount } of parts) this.#requests += requestCount;
    this.#unanswered += calls.filter(({ result }) => result === null).length;
    const seen = this.#look();
    const history = [...calls, hostCall(this.#order, this.#threads.length, seen)];
    for (const { guest } of calls) this.#operations[guest]!++;
    this.#rounds++;
    this.#remember({ initial: this.#states, history });
    const verdict = checkHistory(this.#host, this.#states, history);
    if (verdict.kind === "linearizable") {
      this.#states = verdict.states.map((state) => state.withoutHandles());
      return;
    }
    // The model cannot follow any more: what the host has is what the next round begins with, and nobody knows anything from before.
    if (verdict.kind === "violation") {
      this.#violations++;
      const violation = this.#shrunk(verdict.call);
      if (
        this.#shortest === null || violation.history.length < this.#shortest.history.length
      ) this.#shortest = violation;
    } else this.#undecided++;
    this.#past = [];
    this.#states = [seen];
    if (this.#violations === this.#options.violationCountMax) return;
    await this.disconnect();
    await this.connect();
  }

  /** Ends all connections in order. */
  async disconnect(): Promise<void> {
    for (const connection of this.#connections) await connection.disconnect();
    this.terminate();
  }

  terminate(): void {
    for (const connection of this.#connections) connection.terminate();
    this.#connections = [];
  }

  /** Where the daemon listens that comes after one that was killed. */
  async #replacement(thread: number, reason: string): Promise<string> {
    if (this.#killing?.isGone(thread) !== true) throw new DaemonError(reason);
    const socketPath = await this.#killing.replace(thread);
    this.#socketPaths[thread] = socketPath;
    return socketPath;
  }

  #look(): State {
    return hostState(this.#options.directory, this.#options.guestCount * HANDLE_COUNT);
  }

  #remember(round: Round): void {
    this.#past.push(round);
    const size = () => this.#past.reduce((sum, { history }) => sum + history.length, 0);
    while (this.#past.length > 1 && size() > PAST_CALL_COUNT) this.#past.shift();
  }

  #shrunk(call: Call): Violation {
    const history = this.#past.flatMap((each) => each.history);
    return shrink(this.#host, this.#past[0]!.initial, history, call);
  }
}

/** Guests by connection: one each, or in turn where there are more guests than daemons. */
function sharedOut(guestCount: number, daemonCount: number): number[][] {
  const threads: number[][] = Array.from(
    { length: Math.min(guestCount, daemonCount) },
    () => [],
  );
  for (let guest = 0; guest < guestCount; guest++) threads[guest % threads.length]!.push(guest);
  return threads;
}

/** What the host sees is an operation, too, that must fit. */
function hostCall(order: Int32Array, thread: number, seen: State): Call {
  const [invoked, returned] = [Atomics.add(order, 0, 2) + 1, Atomics.load(order, 0)];
  return {
    guest: HOST,
    thread,
    operation: { kind: "host-sees" },
    invoked,
    returned,
    result: seen.snapshot(),
  };
}

/** A Worker with its guests. */
class Connection {
  readonly #worker = new Worker(COHERENCE_WORKER_URL, {
    type: "module",
    name: COHERENCE_WORKER_NAME,
  });
  readonly #replace: (reason: string) => Promise<string>;

  /** `replace` is asked for another daemon when the present one is gone, or throws. */
  constructor(replace: (reason: string) => Promise<string>) {
    this.#replace = replace;
  }

  async start(start: GuestStart): Promise<void> {
    await this.#ask(start);
  }

  async round(operationCount: number): Promise<GuestMessage & { readonly kind: "round" }> {
    const message = await this.#ask({ kind: "round", operationCount });
    assert(message.kind === "round", "a Worker answers what it was asked");
    return message;
  }

  /** Ends the connection, so that the daemon can have another. */
  async disconnect(): Promise<void> {
    await this.#ask({ kind: "end" });
  }

  terminate(): void {
    this.#worker.terminate();
  }

  #ask(message: GuestStart | GuestOrder): Promise<GuestMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<GuestMessage>();
    this.#worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`A guest's thread failed: ${event.message}`));
    };
    this.#worker.onmessage = ({ data }: MessageEvent<GuestMessage>) => {
      if (data.kind === "failed") reject(new DaemonError(data.reason));
      else if (data.kind === "lost") this.#reconnect(data.reason).catch(reject);
      else resolve(data);
    };
    this.#tell(message);
    return promise;
  }

  async #reconnect(reason: string): Promise<void> {
    this.#tell({ kind: "reconnect", socketPath: await this.#replace(reason) });
  }

  #tell(message: GuestStart | GuestOrder): void {
    this.#worker.postMessage(message);
  }
}
