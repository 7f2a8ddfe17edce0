/**
 * Serves the file system of `memory_fs.ts`:
 *
 *     deno run -A examples/serve_memory_fs.ts memory.sock memory
 *
 * and, in a guest that has the socket as a device (see the README): `mount -t virtiofs memory /mnt`.
 *
 * @module
 */

import { serve } from "../mod.ts";

const [socketPath = "memory.sock", tag = "memory"] = Deno.args;
const ending = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(name, () => ending.abort());
}
await serve({
  socketPath,
  tag,
  fileSystem: new URL("./memory_fs.ts", import.meta.url),
  fileSystemOptions: { files: { "hello.txt": "Hello from memory.\n" } },
  keepListening: true,
  log: console,
  signal: ending.signal,
});
Deno.exit(0);
