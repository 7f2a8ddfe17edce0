/**
 * Where the views' Worker finds its code.
 *
 * @module
 */

/** In the single executable all modules are one file, and the Worker runs that, which looks at {@linkcode VIEW_WORKER_NAME}. */
export const VIEW_WORKER_URL: string = import.meta.url.endsWith("/worker_url.ts")
  ? new URL("./view_worker.ts", import.meta.url).href
  : import.meta.url;

/** The Worker's name. */
export const VIEW_WORKER_NAME = "views";
