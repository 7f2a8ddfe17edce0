/**
 * The handshake around each measurement: the guest asks, the host reads how much processor time every daemon
 * has used, and answers. It goes through a host directory that the guest mounts as hostfs, never through a daemon.
 *
 * @module
 */

/** Processor time in nanoseconds used so far, by daemon. */
export type Usage = Readonly<Record<string, number>>;

const DEADLINE_MS = 30_000;

function put(path: string, text: string): void {
  {
    using file = Deno.openSync(`${path}.new`, { write: true, create: true });
    file.writeSync(new TextEncoder().encode(text));
    // hostfs keeps written data in the guest until it is told otherwise.
    file.syncSync();
  }
  Deno.renameSync(`${path}.new`, path);
}

/** The guest's end. */
export class Probe {
  readonly #dir: string;
  #count = 0;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Asks the host and waits for its answer. */
  async ask(): Promise<Usage> {
    const number = ++this.#count;
    put(`${this.#dir}/request-${number}`, "");
    const path = `${this.#dir}/reply-${number}`;
    const deadline = performance.now() + DEADLINE_MS;
    while (performance.now() < deadline) {
      try {
        return JSON.parse(Deno.readTextFileSync(path));
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    throw new Error("The host did not answer");
  }
}

/** A process and its children: a daemon in a sandbox is two. */
export function withChildren(pid: number): number[] {
  const tasks = `/proc/${pid}/task`;
  const children = [...Deno.readDirSync(tasks)].flatMap(({ name }) =>
    Deno.readTextFileSync(`${tasks}/${name}/children`).trim().split(" ")
  );
  return [pid, ...children.filter((word) => word !== "").map(Number)];
}

/**
 * Processor time of all threads of a daemon, in nanoseconds. A thread that ended is no longer counted; queue
 * threads live as long as the guest.
 */
export function processorTime(pid: number): number {
  return withChildren(pid).reduce((sum, process) => sum + timeOfThreads(process), 0);
}

function timeOfThreads(pid: number): number {
  let sum = 0;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    try {
      const text = Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`);
      sum += Number(text.slice(0, text.indexOf(" ")));
    } catch (error) {
      // A thread of the pool may end between the listing and the reading.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return sum;
}

/** The host's end: answers until it is disposed of. Asleep between requests, so as not to disturb what is measured. */
export class ProbeHost implements AsyncDisposable {
  readonly #dir: string;
  readonly #watcher: Deno.FsWatcher;
  readonly #usage: () => Usage;
  readonly #loop: Promise<void>;
  #answered = 0;

  constructor(dir: string, usage: () => Usage) {
    this.#dir = dir;
    this.#usage = usage;
    this.#watcher = Deno.watchFs(dir, { recursive: false });
    this.#loop = this.#serve();
  }

  async #serve(): Promise<void> {
    for await (const _event of this.#watcher) {
      const number = this.#answered + 1;
      try {
        Deno.statSync(`${this.#dir}/request-${number}`);
      } catch {
        continue;
      }
      this.#answered = number;
      put(`${this.#dir}/reply-${number}`, JSON.stringify(this.#usage()));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watcher.close();
    await this.#loop;
  }
}
