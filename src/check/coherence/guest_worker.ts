/**
 * The program of a Worker of the check of coherence: one connection to a daemon, and the guests that share it, which take turns as
 * two processes of one machine do.
 *
 * In the single executable this module is part of the main thread's bundle too, where it does nothing.
 *
 * @module
 */

import type { Caller } from "../../guest/client/caller.ts";
import { DaemonError } from "../../guest/daemon_error.ts";
import { closeSession, openSession, type Session } from "../../guest/session.ts";
import { guestCalls } from "../posix/guest_calls.ts";
import type { SystemCalls } from "../posix/system_calls.ts";
import { Choice, RandomNumbers } from "./choice.ts";
import { type Call, HANDLE_COUNT } from "./operations.ts";
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
  /** Of the present connection. */
  calls: SystemCalls;
  readonly choice: Choice;
  readonly fds: Map<number, number>;
}

/** The guests of one connection. */
class Guests {
  readonly #start: GuestStart;
  #session: Session;
  readonly #guests: readonly Guest[];
  readonly #turns: RandomNumbers;
  /** Requests of connections that are over. */
  #earlierRequestCount = 0;

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

  /** Does operations at random, and closes all files at the end. When the daemon is gone, `replaced` finds another. */
  async round(
    operationCount: number,
    replaced: (reason: string) => Promise<Session>,
  ): Promise<Call[]> {
    const history: Call[] = [];
    for (let left = operationCount * this.#guests.length; left > 0; left--) {
      history.push(this.#operate(this.#turns.of(this.#guests)));
      const { dead } = this.#session.driver;
      if (dead === null) continue;
      for (const guest of this.#guests) history.push(...this.#lostFiles(guest));
      await this.end();
      this.#earlierRequestCount = this.requestCount;
      this.#session = await replaced(dead);
      for (const guest of this.#guests) {
        guest.calls = guestCalls(this.#session.volume, ownIdentity());
      }
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
    return traffic.reduce((sum, { requests }) => sum + requests, this.#earlierRequestCount);
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
    // Whatever it says: it may be of a request that nobody has answered.
    const known = this.#session.driver.dead === null ? result : null;
    return { guest: number, thread, operation, invoked, returned, result: known };
  }

  /** With a daemon all its open files are closed; whether there was one the guest need not know. */
  #lostFiles({ number, fds }: Guest): Call[] {
    const { order, thread } = this.#start;
    fds.clear();
    return Array.from({ length: HANDLE_COUNT }, (_, i) => {
      const operation = { kind: "close", handle: number * HANDLE_COUNT + i } as const;
      const invoked = Atomics.add(order, 0, 2) + 1;
      return { guest: number, thread, operation, invoked, returned: invoked + 1, result: 0 };
    });
  }
}

/** Guests are what this program is: what one makes the others may change. */
function ownIdentity(): Caller {
  const [uid, gid] = [Deno.uid() ?? 0, Deno.gid() ?? 0];
  return { uid, gid, groups: [], umask: 0o022, pid: Deno.pid };
}

/** Does what it is told, one thing after the other. */
class Obedience {
  readonly #scope: WorkerScope;
  readonly #start: GuestStart;
  #guests: Guests | null = null;
  #reconnect: ((socketPath: string) => void) | null = null;

  constructor(scope: WorkerScope, start: GuestStart) {
    this.#scope = scope;
    this.#start = start;
  }

  async connect(): Promise<GuestMessage> {
    this.#guests = new Guests(this.#start, await this.#open(this.#start.socketPath));
    return { kind: "connected" };
  }

  async obey(order: GuestOrder): Promise<GuestMessage | null> {
    const guests = this.#guests!;
    switch (order.kind) {
      case "reconnect":
        this.#reconnect!(order.socketPath);
        return null;
      case "end":
        await guests.end();
        return { kind: "ended" };
      case "round": {
        const before = guests.requestCount;
        const history = await guests.round(order.operationCount, (reason) => this.#other(reason));
        return { kind: "round", history, requestCount: guests.requestCount - before };
      }
    }
  }

  async #other(reason: string): Promise<Session> {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#reconnect = resolve;
    this.#scope.postMessage({ kind: "lost", reason });
    return await this.#open(await promise);
  }

  async #open(socketPath: string): Promise<Session> {
    const { cache } = this.#start;
    const options = { socketPath, cache, writeback: false, pageCacheSize: PAGE_CACHE_SIZE };
    return await openSession(options, ownIdentity());
  }
}

/** Answers with what comes of it. */
async function answer(scope: WorkerScope, outcome: Promise<GuestMessage | null>): Promise<void> {
  try {
    const message = await outcome;
    if (message !== null) scope.postMessage(message);
  } catch (error) {
    if (!(error instanceof DaemonError)) throw error;
    scope.postMessage({ kind: "failed", reason: error.message });
  }
}

async function begin(scope: WorkerScope, start: GuestStart): Promise<void> {
  const obedience = new Obedience(scope, start);
  scope.onmessage = (event) => answer(scope, obedience.obey(event.data as GuestOrder));
  await answer(scope, obedience.connect());
}

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as WorkerScope;
  if (scope.name === COHERENCE_WORKER_NAME) {
    scope.onmessage = (event) => begin(scope, event.data as GuestStart);
  }
}
