/**
 * What is in a registry that should not be there. For tests and checks: nobody may be at work on it meanwhile.
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";
import { CHANGES_IN_PROGRESS, VERSION_SLOT_FIRST } from "../wire/shared_versions.ts";
import {
  BUCKET,
  BUCKET_SLOTS,
  BUCKETS_OFFSET,
  OWNER,
  OWNER_COUNT_MAX,
  OWNER_FREE,
  OWNER_WORDS,
  OWNERS_OFFSET,
  slotWord,
} from "./registry_layout.ts";
import type { VersionSlots } from "./version_slots.ts";

/** Everything that is held or under way by others than `living` (their numbers), one line each: locks, references, changes, records. */
export function leftovers(
  registry: NativeMemory,
  slots: VersionSlots,
  living: readonly number[] = [],
): string[] {
  const { u32 } = registry;
  const found: string[] = [];
  for (let bucket = 0; bucket < slots.count / BUCKET_SLOTS; bucket++) {
    const word = u32[(BUCKETS_OFFSET + bucket * BUCKET.SIZE + BUCKET.LOCK) >>> 2]!;
    if (word !== 0) found.push(`bucket ${bucket} is locked: ${word.toString(16)}`);
  }
  for (let slot = 0; slot < slots.count; slot++) {
    const names = u32[slotWord(slot, BUCKET.NAMES_LOCK)]!;
    if (names !== 0) found.push(`the names of slot ${slot} are locked: ${names.toString(16)}`);
    for (const owner of ownersOf(u32, slot)) {
      if (!living.includes(owner)) found.push(`slot ${slot} is used by ${owner}`);
    }
    if (slot >= VERSION_SLOT_FIRST && (slots.low(slot) & CHANGES_IN_PROGRESS) !== 0) {
      found.push(`slot ${slot} has changes in progress: ${slots.low(slot).toString(16)}`);
    }
  }
  for (let owner = 0; owner < OWNER_COUNT_MAX; owner++) {
    const record = (OWNERS_OFFSET + owner * OWNER.SIZE) >>> 2;
    if (u32[record + OWNER.STATE / 4] !== OWNER_FREE && !living.includes(owner)) {
      found.push(`the record of ${owner} is in use`);
    }
    for (let at = record + OWNER.CHANGES / 4; at < record + OWNER.SIZE / 4; at++) {
      if (u32[at] !== 0) found.push(`${owner} has slot ${u32[at]} written down`);
    }
  }
  return found;
}

/** Inodes that have more than one slot in use, one line each. (Two inodes in one slot there cannot be: it has room for one.) */
export function inodesInTwoSlots(registry: NativeMemory, slots: VersionSlots): string[] {
  const { u32 } = registry;
  const slotOf = new Map<string, number>();
  const found: string[] = [];
  for (let slot = VERSION_SLOT_FIRST; slot < slots.count; slot++) {
    if (ownersOf(u32, slot).length === 0) continue;
    const inode = [BUCKET.DEV_HI, BUCKET.DEV_LO, BUCKET.INO_HI, BUCKET.INO_LO]
      .map((column) => u32[slotWord(slot, column)]!.toString(16)).join(":");
    const other = slotOf.get(inode);
    if (other !== undefined) found.push(`inode ${inode} has the slots ${other} and ${slot}`);
    slotOf.set(inode, slot);
  }
  return found;
}

/** The numbers of the daemons that use a slot. */
export function ownersOf(registryWords: Uint32Array, slot: number): number[] {
  const owners: number[] = [];
  for (let i = 0; i < OWNER_WORDS; i++) {
    const word = registryWords[slotWord(slot, BUCKET.OWNERS + i * BUCKET_SLOTS * 4)]!;
    for (let bit = 0; word >>> bit !== 0 && bit < 32; bit++) {
      if (((word >>> bit) & 1) !== 0) owners.push(i * 32 + bit);
    }
  }
  return owners;
}
