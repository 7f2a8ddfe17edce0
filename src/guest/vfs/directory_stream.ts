/**
 * Reading an open directory.
 *
 * @module
 */

import { ENOENT, type Status } from "../../sys/errno.ts";
import { FUSE_DO_READDIRPLUS } from "../../wire/fuse.ts";
import { readdir } from "../client/directories.ts";
import { hasFlag } from "../client/agreement.ts";
import type { DirectoryEntry } from "./directory_entry.ts";
import type { Inode } from "./inode.ts";
import { openedAtDaemon } from "./open.ts";
import type { OpenFile } from "./open_file.ts";
import type { Volume } from "./volume.ts";

/** Listings that are longer are not kept. */
const LISTING_COUNT_MAX = 100_000;

/** What has been read of a directory and not been asked for yet. */
export class DirectoryStream {
  #pending: readonly DirectoryEntry[] = [];
  #at = 0;
  #cookie = 0n;
  /** All entries from the start up to here, while they may become the directory's listing. */
  #collected: DirectoryEntry[] | null = null;
  #serial = 0;

  /** Goes on after a cookie; 0 is the start. */
  seek(cookie: bigint): void {
    this.#pending = [];
    this.#at = 0;
    this.#cookie = cookie;
    this.#collected = null;
  }

  /** The next entry without taking it: null at the end, or a negative errno. */
  peek(volume: Volume, file: OpenFile): DirectoryEntry | null | Status {
    if (this.#at >= this.#pending.length) {
      if (file.inode.stale) return -ENOENT;
      const status = this.#recall(volume, file.inode) ? 0 : this.#fill(volume, file);
      if (status < 0) return status;
      if (this.#at >= this.#pending.length) return null;
    }
    return this.#pending[this.#at]!;
  }

  /** Takes the entry that was looked at. */
  advance(): void {
    this.#at++;
  }

  /** Goes on in the directory's listing, if that is known and has the cookie. */
  #recall(volume: Volume, directory: Inode): boolean {
    const listing = volume.listing(directory);
    if (listing === null) return false;
    const last = listing.at(-1);
    const at = this.#cookie === 0n
      ? 0
      : this.#cookie === last?.next
      ? listing.length
      : listing.findIndex(({ next }) => next === this.#cookie) + 1;
    if (at === 0 && this.#cookie !== 0n) return false;
    this.#pending = listing;
    this.#at = at;
    if (last !== undefined) this.#cookie = last.next;
    return true;
  }

  /** Asks for the next piece; none is the end. */
  #fill(volume: Volume, file: OpenFile): Status {
    const directory = file.inode;
    const opened = openedAtDaemon(volume, file);
    if (opened < 0) return opened;
    const plus = hasFlag(volume.client.agreement.flags, FUSE_DO_READDIRPLUS);
    const mayKeep = volume.versions !== null && volume.versions.observe(directory);
    if (this.#cookie === 0n) {
      this.#collected = [];
      this.#serial = directory.listingSerial;
    }
    if (!mayKeep || this.#serial !== directory.listingSerial) this.#collected = null;
    const entries: DirectoryEntry[] = [];
    const count = readdir(
      volume.client,
      directory.nodeid,
      file.handle,
      [Number(this.#cookie & 0xffffffffn), Number(this.#cookie >> 32n & 0xffffffffn)],
      plus,
      ({ name, ino, type, nextLow, nextHigh, entry }) => {
        const next = BigInt(nextHigh) << 32n | BigInt(nextLow);
        entries.push({ name, ino, type, next });
        this.#cookie = next;
        // "." and ".." carry no reference (facts of READDIRPLUS: fuse.h: fuse_direntplus).
        if (entry === null || isDots(name)) return;
        Object.assign(volume.entry, entry, { attr: volume.entry.attr });
        volume.entry.attr.assign(entry.attr);
        volume.enter(directory, name);
      },
    );
    if (count < 0) return count;
    this.#pending = entries;
    this.#at = 0;
    if (this.#collected === null) return 0;
    if (count > 0) this.#collect(entries);
    else if (this.#serial === directory.listingSerial) directory.listing = this.#collected;
    return 0;
  }

  #collect(entries: readonly DirectoryEntry[]): void {
    const collected = this.#collected!;
    if (collected.length + entries.length > LISTING_COUNT_MAX) this.#collected = null;
    else for (const entry of entries) collected.push(entry);
  }
}

function isDots(name: Uint8Array): boolean {
  return name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
}
