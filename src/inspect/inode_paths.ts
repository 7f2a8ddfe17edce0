/**
 * Where the inodes of a daemon are at this moment, by what /proc says of its descriptors.
 *
 * A descriptor may be closed, and its number come to mean another file, at any time. The slot loses its descriptor before that is closed; so
 * what /proc said of it is right if the slot still has it afterwards.
 *
 * @module
 */

import { FUSE_ROOT_ID } from "../wire/fuse.ts";
import type { DaemonState } from "./daemon_state.ts";
import { type InodeSlot, inodeSlot, isStill } from "./inode_slots.ts";

/** The paths of one daemon's inodes. */
export class InodePaths {
  readonly #state: DaemonState;
  readonly #root: string | null;

  constructor(state: DaemonState) {
    this.#state = state;
    const root = inodeSlot(state.reader, FUSE_ROOT_ID);
    this.#root = root === null ? null : this.hostPath(root);
  }

  /** As the guest sees it: "/" is the shared directory. Null if nobody knows: held by file handle, or no process. */
  path(slot: InodeSlot): string | null {
    const path = this.hostPath(slot);
    if (path === null) return null;
    const root = this.#root ?? this.#state.reader.description.sharedDir;
    return relativeTo(root, path);
  }

  /** The same for a nodeid. */
  pathOf(nodeid: number): string | null {
    const slot = inodeSlot(this.#state.reader, nodeid);
    return slot === null ? null : this.path(slot);
  }

  /** As the host sees it. */
  hostPath(slot: InodeSlot): string | null {
    const { running, pid, reader } = this.#state;
    if (!running || slot.fd < 0) return null;
    try {
      const path = Deno.readLinkSync(`/proc/${pid}/fd/${slot.fd}`);
      return isStill(reader, slot) ? path : null;
    } catch {
      return null;
    }
  }
}

function relativeTo(root: string, path: string): string {
  if (root === "/") return path;
  if (path === root) return "/";
  // Elsewhere: what has been moved out of the shared directory since.
  return path.startsWith(`${root}/`) ? path.slice(root.length) : path;
}
