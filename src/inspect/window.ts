/**
 * `inspect window`: the DAX window and what lies in it.
 *
 * @module
 */

import { IntervalNodes } from "../intervals/interval_tree.ts";
import {
  DAX_HEADER,
  MAPPING_COMING,
  MAPPING_COUNT_MAX,
  MAPPING_GOING,
  MAPPING_LIVE,
  MAPPING_NODES_OFFSET,
  MAPPING_PLANNED,
  MAPPING_SLOT,
  MAPPING_TABLE_OFFSET,
  STATE_HEADER,
} from "../state/layout.ts";
import type { DaemonState } from "./daemon_state.ts";
import { InodePaths } from "./inode_paths.ts";
import { Piece } from "./read_only_file.ts";
import type { MappingRow, WindowView } from "./snapshot.ts";
import { sequencedRead } from "./stable_read.ts";
import type { StateReader } from "./state_reader.ts";

/** Linux's: fs/fuse/dax.c, FUSE_DAX_SZ. */
const RANGE_SIZE = 2 * 1024 ** 2;

const STATES: Readonly<Record<number, MappingRow["state"]>> = {
  [MAPPING_LIVE]: "live",
  [MAPPING_COMING]: "coming",
  [MAPPING_GOING]: "going",
  [MAPPING_PLANNED]: "planned",
};

/** The table of mappings as it was at one moment. */
interface Table {
  readonly header: Piece;
  readonly slots: Piece;
  readonly starts: Float64Array;
  readonly ends: Float64Array;
}

/** The window, its mappings in the order of their places. */
export function readWindow(state: DaemonState): WindowView {
  const { reader } = state;
  // Only to say where its parts lie; pages that nobody touches are not there.
  const places = new IntervalNodes(MAPPING_COUNT_MAX);
  const { header, slots, starts, ends } = sequencedRead(
    reader,
    "the window",
    () => reader.header().u32[(STATE_HEADER.DAX + DAX_HEADER.SEQUENCE) >>> 2]!,
    () => readTable(reader, places),
  );
  const count = (field: number) =>
    reader.count(header.f64[(STATE_HEADER.DAX + field) >>> 3]!, "a number of the window");
  const size = count(DAX_HEADER.WINDOW_SIZE);
  const paths = new Map<number, string | null>();
  const inodes = new InodePaths(state);
  const mappings: MappingRow[] = [];
  for (let slot = 1; slot < starts.length; slot++) {
    const word = slot * MAPPING_SLOT.SIZE >>> 2;
    const double = slot * MAPPING_SLOT.SIZE >>> 3;
    const kind = STATES[slots.u32[word + (MAPPING_SLOT.STATE >>> 2)]!];
    if (kind === undefined) continue;
    const start = reader.count(starts[slot]!, "a mapping's start");
    const end = reader.count(ends[slot]!, "a mapping's end");
    if (start >= end || end > size) {
      throw reader.damaged(`a mapping lies at ${start} to ${end} of ${size}`);
    }
    const nodeid = slots.u32[word + (MAPPING_SLOT.NODEID >>> 2)]!;
    if (!paths.has(nodeid)) paths.set(nodeid, inodes.pathOf(nodeid));
    const fileOffset = slots.f64[double + (MAPPING_SLOT.FILE_OFFSET >>> 3)]!;
    mappings.push({
      start,
      end,
      nodeid,
      path: paths.get(nodeid)!,
      fileOffset: reader.count(fileOffset, "a mapping's file offset"),
      writable: slots.u32[word + (MAPPING_SLOT.WRITABLE >>> 2)] !== 0,
      state: kind,
      since: reader.count(slots.f64[double + (MAPPING_SLOT.SINCE >>> 3)]!, "a mapping's time"),
    });
  }
  mappings.sort((a, b) => a.start - b.start);
  const overlap = mappings.find((mapping, i) => i > 0 && mappings[i - 1]!.end > mapping.start);
  if (overlap !== undefined) throw reader.damaged(`mappings overlap at ${overlap.start}`);
  const rangesUsed = usedRanges(mappings);
  return {
    size,
    rangeSize: RANGE_SIZE,
    rangesUsed,
    rangesFree: Math.ceil(size / RANGE_SIZE) - rangesUsed,
    mappings,
    maps: count(DAX_HEADER.MAPS),
    unmaps: count(DAX_HEADER.UNMAPS),
    remaps: count(DAX_HEADER.REMAPS),
    refusals: count(DAX_HEADER.REFUSALS),
    demotions: count(DAX_HEADER.DEMOTIONS),
  };
}

/** As much of the tables as has ever been used. */
function readTable(reader: StateReader, places: IntervalNodes): Table {
  const header = reader.header();
  const fresh = reader.word(
    header,
    STATE_HEADER.DAX + DAX_HEADER.FRESH,
    MAPPING_COUNT_MAX,
    "DAX.FRESH",
  );
  const doubles = (array: Float64Array) => {
    const piece = new Piece((fresh + 1) * 8);
    reader.readInto(piece.u8, MAPPING_NODES_OFFSET + array.byteOffset);
    return piece.f64;
  };
  return {
    header,
    slots: reader.read(MAPPING_TABLE_OFFSET, (fresh + 1) * MAPPING_SLOT.SIZE),
    starts: doubles(places.starts),
    ends: doubles(places.ends),
  };
}

/** Ranges that any mapping lies in. The mappings are in order. */
function usedRanges(mappings: readonly MappingRow[]): number {
  let used = 0;
  let counted = 0;
  for (const { start, end } of mappings) {
    const first = Math.max(Math.floor(start / RANGE_SIZE), counted);
    counted = Math.max(counted, Math.ceil(end / RANGE_SIZE));
    used += Math.max(0, counted - first);
  }
  return used;
}
