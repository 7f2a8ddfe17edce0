/**
 * Which operation a guest does next: at random, from a seed.
 *
 * @module
 */

import {
  CONTENT_SIZE,
  DIRECTORIES,
  HANDLE_COUNT,
  LOOKING,
  type Operation,
  type OperationKind,
  PLACES,
} from "./operations.ts";

/** What the share can do. */
export interface Features {
  readonly xattr: boolean;
  /** RENAME_EXCHANGE, which is the host's file system's to have. */
  readonly exchange: boolean;
}

type Kind = Exclude<OperationKind, "host-sees">;

/** How often each kind is chosen: enough changes that caches go stale, enough looking that it is seen. */
const WEIGHTS: Readonly<Record<Kind, number>> = {
  "stat": 16,
  "read": 12,
  "readdir": 6,
  "stat-directory": 4,
  "readlink": 4,
  "getxattr": 3,
  "create": 5,
  "write": 5,
  "rewrite": 3,
  "truncate": 3,
  "chmod": 4,
  "chmod-directory": 1,
  "setxattr": 3,
  "unlink": 7,
  "mkdir": 3,
  "rmdir": 3,
  "symlink": 3,
  "link": 4,
  "rename": 6,
  "rename-noreplace": 2,
  "rename-exchange": 3,
  "open": 4,
  "create-open": 2,
  "pread": 6,
  "fstat": 4,
  "pwrite": 4,
  "ftruncate": 2,
  "close": 2,
};
/** Operations that follow each other in one temper: a guest that only looks has something in its caches when another one changes it. */
const STRETCH_MAX = 100;
const FILE_MODES = [0o600, 0o640, 0o644, 0o664, 0o700, 0o755];
/** The guests need not be root's: directories stay usable. */
const DIRECTORY_MODES = [0o700, 0o711, 0o755, 0o775];

/** Numbers below 2^32 that look random and follow from a seed. */
export class RandomNumbers {
  #state: number;

  constructor(...seeds: readonly number[]) {
    this.#state = 0;
    for (const seed of seeds) {
      this.#state = (this.#state ^ seed) >>> 0;
      this.next();
    }
  }

  /** The next number (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  below(limit: number): number {
    return this.next() % limit;
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }
}

/** The choices of one guest. */
export class Choice {
  readonly #guest: number;
  readonly #random: RandomNumbers;
  readonly #kinds: readonly Kind[];
  readonly #lookingKinds: readonly Kind[];
  #valueCount = 0;
  #stretch = 0;
  #isCalm = false;

  constructor(guest: number, seeds: readonly number[], features: Features) {
    this.#guest = guest;
    this.#random = new RandomNumbers(...seeds, guest + 1);
    this.#kinds = (Object.keys(WEIGHTS) as Kind[]).flatMap((kind) => {
      const missing = (kind.endsWith("xattr") && !features.xattr) ||
        (kind === "rename-exchange" && !features.exchange);
      return Array<Kind>(missing ? 0 : WEIGHTS[kind]).fill(kind);
    });
    this.#lookingKinds = this.#kinds.filter((kind) => LOOKING.has(kind));
  }

  /** The next operation. `isOpen` tells which of the guest's files are open. */
  next(isOpen: (handle: number) => boolean): Operation {
    const random = this.#random;
    if (this.#stretch-- === 0) {
      this.#stretch = random.below(STRETCH_MAX);
      this.#isCalm = random.below(2) === 0;
    }
    const looks = this.#isCalm && random.below(20) > 0;
    const kind = random.of(looks ? this.#lookingKinds : this.#kinds);
    const place = random.below(PLACES.length);
    const handle = this.#guest * HANDLE_COUNT + random.below(HANDLE_COUNT);
    switch (kind) {
      case "write":
      case "rewrite":
      case "setxattr":
      case "symlink":
        return { kind, place, value: this.#value() };
      case "truncate":
        return { kind, place, size: random.below(2) * CONTENT_SIZE };
      case "chmod":
        // Whatever it is that the name leads to.
        return { kind, place, mode: random.of(DIRECTORY_MODES) & random.of(FILE_MODES) | 0o600 };
      case "link":
      case "rename":
      case "rename-noreplace":
      case "rename-exchange": {
        const target = (place + 1 + random.below(PLACES.length - 1)) % PLACES.length;
        return { kind, place, target };
      }
      case "readdir":
      case "stat-directory":
        return { kind, directory: random.below(DIRECTORIES.length) };
      case "chmod-directory":
        return {
          kind,
          directory: random.below(DIRECTORIES.length),
          mode: random.of(DIRECTORY_MODES),
        };
      case "open":
      case "create-open":
        if (isOpen(handle)) return { kind: "close", handle };
        return { kind, place, handle };
      case "pread":
      case "fstat":
      case "close":
        if (!isOpen(handle)) return { kind: "open", place, handle };
        return { kind, handle };
      case "pwrite":
        if (!isOpen(handle)) return { kind: "open", place, handle };
        return { kind, handle, value: this.#value() };
      case "ftruncate":
        if (!isOpen(handle)) return { kind: "open", place, handle };
        return { kind, handle, size: random.below(2) * CONTENT_SIZE };
      default:
        return { kind, place };
    }
  }

  /** A value that nobody else writes. */
  #value(): string {
    return `g${this.#guest + 1}.${++this.#valueCount}`.padEnd(CONTENT_SIZE, ".");
  }
}
