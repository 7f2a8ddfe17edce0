/**
 * Which daemon is killed, and when: one in each round, at a random moment while all guests are at work.
 *
 * @module
 */

import { RandomNumbers } from "./choice.ts";

/** What can be done to the daemons, by the number of the thread that each serves. */
export interface DaemonKills {
  /** SIGKILL. */
  kill(thread: number): void;
  /** Where the daemon listens that the thread's guests go on with. */
  replace(thread: number): Promise<string>;
}

/** How long the first round is taken to be. */
const FIRST_ROUND_MS = 50;
/** Keeps the moments from following the choice of operations. */
const SEED = 0x6b696c6c;

/** The kills of one run. */
export class Killing {
  readonly #daemons: DaemonKills;
  readonly #threadCount: number;
  readonly #random: RandomNumbers;
  /** Threads whose daemon was killed and whose guests have no other yet. */
  readonly #gone = new Set<number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #begun = 0;
  #roundMs = FIRST_ROUND_MS;
  #count = 0;

  constructor(daemons: DaemonKills, seed: number, threadCount: number) {
    this.#daemons = daemons;
    this.#threadCount = threadCount;
    this.#random = new RandomNumbers(seed, SEED);
  }

  /** Daemons killed so far. */
  get count(): number {
    return this.#count;
  }

  /** Whether the thread's daemon has been killed and not replaced. */
  isGone(thread: number): boolean {
    return this.#gone.has(thread);
  }

  /** A round begins. */
  begin(): void {
    const thread = this.#random.below(this.#threadCount);
    const moment = this.#random.below(1 << 20) / (1 << 20) * this.#roundMs;
    this.#begun = performance.now();
    this.#timer = setTimeout(() => this.#kill(thread), moment);
  }

  /** A thread has done its part; the first one ends the time for killing, and tells how long the next round takes. */
  end(): void {
    if (this.#begun === 0) return;
    clearTimeout(this.#timer);
    this.#roundMs = performance.now() - this.#begun;
    this.#begun = 0;
  }

  async replace(thread: number): Promise<string> {
    const socketPath = await this.#daemons.replace(thread);
    this.#gone.delete(thread);
    return socketPath;
  }

  #kill(thread: number): void {
    // Its guest may have had no need of it since.
    if (this.#gone.has(thread)) return;
    this.#gone.add(thread);
    this.#count++;
    this.#daemons.kill(thread);
  }
}
