/**
 * Where the Workers of the check of coherence find their code.
 *
 * @module
 */

/** In the single executable all modules are one file, and a Worker runs that, which looks at {@linkcode COHERENCE_WORKER_NAME}. */
export const COHERENCE_WORKER_URL: string = import.meta.url.endsWith("/worker_url.ts")
  ? new URL("./guest_worker.ts", import.meta.url).href
  : import.meta.url;

/** The Workers' name. */
export const COHERENCE_WORKER_NAME = "coherence";
