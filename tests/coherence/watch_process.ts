/**
 * A watch in a process of its own, for tests of what a process may do: prints what it is told, one JSON value a line, until its standard input ends.
 *
 *     deno run -A tests/coherence/watch_process.ts DIRECTORY
 *
 * @module
 */

import { HostWatch } from "../../src/coherence/host_watch/host_watch.ts";
import { inodeName } from "./host_changes.ts";

const say = (value: unknown) => console.log(JSON.stringify(value));

const watch = await HostWatch.open({
  directory: Deno.args[0]!,
  changed: (devLo, devHi, inoLo, inoHi) => say({ changed: inodeName(devLo, devHi, inoLo, inoHi) }),
  overflowed: () => say({ overflowed: true }),
  isDaemon: (pid) => pid === Deno.pid,
  log: (line) => say({ log: line }),
});
say({ open: typeof watch === "string" ? watch : true });
if (typeof watch !== "string") {
  for await (const _ of Deno.stdin.readable);
  await watch.close();
}
