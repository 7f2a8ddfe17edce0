/**
 * What has been reached: which opcode was answered how, and with how much.
 *
 * @module
 */

import type { Outcome } from "./target.ts";

/** All inputs so far. */
export class Coverage {
  readonly #seen = new Set<number>();
  readonly #texts = new Set<string>();
  /** Whether something new has been seen since this was set to false. */
  grew = false;

  /** Requests that succeeded, by opcode. */
  readonly successes: number[] = new Array(64).fill(0);

  note(opcode: number, { used, status, broken }: Outcome, isSound: boolean): void {
    if (used >= 16 && status === 0) this.successes[Math.min(opcode, 63)]!++;
    const size = used <= 0 ? used + 1 : 2 + Math.floor(Math.log2(used));
    const key = ((Math.min(opcode, 63) * 256 - Math.max(status, -255)) * 32 + size) * 4 +
      (isSound ? 2 : 0) + (broken ? 1 : 0);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.grew = true;
  }

  noteText(text: string): void {
    const kind = text.replaceAll(/\d+/g, "N");
    if (this.#texts.has(kind)) return;
    this.#texts.add(kind);
    this.grew = true;
  }

  get size(): number {
    return this.#seen.size + this.#texts.size;
  }
}
