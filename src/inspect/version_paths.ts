/**
 * Which path a slot of the version table stands for: the running daemons that use the table know descriptors of their inodes.
 *
 * @module
 */

import type { DaemonState } from "./daemon_state.ts";
import { InspectError } from "./inspect_error.ts";
import { InodePaths } from "./inode_paths.ts";
import { type InodeSlot, inodeSlots } from "./inode_slots.ts";
import type { UsedSlot } from "./version_table.ts";

/** Paths on the host, of the slots as they were given when this was made. */
export class VersionPaths {
  readonly #known = new Map<number, { inode: InodeSlot; paths: InodePaths }>();

  /** `table` is the table's path; daemons that use another one are not asked. */
  constructor(daemons: readonly DaemonState[], table: string) {
    for (const daemon of daemons) {
      if (!daemon.running || !isTable(daemon.reader.description.versionTable, table)) continue;
      try {
        this.#ask(daemon);
      } catch (error) {
        // A daemon whose tables are damaged knows no paths.
        if (!(error instanceof InspectError)) throw error;
      }
    }
  }

  /** Null if no running daemon has a descriptor of the inode. */
  path({ slot, devLo, devHi, inoLo, inoHi }: UsedSlot): string | null {
    const known = this.#known.get(slot);
    if (known === undefined) return null;
    const { inode, paths } = known;
    const isSame = inode.devLo === devLo && inode.devHi === devHi && inode.inoLo === inoLo &&
      inode.inoHi === inoHi;
    return isSame ? paths.hostPath(inode) : null;
  }

  #ask(daemon: DaemonState): void {
    const paths = new InodePaths(daemon);
    for (const inode of inodeSlots(daemon.reader)) {
      if (inode.versionSlot !== 0 && inode.fd >= 0) {
        this.#known.set(inode.versionSlot, { inode, paths });
      }
    }
  }
}

/** Whether a daemon's table is this one. */
function isTable(path: string | null, table: string): boolean {
  if (path === null || path === table) return path === table;
  try {
    return Deno.realPathSync(path) === Deno.realPathSync(table);
  } catch {
    return false;
  }
}
