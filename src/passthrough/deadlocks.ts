/**
 * Finding out that waiting for a POSIX lock would never end.
 *
 * The host detects deadlocks between processes, but our lock owners are open files of one process (OFD locks), for
 * which it does not. And a Linux guest cannot interrupt a request on virtiofs: two owners that wait for each other would
 * hang for ever, beyond the reach of SIGKILL. So before a request waits, the chain of who waits for whom is followed.
 *
 * Who holds what is asked of the kernel, in /proc/self/fdinfo. This is slow, and happens only when a request is about to
 * wait while another one already does.
 *
 * @module
 */

import { libc } from "../sys/libc.ts";
import type { LockRange } from "../state/lock_table.ts";
import { F_RDLCK, F_WRLCK } from "../wire/linux.ts";
import { openDescriptorInfo } from "./descriptor_info.ts";
import { ENTRIES_SIZE, SCRATCH } from "./scratch.ts";
import type { Share } from "./share.ts";

/** Owners on one chain; the kernel's own search gives up earlier. */
const CHAIN_LENGTH_MAX = 100;
/** FUSE's end of a lock that reaches to the end of the file, however far that is. */
export const OFFSET_END = 2n ** 63n - 1n;

/**
 * Whether the owner of `slot` would wait for itself if it waited for `wanted` on its inode. The lock table's mutex is held.
 */
export function wouldDeadlock(share: Share, slot: number, wanted: LockRange): boolean {
  const waiting = share.locks.waiting();
  if (waiting.every((other) => share.locks.sameOwner(other, slot))) return false;
  const visited = new Set<number>();
  const open: [slot: number, wanted: LockRange][] = [[slot, wanted]];
  while (open.length > 0 && visited.size < CHAIN_LENGTH_MAX) {
    const [waiter, range] = open.pop()!;
    for (const blocker of blockersOf(share, waiter, range)) {
      if (share.locks.sameOwner(blocker, slot)) return true;
      for (const next of waiting) {
        if (visited.has(next) || !share.locks.sameOwner(next, blocker)) continue;
        visited.add(next);
        open.push([next, share.locks.wait(next)!]);
      }
    }
  }
  return false;
}

/** Owners that hold what the owner of `slot` wants on its inode. */
function blockersOf(share: Share, slot: number, wanted: LockRange): number[] {
  const { inodes, locks } = share;
  const blockers: number[] = [];
  let other = inodes.firstLock(locks.nodeid(slot));
  for (; other !== 0; other = locks.next(other)) {
    if (locks.sameOwner(other, slot)) continue;
    const held = parseLocks(readFdinfo(share, locks.fd(other)));
    if (held.some((lock) => conflicts(lock, wanted))) blockers.push(other);
  }
  return blockers;
}

function conflicts(held: LockRange, wanted: LockRange): boolean {
  if (held.type === F_RDLCK && wanted.type === F_RDLCK) return false;
  return held.start <= wanted.end && wanted.start <= held.end;
}

/** The text of /proc/self/fdinfo/FD. */
function readFdinfo(share: Share, fd: number): string {
  const { memory } = share.scratch;
  const info = openDescriptorInfo(share, fd);
  if (info < 0) return "";
  const size = libc.read(info, memory.pointerAt(SCRATCH.ENTRIES), ENTRIES_SIZE);
  libc.close(info);
  const text = memory.u8.slice(SCRATCH.ENTRIES, SCRATCH.ENTRIES + Math.max(0, size));
  return new TextDecoder().decode(text);
}

/**
 * The locks in a descriptor's fdinfo (proc_pid_fdinfo(5)).
 *
 * @example
 * ```ts
 * import { parseLocks } from "./deadlocks.ts";
 *
 * const [lock] = parseLocks("lock:\t1: OFDLCK ADVISORY  WRITE -1 08:01:42 100 199\n");
 * if (lock?.start !== 100n || lock.end !== 199n) throw new Error("range");
 * ```
 */
export function parseLocks(fdinfo: string): LockRange[] {
  const lines = fdinfo.matchAll(/^lock:\s.*OFDLCK\s+\S+\s+(READ|WRITE)\s.*\s(\d+)\s+(\d+|EOF)$/gm);
  return Array.from(lines, ([, type, start, end]) => ({
    type: type === "READ" ? F_RDLCK : F_WRLCK,
    start: BigInt(start!),
    end: end === "EOF" ? OFFSET_END : BigInt(end!),
  }));
}
