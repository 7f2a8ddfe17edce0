/**
 * What the main thread does for shared versions: once a second it takes back what daemons left that were killed; and it counts changes that are
 * made on the host itself, if it is to. It also says, once, what an operator should know: a table that is full, or that was replaced.
 *
 * @module
 */

import { HostWatch } from "../coherence/host_watch/host_watch.ts";
import type { Confinement } from "./confinement.ts";
import type { SharedVersions } from "../coherence/versions.ts";

const PERIOD_MS = 1000;

type Logger = (level: "debug" | "info" | "warn", message: string) => void;

/** One device's. */
export class VersionsUpkeep {
  readonly #versions: SharedVersions;
  readonly #log: Logger;
  readonly #timer: ReturnType<typeof setInterval>;
  #hostWatch: HostWatch | null = null;
  #isAlone = false;
  #saidFull = false;
  /** Processes whose changes are counted by themselves. */
  #daemons: ReadonlySet<number>;

  readonly #confinement: Confinement | null;

  constructor(versions: SharedVersions, log: Logger, confinement: Confinement | null) {
    this.#versions = versions;
    this.#confinement = confinement;
    this.#log = log;
    this.#daemons = versions.daemons();
    this.#timer = setInterval(() => this.#work(), PERIOD_MS);
    if (confinement === null) return;
    const { device, inode } = versions.tableIdentity;
    confinement.watchTable(device, inode);
    // Paths mean nothing in here.
    this.#isAlone = true;
  }

  /** Bytes of the region in which guests see the table. */
  get regionSize(): number {
    return this.#versions.regionSize;
  }

  /** `--watch-host`: from now on, changes in a directory that no daemon makes count, too. */
  async watchHost(directory: string): Promise<void> {
    const versions = this.#versions;
    const confinement = this.#confinement;
    if (confinement !== null) {
      confinement.setDaemons(this.#daemons);
      const refusal = await confinement.watchHost({
        changed: (devLo, devHi, inoLo, inoHi) => versions.changed(devLo, devHi, inoLo, inoHi),
        overflowed: () => versions.allChanged(),
      });
      if (refusal !== null) throw new Error(`The host cannot be watched: ${refusal}`);
      return;
    }
    const watch = await HostWatch.open({
      directory,
      changed: (devLo, devHi, inoLo, inoHi) => versions.changed(devLo, devHi, inoLo, inoHi),
      overflowed: () => versions.allChanged(),
      isDaemon: (pid) => this.#daemons.has(pid),
      log: (line) => this.#log("warn", line),
    });
    if (typeof watch === "string") throw new Error(`The host cannot be watched: ${watch}`);
    this.#hostWatch = watch;
    watch.failed.catch((error) => {
      this.#log("warn", `The host is not watched any more: ${(error as Error).message}`);
      versions.allChanged();
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#hostWatch?.close();
    this.#versions.close();
  }

  #work(): void {
    const versions = this.#versions;
    const swept = versions.sweep();
    if (swept > 0) this.#log("info", `Shared versions: took back what ${swept} dead daemons left`);
    this.#daemons = versions.daemons();
    this.#confinement?.setDaemons(this.#daemons);
    if (!this.#saidFull && versions.unversioned > 0) {
      this.#saidFull = true;
      this.#log(
        "warn",
        `The version table is full in places: guests ask each time for what has no slot; a table with more than ${versions.place.slotCount} --version-slots would have room`,
      );
    }
    if (this.#isAlone || versions.isCurrent) return;
    this.#isAlone = true;
    this.#log(
      "warn",
      "The version table's file has been removed or replaced: guests of daemons that start from now on are not coherent with this one's",
    );
  }
}
