/**
 * Concurrent jobs inside the guest: threads that prepare a row, wait at a barrier, and start together.
 *
 * @module
 */

import type { Job } from "./rows.ts";

/** Words of the shared barrier. */
export const BARRIER = { READY: 0, GO: 1, DONE: 2, COUNT: 3 } as const;

/** Sent to a job's thread. */
export interface JobMessage {
  readonly rowName: string;
  readonly job: Job;
  readonly barrier: Int32Array<SharedArrayBuffer>;
}

/** Sent back when the row is over: operations done, or what went wrong. */
export type JobAnswer = { readonly operations: number } | { readonly error: string };

/** Waits until a word of the barrier has reached a value; false after a minute. */
function reaches(barrier: Int32Array<SharedArrayBuffer>, index: number, value: number): void {
  for (let seen = Atomics.load(barrier, index); seen < value; seen = Atomics.load(barrier, index)) {
    if (Atomics.wait(barrier, index, seen, 120_000) === "timed-out") {
      throw new Error("A job of the guest does not come back");
    }
  }
}

/** The threads; the same ones for all rows. */
export class JobPool {
  readonly #workers: Worker[];

  constructor(count: number) {
    const url = new URL("./job_worker.ts", import.meta.url);
    this.#workers = Array.from({ length: count }, () => new Worker(url, { type: "module" }));
  }

  /** Runs a row, with a thread for each job. `beforeStart` is called when all stand at the barrier. */
  async run(
    rowName: string,
    jobs: readonly Job[],
    beforeStart: () => Promise<void>,
  ): Promise<{ readonly milliseconds: number; readonly operations: number }> {
    const barrier = new Int32Array(new SharedArrayBuffer(4 * BARRIER.COUNT));
    const answers = jobs.map((job, i) =>
      this.#answer(this.#workers[i]!, { rowName, job, barrier })
    );
    reaches(barrier, BARRIER.READY, jobs.length);
    await beforeStart();
    const start = performance.now();
    Atomics.store(barrier, BARRIER.GO, 1);
    Atomics.notify(barrier, BARRIER.GO);
    reaches(barrier, BARRIER.DONE, jobs.length);
    const milliseconds = performance.now() - start;
    let operations = 0;
    for (const answer of await Promise.all(answers)) {
      if ("error" in answer) throw new Error(`${rowName}: ${answer.error}`);
      operations += answer.operations;
    }
    return { milliseconds, operations };
  }

  #answer(worker: Worker, message: JobMessage): Promise<JobAnswer> {
    return new Promise((resolve, reject) => {
      worker.onmessage = (event: MessageEvent<JobAnswer>) => resolve(event.data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage(message);
    });
  }

  /** Ends the threads. */
  close(): void {
    for (const worker of this.#workers) worker.terminate();
  }
}
