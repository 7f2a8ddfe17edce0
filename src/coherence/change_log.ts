/**
 * Which slots each thread of each daemon has changes in progress in. A thread writes a slot down before it begins a change and strikes it
 * out after the end, so that what a killed daemon left begun can be ended by others.
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";
import { CHANGES_MAX, OWNER, OWNERS_OFFSET, THREAD_COUNT_MAX } from "./registry_layout.ts";

/** Index of the first word of a thread's list. */
function listOf(owner: number, thread: number): number {
  return (OWNERS_OFFSET + owner * OWNER.SIZE + OWNER.CHANGES) / 4 + thread * CHANGES_MAX;
}

/** One thread's list. */
export class ChangeLog {
  readonly #words: Uint32Array;
  readonly #first: number;

  constructor(registry: NativeMemory, owner: number, thread: number) {
    this.#words = registry.u32;
    this.#first = listOf(owner, thread);
  }

  /** Writes `slot` down as the list's entry of this number (below CHANGES_MAX). */
  enter(entry: number, slot: number): void {
    Atomics.store(this.#words, this.#first + entry, slot);
  }

  /** Strikes the entry out. */
  strike(entry: number): void {
    Atomics.store(this.#words, this.#first + entry, 0);
  }
}

/** The slots that an owner has written down, each once. */
export function loggedSlots(registry: NativeMemory, owner: number): number[] {
  const first = listOf(owner, 0);
  const slots = new Set<number>();
  for (let i = 0; i < THREAD_COUNT_MAX * CHANGES_MAX; i++) {
    const slot = Atomics.load(registry.u32, first + i);
    if (slot !== 0) slots.add(slot);
  }
  return [...slots];
}

/** Whether an owner has a slot written down. */
export function logsSlot(registry: NativeMemory, owner: number, slot: number): boolean {
  const first = listOf(owner, 0);
  for (let i = 0; i < THREAD_COUNT_MAX * CHANGES_MAX; i++) {
    if (Atomics.load(registry.u32, first + i) === slot) return true;
  }
  return false;
}
