/**
 * What `check coherence --kill` says about the version table when all daemons have ended.
 *
 * @module
 */

import { REGISTRY_HEADER } from "../coherence/registry_layout.ts";
import { inodesInTwoSlots, leftovers } from "../coherence/table_audit.ts";
import { VersionFiles } from "../coherence/version_files.ts";
import { VersionSlots } from "../coherence/version_slots.ts";
import { SharedVersions } from "../coherence/versions.ts";
import { StateMemory } from "../state/state_memory.ts";

/** What was found. */
export interface TableAudit {
  /** Dead daemons whose references others took back during the run, and those that were left for the end. */
  readonly sweptByDaemons: number;
  readonly sweptAtEnd: number;
  /** How often an inode got no slot. */
  readonly refusals: number;
  readonly slotCount: number;
  /** What must not be, one line each. */
  readonly found: readonly string[];
}

/** Inodes that have two slots. No guest may be at work. */
export function inodesWithTwoSlots(path: string): string[] {
  return withTable(path, ({ registry }, slots) => inodesInTwoSlots(registry.memory, slots));
}

/** Sweeps as a daemon does that comes and goes, and looks at what is left. `before` are faults that were found during the run. */
export function auditTable(path: string, before: readonly string[]): TableAudit {
  const count = () => withTable(path, ({ registry }) => registry.memory.u32[SWEEPS]!);
  const sweptByDaemons = count();
  sweepOnce(path);
  const sweptAtEnd = count() - sweptByDaemons;
  return withTable(path, ({ registry: { memory } }, slots) => ({
    sweptByDaemons,
    sweptAtEnd,
    refusals: memory.u32[REFUSALS]!,
    slotCount: slots.count,
    found: [...before, ...leftovers(memory, slots)],
  }));
}

/** The audit for people. */
export function auditText(
  { sweptByDaemons, sweptAtEnd, refusals, slotCount, found }: TableAudit,
): string {
  const state = found.length === 0
    ? "no slot in use, no lock held, no change in progress"
    : `${found.length} faults`;
  const refused = refusals === 0 ? "" : `, ${refusals} inodes had no slot`;
  return [
    `The table of ${slotCount} slots at the end: ${state} (dead daemons swept: ` +
    `${sweptByDaemons} by others, ${sweptAtEnd} at the end${refused})`,
    ...found.map((each) => `  ${each}`),
  ].join("\n");
}

const SWEEPS = REGISTRY_HEADER.SWEEPS / 4;
const REFUSALS = REGISTRY_HEADER.REFUSALS / 4;
/** Files that are there say themselves how large they are. */
const ANY_COUNT = 64;

function sweepOnce(path: string): void {
  const state = StateMemory.create();
  try {
    const config = { path, slotCount: ANY_COUNT, watchHost: false };
    const versions = SharedVersions.open(config, state.memory);
    versions.sweep();
    versions.close();
  } finally {
    state.close();
  }
}

function withTable<T>(path: string, look: (files: VersionFiles, slots: VersionSlots) => T): T {
  const files = VersionFiles.open({ path, slotCount: ANY_COUNT });
  try {
    return look(files, new VersionSlots(files.table.memory, files.slotCount));
  } finally {
    files.close();
  }
}
