/**
 * What INIT agreed on. The words lie in memory that all queues share, because INIT comes on one queue and holds
 * for all.
 *
 * @module
 */

/** Words of the shared area that {@linkcode Session} uses. */
export const SESSION_WORDS = 8;

const ACTIVE = 0;
const MINOR = 1;
const FLAGS = 2;
const FLAGS2 = 3;
const COUNT = 4;

/**
 * The session, seen by one thread.
 *
 * @example
 * ```ts
 * import { Session } from "./session.ts";
 * import { FUSE_POSIX_ACL } from "../wire/fuse.ts";
 *
 * // The server makes it and hands it to FileSystem.attach(); INIT fills it in.
 * const session = new Session(new Uint32Array(new SharedArrayBuffer(32)));
 * if (session.active || session.has(FUSE_POSIX_ACL)) throw new Error("there was no INIT yet");
 * ```
 */
export class Session {
  readonly #words: Uint32Array;
  readonly #base: number;

  /**
   * Made by the server.
   *
   * @param words shared memory; `words[base]` is the first of `SESSION_WORDS` words, 0 at first.
   */
  constructor(words: Uint32Array, base = 0) {
    this.#words = words;
    this.#base = base;
  }

  /** Between INIT and DESTROY. */
  get active(): boolean {
    return Atomics.load(this.#words, this.#base + ACTIVE) !== 0;
  }

  /** The guest's minor version, at most ours. */
  get minor(): number {
    return this.#words[this.#base + MINOR]!;
  }

  /** Sessions begun on this device so far. */
  get count(): number {
    return this.#words[this.#base + COUNT]!;
  }

  /** Whether all bits of `flag` (FUSE_*, the low word of the INIT flags) were agreed on. */
  has(flag: number): boolean {
    return ((this.#words[this.#base + FLAGS]! & flag) >>> 0) === flag;
  }

  /** The same for FUSE2_* (the high word). */
  has2(flag: number): boolean {
    return ((this.#words[this.#base + FLAGS2]! & flag) >>> 0) === flag;
  }

  /**
   * INIT has been agreed on.
   *
   * @internal
   */
  begin(minor: number, flags: number, flags2: number): void {
    this.#words[this.#base + MINOR] = minor;
    this.#words[this.#base + FLAGS] = flags;
    this.#words[this.#base + FLAGS2] = flags2;
    this.#words[this.#base + COUNT]!++;
    // Last: orders what was agreed on before the sight of an active session.
    Atomics.store(this.#words, this.#base + ACTIVE, 1);
  }

  /**
   * DESTROY, or the guest has gone.
   *
   * @internal
   */
  end(): void {
    Atomics.store(this.#words, this.#base + ACTIVE, 0);
  }
}
