/**
 * `inspect inodes`: what the guest knows.
 *
 * @module
 */

import {
  DAX_HEADER,
  DAX_INODE,
  DAX_INODE_MAPPED,
  DAX_INODE_TABLE_OFFSET,
  STATE_HEADER,
} from "../state/layout.ts";
import { errnoName } from "../sys/errno.ts";
import type { DaemonState } from "./daemon_state.ts";
import { deviceNumber, wideNumber } from "./device_number.ts";
import { globMatcher } from "./glob.ts";
import { InodePaths } from "./inode_paths.ts";
import { type InodeSlot, inodeSlots } from "./inode_slots.ts";
import { openHandles } from "./open_handles.ts";
import type { InodeRow, InodesView } from "./snapshot.ts";
import type { StateReader } from "./state_reader.ts";
import { readSummary } from "./summary.ts";

/** Which inodes, in which order. */
export interface InodeChoice {
  /** By default the order is that of nodeids. */
  readonly sort?: "lookups" | "opens" | null;
  readonly path?: string | null;
  /** At most so many rows. */
  readonly limit?: number | null;
}

/** The inodes that were chosen. Paths are looked up for those only, unless they are what is chosen by. */
export function readInodes(state: DaemonState, choice: InodeChoice = {}): InodesView {
  const { reader } = state;
  const header = reader.header();
  const handles = openHandles(reader);
  const slots = [...inodeSlots(reader)];
  if (choice.sort === "lookups") slots.sort((a, b) => b.lookups - a.lookups || a.nodeid - b.nodeid);
  if (choice.sort === "opens") {
    const opens = ({ nodeid }: InodeSlot) => handles.get(nodeid) ?? 0;
    slots.sort((a, b) => opens(b) - opens(a) || a.nodeid - b.nodeid);
  }
  const paths = new InodePaths(state);
  const matches = choice.path ? globMatcher(choice.path) : null;
  const limit = choice.limit ?? Infinity;
  const window = header.f64[(STATE_HEADER.DAX + DAX_HEADER.WINDOW_SIZE) >>> 3]!;
  const rows: InodeRow[] = [];
  for (const slot of slots) {
    if (rows.length >= limit) break;
    const path = paths.path(slot);
    if (matches !== null && (path === null || !matches(path))) continue;
    rows.push({
      nodeid: slot.nodeid,
      generation: slot.generation,
      path,
      device: deviceNumber(slot.devLo, slot.devHi),
      ino: wideNumber(slot.inoLo, slot.inoHi),
      mode: slot.mode,
      lookups: slot.lookups,
      openHandles: handles.get(slot.nodeid) ?? 0,
      heldBy: slot.fd >= 0 ? "descriptor" : "handle",
      descriptor: slot.fd >= 0 ? slot.fd : null,
      versionSlot: slot.versionSlot,
      // The pages of the DAX table exist only once there is a window.
      ...(window > 0 ? daxOf(reader, slot) : { dax: false, mappings: 0 }),
    });
  }
  const summary = readSummary(state);
  return {
    rows,
    total: slots.length,
    descriptors: summary.inodeDescriptors,
    descriptorLimit: summary.descriptorLimit,
    openHandles: summary.openHandles,
    handlesOff: handlesOff(header.u32[STATE_HEADER.HANDLES_ERRNO >>> 2]!),
  };
}

function daxOf(reader: StateReader, slot: InodeSlot): { dax: boolean; mappings: number } {
  const { u32 } = reader.read(
    DAX_INODE_TABLE_OFFSET + slot.nodeid * DAX_INODE.SIZE,
    DAX_INODE.SIZE,
  );
  // What another inode has left in the slot.
  if (u32[DAX_INODE.GENERATION >>> 2] !== slot.generation) return { dax: false, mappings: 0 };
  return {
    dax: (u32[DAX_INODE.FLAGS >>> 2]! & DAX_INODE_MAPPED) !== 0,
    mappings: u32[DAX_INODE.MAPPINGS >>> 2]!,
  };
}

function handlesOff(errno: number): string | null {
  if (errno === 0) return null;
  return `${errnoName(errno)}: inodes cannot be held by file handle, each takes a descriptor`;
}
