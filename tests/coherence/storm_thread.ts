/**
 * One of several threads, of several processes, that use a version table as fast as they can.
 *
 * @module
 */

import { VersionsThread } from "../../src/coherence/versions.ts";
import type { VersionsPlace } from "../../src/coherence/versions.ts";
import { stateMemoryAt } from "../../src/state/state_memory.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { CHANGES_IN_PROGRESS } from "../../src/wire/shared_versions.ts";
import { randomNumbers } from "../intervals/random.ts";
import { MODEL_SIZE, pause, StormModel } from "./storm_model.ts";
import { killAtWrite } from "./sudden_death.ts";

/** What a thread does. */
export interface StormThread {
  readonly place: VersionsPlace;
  readonly stateAddress: number;
  readonly modelAddress: number;
  readonly thread: number;
  readonly seed: number;
  /** Of how many inodes. Numbers from 1 on. */
  readonly inodes: number;
  /** How many it holds at most. */
  readonly most: number;
  /** Stops after this many steps; 0 = when all are told to. */
  readonly steps: number;
  /** The process kills itself at this atomic write of the thread; 0 = never. */
  readonly dieAt: number;
}

/** What it counted. */
export interface StormCounts {
  readonly steps: number;
  readonly acquired: number;
  readonly refused: number;
  readonly changes: number;
  readonly error: string | null;
}

/** One change in so many takes up to so long. */
const LONG_ONE_IN = 150;
const LONG_MS = 10;

/** An inode's number in all four words, so that each matters. */
export function keyOf(inode: number): [devLo: number, devHi: number, inoLo: number, inoHi: number] {
  return [(inode * 31) & 3, (inode >>> 3) & 1, inode >>> 1, inode & 1];
}

/** Does what the message says. */
export function runThread(part: StormThread): StormCounts {
  const storm = new Storm(part);
  let error: string | null = null;
  try {
    storm.run();
  } catch (thrown) {
    error = (thrown as Error).stack ?? String(thrown);
  }
  return { ...storm.counts, error };
}

class Storm {
  readonly counts = { steps: 0, acquired: 0, refused: 0, changes: 0 };
  readonly #part: StormThread;
  readonly #thread: VersionsThread;
  readonly #model: StormModel;
  readonly #random: (below: number) => number;
  readonly #slotOf: Int32Array;
  readonly #held: number[] = [];

  constructor(part: StormThread) {
    this.#part = part;
    this.#thread = new VersionsThread(part.place, stateMemoryAt(part.stateAddress), part.thread);
    const model = new NativeMemory(part.modelAddress, MODEL_SIZE);
    this.#model = new StormModel(model, part.place.owner, part.thread);
    this.#random = randomNumbers(part.seed);
    this.#slotOf = new Int32Array(part.inodes + 1);
  }

  run(): void {
    const { dieAt, steps } = this.#part;
    if (dieAt !== 0) killAtWrite(dieAt);
    while (steps === 0 ? !this.#model.isStopped : this.counts.steps < steps) {
      this.#step();
      this.counts.steps++;
    }
    while (this.#held.length > 0) this.#release();
  }

  #step(): void {
    const action = this.#random(10);
    if (action < 4) this.#acquire();
    else if (action < 6) this.#release();
    else if (action < 9) this.#change();
    else this.#find();
  }

  #acquire(): void {
    const { inodes, most } = this.#part;
    const inode = 1 + this.#random(inodes);
    if (this.#slotOf[inode] !== 0 || this.#held.length >= most) return;
    const slot = this.#thread.registry.acquire(...keyOf(inode));
    if (slot === 0) {
      this.counts.refused++;
      return;
    }
    this.counts.acquired++;
    this.#slotOf[inode] = slot;
    this.#held.push(inode);
    this.#model.given(slot, inode, () => this.#thread.slots.low(slot));
  }

  #release(): void {
    if (this.#held.length === 0) return;
    const at = this.#random(this.#held.length);
    const inode = this.#held[at]!;
    this.#held[at] = this.#held.at(-1)!;
    this.#held.pop();
    const slot = this.#slotOf[inode]!;
    this.#slotOf[inode] = 0;
    this.#model.saw(slot, inode, this.#thread.slots.low(slot));
    this.#model.givesBack(slot, inode);
    this.#thread.registry.release(slot);
  }

  /** As a request changes up to two inodes: see `passthrough/change_in_progress.ts`. */
  #change(): void {
    const { log, registry, slots } = this.#thread;
    if (this.#held.length === 0) return;
    const inode = this.#held[this.#random(this.#held.length)]!;
    const other = this.#held[this.#random(this.#held.length)]!;
    const changed = inode === other ? [inode] : [inode, other];
    const directory = this.#random(4) === 0 ? this.#slotOf[inode]! : 0;
    if (directory !== 0) {
      registry.lockNames(directory);
      this.#model.namesLocked(directory);
    }
    const before = changed.map((one) => slots.low(this.#slotOf[one]!));
    for (const [i, one] of changed.entries()) {
      log.enter(i, this.#slotOf[one]!);
      slots.begin(this.#slotOf[one]!);
    }
    for (let spins = this.#random(200); spins > 0; spins--) this.#random(2);
    // Some system calls take long: others are killed, and swept up after, meanwhile.
    if (this.#random(LONG_ONE_IN) === 0) pause(this.#random(LONG_MS));
    for (const [i, one] of changed.entries()) {
      const slot = this.#slotOf[one]!;
      const low = slots.low(slot);
      if ((low & CHANGES_IN_PROGRESS) === 0) {
        throw new Error(`slot ${slot}: a change of the living was ended by others`);
      }
      slots.end(slot);
      log.strike(i);
      const after = slots.low(slot);
      if (after >>> 12 <= before[i]! >>> 12) {
        throw new Error(`slot ${slot}: ${before[i]} before a change, ${after} after it`);
      }
      this.#model.saw(slot, one, after);
    }
    if (directory !== 0) {
      this.#model.namesUnlocked(directory);
      registry.unlockNames(directory);
    }
    this.counts.changes++;
  }

  #find(): void {
    const inode = 1 + this.#random(this.#part.inodes);
    const slot = this.#thread.registry.find(...keyOf(inode));
    const mine = this.#slotOf[inode]!;
    if (mine !== 0 && slot !== mine) {
      throw new Error(`inode ${inode} has slot ${mine}, and is found in ${slot}`);
    }
  }
}

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as {
    onmessage: ((event: MessageEvent<StormThread>) => void) | null;
    postMessage(counts: StormCounts): void;
  };
  scope.onmessage = ({ data }) => scope.postMessage(runThread(data));
}
