/**
 * The version table as a guest sees it, and the replies that speak of it. Written from the ABI of the RFC of December 2018
 * (fuse_entryver_out, an array of 64-bit slots), not from the daemon.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Dirent, type Entry, readDirents, readEntry } from "./fuse_wire.ts";
import { type Mapping, mapShared } from "./libc.ts";
import { concat, viewOf } from "./little_endian.ts";

/** INIT's flags2, bit 30: the guest has the table. */
export const SHARED_VERSIONS = 1n << 62n;
/** The shared-memory region that the table is. */
export const TABLE_REGION = 1;
/** A completed change adds this to a slot. */
export const CHANGE = 4096n;
/** The bits of a slot that count changes in progress. */
export const IN_PROGRESS = 4095n;
/** The first slot that can belong to an inode. */
export const FIRST_SLOT = 8;
/** How long names and attributes are valid that a slot vouches for, in seconds. */
export const ONE_DAY = 86_400n;

/** struct fuse_entryver_out. */
export interface EntryVersion {
  /** 0: no slot. */
  readonly index: number;
  readonly version: bigint;
}

/** An entry reply of a session with versions. */
export interface VersionedEntry extends EntryVersion {
  readonly entry: Entry;
}

/** A record of READDIRPLUS with versions. */
export interface VersionedDirent extends EntryVersion {
  readonly dirent: Dirent;
}

/** Reads a fuse_entryver_out. */
export function readEntryVersion(bytes: Uint8Array, at: number): EntryVersion {
  const view = viewOf(bytes);
  return {
    index: Number(view.getBigUint64(at, true)),
    version: view.getBigUint64(at + 8, true),
  };
}

/** An entry reply: `before` bytes (fuse_entry_out, and fuse_open_out if there is one), then the version. */
export function readVersionedEntry(body: Uint8Array, before: 128 | 144 = 128): VersionedEntry {
  assert.equal(body.length, before + 16, "size of an entry reply with a version");
  return { entry: readEntry(body), ...readEntryVersion(body, before) };
}

/** Takes a READDIRPLUS reply with versions apart: fuse_entry_out, fuse_entryver_out, fuse_dirent and name, padded to 8. */
export function readVersionedDirents(bytes: Uint8Array): VersionedDirent[] {
  const list: VersionedDirent[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = viewOf(bytes).getUint32(at + 144 + 16, true);
    const end = at + Math.ceil((144 + 24 + length) / 8) * 8;
    const plain = concat(bytes.subarray(at, at + 128), bytes.subarray(at + 144, end));
    const [dirent] = readDirents(plain, true);
    list.push({ dirent: dirent!, ...readEntryVersion(bytes, at + 128) });
    at = end;
  }
  return list;
}

/** A table that is mapped for reading. */
export class VersionTable implements Disposable {
  readonly #mapping: Mapping;
  readonly #slots: BigUint64Array;

  constructor(fd: number, readonly size: number) {
    this.#mapping = mapShared(fd, size, 0, false);
    this.#slots = new BigUint64Array(this.#mapping.buffer);
  }

  /** The table's own word for how many slots it has. */
  get slotCount(): number {
    return Number(this.slot(2));
  }

  /** A slot's value now. */
  slot(index: number): bigint {
    return Atomics.load(this.#slots, index);
  }

  /** All values, to see what has moved. */
  snapshot(): BigUint64Array {
    return this.#slots.slice();
  }

  /** Which slots have other values than in an earlier snapshot, and by how much. */
  movedSince(before: BigUint64Array): Map<number, bigint> {
    const moved = new Map<number, bigint>();
    before.forEach((value, index) => {
      const now = this.slot(index);
      if (now !== value) moved.set(index, BigInt.asIntN(64, now - value));
    });
    return moved;
  }

  /** Asserts that an index can be an inode's. */
  assertInRange(index: number, what: string): void {
    assert.ok(index >= FIRST_SLOT && index < this.size / 8, `${what}: version index ${index}`);
  }

  [Symbol.dispose](): void {
    this.#mapping.unmap();
  }
}
