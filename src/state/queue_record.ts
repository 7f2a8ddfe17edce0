/**
 * What a queue is doing, for whoever looks from outside: written by its own thread as it goes, read without a lock.
 *
 * A reader takes the sequence number, the fields, and the number again: if it was odd or has moved, the fields belong to two moments.
 *
 * The clock costs more than all the rest (100 to 250 ns), so it is read once for each request: what follows another in the same turn began
 * when that ended.
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";
import { Counters } from "./counters.ts";
import {
  QUEUE_BROKEN,
  QUEUE_RECORD,
  QUEUE_RECORDS_OFFSET,
  QUEUE_RUNNING,
  QUEUE_STOPPED,
  WAITING_MAX,
  WAITING_REQUEST,
} from "./layout.ts";

/** A request that was put aside. */
export interface WaitingRequest {
  readonly opcode: number;
  readonly nodeid: number;
  /** The guest's number of the request. */
  readonly unique: number;
  /** Milliseconds since 1970. */
  readonly since: number;
}

const NANOSECONDS = 1e6;

/** One queue's record, seen by its own thread. */
export class QueueRecord {
  readonly #u32: Uint32Array;
  readonly #f64: Float64Array;
  readonly #word: number;
  readonly #double: number;
  readonly #counters: Counters;
  /** When the request that is being served began: performance.now(). */
  #began = 0;
  #served = 0;

  constructor(memory: NativeMemory, queueIndex: number) {
    const offset = QUEUE_RECORDS_OFFSET + queueIndex * QUEUE_RECORD.SIZE;
    this.#u32 = memory.u32;
    this.#f64 = memory.f64;
    this.#word = offset / 4;
    this.#double = offset / 8;
    this.#counters = new Counters(memory, queueIndex);
  }

  /** The queue runs, with a ring of so many descriptors. */
  start(size: number, eventIdx: boolean): void {
    this.#setWord(QUEUE_RECORD.SIZE_, size);
    this.#setWord(QUEUE_RECORD.EVENT_IDX, eventIdx ? 1 : 0);
    this.#setWord(QUEUE_RECORD.STATE, QUEUE_RUNNING);
  }

  /** It has been stopped, or the driver has broken it. */
  stop(isBroken: boolean): void {
    this.#setWord(QUEUE_RECORD.STATE, isBroken ? QUEUE_BROKEN : QUEUE_STOPPED);
    this.#setWord(QUEUE_RECORD.CURRENT_OPCODE, 0);
    this.setWaiting([]);
  }

  /** A turn begins: there is something to be served. */
  beginTurn(): void {
    this.#began = performance.now();
    this.#served = 0;
  }

  /** A request has been taken and decoded. */
  begin(opcode: number, nodeid: number): void {
    const u32 = this.#u32;
    const sequence = this.#word + (QUEUE_RECORD.CURRENT_SEQUENCE >>> 2);
    // Atomics.store: the fields are written between the two, on any processor.
    Atomics.store(u32, sequence, u32[sequence]! + 1);
    u32[this.#word + (QUEUE_RECORD.CURRENT_OPCODE >>> 2)] = opcode + 1;
    this.#f64[this.#double + (QUEUE_RECORD.CURRENT_NODEID >>> 3)] = nodeid;
    this.#f64[this.#double + (QUEUE_RECORD.CURRENT_SINCE >>> 3)] = performance.timeOrigin +
      this.#began;
    Atomics.store(u32, sequence, u32[sequence]! + 1);
  }

  /** It has been answered. */
  count(opcode: number, status: number, bytesIn: number, bytesOut: number): void {
    const now = performance.now();
    this.#counters.count(opcode, status, bytesIn, bytesOut, (now - this.#began) * NANOSECONDS);
    this.#began = now;
    this.#served++;
  }

  /** A turn has ended; the ring's indices are these. */
  endTurn(nextAvail: number, nextUsed: number): void {
    this.#setWord(QUEUE_RECORD.CURRENT_OPCODE, 0);
    this.#setWord(QUEUE_RECORD.NEXT_AVAIL, nextAvail);
    this.#setWord(QUEUE_RECORD.NEXT_USED, nextUsed);
    // Requests that wait are tried a hundred times a second.
    if (this.#served === 0) return;
    this.#add(QUEUE_RECORD.BATCHES);
    const most = this.#double + (QUEUE_RECORD.BATCH_MAX >>> 3);
    if (this.#served > this.#f64[most]!) this.#f64[most] = this.#served;
  }

  /** The driver has woken us. */
  kicked(): void {
    this.#add(QUEUE_RECORD.KICKS);
  }

  /** Used buffers were shown to the driver, who was notified of them or did not want to be. */
  published(isNotified: boolean): void {
    this.#add(isNotified ? QUEUE_RECORD.NOTIFICATIONS : QUEUE_RECORD.SUPPRESSED);
  }

  /** These requests wait for something. */
  setWaiting(requests: readonly WaitingRequest[]): void {
    const u32 = this.#u32;
    const sequence = this.#word + (QUEUE_RECORD.WAITING_SEQUENCE >>> 2);
    Atomics.store(u32, sequence, u32[sequence]! + 1);
    this.#setWord(QUEUE_RECORD.WAITING_COUNT, requests.length);
    for (let i = 0; i < Math.min(requests.length, WAITING_MAX); i++) {
      const { opcode, nodeid, unique, since } = requests[i]!;
      const at = QUEUE_RECORD.WAITING + i * WAITING_REQUEST.SIZE;
      this.#setWord(at + WAITING_REQUEST.OPCODE, opcode);
      this.#f64[this.#double + ((at + WAITING_REQUEST.NODEID) >>> 3)] = nodeid;
      this.#f64[this.#double + ((at + WAITING_REQUEST.SINCE) >>> 3)] = since;
      this.#f64[this.#double + ((at + WAITING_REQUEST.UNIQUE) >>> 3)] = unique;
    }
    Atomics.store(u32, sequence, u32[sequence]! + 1);
  }

  #setWord(offset: number, value: number): void {
    this.#u32[this.#word + (offset >>> 2)] = value;
  }

  #add(offset: number): void {
    this.#f64[this.#double + (offset >>> 3)]! += 1;
  }
}
