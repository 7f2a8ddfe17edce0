/**
 * Reading an open directory.
 *
 * @module
 */

import { ENOENT, type Status } from "../../sys/errno.ts";
import { FUSE_DO_READDIRPLUS } from "../../wire/fuse.ts";
import { readdir } from "../client/directories.ts";
import { hasFlag } from "../client/agreement.ts";
import type { OpenFile } from "./open_file.ts";
import type { Volume } from "./volume.ts";

/** One name in a directory. */
export interface DirectoryEntry {
  readonly name: Uint8Array;
  readonly ino: number;
  /** DT_*: the type bits of the mode, shifted. */
  readonly type: number;
  /** Where to go on after it: a cookie of the daemon's. */
  readonly next: bigint;
}

/** What has been read of a directory and not been asked for yet. */
export class DirectoryStream {
  #pending: DirectoryEntry[] = [];
  #at = 0;
  #cookie: readonly [number, number] = [0, 0];

  /** Goes on after a cookie; 0 is the start. */
  seek(cookie: bigint): void {
    this.#pending = [];
    this.#at = 0;
    this.#cookie = [Number(cookie & 0xffffffffn), Number(cookie >> 32n & 0xffffffffn)];
  }

  /** The next entry without taking it: null at the end, or a negative errno. */
  peek(volume: Volume, file: OpenFile): DirectoryEntry | null | Status {
    if (this.#at >= this.#pending.length) {
      const count = this.#fill(volume, file);
      if (count < 0) return count;
      if (count === 0) return null;
    }
    return this.#pending[this.#at]!;
  }

  /** Takes the entry that was looked at. */
  advance(): void {
    this.#at++;
  }

  #fill(volume: Volume, file: OpenFile): number {
    const directory = file.inode;
    if (directory.stale) return -ENOENT;
    const plus = hasFlag(volume.client.agreement.flags, FUSE_DO_READDIRPLUS);
    this.#pending = [];
    this.#at = 0;
    const count = readdir(
      volume.client,
      directory.nodeid,
      file.handle,
      this.#cookie,
      plus,
      ({ name, ino, type, nextLow, nextHigh, entry }) => {
        const next = BigInt(nextHigh) << 32n | BigInt(nextLow);
        this.#pending.push({ name, ino, type, next });
        this.#cookie = [nextLow, nextHigh];
        // "." and ".." carry no reference (facts of READDIRPLUS: fuse.h: fuse_direntplus).
        if (entry === null || isDots(name)) return;
        Object.assign(volume.entry, entry, { attr: volume.entry.attr });
        volume.entry.attr.assign(entry.attr);
        volume.enter(directory, name);
      },
    );
    return count;
  }
}

function isDots(name: Uint8Array): boolean {
  return name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
}
