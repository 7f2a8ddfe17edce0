/**
 * Open files and directories by inode, from the handle table.
 *
 * @module
 */

import {
  HANDLE_COUNT_MAX,
  HANDLE_SLOT,
  HANDLE_TABLE_OFFSET,
  STATE_HEADER,
} from "../state/layout.ts";
import type { StateReader } from "./state_reader.ts";

const BLOCK_SLOTS = 16384;
const WORDS = HANDLE_SLOT.SIZE >>> 2;

/** How many handles there are of each nodeid that has any. */
export function openHandles(reader: StateReader): Map<number, number> {
  const counts = new Map<number, number>();
  const header = reader.header();
  const fresh = reader.word(header, STATE_HEADER.HANDLE_FRESH, HANDLE_COUNT_MAX, "HANDLE_FRESH");
  // Slot 0 is never used.
  for (let first = 1; first < fresh; first += BLOCK_SLOTS) {
    const count = Math.min(BLOCK_SLOTS, fresh - first);
    const { u32 } = reader.read(
      HANDLE_TABLE_OFFSET + first * HANDLE_SLOT.SIZE,
      count * HANDLE_SLOT.SIZE,
    );
    for (let i = 0; i < count; i++) {
      const nodeid = u32[i * WORDS + (HANDLE_SLOT.NODEID >>> 2)]!;
      // Two words, each whole; 0 in either says that it is not open.
      if (u32[i * WORDS + (HANDLE_SLOT.REFERENCES >>> 2)] === 0 || nodeid === 0) continue;
      counts.set(nodeid, (counts.get(nodeid) ?? 0) + 1);
    }
  }
  return counts;
}
