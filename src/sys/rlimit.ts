/**
 * The limit of open descriptors.
 *
 * @module
 */

import { RLIMIT_NOFILE } from "../wire/linux.ts";
import { libc, status } from "./libc.ts";
import { NativeMemory } from "./native_memory.ts";

/** linux/resource.h: struct rlimit64 {soft, hard} */
const SOFT = 0;
const HARD = 8;

/** The soft limit in force. */
export function descriptorLimit(): number {
  const memory = NativeMemory.allocate(4096);
  return libc.prlimit(0, RLIMIT_NOFILE, null, memory.pointerAt(0)) === 0 ? memory.u64(SOFT) : 0;
}

/**
 * Sets both limits to `count`; without the right to raise the hard limit, to as much of it as there is. Returns
 * the limit in force afterwards.
 */
export function setDescriptorLimit(count: number): number {
  const memory = NativeMemory.allocate(4096);
  const pointer = memory.pointerAt(0);
  libc.prlimit(0, RLIMIT_NOFILE, null, pointer);
  const hard = memory.u64(HARD);
  memory.setU64(SOFT, count);
  memory.setU64(HARD, count);
  if (status(libc.prlimit(0, RLIMIT_NOFILE, pointer, null)) === 0) return count;
  memory.setU64(SOFT, Math.min(count, hard));
  memory.setU64(HARD, hard);
  libc.prlimit(0, RLIMIT_NOFILE, pointer, null);
  return descriptorLimit();
}
