#!/usr/bin/env -S deno run -A
/**
 * The program: arguments in, exit code out. Everything else is in `src/cli/`.
 *
 * @module
 */

import { dispatch } from "./src/cli/dispatch.ts";

if (import.meta.main) {
  Deno.exit(await dispatch(Deno.args));
} else if ("WorkerGlobalScope" in globalThis) {
  // In the single executable this module is all there is: a queue's Worker starts here, too.
  await import("./src/device/queue_worker.ts");
}
