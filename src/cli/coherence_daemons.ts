/**
 * The daemons of `check coherence`, and those that stand by to take the place of one that is killed.
 *
 * @module
 */

import type { DaemonKills } from "../check/coherence/killing.ts";
import { Subject, type SubjectSource } from "./subject.ts";

/** All daemons of one check. */
export class CoherenceDaemons implements DaemonKills {
  readonly #source: SubjectSource;
  readonly #spareCount: number;
  /** By the thread that each serves. */
  readonly #serving: Subject[] = [];
  readonly #spares: Promise<Subject>[] = [];
  readonly #dead: Promise<void>[] = [];

  constructor(source: SubjectSource, spareCount: number) {
    this.#source = source;
    this.#spareCount = spareCount;
  }

  get socketPaths(): string[] {
    return this.#serving.map(({ socketPath }) => socketPath);
  }

  async start(count: number): Promise<void> {
    while (this.#serving.length < count) this.#serving.push(await Subject.open(this.#source));
    for (let i = 0; i < this.#spareCount; i++) this.#addSpare();
  }

  kill(thread: number): void {
    this.#serving[thread]!.kill();
  }

  async replace(thread: number): Promise<string> {
    const spare = await this.#spares.shift()!;
    this.#addSpare();
    this.#dead.push(this.#serving[thread]!.close());
    this.#serving[thread] = spare;
    return spare.socketPath;
  }

  /** Ends all in order. */
  async close(): Promise<void> {
    await Promise.all(this.#dead.splice(0));
    for (const daemon of this.#serving.splice(0)) await daemon.close();
    for (const spare of await Promise.allSettled(this.#spares.splice(0))) {
      if (spare.status === "fulfilled") await spare.value.close();
    }
  }

  #addSpare(): void {
    const spare = Subject.open(this.#source);
    // Whoever needs it hears of it.
    spare.catch(() => {});
    this.#spares.push(spare);
  }
}
