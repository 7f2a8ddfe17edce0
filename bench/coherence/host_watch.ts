/**
 * How long after a change on the host the watch reports it, in a process that does nothing else.
 *
 *     deno run -A bench/coherence/host_watch.ts [DIRECTORY]
 *
 * @module
 */

import { HostWatch } from "../../src/coherence/host_watch/host_watch.ts";

const CHANGES = 1000;
/** Not measured: code that has not been compiled yet. */
const WARM_UP = 200;

async function measure(inotifyOnly: boolean, parent: string): Promise<void> {
  const directory = Deno.makeTempDirSync({ dir: parent, prefix: "virtiofsd-ts-bench-" });
  const path = `${directory}/f`;
  Deno.writeTextFileSync(path, "");
  const { ino } = Deno.statSync(path);
  let reported = Promise.withResolvers<void>();
  const watch = await HostWatch.open({
    directory,
    inotifyOnly,
    isDaemon: () => false,
    changed: (_devLo, _devHi, inoLo, inoHi) => {
      if (inoHi * 2 ** 32 + inoLo === ino) reported.resolve();
    },
    overflowed: () => {},
    log: (line) => console.log(line),
  });
  if (typeof watch === "string") throw new Error(watch);
  const times: number[] = [];
  for (let i = 0; i < WARM_UP + CHANGES; i++) {
    reported = Promise.withResolvers();
    const start = performance.now();
    Deno.chmodSync(path, i % 2 === 0 ? 0o600 : 0o644);
    await reported.promise;
    if (i >= WARM_UP) times.push(1000 * (performance.now() - start));
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(share * (times.length - 1))]!.toFixed(0);
  console.log(
    `${inotifyOnly ? "inotify " : "fanotify"} median ${at(0.5)} µs, 99 % ${at(0.99)} µs, max ${
      at(1)
    } µs`,
  );
  await watch.close();
  Deno.removeSync(directory, { recursive: true });
}

const parent = Deno.args[0] ?? "/dev/shm";
for (const inotifyOnly of [false, true]) await measure(inotifyOnly, parent);
