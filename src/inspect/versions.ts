/**
 * `inspect versions`: the shared version table, who uses it, and what moves in it.
 *
 * @module
 */

import { CHANGES_IN_PROGRESS, VERSION_SLOT_FIRST } from "../wire/shared_versions.ts";
import type { DaemonState } from "./daemon_state.ts";
import { deviceNumber, wideNumber } from "./device_number.ts";
import type { OwnerRow, VersionRow, VersionsView } from "./snapshot.ts";
import { VersionPaths } from "./version_paths.ts";
import type { UsedSlot, VersionTableReader } from "./version_table.ts";

const CHANGES_SHIFT = 12n;
/** The same in a low word, and how many changes it can count. */
const LOW_SHIFT = 12;
const LOW_CHANGES = 0xfffff;
/** Inodes and paths are looked for this often at the most. */
const LOOK_AGAIN_MS = 100;

/** Which slots. */
export interface VersionChoice {
  /** At most so many rows: those that were changed most often. By default all, in order. */
  readonly limit?: number | null;
}

/** The table's slots and owners; paths are asked of `daemons`. */
export function readVersions(
  table: VersionTableReader,
  daemons: readonly DaemonState[],
  choice: VersionChoice = {},
): VersionsView {
  const used = [...table.usedSlots()];
  const versions = table.versions();
  const uses = new Map<number, number>();
  for (const { owners } of used) {
    for (const owner of owners) uses.set(owner, (uses.get(owner) ?? 0) + 1);
  }
  const owners: OwnerRow[] = table.owners()
    .map((owner) => ({ ...owner, slots: uses.get(owner.owner) ?? 0 }));
  const paths = new VersionPaths(daemons, table.path);
  const rows = chosen(used, versions, choice.limit ?? null).map((slot) =>
    versionRow(slot, table.version(slot.slot), paths.path(slot))
  );
  return {
    path: table.path,
    slotCount: table.slotCount - VERSION_SLOT_FIRST,
    used: used.length,
    free: table.slotCount - VERSION_SLOT_FIRST - used.length,
    ...table.counters(),
    owners,
    rows,
  };
}

function chosen(used: UsedSlot[], versions: Uint32Array, limit: number | null): UsedSlot[] {
  if (limit === null || used.length <= limit) return used;
  const value = ({ slot }: UsedSlot) => versions[slot * 2 + 1]! * 2 ** 32 + versions[slot * 2]!;
  return used.sort((a, b) => value(b) - value(a)).slice(0, limit);
}

function versionRow(slot: UsedSlot, value: bigint, path: string | null): VersionRow {
  return {
    slot: slot.slot,
    value: `${value}`,
    changes: Number(value >> CHANGES_SHIFT),
    inProgress: Number(value & BigInt(CHANGES_IN_PROGRESS)),
    device: deviceNumber(slot.devLo, slot.devHi),
    ino: wideNumber(slot.inoLo, slot.inoHi),
    path,
    owners: slot.owners,
  };
}

/** A slot in which changes were counted. */
export interface Bump {
  readonly slot: number;
  readonly changes: number;
  readonly path: string | null;
  readonly device: string | null;
  readonly ino: string | null;
}

/** Looks at the table again and again, and tells what has moved. */
export class VersionFollower {
  readonly #table: VersionTableReader;
  readonly #daemons: () => readonly DaemonState[];
  /** As they were the last time, and the time before that. */
  #versions: Uint32Array<ArrayBuffer>;
  #older: Uint32Array<ArrayBuffer>;
  #slots = new Map<number, UsedSlot>();
  #paths: VersionPaths;
  #looked = 0;

  /** `daemons` is asked anew when a slot moves of which no path is known. */
  constructor(table: VersionTableReader, daemons: () => readonly DaemonState[]) {
    this.#table = table;
    this.#daemons = daemons;
    this.#versions = table.versions();
    this.#older = table.versions();
    this.#paths = this.#look();
  }

  /** What has been counted since the last time, by slot. A change in progress shows when it is done. */
  poll(): Bump[] {
    const before = this.#versions;
    const now = this.#versions = this.#table.versions(this.#older);
    this.#older = before;
    const moved = movedSlots(before, now);
    let bumps = moved.map((move) => this.#bump(move.slot, move.changes));
    // A slot that was not in use before, or another inode's.
    const isOld = performance.now() - this.#looked > LOOK_AGAIN_MS;
    if (isOld && bumps.some(({ path }) => path === null)) {
      this.#paths = this.#look();
      bumps = moved.map((move) => this.#bump(move.slot, move.changes));
    }
    return bumps;
  }

  #bump(slot: number, changes: number): Bump {
    const used = this.#slots.get(slot);
    if (used === undefined) return { slot, changes, path: null, device: null, ino: null };
    return {
      slot,
      changes,
      path: this.#paths.path(used),
      device: deviceNumber(used.devLo, used.devHi),
      ino: wideNumber(used.inoLo, used.inoHi),
    };
  }

  #look(): VersionPaths {
    this.#looked = performance.now();
    this.#slots = new Map([...this.#table.usedSlots()].map((used) => [used.slot, used]));
    return new VersionPaths(this.#daemons(), this.#table.path);
  }
}

/** The slots whose number of changes is another. Low words alone: the high one only keeps them apart. */
function movedSlots(before: Uint32Array, now: Uint32Array): { slot: number; changes: number }[] {
  const moved: { slot: number; changes: number }[] = [];
  for (let i = VERSION_SLOT_FIRST * 2; i < now.length; i += 2) {
    // Most slots have not moved at all.
    if (now[i] === before[i]) continue;
    const changes = ((now[i]! >>> LOW_SHIFT) - (before[i]! >>> LOW_SHIFT)) & LOW_CHANGES;
    if (changes !== 0) moved.push({ slot: i / 2, changes });
  }
  return moved;
}
