/**
 * What a device needs of the sandbox that it runs in: the moments at which it closes, and what only the process outside can do.
 *
 * @module
 */

import type { PaddedViews } from "../dax/view_mount.ts";
import type { OwnDirectories } from "../sys/own_directories.ts";
import type { HostChanges } from "../coherence/host_watch/changes.ts";

/** The sandbox, from inside. */
export interface Confinement {
  /**
   * All code has been loaded and no queue's thread has its own directory yet: gives up the sight of the host. Resolves with what has no path
   * any more.
   */
  confine(): Promise<OwnDirectories>;
  /** All threads are running: gives up the system calls that were for starting only. */
  seal(): void;
  /** Padded views, by the process outside; or why there are none. */
  openViews(): Promise<PaddedViews | string>;
  /** Has the process outside watch the host. Null, or why it does not. */
  watchHost(changes: HostChanges): Promise<string | null>;
  /** Which processes are daemons, whose changes are counted already. */
  setDaemons(pids: ReadonlySet<number>): void;
  /** Has the process outside look whether a path keeps naming the version table. */
  watchTable(device: number, inode: number): void;
}
