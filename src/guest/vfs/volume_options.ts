/**
 * How a volume caches, and how much.
 *
 * @module
 */

import type { GuestDaxMode } from "../client/dax_mode.ts";
import type { VersionTable } from "../client/version_table.ts";
import type { GuestCacheMode } from "./cache_mode.ts";

/** How a volume caches. */
export interface VolumeOptions {
  readonly cache: GuestCacheMode;
  /** Inodes known at a time; each is a reference that the daemon keeps a descriptor for. */
  readonly inodeCountMax: number;
  /** Bytes of file data cached. */
  readonly pageCacheSize: number;
  /** Whether files are mapped into the device's window. Default "never". */
  readonly dax?: GuestDaxMode;
  /** Cache mode "shared": the table of versions, if the daemon has one. */
  readonly versionTable?: VersionTable | null;
  /** Is told, once a session, of what a daemon should not say. */
  readonly warn?: (message: string) => void;
  /** The clock of all time-outs, in milliseconds. */
  readonly now?: () => number;
}
