/**
 * Between a thread's server, which knows requests, and the records of its queues, of which one has its turn.
 *
 * @module
 */

import type { QueueRecord } from "../state/queue_record.ts";

/** One per thread. */
export class Recorder {
  /** Of the queue that has its turn. */
  record: QueueRecord;
  /** The request that was taken last. */
  opcode = 0;
  nodeid = 0;

  constructor(record: QueueRecord) {
    this.record = record;
  }

  begin(opcode: number, nodeid: number): void {
    this.opcode = opcode;
    this.nodeid = nodeid;
    this.record.begin(opcode, nodeid);
  }

  count(opcode: number, status: number, bytesIn: number, bytesOut: number): void {
    this.record.count(opcode, status, bytesIn, bytesOut);
  }
}
