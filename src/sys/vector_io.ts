/**
 * preadv(2) and pwritev(2) at any offset.
 *
 * A 64-bit FFI parameter is a BigInt: 40 bytes of garbage and 90 ns. Offsets below 4 GiB, which is most I/O, go as u32
 * and cost neither; the rest pays. (0.0 bytes of garbage per READ instead of 40, see bench/memory/heap.ts.)
 *
 * @module
 */

import type { Status } from "./errno.ts";
import { libc, status } from "./libc.ts";

const LOW_OFFSET_END = 2 ** 32;

/** Reads into `count` vectors. Returns the bytes read, or a negative errno. */
export function preadv(
  fd: number,
  iovecs: Deno.PointerObject,
  count: number,
  offset: number,
): Status {
  if (offset < LOW_OFFSET_END) return status(libc.preadv_low(fd, iovecs, count, offset));
  return status(libc.preadv(fd, iovecs, count, BigInt(offset)));
}

/** Writes from `count` vectors. Returns the bytes written, or a negative errno. */
export function pwritev(
  fd: number,
  iovecs: Deno.PointerObject,
  count: number,
  offset: number,
): Status {
  if (offset < LOW_OFFSET_END) return status(libc.pwritev_low(fd, iovecs, count, offset));
  return status(libc.pwritev(fd, iovecs, count, BigInt(offset)));
}
