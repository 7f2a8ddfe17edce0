/**
 * What an attack is, and what it has at hand.
 *
 * @module
 */

import type { RawGuest } from "./raw_guest.ts";
import type { SecondProcess } from "./second_process.ts";

/** Stands for a directory in options. */
export const PLACE = "{place}";

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
  /** What another process did while requests were outstanding, and how many of them it was that came back in that time. */
  meanwhile = 0;
  /** See {@linkcode meanwhile}. */
  servedMeanwhile = 0;

  /** One more attempt with this outcome. */
  count(status: number): void {
    this.rounds++;
    if (status < 0) this.refused++;
  }

  /** So many requests came back, and so much was done before they all had. Counts if both were something. */
  overlap(done: number, served: number): void {
    if (done === 0 || served === 0) return;
    this.meanwhile += done;
    this.servedMeanwhile += served;
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
  /** What has to happen while requests are served, in the plural: where it did not, the attack did not take place. */
  readonly races?: string;
  /** Options for this program's own daemon; {@linkcode PLACE} in them is a directory that they may use. */
  readonly ownOptions?: readonly string[];
  run(scene: Scene): Promise<void> | void;
}

/** Rounds of an attack that has this many at the usual size. */
export function rounds({ scale }: Scene, usual: number): number {
  return Math.max(1, Math.ceil(usual * scale));
}

/** As {@linkcode rounds}, and further ones until something has happened while requests were served, for as long as the guest is patient. */
export function* raceRounds(scene: Scene, usual: number): Generator<number> {
  const count = rounds(scene, usual);
  const deadline = performance.now() + scene.guest.patienceMs;
  const before = scene.tally.servedMeanwhile;
  for (let i = 0; i < count || scene.tally.servedMeanwhile === before; i++) {
    if (i >= count && performance.now() > deadline) return;
    yield i;
  }
}

/** Shows the requests that were written, waits for all of them, and counts what the second process did meanwhile. */
export function serveDuring(
  scene: Scene,
  second: SecondProcess,
  guest: RawGuest = scene.guest,
): void {
  const { outstanding } = guest;
  second.take();
  guest.kick();
  try {
    guest.awaitAll();
  } finally {
    scene.tally.overlap(second.take(), outstanding - guest.outstanding);
  }
}
