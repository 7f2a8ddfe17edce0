/**
 * A file descriptor with one owner, closed exactly once.
 *
 * Descriptors in the shared tables are plain numbers, because several threads hold them; their
 * tables count references. Everything else holds an {@linkcode OwnedFd}.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { libc } from "./libc.ts";

/** Closes at most once; use after closing is a bug and asserts. */
export class OwnedFd implements Disposable {
  #fd: number;

  constructor(fd: number) {
    assert(fd >= 0, "an owned descriptor is open");
    this.#fd = fd;
  }

  get number(): number {
    assert(this.#fd >= 0, "descriptor is used before it is closed");
    return this.#fd;
  }

  get closed(): boolean {
    return this.#fd < 0;
  }

  /** Gives the number away: the caller closes it. */
  release(): number {
    const fd = this.number;
    this.#fd = -1;
    return fd;
  }

  close(): void {
    if (this.#fd < 0) return;
    libc.close(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
