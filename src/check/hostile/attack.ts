/**
 * What an attack is, and what it has at hand.
 *
 * @module
 */

import type { RawGuest } from "./raw_guest.ts";

/** Counts what the daemon made of it. */
export class Tally {
  /** Attempts. */
  rounds = 0;
  /** Answered with an errno. */
  refused = 0;
  /** What should not have been possible. */
  readonly violations: Set<string> = new Set();
  /** The daemon has ended, or does not answer: the guest has lost its file system, and nobody else anything. */
  readonly endings: Set<string> = new Set();
  /** Worth knowing. */
  readonly remarks: Set<string> = new Set();

  /** One more attempt with this outcome. */
  count(status: number): void {
    this.rounds++;
    if (status < 0) this.refused++;
  }
}

/** Where an attack takes place: a fresh directory, served by a fresh daemon (or one that was there). */
export interface Scene {
  /** The shared directory, as the host sees it. */
  readonly share: string;
  /** What must not be touched. */
  readonly canary: string;
  readonly tally: Tally;
  /** 1 is the usual size; tests take less. */
  readonly scale: number;
  /** The first connection; others are made with {@linkcode Scene.reconnect}. */
  readonly guest: RawGuest;
  /** Hangs up and connects again, to a daemon that may have to be started for it. */
  reconnect(flags?: readonly [number, number]): Promise<RawGuest>;
  /** The daemon's process, or null where it is not ours. */
  readonly pid: number | null;
}

/** One attack. */
export interface Attack {
  readonly name: string;
  /** What is tried, in one line. */
  readonly tries: string;
  /** The daemon may stop answering this guest's queue: its ring is broken. */
  readonly breaksQueue?: boolean;
  run(scene: Scene): Promise<void> | void;
}

/** Rounds of an attack that has this many at the usual size. */
export function rounds({ scale }: Scene, usual: number): number {
  return Math.max(1, Math.ceil(usual * scale));
}
