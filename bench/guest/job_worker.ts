/**
 * One job's thread, see `jobs.ts`.
 *
 * @module
 */

import { BARRIER, type JobAnswer, type JobMessage } from "./jobs.ts";
import { ROWS } from "./rows.ts";

interface WorkerScope {
  postMessage(message: JobAnswer): void;
  onmessage: (event: MessageEvent<JobMessage>) => void;
}

const scope = globalThis as unknown as WorkerScope;

function arrive(barrier: Int32Array<SharedArrayBuffer>, index: number): void {
  Atomics.add(barrier, index, 1);
  Atomics.notify(barrier, index);
}

scope.onmessage = ({ data: { rowName, job, barrier } }) => {
  let answer: JobAnswer;
  let run: (() => number) | null = null;
  try {
    run = ROWS.find((row) => row.name === rowName)!.run(job);
    answer = { operations: 0 };
  } catch (error) {
    answer = { error: (error as Error).message };
  }
  arrive(barrier, BARRIER.READY);
  while (Atomics.load(barrier, BARRIER.GO) === 0) Atomics.wait(barrier, BARRIER.GO, 0);
  if (run !== null) {
    try {
      answer = { operations: run() };
    } catch (error) {
      answer = { error: (error as Error).message };
    }
  }
  arrive(barrier, BARRIER.DONE);
  scope.postMessage(answer);
};
