/**
 * Pages of machine code.
 *
 * @module
 */

import { PROT_EXEC } from "../wire/isolation.ts";
import { PROT_READ } from "../wire/linux.ts";
import { errnoName } from "./errno.ts";
import { libc, status } from "./libc.ts";
import { NativeMemory } from "./native_memory.ts";

const PAGE_SIZE = 4096;

/** Puts position-independent code into memory of its own, which cannot be written from then on. */
export function executable<T>(code: Uint8Array): Deno.PointerObject<T> {
  const size = Math.ceil(code.length / PAGE_SIZE) * PAGE_SIZE;
  const memory = NativeMemory.allocate(size);
  memory.u8.set(code);
  const result = status(libc.mprotect(memory.pointerAt(0), size, PROT_READ | PROT_EXEC));
  if (result < 0) throw new Error(`Cannot make code executable: ${errnoName(result)}`);
  return memory.pointerAt(0) as Deno.PointerObject<T>;
}
