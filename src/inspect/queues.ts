/**
 * `inspect queues`: rings, what is outstanding in them, and what was negotiated.
 *
 * @module
 */

import {
  QUEUE_BROKEN,
  QUEUE_RECORD,
  QUEUE_RECORDS_OFFSET,
  QUEUE_RUNNING,
  SESSION_WORDS_AT,
  STATE_HEADER,
  WAITING_MAX,
  WAITING_REQUEST,
} from "../state/layout.ts";
import { HIPRIO_QUEUE } from "../wire/virtio_fs.ts";
import type { DaemonState } from "./daemon_state.ts";
import { fuseFlagNames, protocolFeatureNames, virtioFeatureNames } from "./feature_names.ts";
import { opcodeName } from "./opcode_names.ts";
import { queueCount, queueTotals } from "./ops.ts";
import type { Piece } from "./read_only_file.ts";
import type { QueueRow, QueuesView, RequestRow } from "./snapshot.ts";
import { sequencedRead } from "./stable_read.ts";
import type { StateReader } from "./state_reader.ts";
import { readConnection } from "./summary.ts";

/** All queues that the daemon offers, running or not. */
export function readQueues({ reader }: DaemonState): QueuesView {
  const connection = readConnection({ reader });
  const { u32 } = reader.header();
  const session = (offset: number) => u32[(STATE_HEADER.SESSION + offset) >>> 2]!;
  const isActive = session(SESSION_WORDS_AT.ACTIVE) !== 0;
  return {
    rows: Array.from({ length: queueCount(reader) }, (_, queue) => readQueue(reader, queue)),
    features: virtioFeatureNames(connection.features),
    protocolFeatures: protocolFeatureNames(connection.protocolFeatures),
    fuseFlags: isActive
      ? fuseFlagNames(session(SESSION_WORDS_AT.FLAGS), session(SESSION_WORDS_AT.FLAGS2))
      : [],
    regions: connection.regions,
  };
}

function readQueue(reader: StateReader, queue: number): QueueRow {
  const offset = QUEUE_RECORDS_OFFSET + queue * QUEUE_RECORD.SIZE;
  const current = readCurrent(reader, queue, offset);
  const waiting = sequencedRead(
    reader,
    `queue ${queue}`,
    () => sequence(reader, offset, QUEUE_RECORD.WAITING_SEQUENCE),
    () => reader.read(offset, QUEUE_RECORD.SIZE),
  );
  const word = (field: number) => waiting.u32[field >>> 2]!;
  const count = (field: number) => reader.count(waiting.f64[field >>> 3]!, "a queue's counter");
  const waitingCount = word(QUEUE_RECORD.WAITING_COUNT);
  const state = word(QUEUE_RECORD.STATE);
  return {
    queue,
    kind: queue === HIPRIO_QUEUE ? "hiprio" : "request",
    state: state === QUEUE_RUNNING ? "running" : state === QUEUE_BROKEN ? "broken" : "stopped",
    size: word(QUEUE_RECORD.SIZE_),
    eventIdx: word(QUEUE_RECORD.EVENT_IDX) !== 0,
    nextAvail: word(QUEUE_RECORD.NEXT_AVAIL),
    nextUsed: word(QUEUE_RECORD.NEXT_USED),
    kicks: count(QUEUE_RECORD.KICKS),
    notifications: count(QUEUE_RECORD.NOTIFICATIONS),
    suppressed: count(QUEUE_RECORD.SUPPRESSED),
    batches: count(QUEUE_RECORD.BATCHES),
    batchMax: count(QUEUE_RECORD.BATCH_MAX),
    requests: queueTotals(reader, queue).requests,
    waiting: waitingCount,
    outstanding: [
      ...(current === null ? [] : [current]),
      ...Array.from(
        { length: Math.min(waitingCount, WAITING_MAX) },
        (_, i) => waitingRow(reader, waiting, i),
      ),
    ],
  };
}

/** The request that is being served, or null. */
function readCurrent(reader: StateReader, queue: number, offset: number): RequestRow | null {
  const piece = sequencedRead(
    reader,
    `the request of queue ${queue}`,
    () => sequence(reader, offset, QUEUE_RECORD.CURRENT_SEQUENCE),
    () => reader.read(offset, QUEUE_RECORD.WAITING),
  );
  const opcode = piece.u32[QUEUE_RECORD.CURRENT_OPCODE >>> 2]! - 1;
  if (opcode < 0) return null;
  return {
    opcode,
    name: opcodeName(opcode),
    nodeid: nodeidOf(piece.f64[QUEUE_RECORD.CURRENT_NODEID >>> 3]!),
    since: reader.count(piece.f64[QUEUE_RECORD.CURRENT_SINCE >>> 3]!, "CURRENT_SINCE"),
    state: "served",
  };
}

function waitingRow(reader: StateReader, record: Piece, index: number): RequestRow {
  const at = QUEUE_RECORD.WAITING + index * WAITING_REQUEST.SIZE;
  const opcode = record.u32[(at + WAITING_REQUEST.OPCODE) >>> 2]!;
  return {
    opcode,
    name: opcodeName(opcode),
    nodeid: nodeidOf(record.f64[(at + WAITING_REQUEST.NODEID) >>> 3]!),
    since: reader.count(record.f64[(at + WAITING_REQUEST.SINCE) >>> 3]!, "a request's SINCE"),
    state: "waiting",
  };
}

function sequence(reader: StateReader, record: number, field: number): number {
  // Words are read in pairs: pieces are multiples of 8.
  return reader.read(record + (field & ~7), 8).u32[(field >>> 2) & 1]!;
}

/** The guest's own word: any number of 64 bits. */
function nodeidOf(value: number): number {
  return Number.isFinite(value) && value >= 0 ? value : 0;
}
