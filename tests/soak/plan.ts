/**
 * What one guest is to do: everything about a session that its seed decides.
 *
 * @module
 */

import type { GuestCacheMode } from "../../src/guest/vfs/cache_mode.ts";
import { Random } from "../fuzz/random.ts";

/**
 * How a session ends: in order; by closing the socket with everything held; by the guest's own death at that point; by a
 * death at a moment that nobody has chosen, in the middle of a request.
 */
export const ENDS = ["closed", "hung up", "died", "killed"] as const;

/** One of these. */
export type SessionEnd = typeof ENDS[number];

/** What a guest prints when the daemon has let it in. */
export const CONNECTED = "connected";

/** One session of one guest. */
export interface SessionPlan {
  readonly number: number;
  readonly seed: number;
  readonly socketPath: string;
  /** The guest's own directory in the share, which is there and empty. */
  readonly directory: string;
  /** Where the report is to be written. */
  readonly reportPath: string;
  readonly cache: GuestCacheMode;
  readonly dax: boolean;
  readonly writeback: boolean;
  readonly queueCount: number;
  readonly operations: number;
  readonly end: SessionEnd;
  /** When it is killed, after it has connected. */
  readonly killMs: number;
  /** So many of the host's names are known at once, and forgotten; 0 = none. */
  readonly knownNames: number;
  /** Transfers of many MiB. */
  readonly isBig: boolean;
}

/** What a guest that has ended in order leaves in a file. */
export interface SessionReport {
  readonly requests: number;
  readonly bytes: number;
  readonly operations: number;
  /** Each of its files as the host must see it: the path in its directory, and a digest. */
  readonly files: readonly (readonly [path: string, digest: string])[];
}

/** What all sessions of a run have in common. */
export interface Surroundings {
  readonly seed: number;
  readonly cache: string | null;
  readonly dax: boolean;
  readonly scale: number;
  /** Do everything in the first sessions, so that what comes once comes before the first look. */
  readonly warmUpSessions: number;
}

/** The plan of session `number`, for the guest at one of the daemons. */
export function planOf(
  { seed, cache, dax, scale, warmUpSessions }: Surroundings,
  number: number,
  place: Pick<SessionPlan, "socketPath" | "directory" | "reportPath">,
): SessionPlan {
  const own = seedOf(seed, number, place.directory);
  const random = new Random(own);
  const isFirst = number < warmUpSessions;
  const caches: readonly GuestCacheMode[] = cache === "shared"
    ? ["shared", "shared", "auto"]
    : ["auto", "none", "always"];
  return {
    number,
    seed: own,
    ...place,
    cache: random.pick(caches),
    dax,
    writeback: random.oneIn(2),
    queueCount: 1 + random.below(2),
    operations: Math.ceil((200 + random.below(1800)) * scale),
    end: isFirst ? ENDS[number % ENDS.length]! : random.oneIn(2) ? "closed" : random.pick(ENDS),
    killMs: random.below(1500),
    knownNames: random.oneIn(4) || isFirst ? namesAt(scale) : 0,
    isBig: random.oneIn(3) || isFirst,
  };
}

/** How many names the host has in one directory. */
export function namesAt(scale: number): number {
  return Math.ceil(10_000 * scale);
}

/** A seed of its own for each session of each guest, so that one can be run again alone. */
function seedOf(seed: number, number: number, directory: string): number {
  const which = [...directory].reduce((sum, letter) => sum + letter.charCodeAt(0), 0);
  const random = new Random(
    seed ^ Math.imul(number + 1, 0x9e3779b1) ^ Math.imul(which, 0x85ebca6b),
  );
  return random.u32();
}
