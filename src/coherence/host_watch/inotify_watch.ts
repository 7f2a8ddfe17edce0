/**
 * Changes below a directory, with inotify(7): for those who may not use fanotify. A watch per directory, within one mount.
 *
 * What it cannot see, unlike fanotify: who made a change, so those of the daemons are reported, too (a guest asks again for what it knew;
 * nothing becomes wrong); changes through a name outside of the directory (hard links, what was moved out); changes of a file that has
 * no name any more; and an inode whose only names in the directory come and go before their events are read.
 *
 * @module
 */

import { errnoName } from "../../sys/errno.ts";
import { OwnedFd } from "../../sys/fd.ts";
import { libc, status } from "../../sys/libc.ts";
import {
  IN_CLOEXEC,
  IN_CREATE,
  IN_DELETE,
  IN_IGNORED,
  IN_MOVE_SELF,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  IN_NONBLOCK,
  IN_Q_OVERFLOW,
  INOTIFY_EVENT,
} from "../../wire/inotify.ts";
import type { HostChanges } from "./changes.ts";
import { readEvents } from "./event_reader.ts";
import { InotifyTree } from "./inotify_tree.ts";
import { SCRATCH, Scratch } from "./scratch.ts";
import { type Child, nameAt, type WatchedDirectory } from "./watched_directory.ts";

const ARRIVED = IN_CREATE | IN_MOVED_TO;
const LEFT = IN_DELETE | IN_MOVED_FROM;

/** The watches of one mount. */
export class InotifyWatch {
  readonly #fd: OwnedFd;
  readonly #path: string;
  readonly #changes: HostChanges;
  readonly #scratch = new Scratch();
  readonly #tree: InotifyTree;
  #overflowed = false;
  /** What IN_MOVED_FROM took away, for the IN_MOVED_TO of the same number. */
  #moving: Child | null = null;
  #cookie = 0;

  private constructor(
    fd: number,
    path: string,
    changes: HostChanges,
    log: (line: string) => void,
  ) {
    this.#fd = new OwnedFd(fd);
    this.#path = path;
    this.#changes = changes;
    this.#tree = new InotifyTree(fd, path, this.#scratch, changes, log);
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
    const result = watch.#tree.start();
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
    for (let event: number = SCRATCH.EVENTS; event < SCRATCH.EVENTS + length;) {
      const mask = view.getUint32(event + INOTIFY_EVENT.MASK, true);
      const cookie = view.getUint32(event + INOTIFY_EVENT.COOKIE, true);
      const nameLength = view.getUint32(event + INOTIFY_EVENT.LEN, true);
      const directory = this.#tree.directory(view.getInt32(event + INOTIFY_EVENT.WD, true));
      if ((mask & IN_Q_OVERFLOW) !== 0) this.#overflowed = true;
      else if (directory !== undefined) {
        if ((mask & IN_IGNORED) !== 0) this.#tree.forget(directory);
        else if (nameLength === 0) this.#reportDirectory(directory, mask);
        else this.#reportName(directory, nameAt(u8, event + INOTIFY_EVENT.NAME), mask, cookie);
      }
      event += INOTIFY_EVENT.SIZE + nameLength;
    }
  }

  #reportDirectory(directory: WatchedDirectory, mask: number): void {
    const tree = this.#tree;
    tree.changed(directory, directory);
    if (directory === tree.root && (mask & IN_MOVE_SELF) !== 0) {
      tree.sayOnce("moved", `${this.#path} was moved: what is new in it is not watched any more`);
    }
  }

  #reportName(directory: WatchedDirectory, name: string, mask: number, cookie: number): void {
    const tree = this.#tree;
    const known = directory.children.get(name);
    if (known !== undefined) tree.changed(directory, known);
    if ((mask & (ARRIVED | LEFT)) === 0) {
      if (known === undefined) tree.lookAt(directory, name);
      return;
    }
    tree.changed(directory, directory);
    // Always: two names that are exchanged look like two moves of the same inode, there and back.
    tree.lookAt(directory, name);
    if ((mask & LEFT) !== 0) this.#left(directory, name, known, mask, cookie);
    else if ((mask & IN_MOVED_TO) !== 0 && cookie === this.#cookie) this.#moved(directory, name);
  }

  #left(
    directory: WatchedDirectory,
    name: string,
    known: Child | undefined,
    mask: number,
    cookie: number,
  ): void {
    directory.children.delete(name);
    if ((mask & IN_MOVED_FROM) === 0) return;
    this.#moving = known ?? null;
    this.#cookie = cookie;
    const moved = known?.directory ?? null;
    // It may have been found at its new place already.
    if (moved?.isAt(directory, name)) this.#tree.detach(moved);
  }

  #moved(directory: WatchedDirectory, name: string): void {
    const child = this.#moving;
    this.#moving = null;
    if (child === null) return;
    directory.children.set(name, child);
    if (child.directory?.parent === null) {
      this.#tree.place(child.directory, directory, name, child);
    }
  }

  #settle(): void {
    // A directory on its way is given up: if it arrives after all, it is found anew.
    this.#moving = null;
    this.#tree.settle();
    if (!this.#overflowed) return;
    this.#overflowed = false;
    this.#changes.overflowed();
    this.#tree.start();
    // And what changed before the watches were complete.
    this.#changes.overflowed();
  }
}
