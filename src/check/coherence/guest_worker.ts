/**
 * The program of a Worker of the check of coherence: one connection to a daemon, and the guests that share it, which take turns as
 * two processes of one machine do.
 *
 * In the single executable this module is part of the main thread's bundle too, where it does nothing.
 *
 * @module
 */

import type { Caller } from "../../guest/client/caller.ts";
import { closeSession, openSession, type Session } from "../../guest/session.ts";
import { guestCalls } from "../posix/guest_calls.ts";
import type { SystemCalls } from "../posix/system_calls.ts";
import { Choice, RandomNumbers } from "./choice.ts";
import type { Call } from "./operations.ts";
import { perform } from "./perform.ts";
import type { GuestMessage, GuestOrder, GuestStart } from "./worker_messages.ts";
import { COHERENCE_WORKER_NAME } from "./worker_url.ts";

interface WorkerScope {
  readonly name: string;
  postMessage(message: GuestMessage): void;
  onmessage: ((event: MessageEvent<unknown>) => void) | null;
}

/** Little memory: there is little to cache. */
const PAGE_CACHE_SIZE = 4 * 1024 * 1024;

/** One guest: a process of its own, its open files and its choices. */
interface Guest {
  readonly number: number;
  readonly calls: SystemCalls;
  readonly choice: Choice;
  readonly fds: Map<number, number>;
}

/** The guests of one connection. */
class Guests {
  readonly #start: GuestStart;
  readonly #session: Session;
  readonly #guests: readonly Guest[];
  readonly #turns: RandomNumbers;

  constructor(start: GuestStart, session: Session) {
    this.#start = start;
    this.#session = session;
    const { seed, connection, features } = start;
    this.#guests = start.guests.map((number) => ({
      number,
      calls: guestCalls(session.volume, ownIdentity()),
      choice: new Choice(number, [seed, connection], features),
      fds: new Map(),
    }));
    this.#turns = new RandomNumbers(seed, connection, -1 - start.thread);
  }

  /** Why the connection has ended, or null. */
  get dead(): string | null {
    return this.#session.driver.dead;
  }

  /** Does operations at random, and closes all files at the end. */
  round(operationCount: number): Call[] {
    const history: Call[] = [];
    const total = operationCount * this.#guests.length;
    while (history.length < total && this.dead === null) {
      history.push(this.#operate(this.#turns.of(this.#guests)));
    }
    for (const { calls, fds } of this.#guests) {
      for (const fd of fds.values()) calls.close(fd);
      fds.clear();
    }
    return history;
  }

  /** Requests that have been answered. */
  get requestCount(): number {
    const traffic = this.#session.client.traffic.byOpcode();
    return traffic.reduce((sum, { requests }) => sum + requests, 0);
  }

  async end(): Promise<void> {
    await closeSession(this.#session);
  }

  #operate({ number, calls, choice, fds }: Guest): Call {
    const { order, thread, countsDirectories } = this.#start;
    const operation = choice.next((handle) => fds.has(handle));
    const invoked = Atomics.add(order, 0, 1) + 1;
    const result = perform(calls, operation, fds, countsDirectories);
    const returned = Atomics.add(order, 0, 1) + 1;
    return { guest: number, thread, operation, invoked, returned, result };
  }
}

/** Guests are what this program is: what one makes the others may change. */
function ownIdentity(): Caller {
  const [uid, gid] = [Deno.uid() ?? 0, Deno.gid() ?? 0];
  return { uid, gid, groups: [], umask: 0o022, pid: Deno.pid };
}

async function connect(scope: WorkerScope, start: GuestStart): Promise<void> {
  let guests: Guests;
  try {
    const { socketPath, cache } = start;
    const options = { socketPath, cache, writeback: false, pageCacheSize: PAGE_CACHE_SIZE };
    const session = await openSession(options, ownIdentity());
    guests = new Guests(start, session);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return scope.postMessage({ kind: "failed", reason });
  }
  scope.onmessage = async (event) => {
    const order = event.data as GuestOrder;
    if (order.kind === "end") {
      await guests.end();
      return scope.postMessage({ kind: "ended" });
    }
    const before = guests.requestCount;
    const history = guests.round(order.operationCount);
    const requestCount = guests.requestCount - before;
    scope.postMessage(
      guests.dead === null
        ? { kind: "round", history, requestCount }
        : { kind: "failed", reason: guests.dead },
    );
  };
  scope.postMessage({ kind: "connected" });
}

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as WorkerScope;
  if (scope.name === COHERENCE_WORKER_NAME) {
    scope.onmessage = (event) => connect(scope, event.data as GuestStart);
  }
}
