/**
 * How long after a change on the host the watch reports it, in a process that does nothing else; and what an event costs the thread that reads it.
 *
 *     deno run -A bench/coherence/host_watch.ts [DIRECTORY]
 *
 * @module
 */

import { HostWatch } from "../../src/coherence/host_watch/host_watch.ts";

const CHANGES = 1000;
/** Not measured: code that has not been compiled yet. */
const WARM_UP = 200;
/** Events at once, fewer than the kernel keeps. */
const BURST = 10_000;
const BURSTS = 5;

/** A watched directory, and whoever waits for a report of one inode. */
class Waiter {
  readonly directory: string;
  #ino = 0;
  #reported = Promise.withResolvers<void>();

  constructor(parent: string) {
    this.directory = Deno.makeTempDirSync({ dir: parent, prefix: "virtiofsd-ts-bench-" });
  }

  changed(inoLo: number, inoHi: number): void {
    if (inoHi * 2 ** 32 + inoLo === this.#ino) this.#reported.resolve();
  }

  /** Changes a file and waits until that is reported: microseconds. */
  async change(path: string, mode: number): Promise<number> {
    this.#ino = Deno.statSync(path).ino!;
    this.#reported = Promise.withResolvers();
    const start = performance.now();
    Deno.chmodSync(path, mode);
    await this.#reported.promise;
    return 1000 * (performance.now() - start);
  }
}

async function measure(inotifyOnly: boolean, parent: string): Promise<void> {
  const waiter = new Waiter(parent);
  const path = `${waiter.directory}/f`;
  Deno.writeTextFileSync(path, "");
  const watch = await HostWatch.open({
    directory: waiter.directory,
    inotifyOnly,
    isDaemon: () => false,
    changed: (_devLo, _devHi, inoLo, inoHi) => waiter.changed(inoLo, inoHi),
    overflowed: () => console.log("events were lost"),
    log: (line) => console.log(line),
  });
  if (typeof watch === "string") throw new Error(watch);
  const times: number[] = [];
  for (let i = 0; i < WARM_UP + CHANGES; i++) {
    const time = await waiter.change(path, i % 2 === 0 ? 0o600 : 0o644);
    if (i >= WARM_UP) times.push(time);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(share * (times.length - 1))]!.toFixed(0);
  const perEvent: number[] = [];
  for (let burst = 0; burst < BURSTS; burst++) {
    // The thread is busy making changes, so all are read when it waits for the last one.
    for (let i = 0; i < BURST; i++) Deno.symlinkSync("x", `${waiter.directory}/${burst}.${i}`);
    perEvent.push(await waiter.change(path, burst % 2 === 0 ? 0o600 : 0o644) / BURST);
  }
  console.log(
    `${inotifyOnly ? "inotify " : "fanotify"} report after: median ${at(0.5)} µs, ` +
      `99 % ${at(0.99)} µs, max ${at(1)} µs; each of ${BURST} events at once: ` +
      `${Math.min(...perEvent).toFixed(2)} µs`,
  );
  await watch.close();
  Deno.removeSync(waiter.directory, { recursive: true });
}

const parent = Deno.args[0] ?? "/dev/shm";
for (const inotifyOnly of [false, true]) await measure(inotifyOnly, parent);
