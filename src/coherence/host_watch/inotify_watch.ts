/**
 * Changes below a directory, with inotify(7): for those who may not use fanotify. A watch per directory, within one mount.
 *
 * What it cannot see, unlike fanotify: who made a change, so those of the daemons are reported, too (a guest asks again for what it knew;
 * nothing becomes wrong); changes through a name outside of the directory (hard links, what was moved out); changes of a file that has
 * no name any more; and a name that comes and goes before its event is read is known by its directory's change only.
 *
 * @module
 */

import { O_DIRECTORY, O_NOFOLLOW } from "../../sys/architecture.ts";
import { ENOENT, ENOSPC, ENOTDIR, errnoName } from "../../sys/errno.ts";
import { OwnedFd } from "../../sys/fd.ts";
import { libc, status } from "../../sys/libc.ts";
import {
  IN_ATTRIB,
  IN_CLOEXEC,
  IN_CLOSE_WRITE,
  IN_CREATE,
  IN_DELETE,
  IN_DELETE_SELF,
  IN_IGNORED,
  IN_MODIFY,
  IN_MOVE_SELF,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  IN_NONBLOCK,
  IN_ONLYDIR,
  IN_Q_OVERFLOW,
  INOTIFY_EVENT,
} from "../../wire/inotify.ts";
import { DIRENT64, DT_DIR, DT_UNKNOWN, O_RDONLY, S_IFDIR } from "../../wire/linux.ts";
import type { HostChanges } from "./changes.ts";
import { readEvents } from "./event_reader.ts";
import { SCRATCH, Scratch } from "./scratch.ts";
import { byteString, type Child, nameAt, WatchedDirectory } from "./watched_directory.ts";

const ARRIVED = IN_CREATE | IN_MOVED_TO;
const LEFT = IN_DELETE | IN_MOVED_FROM;
/** CLOSE_WRITE because it is all that the kernel tells of stores through a mapping. */
const EVENTS = ARRIVED | LEFT | IN_ATTRIB | IN_MODIFY | IN_CLOSE_WRITE | IN_DELETE_SELF |
  IN_MOVE_SELF | IN_ONLYDIR;

/** The watches of one mount. */
export class InotifyWatch {
  readonly #fd: OwnedFd;
  readonly #changes: HostChanges;
  readonly #log: (line: string) => void;
  readonly #scratch = new Scratch();
  readonly #path: string;
  #root: WatchedDirectory;
  #mountId = 0;
  readonly #byWd = new Map<number, WatchedDirectory>();
  /** Moved away, and not seen to arrive elsewhere yet. */
  readonly #detached = new Set<WatchedDirectory>();
  #overflowed = false;
  readonly #said = new Set<string>();

  private constructor(
    fd: number,
    path: string,
    changes: HostChanges,
    log: (line: string) => void,
  ) {
    this.#fd = new OwnedFd(fd);
    this.#path = path;
    this.#root = new WatchedDirectory(null, byteString(path));
    this.#changes = changes;
    this.#log = log;
  }

  /** Watches `path` and all directories below it, or tells why that is not possible. */
  static open(
    path: string,
    changes: HostChanges,
    log: (line: string) => void,
  ): InotifyWatch | string {
    const fd = status(libc.inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (fd < 0) return errnoName(fd);
    const watch = new InotifyWatch(fd, path, changes, log);
    const result = watch.#watchAll(watch.#root, false);
    if (result >= 0) return watch;
    watch.close();
    return errnoName(result);
  }

  /** Reports until aborted; then the watches are gone. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await readEvents(
        this.#fd.number,
        this.#scratch,
        signal,
        (length) => this.#report(length),
        () => this.#settle(),
      );
    } finally {
      this.close();
    }
  }

  /** Without having run. */
  close(): void {
    if (this.#fd.closed) return;
    this.#fd.close();
    this.#scratch.giveBack();
  }

  #report(length: number): void {
    const { view, u8 } = this.#scratch.memory;
    for (let event = SCRATCH.EVENTS; event < SCRATCH.EVENTS + length;) {
      const mask = view.getUint32(event + INOTIFY_EVENT.MASK, true);
      const nameLength = view.getUint32(event + INOTIFY_EVENT.LEN, true);
      const directory = this.#byWd.get(view.getInt32(event + INOTIFY_EVENT.WD, true));
      if ((mask & IN_Q_OVERFLOW) !== 0) this.#overflowed = true;
      else if (directory !== undefined) {
        if ((mask & IN_IGNORED) !== 0) this.#forget(directory);
        else if (nameLength === 0) this.#reportDirectory(directory, mask);
        else this.#reportChild(directory, nameAt(u8, event + INOTIFY_EVENT.NAME), mask);
      }
      event += INOTIFY_EVENT.SIZE + nameLength;
    }
  }

  #reportDirectory(directory: WatchedDirectory, mask: number): void {
    this.#changed(directory, directory);
    if (directory === this.#root && (mask & IN_MOVE_SELF) !== 0) {
      this.#sayOnce("moved", `${this.#path} was moved: new directories in it will not be watched`);
    }
  }

  #reportChild(directory: WatchedDirectory, name: string, mask: number): void {
    const known = directory.children.get(name);
    if (known !== undefined) this.#changed(directory, known);
    if ((mask & ARRIVED) !== 0) {
      this.#changed(directory, directory);
      this.#arrived(directory, name, known);
    } else if ((mask & LEFT) !== 0) {
      this.#changed(directory, directory);
      this.#left(directory, name, known);
      // Two names that are exchanged are two moves, of which the second seems to take away what the first brought.
      if ((mask & IN_MOVED_FROM) !== 0) this.#arrived(directory, name, undefined);
    } else if (known === undefined && this.#scratch.stat(directory.path(name)) >= 0) {
      this.#changed(this.#scratch, this.#scratch);
    }
  }

  #arrived(directory: WatchedDirectory, name: string, known: Child | undefined): void {
    const scratch = this.#scratch;
    if (scratch.stat(directory.path(name)) < 0) {
      // Gone again, or replaced: that has an event of its own.
      directory.children.delete(name);
      return;
    }
    const { inoLo, inoHi } = scratch;
    this.#changed(scratch, scratch);
    if (known?.inoLo === inoLo && known.inoHi === inoHi && known.directory !== null) return;
    const child: Child = { inoLo, inoHi, directory: null };
    directory.children.set(name, child);
    if (scratch.type !== S_IFDIR || scratch.mountId !== this.#mountId) return;
    for (const moved of this.#detached) {
      if (moved.inoLo !== inoLo || moved.inoHi !== inoHi) continue;
      // Its watches have gone with it.
      this.#place(moved, directory, name, child);
      return;
    }
    child.directory = new WatchedDirectory(directory, name);
    this.#watchAll(child.directory, true);
  }

  #left(directory: WatchedDirectory, name: string, known: Child | undefined): void {
    directory.children.delete(name);
    const moved = known?.directory ?? null;
    // It may have been found at its new place already.
    if (moved === null || !moved.isAt(directory, name)) return;
    this.#detach(moved);
  }

  #detach(directory: WatchedDirectory): void {
    directory.detach();
    this.#detached.add(directory);
  }

  /** A directory that is watched has been found at another place. */
  #place(directory: WatchedDirectory, parent: WatchedDirectory, name: string, child: Child): void {
    // Two moves of which the later was seen first would make a circle; its events clear that up.
    if (parent.isIn(directory)) return this.#detach(directory);
    this.#detached.delete(directory);
    directory.parent = parent;
    directory.name = name;
    child.directory = directory;
  }

  /** What is to be done when a batch of events has been reported. */
  #settle(): void {
    // The two events of a rename are queued together; where only one of them has been read, the other finds it anew.
    for (const directory of this.#detached) this.#unwatchAll(directory);
    this.#detached.clear();
    if (!this.#overflowed) return;
    this.#overflowed = false;
    this.#changes.overflowed();
    this.#startAgain();
    // And what changed before the watches were complete.
    this.#changes.overflowed();
  }

  /** Events were lost: what is known of names may be wrong, and directories unwatched. */
  #startAgain(): void {
    const before = [...this.#byWd.keys()];
    this.#byWd.clear();
    this.#root = new WatchedDirectory(null, byteString(this.#path));
    this.#watchAll(this.#root, false);
    for (const wd of before) {
      if (!this.#byWd.has(wd)) libc.inotify_rm_watch(this.#fd.number, wd);
    }
  }

  /** Watches a directory, lists it, and so on downwards. `report`: what is there may have been changed unseen. The status is that of `start`. */
  #watchAll(start: WatchedDirectory, report: boolean): number {
    let result = 1;
    const waiting = [start];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const watched = this.#watch(next, report, waiting);
      if (next === start) result = watched;
    }
    return result;
  }

  #watch(directory: WatchedDirectory, report: boolean, waiting: WatchedDirectory[]): number {
    const scratch = this.#scratch;
    // Only the top may be reached over a symbolic link.
    const flags = O_RDONLY | O_DIRECTORY | (directory.parent === null ? 0 : O_NOFOLLOW);
    const fd = scratch.open(directory.path(), flags);
    if (fd < 0) return this.#unwatched(directory, fd);
    using _owner = new OwnedFd(fd);
    const looked = scratch.statFd(fd);
    if (looked < 0) return this.#unwatched(directory, looked);
    if (directory === this.#root) this.#mountId = scratch.mountId;
    // Another mount has a watch of its own.
    if (scratch.mountId !== this.#mountId) return this.#unwatched(directory, -ENOTDIR);
    directory.devLo = scratch.devLo;
    directory.devHi = scratch.devHi;
    directory.inoLo = scratch.inoLo;
    directory.inoHi = scratch.inoHi;
    const path = scratch.path(`/proc/self/fd/${fd}`);
    const wd = status(libc.inotify_add_watch(this.#fd.number, path, EVENTS));
    if (wd < 0) return this.#unwatched(directory, wd);
    const known = this.#byWd.get(wd);
    if (known !== undefined && known !== directory) {
      const { parent, name } = directory;
      // It is watched: it was found at its new place before the event of its move was read.
      if (parent !== null) this.#place(known, parent, name, parent.children.get(name)!);
      return 1;
    }
    directory.wd = wd;
    this.#byWd.set(wd, directory);
    if (report) this.#changed(directory, directory);
    this.#list(fd, directory, report, waiting);
    return 1;
  }

  #list(
    fd: number,
    directory: WatchedDirectory,
    report: boolean,
    waiting: WatchedDirectory[],
  ): void {
    const { memory } = this.#scratch;
    const { view, u8 } = memory;
    const entries = memory.pointerAt(SCRATCH.ENTRIES);
    for (;;) {
      const length = status(libc.getdents64(fd, entries, SCRATCH.ENTRIES_SIZE));
      if (length <= 0) return;
      for (let entry = SCRATCH.ENTRIES; entry < SCRATCH.ENTRIES + length;) {
        const name = nameAt(u8, entry + DIRENT64.NAME);
        const type = view.getUint8(entry + DIRENT64.TYPE);
        const child: Child = {
          inoLo: view.getUint32(entry + DIRENT64.INO, true),
          inoHi: view.getUint32(entry + DIRENT64.INO + 4, true),
          directory: null,
        };
        entry += view.getUint16(entry + DIRENT64.RECLEN, true);
        if (name === "." || name === "..") continue;
        directory.children.set(name, child);
        if (report) this.#changed(directory, child);
        if (type !== DT_DIR && (type !== DT_UNKNOWN || !this.#isDirectory(directory, name))) {
          continue;
        }
        child.directory = new WatchedDirectory(directory, name);
        waiting.push(child.directory);
      }
    }
  }

  #isDirectory(directory: WatchedDirectory, name: string): boolean {
    return this.#scratch.stat(directory.path(name)) >= 0 && this.#scratch.type === S_IFDIR;
  }

  #unwatched(directory: WatchedDirectory, error: number): number {
    const known = directory.parent?.children.get(directory.name);
    if (known?.directory === directory) known.directory = null;
    // Gone or replaced: events tell. Or not ours.
    if (error === -ENOENT || error === -ENOTDIR) return error;
    const place = new TextDecoder().decode(directory.path());
    if (error === -ENOSPC) {
      this.#sayOnce(
        "limit",
        `There are more directories than the sysctl fs.inotify.max_user_watches allows; ${place} and others are not watched`,
      );
    } else {this.#sayOnce(
        "error",
        `${place} cannot be watched, and maybe others: ${errnoName(error)}`,
      );}
    return error;
  }

  #unwatchAll(start: WatchedDirectory): void {
    const waiting = [start];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      for (const [name, { directory }] of next.children) {
        if (directory?.isAt(next, name)) waiting.push(directory);
      }
      if (this.#byWd.delete(next.wd)) libc.inotify_rm_watch(this.#fd.number, next.wd);
    }
  }

  #forget(directory: WatchedDirectory): void {
    this.#byWd.delete(directory.wd);
    this.#detached.delete(directory);
    const child = directory.parent?.children.get(directory.name);
    if (child?.directory === directory) child.directory = null;
  }

  #changed(
    device: { readonly devLo: number; readonly devHi: number },
    inode: { readonly inoLo: number; readonly inoHi: number },
  ): void {
    this.#changes.changed(device.devLo, device.devHi, inode.inoLo, inode.inoHi);
  }

  #sayOnce(kind: string, line: string): void {
    if (this.#said.has(kind)) return;
    this.#said.add(kind);
    this.#log(line);
  }
}
