/**
 * How many ranges of bytes the guest's POSIX locks have. The host allocates memory for each, and sets no limit (RLIMIT_LOCKS
 * is of old): a guest could lock every second byte of a file.
 *
 * Which ranges the host joins and splits is not followed here. Each call can add two at most (a lock within another of the other type); these
 * are added up for each owner, and what owners really have is only counted when the sum reaches the bound: from /proc/self/fdinfo, which lists
 * the locks of an open file. All owners that called since the last time are counted then, or one that calls often and holds little would
 * take the budget from the others.
 *
 * Counting takes milliseconds with tens of thousands of ranges, and all queues wait meanwhile. So it is done only when it may give back a sixteenth
 * of the bound: thousands of calls (with the default bound) pay for it, and of a budget that is nearly used up so much may stay unused.
 *
 * @module
 */

import { libc, status } from "../sys/libc.ts";
import { openDescriptorInfo } from "./descriptor_info.ts";
import { SCRATCH } from "./scratch.ts";
import type { Share } from "./share.ts";

/** Most ranges that one call adds. */
const ADDED_MAX = 2;
/** proc_pid_fdinfo(5): each lock is a line that starts with this. */
const LOCK_LINE = new TextEncoder().encode("lock:");
const NEWLINE = 10;
/** Of scratch, for the text: read in pieces. */
const PIECE_SIZE = 4096;

/** Part of the bound that counting must be able to give back. */
const WORTH_COUNTING = 1 / 16;

/** What is needed of a share. */
type RangeKeeper = Pick<Share, "locks" | "scratch" | "descriptorInfo"> & {
  readonly budget: { readonly lockRangeMax: number };
};

/** Whether some owner may set one lock more. The lock table's mutex is held. */
export function allowsRange(share: RangeKeeper): boolean {
  const { budget: { lockRangeMax }, locks } = share;
  if (locks.rangeCount + ADDED_MAX <= lockRangeMax) return true;
  if (locks.uncountedRanges < lockRangeMax * WORTH_COUNTING) return false;
  for (let slot = locks.nextUncounted(0); slot !== 0; slot = locks.nextUncounted(slot)) {
    const counted = countRanges(share, locks.fd(slot));
    // Nor could the next be counted, then.
    if (counted < 0) return false;
    locks.setRanges(slot, counted);
  }
  return locks.rangeCount + ADDED_MAX <= lockRangeMax;
}

/** The owner, whose lock table slot is given, has set, or partly removed, a lock. */
export function addRange({ locks }: RangeKeeper, slot: number): void {
  locks.addRanges(slot, ADDED_MAX);
}

/** The locks of the open file at `fd`, or a negative errno. */
function countRanges(share: RangeKeeper, fd: number): number {
  const { memory } = share.scratch;
  const info = openDescriptorInfo(share, fd);
  if (info < 0) return info;
  let count = 0;
  /** Bytes of LOCK_LINE that the line at hand began with; -1 = it did not. */
  let matched = 0;
  let size: number;
  do {
    size = status(libc.read(info, memory.pointerAt(SCRATCH.ENTRIES), PIECE_SIZE));
    for (let at: number = SCRATCH.ENTRIES; at < SCRATCH.ENTRIES + size; at++) {
      const byte = memory.u8[at];
      if (byte === NEWLINE) matched = 0;
      else if (matched >= 0) matched = byte === LOCK_LINE[matched] ? matched + 1 : -1;
      if (matched === LOCK_LINE.length) {
        count++;
        matched = -1;
      }
    }
  } while (size > 0);
  libc.close(info);
  return size < 0 ? size : count;
}
