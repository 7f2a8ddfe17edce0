/**
 * The names of opcodes, as fuse.h has them.
 *
 * @module
 */

import { Opcode } from "../wire/fuse.ts";

const NAMES = new Map<number, string>(
  Object.entries(Opcode).map(([name, opcode]) => [opcode, name]),
);

/** "LOOKUP". What the protocol does not have is counted as opcode 0. */
export function opcodeName(opcode: number): string {
  return NAMES.get(opcode) ?? (opcode === 0 ? "unknown" : `opcode ${opcode}`);
}
