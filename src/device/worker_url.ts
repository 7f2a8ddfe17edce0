/**
 * Where a queue's Worker finds its code.
 *
 * @module
 */

/** In the single executable all modules are one file, and the Worker runs that: then this module is not where it was written. */
export const QUEUE_WORKER_URL: string = import.meta.url.endsWith("/worker_url.ts")
  ? new URL("./queue_worker.ts", import.meta.url).href
  : import.meta.url;

/** How the names of these Workers begin; the number of the queue follows. */
export const QUEUE_WORKER_NAME = "queue-";
