/**
 * Where the mount's Worker finds its code.
 *
 * @module
 */

/** In the single executable all modules are one file, and the Worker runs that, which looks at {@linkcode MOUNT_WORKER_NAME}. */
export const MOUNT_WORKER_URL: string = import.meta.url.endsWith("/worker_url.ts")
  ? new URL("./mount_worker.ts", import.meta.url).href
  : import.meta.url;

/** The Worker's name. */
export const MOUNT_WORKER_NAME = "mount";
