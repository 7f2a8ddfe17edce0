/**
 * State memories for tests of one table, and descriptors to put into it.
 *
 * @module
 */

import type { InodeEnd } from "../../src/state/inode_table.ts";
import { StateMemory } from "../../src/state/state_memory.ts";
import { libc } from "../../src/sys/libc.ts";

/** An empty state memory, unmapped at the end of the test. */
export class FreshState implements Disposable {
  readonly #state = StateMemory.create();

  get memory(): StateMemory["memory"] {
    return this.#state.memory;
  }

  get address(): number {
    return this.#state.address;
  }

  [Symbol.dispose](): void {
    this.#state.close();
  }
}

/** A descriptor of nothing in particular. */
export function someFd(): number {
  const fd = libc.eventfd(0, 0o2000000);
  if (fd < 0) throw new Error("no descriptor to be had");
  return fd;
}

/** Whether a descriptor is open. F_GETFD. */
export function isOpen(fd: number): boolean {
  return libc.fcntl(fd, 1, null) >= 0;
}

/** For inodes that have nothing in other tables. */
export const NOTHING_ELSE: InodeEnd = { releaseLocks() {}, releaseVersion() {} };
