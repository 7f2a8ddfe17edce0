/**
 * The cache modes as numbers: how long a guest may trust entries and attributes, and what it may keep of open
 * files. The meanings are the RFC's and Rust virtiofsd's.
 *
 * | mode     | entries, attributes | file data                                | directories     | missing names |
 * |----------|---------------------|------------------------------------------|-----------------|---------------|
 * | never    | not trusted         | not kept: every read and write comes here | read each time  | not kept      |
 * | metadata | a day               | not kept                                 | kept            | 1 s           |
 * | auto     | 1 s                 | kept while open; checked at each open    | read each time  | not kept      |
 * | always   | a day               | kept for ever                            | kept            | 1 s           |
 * | shared   | as auto             | as auto                                  | as auto         | as auto       |
 *
 * Guests that share versions (`coherence/`) are told to trust everything for a day, as long as versions match.
 *
 * A missing name is trusted for a second at most, even in `always`, where the share is the guest's own: a
 * guest that polls for a file the host will make must see it. `--negative-timeout` overrides.
 *
 * @module
 */

import type { CacheMode, PassthroughConfig } from "../config.ts";
import {
  FOPEN_CACHE_DIR,
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  FOPEN_PARALLEL_DIRECT_WRITES,
} from "../wire/fuse.ts";

const A_DAY = 86400;
const KEEP_DIRECTORY = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
/** Linux takes writes that do not extend the file in parallel only if the server says it copes; the host does. */
const UNCACHED = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;

interface ModePolicy {
  readonly seconds: number;
  readonly negativeSeconds: number;
  readonly fileFlags: number;
  readonly directoryFlags: number;
}

const AUTO: ModePolicy = { seconds: 1, negativeSeconds: 0, fileFlags: 0, directoryFlags: 0 };

const MODES: Record<CacheMode, ModePolicy> = {
  never: { seconds: 0, negativeSeconds: 0, fileFlags: UNCACHED, directoryFlags: 0 },
  metadata: {
    seconds: A_DAY,
    negativeSeconds: 1,
    fileFlags: UNCACHED,
    directoryFlags: KEEP_DIRECTORY,
  },
  auto: AUTO,
  always: {
    seconds: A_DAY,
    negativeSeconds: 1,
    fileFlags: FOPEN_KEEP_CACHE,
    directoryFlags: KEEP_DIRECTORY,
  },
  shared: AUTO,
};

/** What goes into replies. Validities are whole seconds and nanoseconds. */
export interface CachePolicy {
  readonly validSeconds: number;
  readonly validNanoseconds: number;
  readonly negativeSeconds: number;
  readonly negativeNanoseconds: number;
  /** FOPEN_* of OPEN and CREATE, and of OPENDIR. */
  readonly fileFlags: number;
  readonly directoryFlags: number;
}

/** How long a guest may trust what has a version, while it matches: in seconds. */
export const VERSIONED_SECONDS: number = A_DAY;
/** FOPEN_* for guests that share versions. */
export const VERSIONED_FILE_FLAGS: number = FOPEN_KEEP_CACHE;
export const VERSIONED_DIRECTORY_FLAGS: number = KEEP_DIRECTORY;

/** The policy of a configuration. */
export function cachePolicy(config: PassthroughConfig): CachePolicy {
  const mode = MODES[config.cache];
  const valid = config.timeoutSeconds ?? mode.seconds;
  const negative = config.negativeTimeoutSeconds ?? mode.negativeSeconds;
  return {
    validSeconds: Math.floor(valid),
    validNanoseconds: Math.floor((valid % 1) * 1e9),
    negativeSeconds: Math.floor(negative),
    negativeNanoseconds: Math.floor((negative % 1) * 1e9),
    fileFlags: mode.fileFlags,
    directoryFlags: mode.directoryFlags,
  };
}
