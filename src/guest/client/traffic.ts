/**
 * What went over the rings: requests, errors and time by opcode.
 *
 * @module
 */

import { Opcode, OPCODE_COUNT } from "../../wire/fuse.ts";

/** One opcode's share. */
export interface OpcodeTraffic {
  /** Its name in linux/fuse.h without the prefix. */
  readonly name: string;
  /** How many have come back. */
  readonly requests: number;
  /** How many of them failed. */
  readonly errors: number;
  /** Time from sending to the reply, all requests together. */
  readonly totalMs: number;
}

const NAMES: readonly (string | undefined)[] = Object.entries(Opcode).reduce(
  (names: string[], [name, opcode]) => {
    names[opcode] = name;
    return names;
  },
  [],
);

/** The name of an opcode: `opcodeName(1)` is "LOOKUP". */
export function opcodeName(opcode: number): string {
  return NAMES[opcode] ?? `opcode ${opcode}`;
}

/** Counters of one client. */
export class Traffic {
  readonly #requests = new Float64Array(OPCODE_COUNT);
  readonly #errors = new Float64Array(OPCODE_COUNT);
  readonly #totalMs = new Float64Array(OPCODE_COUNT);

  /** Counts one request that has come back. Opcodes that linux/fuse.h does not know are not counted. */
  count(opcode: number, failed: boolean, ms: number): void {
    if (opcode >= OPCODE_COUNT) return;
    this.#requests[opcode]!++;
    if (failed) this.#errors[opcode]!++;
    this.#totalMs[opcode]! += ms;
  }

  /** The opcodes that were used, most requests first. */
  byOpcode(): OpcodeTraffic[] {
    const used: OpcodeTraffic[] = [];
    for (let opcode = 0; opcode < OPCODE_COUNT; opcode++) {
      const requests = this.#requests[opcode]!;
      if (requests === 0) continue;
      const errors = this.#errors[opcode]!;
      used.push({ name: opcodeName(opcode), requests, errors, totalMs: this.#totalMs[opcode]! });
    }
    return used.sort((a, b) => b.requests - a.requests);
  }
}
