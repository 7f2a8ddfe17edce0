/**
 * The version table as a file system offers it to its guest: shared memory that the guest reads (virtio 1.3, 2.10). How it gets there is somebody
 * else's matter.
 *
 * @module
 */

import type { Status } from "../sys/errno.ts";
import type { PENDING } from "./file_system.ts";

/** The region of one device. */
export interface VersionRegion {
  /** A session begins whose guest wants the table: 0 once the guest can see it, a negative errno if it will not. */
  begin(): Status | typeof PENDING;
  /** The other side may have gone. */
  disconnect(): void;
}
