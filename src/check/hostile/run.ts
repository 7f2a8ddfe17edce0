/**
 * Runs the attacks one after another, each in a place of its own, while another guest of the same host goes on.
 *
 * @module
 */

import { DaemonError } from "../../guest/daemon_error.ts";
import type { Attack, Scene } from "./attack.ts";
import { Tally } from "./attack.ts";
import { Auditor, CANARY } from "./auditor.ts";
import { EXHAUSTION_ATTACKS } from "./attacks/exhaustion.ts";
import { FORGERY_ATTACKS } from "./attacks/forgeries.ts";
import { LINK_ATTACKS } from "./attacks/links.ts";
import { MAPPING_ATTACKS } from "./attacks/mappings.ts";
import { MEMORY_ATTACKS } from "./attacks/memory.ts";
import { NAME_ATTACKS } from "./attacks/names.ts";
import { RING_ATTACKS } from "./attacks/rings.ts";
import { SPECIAL_FILE_ATTACKS } from "./attacks/special_files.ts";
import {
  connectPatiently,
  furnishNeighbour,
  Neighbour,
  type NeighbourCommand,
  visit,
} from "./neighbour.ts";
import { NoAnswer, RawGuest } from "./raw_guest.ts";
import { Secrets } from "./secrets.ts";

/** How long whoever looks after a daemon may take to start it again. */
const RESTARTED_MS = 10_000;
/** A file, and what is in it, for the guest after the attack. */
const NEXT = "for-the-next-guest";

/** All of them. */
export const ATTACKS: readonly Attack[] = [
  ...NAME_ATTACKS,
  ...LINK_ATTACKS,
  ...FORGERY_ATTACKS,
  ...SPECIAL_FILE_ATTACKS,
  ...RING_ATTACKS,
  ...MEMORY_ATTACKS,
  ...MAPPING_ATTACKS,
  ...EXHAUSTION_ATTACKS,
];

/** A daemon that serves a directory. */
export interface Daemon {
  readonly socketPath: string;
  readonly pid: number | null;
  /** It takes one front end after another; others are started again for each. */
  readonly staysUp: boolean;
  close(): Promise<void>;
}

/** What a run needs. */
export interface HostileOptions {
  readonly attacks: readonly Attack[];
  readonly scale: number;
  /** Starts a daemon on a directory; this program's own with these options besides. */
  start(directory: string, ownOptions: readonly string[]): Promise<Daemon>;
  /** The daemon of another guest. */
  startNeighbour(directory: string): Promise<Daemon>;
  /** Starts this program as that guest. */
  neighbourCommand(socketPath: string): NeighbourCommand;
  /** A directory with room for shares and what lies beside them. It is removed by the caller. */
  readonly place: string;
  /** The share, where a daemon serves one already; what must not be touched is made beside it. Both are cleared after each attack. */
  readonly served: string | null;
  progress(attack: Attack): void;
}

/** What became of one attack. */
export interface Outcome {
  readonly name: string;
  readonly tries: string;
  /** Attempts, and those that were answered with an error or the end of the queue. */
  readonly rounds: number;
  readonly refused: number;
  readonly outcome: "refused" | "contained" | "UNTRIED" | "ENDED" | "VIOLATION";
  readonly violations: readonly string[];
  readonly remarks: readonly string[];
  /** What another process did while requests were served, for attacks that need that. */
  readonly race: { readonly what: string; readonly done: number; readonly served: number } | null;
  /** A guest of another daemon on the same host, during the attack. */
  readonly neighbour: { readonly visits: number; readonly worstMs: number };
  /** How long a new guest of the same daemon waited for a file after it; null from a daemon that serves one front end only. */
  readonly nextGuestMs: number | null;
  readonly seconds: number;
}

/** Runs attacks. Each result is handed out when it is there. */
export async function* runAttacks(options: HostileOptions): AsyncGenerator<Outcome> {
  const share = `${options.place}/neighbour`;
  Deno.mkdirSync(share);
  furnishNeighbour(share);
  const daemon = await options.startNeighbour(share);
  const neighbour = new Neighbour(options.neighbourCommand(daemon.socketPath));
  try {
    for (const [i, attack] of options.attacks.entries()) {
      options.progress(attack);
      const stage = new Stage(options, `${options.place}/${i}`);
      yield await stage.run(attack, neighbour);
    }
  } finally {
    await neighbour.close();
    await daemon.close();
  }
}

/** The place of one attack. */
class Stage {
  readonly #options: HostileOptions;
  readonly #directory: string;
  readonly #share: string;
  readonly #tally = new Tally();
  #daemon!: Daemon;
  #guest: RawGuest | null = null;
  #secrets!: Secrets;
  #ownOptions: readonly string[] = [];
  /** The daemon's process, where it can be seen. */
  #pid: number | null = null;

  constructor(options: HostileOptions, directory: string) {
    this.#options = options;
    const { served } = options;
    this.#directory = served === null ? directory : Deno.realPathSync(`${served}/..`);
    this.#share = served ?? `${directory}/share`;
  }

  async run(attack: Attack, neighbour: Neighbour): Promise<Outcome> {
    try {
      return await this.#run(attack, neighbour);
    } finally {
      // Whatever came of it: it is somebody's directory.
      if (this.#options.served !== null) {
        empty(this.#share);
        Deno.removeSync(`${this.#directory}/${CANARY}`, { recursive: true });
      }
    }
  }

  async #run(attack: Attack, neighbour: Neighbour): Promise<Outcome> {
    const tally = this.#tally;
    const started = performance.now();
    const unmount = this.#furnish();
    const auditor = new Auditor(this.#directory);
    this.#secrets = new Secrets(auditor.token, auditor.inodes());
    this.#ownOptions = attack.ownOptions ?? [];
    let nextGuestMs: number | null = null;
    try {
      await this.#restart();
      auditor.begin();
      await neighbour.report();
      await this.#attack(attack);
      this.#checkAlive();
      nextGuestMs = await this.#serveNext();
    } finally {
      this.#guest?.close();
      await this.#daemon?.close();
      unmount();
    }
    const { visits, worstMs, complaint } = await neighbour.report();
    if (complaint !== null) tally.violations.add(complaint);
    for (const found of auditor.end()) tally.violations.add(found);
    for (const seen of this.#secrets.seen) tally.violations.add(seen);
    const race = attack.races === undefined
      ? null
      : { what: attack.races, done: tally.meanwhile, served: tally.servedMeanwhile };
    const complaints = [...tally.violations, ...tally.endings];
    if (race?.served === 0) complaints.push(`no ${race.what} while requests were served`);
    return {
      name: attack.name,
      tries: attack.tries,
      rounds: tally.rounds,
      refused: tally.refused,
      outcome: outcomeOf(tally, attack.races),
      violations: complaints,
      remarks: [...tally.remarks],
      race,
      neighbour: { visits, worstMs },
      nextGuestMs,
      seconds: Math.round((performance.now() - started) / 100) / 10,
    };
  }

  async #attack(attack: Attack): Promise<void> {
    const self = this.#scene();
    try {
      await attack.run(self);
    } catch (error) {
      if (error instanceof NoAnswer || error instanceof DaemonError) {
        // Where its own ring is broken, silence is what the guest has asked for.
        if (attack.breaksQueue) this.#tally.remarks.add(error.message);
        else this.#tally.endings.add(error.message);
      } else throw error;
    }
  }

  #scene(): Scene {
    return {
      share: this.#share,
      canary: `${this.#directory}/${CANARY}`,
      tally: this.#tally,
      scale: this.#options.scale,
      guest: this.#guest!,
      reconnect: (flags) => this.#restart(flags),
      pid: this.#pid,
    };
  }

  /** Hangs up if need be, and connects: to a new daemon, if the old one has served its guest. */
  async #restart(flags?: readonly [number, number]): Promise<RawGuest> {
    if (this.#guest !== null) {
      // Before it hangs up: one that has ended by itself was brought down.
      this.#checkAlive();
      this.#guest.close();
      if (!this.#daemon.staysUp) {
        await this.#daemon.close();
        this.#daemon = await this.#options.start(this.#share, this.#ownOptions);
      }
    } else this.#daemon = await this.#options.start(this.#share, this.#ownOptions);
    const { socketPath, pid } = this.#daemon;
    this.#guest = await connectPatiently(
      () => RawGuest.connect(socketPath, this.#secrets, flags),
      this.#options.served === null ? 0 : RESTARTED_MS,
    );
    this.#pid = pid ?? (this.#guest.frontend.daemonPid || null);
    return this.#guest;
  }

  /** The next front end of the same daemon, after the attack. Returns how long it took to be served. */
  async #serveNext(): Promise<number | null> {
    if (!this.#daemon.staysUp || this.#tally.endings.size > 0) return null;
    Deno.writeTextFileSync(`${this.#share}/${NEXT}`, NEXT);
    const started = performance.now();
    let complaint: string | null;
    try {
      complaint = visit(await this.#restart(), NEXT, NEXT);
    } catch (error) {
      if (!(error instanceof NoAnswer) && !(error instanceof DaemonError)) throw error;
      complaint = error.message;
    }
    if (complaint !== null) this.#tally.endings.add(`the next guest is not served: ${complaint}`);
    return Math.round(performance.now() - started);
  }

  #checkAlive(): void {
    const pid = this.#pid;
    if (pid === null) return;
    try {
      const status = Deno.readTextFileSync(`/proc/${pid}/stat`);
      // The state stands behind the name, which is in parentheses.
      if (status.slice(status.lastIndexOf(")") + 2)[0] !== "Z") return;
    } catch {
      // Not even that.
    }
    this.#tally.endings.add("the daemon has ended");
  }

  /** Files to attack. Returns what takes the mount away. */
  #furnish(): () => void {
    const share = this.#share;
    Deno.mkdirSync(`${share}/directory/inner`, { recursive: true });
    if (this.#options.served === null) {
      for (const path of [this.#directory, share]) Deno.chmodSync(path, 0o755);
    }
    Deno.writeTextFileSync(`${share}/file`, "inside\n");
    Deno.writeTextFileSync(`${share}/directory/file`, "inside\n");
    Deno.writeFileSync(`${share}/large`, new Uint8Array(4 << 20));
    Deno.mkdirSync(`${share}/mounted`, { recursive: true });
    const isMounted = command(
      "mount",
      "-t",
      "tmpfs",
      "-o",
      "size=1m",
      "hostile",
      `${share}/mounted`,
    );
    if (isMounted) Deno.writeTextFileSync(`${share}/mounted/here`, "inside\n");
    return () => {
      if (isMounted) command("umount", "-l", `${share}/mounted`);
    };
  }
}

/** What came of it; `races` is what had to happen meanwhile. */
export function outcomeOf(tally: Tally, races: string | undefined): Outcome["outcome"] {
  const { violations, endings, rounds, refused } = tally;
  if (violations.size > 0) return "VIOLATION";
  if (endings.size > 0) return "ENDED";
  if (races !== undefined && tally.servedMeanwhile === 0) return "UNTRIED";
  return refused === rounds && rounds > 0 ? "refused" : "contained";
}

/** Removes what an attack has left behind. */
function empty(share: string): void {
  for (const { name } of [...Deno.readDirSync(share)]) {
    Deno.removeSync(`${share}/${name}`, { recursive: true });
  }
}

function command(name: string, ...args: string[]): boolean {
  try {
    return new Deno.Command(name, { args, stderr: "null", stdout: "null" }).outputSync().success;
  } catch {
    return false;
  }
}
