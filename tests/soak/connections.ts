/**
 * Front ends that come and go at a daemon in this process, and what each of them leaves on the heap: prints bytes. Run with
 * --v8-flags=--expose-gc.
 *
 * @module
 */

import { serve } from "../../mod.ts";
import { TempTree } from "../support/temp_tree.ts";

/** Until everything that runs for each of them has been compiled. */
const WARM_UP = 500;
const COUNT = 1500;

/** Connects, and waits until the daemon has hung up as well: one at a time. */
async function comeAndGo(path: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const connection = await Deno.connect({ transport: "unix", path });
    await connection.closeWrite();
    await connection.read(new Uint8Array(1));
    connection.close();
  }
}

/** What is on the heap and needed. */
async function heapUsed(): Promise<number> {
  const { gc } = globalThis as unknown as { gc(): void };
  // What promises and finalizers still hold goes in the next turn.
  for (let i = 0; i < 3; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return Deno.memoryUsage().heapUsed;
}

if (import.meta.main) {
  using tree = new TempTree();
  const socketPath = tree.path("s");
  const ending = new AbortController();
  const listening = Promise.withResolvers<void>();
  const nothing = () => {};
  const serving = serve({
    socketPath,
    sharedDir: tree.root,
    keepListening: true,
    signal: ending.signal,
    log: {
      ...{ error: console.error, warn: console.error, debug: nothing },
      info: (text: string) => text.startsWith("Waiting") && listening.resolve(),
    },
  });
  await Promise.race([listening.promise, serving]);
  await comeAndGo(socketPath, WARM_UP);
  const before = await heapUsed();
  await comeAndGo(socketPath, COUNT);
  console.log((await heapUsed() - before) / COUNT);
  ending.abort();
  await serving;
}
