/**
 * `inspect ops`: what each queue has served, by opcode.
 *
 * A row is taken when it agrees with itself: as many times in the histogram as requests, as many errnos as errors. A request that is being
 * counted at that moment makes it disagree for some nanoseconds.
 *
 * @module
 */

import { errnoName } from "../sys/errno.ts";
import { BUCKET_COUNT, bucketStart, COUNTER } from "../state/counters.ts";
import {
  COUNTERS_OFFSET,
  COUNTERS_QUEUE_SIZE,
  ERRNO_COUNT,
  ERRNO_COUNTERS_OFFSET,
  ERRNO_COUNTERS_QUEUE_SIZE,
} from "../state/layout.ts";
import { OPCODE_COUNT } from "../wire/fuse.ts";
import { FIRST_REQUEST_QUEUE } from "../wire/virtio_fs.ts";
import type { DaemonState } from "./daemon_state.ts";
import { opcodeName } from "./opcode_names.ts";
import type { OpcodeRow, OpsView } from "./snapshot.ts";
import { stableRead } from "./stable_read.ts";
import type { StateReader } from "./state_reader.ts";

const DOUBLE = 8;

/** Requests and errors of one queue. */
export interface QueueTotals {
  readonly requests: number;
  readonly errors: number;
}

/** All opcodes that were asked for, by queue and opcode. */
export function readOps({ reader }: DaemonState): OpsView {
  const rows: OpcodeRow[] = [];
  for (let queue = 0; queue < queueCount(reader); queue++) {
    const counters = readCounters(reader, queue);
    for (let opcode = 0; opcode < OPCODE_COUNT; opcode++) {
      if (counters[opcode * COUNTER.SIZE + COUNTER.REQUESTS] === 0) continue;
      rows.push(readRow(reader, queue, opcode));
    }
  }
  return { rows };
}

/** The sums over all opcodes of one queue. */
export function queueTotals(reader: StateReader, queue: number): QueueTotals {
  const counters = readCounters(reader, queue);
  let requests = 0;
  let errors = 0;
  for (let at = 0; at < counters.length; at += COUNTER.SIZE) {
    requests += reader.count(counters[at + COUNTER.REQUESTS]!, "REQUESTS");
    errors += reader.count(counters[at + COUNTER.ERRORS]!, "ERRORS");
  }
  return { requests, errors };
}

/** The hiprio queue and those for requests. */
export function queueCount(reader: StateReader): number {
  return FIRST_REQUEST_QUEUE + reader.description.requestQueues;
}

function readCounters(reader: StateReader, queue: number): Float64Array {
  const offset = COUNTERS_OFFSET + queue * COUNTERS_QUEUE_SIZE;
  return reader.read(offset, OPCODE_COUNT * COUNTER.SIZE * DOUBLE).f64;
}

function readRow(reader: StateReader, queue: number, opcode: number): OpcodeRow {
  const name = opcodeName(opcode);
  const at = COUNTERS_OFFSET + queue * COUNTERS_QUEUE_SIZE + opcode * COUNTER.SIZE * DOUBLE;
  const errnosAt = ERRNO_COUNTERS_OFFSET + queue * ERRNO_COUNTERS_QUEUE_SIZE +
    opcode * ERRNO_COUNT * DOUBLE;
  const { counters, errnos } = stableRead(`queue ${queue}, ${name} of ${reader.name}`, () => {
    const counters = reader.read(at, COUNTER.SIZE * DOUBLE).f64;
    const errnos = reader.read(errnosAt, ERRNO_COUNT * DOUBLE).f64;
    for (const value of counters) reader.count(value, `a counter of ${name}`);
    for (const value of errnos) reader.count(value, `an errno's counter of ${name}`);
    const timed = sum(counters.subarray(COUNTER.HISTOGRAM, COUNTER.HISTOGRAM + BUCKET_COUNT));
    const isWhole = timed === counters[COUNTER.REQUESTS] &&
      sum(errnos) === counters[COUNTER.ERRORS];
    return isWhole || reader.isAbandoned ? { counters, errnos } : null;
  });
  const histogram: [number, number][] = [];
  for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
    const count = counters[COUNTER.HISTOGRAM + bucket]!;
    if (count > 0) histogram.push([bucket === 0 ? 0 : bucketStart(bucket), count]);
  }
  const requests = counters[COUNTER.REQUESTS]!;
  const maxNs = Math.round(counters[COUNTER.NANOSECONDS_MAX]!);
  return {
    queue,
    opcode,
    name,
    requests,
    errors: counters[COUNTER.ERRORS]!,
    errnos: errnosByName(errnos),
    bytesIn: counters[COUNTER.BYTES_IN]!,
    bytesOut: counters[COUNTER.BYTES_OUT]!,
    totalNs: Math.round(counters[COUNTER.NANOSECONDS]!),
    maxNs,
    medianNs: quantile(histogram, requests, 0.5, maxNs),
    p99Ns: quantile(histogram, requests, 0.99, maxNs),
    histogram,
  };
}

function sum(values: Float64Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function errnosByName(errnos: Float64Array): Record<string, number> {
  const named: Record<string, number> = {};
  for (let errno = 0; errno < errnos.length; errno++) {
    if (errnos[errno]! > 0) named[errno === 0 ? "other" : errnoName(errno)] = errnos[errno]!;
  }
  return named;
}

/** The middle of the bucket in which the quantile lies; no more than the longest time that there was. */
function quantile(
  histogram: readonly (readonly [number, number])[],
  requests: number,
  part: number,
  maxNs: number,
): number {
  let left = Math.max(1, Math.ceil(requests * part));
  for (const [begin, count] of histogram) {
    left -= count;
    if (left > 0) continue;
    // A bucket is a quarter of a power of two wide.
    const width = begin === 0 ? 4 : 2 ** Math.floor(Math.log2(begin)) / 4;
    return Math.min(Math.round(begin + width / 2), maxNs);
  }
  return maxNs;
}
