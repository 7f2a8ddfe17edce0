/**
 * The shared version table and its registry as somebody else sees them: opened for reading, checked, read in pieces. No daemon is needed.
 *
 * @module
 */

import { Owners } from "../coherence/owners.ts";
import {
  BUCKET,
  BUCKET_SLOTS,
  BUCKETS_OFFSET,
  OWNER,
  OWNER_COUNT_MAX,
  OWNER_FREE,
  OWNER_WORDS,
  OWNERS_OFFSET,
  REGISTRY_HEADER,
  REGISTRY_LAYOUT_VERSION,
  REGISTRY_MAGIC_HI,
  REGISTRY_MAGIC_LO,
  registrySize,
  SLOT_COUNT_MAX,
  SLOT_COUNT_MIN,
  tableSize,
} from "../coherence/registry_layout.ts";
import { registryPath } from "../coherence/version_file_access.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import {
  VERSION_MAGIC_HI,
  VERSION_MAGIC_LO,
  VERSION_SLOT_FIRST,
  VERSION_SLOT_SIZE,
  VERSION_TABLE,
  VERSION_TABLE_LAYOUT,
} from "../wire/shared_versions.ts";
import { InspectError } from "./inspect_error.ts";
import { type Piece, ReadOnlyFile } from "./read_only_file.ts";

/** Buckets that are copied at a time. */
const BLOCK_BUCKETS = 512;
const BUCKET_WORDS = BUCKET.SIZE >>> 2;
/** What says which inode a slot belongs to. */
const NAMING = [BUCKET.INO_LO, BUCKET.INO_HI, BUCKET.DEV_LO, BUCKET.DEV_HI];

/** A daemon's entry. */
export interface TableOwner {
  readonly owner: number;
  readonly pid: number;
  readonly since: number;
  readonly alive: boolean;
}

/** A slot that some daemon uses. */
export interface UsedSlot {
  readonly slot: number;
  readonly devLo: number;
  readonly devHi: number;
  readonly inoLo: number;
  readonly inoHi: number;
  readonly owners: readonly number[];
}

/** Both files, open. */
export class VersionTableReader implements Disposable {
  readonly slotCount: number;
  readonly #table: ReadOnlyFile;
  readonly #registry: ReadOnlyFile;
  /** A copy of the header and the owners' records. */
  readonly #owners: NativeMemory;

  /** Throws {@linkcode InspectError}. */
  constructor(readonly path: string) {
    using stack = new DisposableStack();
    this.#registry = stack.use(new ReadOnlyFile(registryPath(path), `the registry of ${path}`));
    this.#table = stack.use(new ReadOnlyFile(path, `the version table ${path}`));
    this.slotCount = this.#checkedRegistry();
    this.#checkTable();
    this.#owners = NativeMemory.allocate(BUCKETS_OFFSET);
    stack.move();
  }

  /** How often an inode got no slot, and how many dead daemons were swept up after. */
  counters(): { refusals: number; sweeps: number } {
    const { u32 } = this.#registry.read(0, REGISTRY_HEADER.SIZE);
    return {
      refusals: u32[REGISTRY_HEADER.REFUSALS >>> 2]!,
      sweeps: u32[REGISTRY_HEADER.SWEEPS >>> 2]!,
    };
  }

  /** The daemons, dead ones that nobody has swept up after included. */
  owners(): TableOwner[] {
    this.#registry.readInto(this.#owners.u8.subarray(0, BUCKETS_OFFSET), 0);
    const owners = new Owners(this.#owners, this.#registry.fd);
    const found: TableOwner[] = [];
    for (let owner = 0; owner < OWNER_COUNT_MAX; owner++) {
      if (owners.state(owner) === OWNER_FREE) continue;
      const since = this.#owners.f64[(OWNERS_OFFSET + owner * OWNER.SIZE + OWNER.SINCE) >>> 3]!;
      found.push({
        owner,
        pid: owners.pid(owner),
        since: Number.isFinite(since) ? since : 0,
        alive: owners.isAlive(owner),
      });
    }
    return found;
  }

  /** The slots in use, in order. One that is just being given to another inode is left out. */
  *usedSlots(): Generator<UsedSlot> {
    const bucketCount = this.slotCount / BUCKET_SLOTS;
    for (let first = 0; first < bucketCount; first += BLOCK_BUCKETS) {
      const count = Math.min(BLOCK_BUCKETS, bucketCount - first);
      const before = this.#buckets(first, count);
      const used = usedIn(before, count);
      // Most of a table is free.
      if (!used.includes(1)) continue;
      const after = this.#buckets(first, count);
      for (let i = 0; i < used.length; i++) {
        const slot = first * BUCKET_SLOTS + i;
        if (used[i] === 0 || slot < VERSION_SLOT_FIRST) continue;
        const at = (column: number) =>
          (i >>> 6) * BUCKET_WORDS + (column >>> 2) + (i & (BUCKET_SLOTS - 1));
        const owners = ownersOf(after, at);
        if (owners.length === 0) continue;
        if (NAMING.some((column) => before.u32[at(column)] !== after.u32[at(column)])) continue;
        const word = (column: number) => after.u32[at(column)]!;
        yield {
          slot,
          devLo: word(BUCKET.DEV_LO),
          devHi: word(BUCKET.DEV_HI),
          inoLo: word(BUCKET.INO_LO),
          inoHi: word(BUCKET.INO_HI),
          owners,
        };
      }
    }
  }

  /** All versions: low and high words by turns. `into` is what an earlier call has returned, to be filled again. */
  versions(into?: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
    const words = into ?? new Uint32Array(tableSize(this.slotCount) / 4);
    this.#table.readInto(new Uint8Array(words.buffer), 0);
    return words;
  }

  /** One slot's version, whole. */
  version(slot: number): bigint {
    let words = this.#versionWords(slot);
    for (;;) {
      const again = this.#versionWords(slot);
      // The two halves are counted up one after the other, the high one once in 2^16 changes at the most.
      if (again[1] === words[1]) return (BigInt(again[1]!) << 32n) | BigInt(again[0]!);
      words = again;
    }
  }

  close(): void {
    this.#table.close();
    this.#registry.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #versionWords(slot: number): Uint32Array {
    return this.#table.read(slot * VERSION_SLOT_SIZE, VERSION_SLOT_SIZE).u32;
  }

  #buckets(first: number, count: number): Piece {
    return this.#registry.read(BUCKETS_OFFSET + first * BUCKET.SIZE, count * BUCKET.SIZE);
  }

  #checkedRegistry(): number {
    const { name, size } = this.#registry;
    if (size < BUCKETS_OFFSET) throw new InspectError(`${name} is none: it has ${size} bytes`);
    const { u32 } = this.#registry.read(0, REGISTRY_HEADER.SIZE);
    if (
      u32[REGISTRY_HEADER.MAGIC_LO >>> 2] !== REGISTRY_MAGIC_LO ||
      u32[REGISTRY_HEADER.MAGIC_HI >>> 2] !== REGISTRY_MAGIC_HI
    ) throw new InspectError(`${name} is none: its magic is another`);
    const layout = u32[REGISTRY_HEADER.LAYOUT_VERSION >>> 2]!;
    if (layout !== REGISTRY_LAYOUT_VERSION) {
      throw new InspectError(
        `${name} has layout version ${layout}, this program reads ${REGISTRY_LAYOUT_VERSION}`,
      );
    }
    const slots = u32[REGISTRY_HEADER.SLOT_COUNT >>> 2]!;
    const isSize = slots >= SLOT_COUNT_MIN && slots <= SLOT_COUNT_MAX &&
      (slots & (slots - 1)) === 0;
    if (!isSize || size < registrySize(slots)) {
      throw new InspectError(`${name} is damaged: ${size} bytes for ${slots} slots`);
    }
    return slots;
  }

  #checkTable(): void {
    const { name, size } = this.#table;
    if (size < tableSize(this.slotCount)) {
      throw new InspectError(
        `${name} has been cut short: it has ${size} bytes, expected ${tableSize(this.slotCount)}`,
      );
    }
    const { u32 } = this.#table.read(0, VERSION_TABLE.SIZE);
    if (
      u32[VERSION_TABLE.MAGIC >>> 2] !== VERSION_MAGIC_LO ||
      u32[(VERSION_TABLE.MAGIC + 4) >>> 2] !== VERSION_MAGIC_HI
    ) throw new InspectError(`${name} is none: its magic is another`);
    const layout = u32[VERSION_TABLE.LAYOUT_VERSION >>> 2]!;
    if (layout !== VERSION_TABLE_LAYOUT) {
      throw new InspectError(
        `${name} has layout version ${layout}, this program reads ${VERSION_TABLE_LAYOUT}`,
      );
    }
  }
}

/** For each slot of some buckets, whether it has any owner: 1 or 0. */
function usedIn({ u32 }: Piece, bucketCount: number): Uint8Array {
  const used = new Uint8Array(bucketCount * BUCKET_SLOTS);
  for (let bucket = 0; bucket < bucketCount; bucket++) {
    const base = bucket * BUCKET_WORDS + (BUCKET.OWNERS >>> 2);
    for (let i = 0; i < OWNER_WORDS * BUCKET_SLOTS; i++) {
      if (u32[base + i] !== 0) used[bucket * BUCKET_SLOTS + (i & (BUCKET_SLOTS - 1))] = 1;
    }
  }
  return used;
}

function ownersOf({ u32 }: Piece, at: (column: number) => number): number[] {
  const owners: number[] = [];
  for (let column = 0; column < OWNER_WORDS; column++) {
    const bits = u32[at(BUCKET.OWNERS + column * BUCKET_SLOTS * 4)]!;
    if (bits === 0) continue;
    for (let bit = 0; bit < 32; bit++) {
      if (((bits >>> bit) & 1) !== 0) owners.push(column * 32 + bit);
    }
  }
  return owners;
}
