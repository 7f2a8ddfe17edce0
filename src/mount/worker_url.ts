/**
 * Where the mount's Workers find their code.
 *
 * @module
 */

/** In the single executable all modules are one file, and each Worker runs that, which looks at the Worker's name. */
const IN_ONE_FILE = !import.meta.url.endsWith("/worker_url.ts");

export const MOUNT_WORKER_URL: string = IN_ONE_FILE
  ? import.meta.url
  : new URL("./mount_worker.ts", import.meta.url).href;
export const NOTICE_WORKER_URL: string = IN_ONE_FILE
  ? import.meta.url
  : new URL("./notice_worker.ts", import.meta.url).href;

/** The Workers' names. */
export const MOUNT_WORKER_NAME = "mount";
export const NOTICE_WORKER_NAME = "notices";
