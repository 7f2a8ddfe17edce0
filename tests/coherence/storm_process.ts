/**
 * A daemon that does nothing but use a version table, with several threads. Prints what it counted.
 *
 *     storm_process.ts '{"path": …}'
 *
 * @module
 */

import { Daemon, slotsOf } from "./table_files.ts";
import { mapModel, takeColumns } from "./storm_model.ts";
import type { StormCounts, StormThread } from "./storm_thread.ts";

/** What a process is told. */
export interface StormProcess {
  readonly path: string;
  readonly slotCount: number;
  readonly model: string;
  readonly threads: number;
  readonly seed: number;
  readonly inodes: number;
  readonly most: number;
  readonly steps: number;
  /** For its first thread, see {@linkcode StormThread}. */
  readonly dieAt: number;
  /** Looks for the dead this often. */
  readonly sweepMs: number;
}

/** What a process says at its end. */
export interface StormReport {
  readonly threads: readonly StormCounts[];
  /** Slots that it still had when all was given back. */
  readonly left: readonly number[];
}

async function main(told: StormProcess): Promise<StormReport> {
  using daemon = new Daemon(told.path, told.slotCount);
  const model = mapModel(told.model);
  takeColumns(model.memory, daemon.owner);
  const timer = setInterval(() => daemon.versions.sweep(), told.sweepMs);
  const threads = await Promise.all(
    Array.from({ length: told.threads }, (_, thread) =>
      inWorker({
        place: daemon.versions.place,
        stateAddress: daemon.state.address,
        modelAddress: model.address,
        thread,
        seed: told.seed + thread,
        inodes: told.inodes,
        most: told.most,
        steps: told.steps,
        dieAt: thread === 0 ? told.dieAt : 0,
      })),
  );
  clearInterval(timer);
  return { threads, left: slotsOf(daemon) };
}

function inWorker(part: StormThread): Promise<StormCounts> {
  const { promise, resolve, reject } = Promise.withResolvers<StormCounts>();
  const worker = new Worker(new URL("./storm_thread.ts", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }: MessageEvent<StormCounts>) => {
    worker.terminate();
    // At once: the process may be killed before its report.
    if (data.error !== null) console.error(data.error);
    resolve(data);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  worker.postMessage(part);
  return promise;
}

if (import.meta.main) {
  console.log(JSON.stringify(await main(JSON.parse(Deno.args[0]!))));
  Deno.exit(0);
}
