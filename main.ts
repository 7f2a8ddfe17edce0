#!/usr/bin/env -S deno run -A
/**
 * The program: arguments in, exit code out. Everything else is in `src/cli/`.
 *
 * @module
 */

import { COHERENCE_WORKER_NAME } from "./src/check/coherence/worker_url.ts";
import { dispatch } from "./src/cli/dispatch.ts";
import { VIEW_WORKER_NAME } from "./src/dax/worker_url.ts";
import { MOUNT_WORKER_NAME, NOTICE_WORKER_NAME } from "./src/mount/worker_url.ts";

if (import.meta.main) {
  Deno.exit(await dispatch(Deno.args));
} else if ("WorkerGlobalScope" in globalThis) {
  // In the single executable this module is all there is: every Worker starts here, and goes by its name.
  if (globalThis.name === MOUNT_WORKER_NAME) await import("./src/mount/mount_worker.ts");
  else if (globalThis.name === NOTICE_WORKER_NAME) await import("./src/mount/notice_worker.ts");
  else if (globalThis.name === VIEW_WORKER_NAME) await import("./src/dax/view_worker.ts");
  else if (globalThis.name === COHERENCE_WORKER_NAME) {
    await import("./src/check/coherence/guest_worker.ts");
  } else await import("./src/device/queue_worker.ts");
}
