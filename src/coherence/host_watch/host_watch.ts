/**
 * `serve --watch-host`: changes that somebody makes on the host itself, not through a guest.
 *
 * With fanotify where the process may use it (CAP_SYS_ADMIN) and the file system can be watched with it, else with inotify; each mount in the
 * shared directory for itself, also those that are made later.
 *
 * This is not part of what makes guests coherent among themselves: a change is known when its event has been read, and until then guests may serve from
 * their caches what was before. That takes some 30 µs on a machine with processors to spare (at worst 3 ms in 1000 changes), and as long as the main
 * thread has to wait for one where all are busy (44 ms were seen with five threads for each).
 *
 * Neither kernel interface tells of stores through a shared mapping before the mapping is gone, of times of last access, or of what other
 * machines do on a network file system. inotify has more limits (`inotify_watch.ts`), and the walk at the start takes the main thread 3 s for
 * 100,000 names on a busy machine.
 *
 * @example
 * ```ts ignore
 * const watch = await HostWatch.open({
 *   directory: "/srv/shared",
 *   changed: (devLo, devHi, inoLo, inoHi) => registry.changed(devLo, devHi, inoLo, inoHi),
 *   overflowed: () => registry.allChanged(),
 *   isDaemon: (pid) => owners.hasPid(pid),
 *   log: (line) => log.warn(line),
 * });
 * if (typeof watch === "string") throw new SetupError(`Cannot watch the host: ${watch}`);
 * // ...
 * await watch.close();
 * ```
 *
 * @module
 */

import { errnoName } from "../../sys/errno.ts";
import { OwnedFd } from "../../sys/fd.ts";
import { Readiness } from "../../sys/readiness.ts";
import { O_RDONLY, POLLPRI } from "../../wire/linux.ts";
import type { HostChanges } from "./changes.ts";
import { FanotifyWatch } from "./fanotify_watch.ts";
import { InotifyWatch } from "./inotify_watch.ts";
import { type Mount, MOUNTINFO, mountsBelow } from "./mounts.ts";
import { Scratch } from "./scratch.ts";

/** What to watch, for whom. */
export interface HostWatchOptions extends HostChanges {
  /** The shared directory, an absolute path. */
  readonly directory: string;
  /** Whether a process is a daemon, whose changes are counted already. Asked for each event, so it should not make system calls. */
  readonly isDaemon: (pid: number) => boolean;
  /** For the operator: what is watched in another way than could be expected, or not at all. */
  readonly log: (line: string) => void;
  /** Leaves fanotify out. */
  readonly inotifyOnly?: boolean;
}

/** A mount that is watched. */
interface WatchedMount {
  readonly mount: Mount;
  /** Ends its own watch, if it has one. */
  readonly end: AbortController | null;
}

/** The root's number: mountinfo's are positive. */
const ROOT = 0;

/** A watch of a directory and all mounts in it. */
export class HostWatch implements AsyncDisposable {
  /** Rejects if events cannot be read any more, which is a bug or the end of the machine. Guests may be stale from then on. */
  readonly failed: Promise<never>;
  readonly #options: HostWatchOptions;
  readonly #directory: string;
  readonly #fanotify: FanotifyWatch | null;
  readonly #mounts = new Map<number, WatchedMount>();
  readonly #ending = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #fail: (error: unknown) => void;

  private constructor(
    options: HostWatchOptions,
    directory: string,
    fanotify: FanotifyWatch | null,
  ) {
    this.#options = options;
    this.#directory = directory;
    this.#fanotify = fanotify;
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    this.failed = promise;
    this.#fail = reject;
  }

  /** Starts watching: what changes after this has resolved is reported. Otherwise the reason why the directory itself cannot be watched. */
  static async open(options: HostWatchOptions): Promise<HostWatch | string> {
    let directory: string;
    try {
      directory = await Deno.realPath(options.directory);
    } catch (error) {
      return (error as Error).message;
    }
    const fanotify = options.inotifyOnly === true
      ? "not wanted"
      : FanotifyWatch.open(options, options.isDaemon);
    if (typeof fanotify === "string" && options.inotifyOnly !== true) {
      options.log(`${directory} is watched with inotify: ${fanotify}`);
    }
    const watch = new HostWatch(
      options,
      directory,
      typeof fanotify === "string" ? null : fanotify,
    );
    return await watch.#start();
  }

  /** Stops, and resolves when nothing more will be reported. */
  async close(): Promise<void> {
    this.#ending.abort();
    for (const { end } of this.#mounts.values()) end?.abort();
    while (this.#running.size > 0) await Promise.all(this.#running);
    this.#fanotify?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #start(): Promise<HostWatch | string> {
    const refused = this.#watch({ id: ROOT, path: this.#directory });
    if (refused !== null) {
      await this.close();
      return refused;
    }
    // Opened before it is read: what is mounted in between is told.
    const mountinfo = openMountinfo();
    for (const mount of this.#mountsNow()) this.#watchOrSay(mount);
    if (this.#fanotify !== null) this.#run(this.#fanotify.run(this.#ending.signal));
    this.#run(this.#followMounts(mountinfo));
    return this;
  }

  /** Null, or why it cannot be watched. */
  #watch(mount: Mount): string | null {
    const marked = this.#fanotify?.mark(mount.path) ?? "marked";
    if (this.#fanotify !== null && marked === "marked") {
      this.#mounts.set(mount.id, { mount, end: null });
      return null;
    }
    if (marked !== "marked") {
      this.#options.log(`${mount.path} is watched with inotify: ${marked.refused}`);
    }
    const watch = InotifyWatch.open(mount.path, this.#options, this.#options.log);
    if (typeof watch === "string") return watch;
    const end = new AbortController();
    this.#mounts.set(mount.id, { mount, end });
    this.#run(watch.run(end.signal));
    return null;
  }

  #watchOrSay(mount: Mount): void {
    const refused = this.#watch(mount);
    if (refused === null) return;
    this.#mounts.set(mount.id, { mount, end: null });
    this.#options.log(`${mount.path} is not watched: ${refused}`);
  }

  #run(running: Promise<void>): void {
    const ended = running.catch((error) => this.#fail(error)).finally(() =>
      this.#running.delete(ended)
    );
    this.#running.add(ended);
  }

  #mountsNow(): Mount[] {
    return mountsBelow(this.#directory, Deno.readTextFileSync(MOUNTINFO));
  }

  /** Mounts come and go: the kernel tells that, but not which. */
  async #followMounts(mountinfo: OwnedFd): Promise<void> {
    using file = mountinfo;
    using readiness = new Readiness(file.number, this.#ending.signal);
    while (await readiness.wait(POLLPRI)) this.#updateMounts();
  }

  #updateMounts(): void {
    const now = new Map(this.#mountsNow().map((mount) => [mount.id, mount]));
    for (const [id, { mount, end }] of this.#mounts) {
      if (id === ROOT || now.get(id)?.path === mount.path) continue;
      end?.abort();
      this.#mounts.delete(id);
      this.#entriesChanged(mount);
    }
    for (const mount of now.values()) {
      if (this.#mounts.has(mount.id)) continue;
      this.#watchOrSay(mount);
      this.#entriesChanged(mount);
    }
  }

  /** The name of a mount point now leads to another inode, which no file system tells of. */
  #entriesChanged({ path }: Mount): void {
    const scratch = new Scratch();
    if (scratch.stat(path.slice(0, path.lastIndexOf("/")) || "/") >= 0) {
      const { devLo, devHi, inoLo, inoHi } = scratch;
      this.#options.changed(devLo, devHi, inoLo, inoHi);
    }
    scratch.giveBack();
  }
}

function openMountinfo(): OwnedFd {
  const scratch = new Scratch();
  const fd = scratch.open(MOUNTINFO, O_RDONLY);
  scratch.giveBack();
  if (fd < 0) throw new Error(`Cannot open ${MOUNTINFO}: ${errnoName(fd)}`);
  return new OwnedFd(fd);
}
