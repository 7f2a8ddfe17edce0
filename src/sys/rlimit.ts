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

/**
 * Raises both limits to `count`; without the right to raise the hard limit, the soft one to the hard one. Returns the limit
 * in force afterwards.
 */
export function raiseDescriptorLimit(count: number): number {
  const memory = NativeMemory.allocate(4096);
  const pointer = memory.pointerAt(0);
  libc.prlimit(0, RLIMIT_NOFILE, null, pointer);
  const soft = memory.u64(SOFT);
  const hard = memory.u64(HARD);
  if (soft >= count) return soft;
  memory.setU64(SOFT, count);
  memory.setU64(HARD, Math.max(count, hard));
  if (status(libc.prlimit(0, RLIMIT_NOFILE, pointer, null)) === 0) return count;
  const best = Math.min(count, hard);
  memory.setU64(SOFT, best);
  memory.setU64(HARD, hard);
  return status(libc.prlimit(0, RLIMIT_NOFILE, pointer, null)) === 0 ? best : soft;
}
