/**
 * The watched directories of one mount: which there are, what is in them, and how that is brought up to date.
 *
 * Events tell of the past, and paths lead to what is there now. So whatever events say themselves is done at once (`inotify_watch.ts`), and names that
 * have to be looked at wait until all events have been read: the directories are then where the tables say, or another event is on its way.
 *
 * @module
 */

import { O_DIRECTORY, O_NOFOLLOW } from "../../sys/architecture.ts";
import { ENOENT, ENOSPC, ENOTDIR, errnoName, type Status } from "../../sys/errno.ts";
import { OwnedFd } from "../../sys/fd.ts";
import { libc, status } from "../../sys/libc.ts";
import {
  IN_ATTRIB,
  IN_CLOSE_WRITE,
  IN_CREATE,
  IN_DELETE,
  IN_DELETE_SELF,
  IN_MODIFY,
  IN_MOVE_SELF,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  IN_ONLYDIR,
} from "../../wire/inotify.ts";
import { DIRENT64, DT_DIR, DT_UNKNOWN, O_PATH, O_RDONLY, S_IFDIR } from "../../wire/linux.ts";
import type { HostChanges } from "./changes.ts";
import { SCRATCH, type Scratch } from "./scratch.ts";
import { byteString, type Child, nameAt, WatchedDirectory } from "./watched_directory.ts";

/** CLOSE_WRITE because it is all that the kernel tells of stores through a mapping. */
const EVENTS = IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_ATTRIB | IN_MODIFY |
  IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

/** What is not found then has been moved after the last event was read: there will be another. */
const LOOK_PASSES = 8;

/** The tree of one inotify descriptor. */
export class InotifyTree {
  root: WatchedDirectory;
  readonly #fd: number;
  readonly #path: string;
  readonly #scratch: Scratch;
  readonly #changes: HostChanges;
  readonly #log: (line: string) => void;
  #mountId = 0;
  readonly #byWd = new Map<number, WatchedDirectory>();
  /** Moved away, and not seen to arrive elsewhere yet. */
  readonly #detached = new Set<WatchedDirectory>();
  /** Names to be looked at when there are no more events. */
  #looks = new Map<WatchedDirectory, Set<string>>();
  readonly #said = new Set<string>();

  /** Nothing is watched until {@linkcode start}. `fd` and `scratch` stay the caller's. */
  constructor(
    fd: number,
    path: string,
    scratch: Scratch,
    changes: HostChanges,
    log: (line: string) => void,
  ) {
    this.#fd = fd;
    this.#path = path;
    this.#scratch = scratch;
    this.#changes = changes;
    this.#log = log;
    this.root = new WatchedDirectory(null, byteString(path));
  }

  /** Watches all there is; again if events were lost, so that what is known of names may be wrong. The status is that of the top. */
  start(): Status {
    const before = [...this.#byWd.keys()];
    this.#byWd.clear();
    this.#detached.clear();
    this.#looks.clear();
    this.root = new WatchedDirectory(null, byteString(this.#path));
    const result = this.#watchAll(this.root, false);
    for (const wd of before) {
      if (!this.#byWd.has(wd)) libc.inotify_rm_watch(this.#fd, wd);
    }
    return result;
  }

  /** The directory of a watch; undefined if it is none any more. */
  directory(wd: number): WatchedDirectory | undefined {
    return this.#byWd.get(wd);
  }

  /** Reports an inode of the device of `directory`: itself, or a child. */
  changed(directory: WatchedDirectory, inode: WatchedDirectory | Child): void {
    const { devLo, devHi } = directory;
    this.#changes.changed(devLo, devHi, inode.inoLo, inode.inoHi);
  }

  /** What is at this name now is to be found out. */
  lookAt(directory: WatchedDirectory, name: string): void {
    const names = this.#looks.get(directory);
    if (names === undefined) this.#looks.set(directory, new Set([name]));
    else names.add(name);
  }

  /** A directory has been moved away, out of the tree if it is not placed before {@linkcode settle}. */
  detach(directory: WatchedDirectory): void {
    directory.detach();
    this.#detached.add(directory);
  }

  /** A directory that is watched is at another place now. */
  place(directory: WatchedDirectory, parent: WatchedDirectory, name: string, child: Child): void {
    // Two moves of which the later was seen first would make a circle; their events clear that up.
    if (parent.isIn(directory)) return this.detach(directory);
    this.#detached.delete(directory);
    directory.parent = parent;
    directory.name = name;
    child.directory = directory;
  }

  /** The kernel has ended the watch of a directory. */
  forget(directory: WatchedDirectory): void {
    this.#byWd.delete(directory.wd);
    this.#detached.delete(directory);
    const child = directory.parent?.children.get(directory.name);
    if (child?.directory === directory) child.directory = null;
  }

  /** When all events that were there have been reported. */
  settle(): void {
    // One look may place the directory that another is in.
    for (let pass = 0; pass < LOOK_PASSES && this.#looks.size > 0; pass++) {
      const looks = this.#looks;
      this.#looks = new Map();
      for (const [directory, names] of looks) this.#lookAtAll(directory, names);
    }
    for (const directory of this.#detached) this.#unwatchAll(directory);
    this.#detached.clear();
  }

  #lookAtAll(directory: WatchedDirectory, names: ReadonlySet<string>): void {
    if (this.#byWd.get(directory.wd) !== directory) return;
    const fd = this.#open(directory, O_PATH);
    if (fd < 0) {
      // It is elsewhere now, and the event that tells where is still to come.
      if (isElsewhere(fd)) { for (const name of names) this.lookAt(directory, name); }
      return;
    }
    using _owner = new OwnedFd(fd);
    for (const name of names) this.#look(fd, directory, name);
  }

  #look(fd: number, directory: WatchedDirectory, name: string): void {
    const scratch = this.#scratch;
    const known = directory.children.get(name);
    if (scratch.statAt(fd, name) < 0) {
      if (known !== undefined) this.changed(directory, known);
      directory.children.delete(name);
      return;
    }
    const { inoLo, inoHi, devLo, devHi, type, mountId } = scratch;
    const same = known?.inoLo === inoLo && known.inoHi === inoHi;
    if (!same) {
      if (known !== undefined) this.changed(directory, known);
      this.#changes.changed(devLo, devHi, inoLo, inoHi);
    }
    const child: Child = same ? known! : { inoLo, inoHi, directory: null };
    directory.children.set(name, child);
    if (type !== S_IFDIR || mountId !== this.#mountId) return;
    if (child.directory?.isAt(directory, name)) return;
    child.directory = new WatchedDirectory(directory, name);
    this.#watchAll(child.directory, true);
  }

  /** Watches a directory, lists it, and so on downwards. `report`: what is there may have been changed unseen. */
  #watchAll(start: WatchedDirectory, report: boolean): Status {
    let result = 0;
    const waiting = [start];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const watched = this.#watch(next, report, waiting);
      if (watched < 0) this.#unwatched(next, watched);
      if (next === start) result = watched;
    }
    return result;
  }

  #watch(directory: WatchedDirectory, report: boolean, waiting: WatchedDirectory[]): Status {
    const scratch = this.#scratch;
    const fd = this.#open(directory, O_RDONLY);
    if (fd < 0) return fd;
    using _owner = new OwnedFd(fd);
    if (directory === this.root) this.#mountId = scratch.mountId;
    // Another mount has a watch of its own.
    if (scratch.mountId !== this.#mountId) return -ENOTDIR;
    directory.devLo = scratch.devLo;
    directory.devHi = scratch.devHi;
    directory.inoLo = scratch.inoLo;
    directory.inoHi = scratch.inoHi;
    const path = scratch.path(`/proc/self/fd/${fd}`);
    const wd = status(libc.inotify_add_watch(this.#fd, path, EVENTS));
    if (wd < 0) return wd;
    const known = this.#byWd.get(wd);
    if (known !== undefined) {
      // It is watched, and was found at its new place before the event of its move was read.
      const { parent, name } = directory;
      if (parent !== null) this.place(known, parent, name, parent.children.get(name)!);
      return 0;
    }
    directory.wd = wd;
    this.#byWd.set(wd, directory);
    if (report) this.changed(directory, directory);
    this.#list(fd, directory, report, waiting);
    return 0;
  }

  /** Opens a directory and looks at it. -ENOENT if another is there. */
  #open(directory: WatchedDirectory, flags: number): number {
    const scratch = this.#scratch;
    // Only the top may be reached over a symbolic link.
    const follow = directory.parent === null ? 0 : O_NOFOLLOW;
    const fd = scratch.open(directory.path(), flags | O_DIRECTORY | follow);
    if (fd < 0) return fd;
    const expected = directory.wd >= 0 ? directory : directory.parent?.children.get(directory.name);
    let result = scratch.statFd(fd);
    if (
      result >= 0 && expected !== undefined && scratch.mountId === this.#mountId &&
      (scratch.inoLo !== expected.inoLo || scratch.inoHi !== expected.inoHi)
    ) result = -ENOENT;
    if (result >= 0) return fd;
    libc.close(fd);
    return result;
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
      for (let entry: number = SCRATCH.ENTRIES; entry < SCRATCH.ENTRIES + length;) {
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
        if (report) this.changed(directory, child);
        const isDirectory = type === DT_DIR || (type === DT_UNKNOWN &&
          this.#scratch.statAt(fd, name) >= 0 && this.#scratch.type === S_IFDIR);
        if (!isDirectory) continue;
        child.directory = new WatchedDirectory(directory, name);
        waiting.push(child.directory);
      }
    }
  }

  #unwatched(directory: WatchedDirectory, error: Status): void {
    const { parent, name } = directory;
    const child = parent?.children.get(name);
    if (child?.directory === directory) child.directory = null;
    if (error === -ENOTDIR) return;
    if (error === -ENOENT) {
      // It is elsewhere now, or the one that it is in.
      if (parent !== null) this.lookAt(parent, name);
      return;
    }
    const where = new TextDecoder().decode(directory.path());
    if (error === -ENOSPC) {
      this.sayOnce(
        "limit",
        `There are more directories than the sysctl fs.inotify.max_user_watches allows: ${where} and others are not watched`,
      );
    } else this.sayOnce("error", `${where} is not watched, and maybe others: ${errnoName(error)}`);
  }

  #unwatchAll(start: WatchedDirectory): void {
    const waiting = [start];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      for (const [name, { directory }] of next.children) {
        if (directory?.isAt(next, name)) waiting.push(directory);
      }
      if (this.#byWd.delete(next.wd)) libc.inotify_rm_watch(this.#fd, next.wd);
    }
  }

  /** For the operator: one line of each kind. */
  sayOnce(kind: string, line: string): void {
    if (this.#said.has(kind)) return;
    this.#said.add(kind);
    this.#log(line);
  }
}

/** Whether a directory is not where it was thought to be. */
function isElsewhere(error: Status): boolean {
  return error === -ENOENT || error === -ENOTDIR;
}
