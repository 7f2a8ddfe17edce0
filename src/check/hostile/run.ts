/**
 * Runs the attacks one after another, each in a place of its own, while another guest of the same host goes on.
 *
 * @module
 */

import { DaemonError } from "../../guest/daemon_error.ts";
import type { Attack, Scene } from "./attack.ts";
import { Tally } from "./attack.ts";
import { Auditor } from "./auditor.ts";
import { EXHAUSTION_ATTACKS } from "./attacks/exhaustion.ts";
import { FORGERY_ATTACKS } from "./attacks/forgeries.ts";
import { LINK_ATTACKS } from "./attacks/links.ts";
import { MAPPING_ATTACKS } from "./attacks/mappings.ts";
import { MEMORY_ATTACKS } from "./attacks/memory.ts";
import { NAME_ATTACKS } from "./attacks/names.ts";
import { RING_ATTACKS } from "./attacks/rings.ts";
import { SPECIAL_FILE_ATTACKS } from "./attacks/special_files.ts";
import { NoAnswer, RawGuest } from "./raw_guest.ts";
import { body, handleOf, lookup, nodeOf, open, read, ROOT } from "./requests.ts";
import { Secrets } from "./secrets.ts";
import { Opcode } from "../../wire/fuse.ts";

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
  /** Starts a daemon on a directory. */
  start(directory: string): Promise<Daemon>;
  /** Makes a place: a directory in which the share is, with room beside it. It is removed by the caller. */
  readonly place: string;
  /** The share's directory below the place, where a daemon serves one already. */
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
  readonly outcome: "refused" | "contained" | "ENDED" | "VIOLATION";
  readonly violations: readonly string[];
  readonly remarks: readonly string[];
  readonly seconds: number;
}

/** Runs attacks. Each result is handed out when it is there. */
export async function* runAttacks(options: HostileOptions): AsyncGenerator<Outcome> {
  const bystander = await Bystander.start(options);
  try {
    for (const [i, attack] of options.attacks.entries()) {
      options.progress(attack);
      const stage = new Stage(options, `${options.place}/${i}`);
      yield await stage.run(attack, bystander);
    }
  } finally {
    await bystander?.close();
  }
}

/** A guest with a daemon of its own, which has done nothing. */
class Bystander {
  readonly #daemon: Daemon;
  readonly #guest: RawGuest;

  private constructor(daemon: Daemon, guest: RawGuest) {
    this.#daemon = daemon;
    this.#guest = guest;
  }

  static async start(options: HostileOptions): Promise<Bystander | null> {
    if (options.served !== null) return null;
    const share = `${options.place}/bystander`;
    Deno.mkdirSync(share);
    Deno.writeTextFileSync(`${share}/file`, "mine\n");
    const daemon = await options.start(share);
    const secrets = new Secrets("nothing is secret here", new Set());
    return new Bystander(daemon, await RawGuest.connect(daemon.socketPath, secrets));
  }

  /** Null while it is served, else why not. */
  check(): string | null {
    try {
      const node = nodeOf(lookup(this.#guest, ROOT, "file"));
      const handle = handleOf(open(this.#guest, node, 0));
      const { body: bytes } = read(this.#guest, node, handle, 16);
      this.#guest.call(Opcode.RELEASE, node, body([handle, 0, 0, 0n]));
      const text = new TextDecoder().decode(bytes);
      return text === "mine\n" ? null : `another guest reads "${text}"`;
    } catch (error) {
      return `another guest has lost its service: ${(error as Error).message}`;
    }
  }

  async close(): Promise<void> {
    this.#guest.close();
    await this.#daemon.close();
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

  constructor(options: HostileOptions, directory: string) {
    this.#options = options;
    const { served } = options;
    this.#directory = served === null ? directory : options.place;
    this.#share = served ?? `${directory}/share`;
  }

  async run(attack: Attack, bystander: Bystander | null): Promise<Outcome> {
    const tally = this.#tally;
    const started = performance.now();
    const unmount = this.#furnish();
    const auditor = new Auditor(this.#directory);
    this.#secrets = new Secrets(auditor.token, auditor.inodes());
    try {
      await this.#restart();
      auditor.begin();
      await this.#attack(attack);
      this.#checkAlive();
      const complaint = bystander?.check() ?? null;
      if (complaint !== null) tally.violations.add(complaint);
    } finally {
      this.#guest?.close();
      await this.#daemon?.close();
      unmount();
    }
    for (const found of auditor.end()) tally.violations.add(found);
    for (const seen of this.#secrets.seen) tally.violations.add(seen);
    const violations = [...tally.violations, ...tally.endings];
    const harmless = tally.refused === tally.rounds && tally.rounds > 0 ? "refused" : "contained";
    return {
      name: attack.name,
      tries: attack.tries,
      rounds: tally.rounds,
      refused: tally.refused,
      outcome: tally.violations.size > 0
        ? "VIOLATION"
        : tally.endings.size > 0
        ? "ENDED"
        : harmless,
      violations,
      remarks: [...tally.remarks],
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
      canary: `${this.#directory}/canary`,
      tally: this.#tally,
      scale: this.#options.scale,
      guest: this.#guest!,
      reconnect: (flags) => this.#restart(flags),
      pid: this.#daemon.pid,
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
        this.#daemon = await this.#options.start(this.#share);
      }
    } else this.#daemon = await this.#options.start(this.#share);
    this.#guest = await RawGuest.connect(this.#daemon.socketPath, this.#secrets, flags);
    return this.#guest;
  }

  #checkAlive(): void {
    const { pid } = this.#daemon;
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
    for (const path of [this.#directory, share]) Deno.chmodSync(path, 0o755);
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

function command(name: string, ...args: string[]): boolean {
  try {
    return new Deno.Command(name, { args, stderr: "null", stdout: "null" }).outputSync().success;
  } catch {
    return false;
  }
}
