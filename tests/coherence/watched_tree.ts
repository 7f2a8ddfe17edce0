/**
 * A directory on the host that is watched, and what the watch has said.
 *
 * @module
 */

import { HostWatch, type HostWatchOptions } from "../../src/coherence/host_watch/host_watch.ts";
import { makeNode } from "../support/libc.ts";
import { TempTree } from "../support/temp_tree.ts";
import { inodeAt, type InodeName, inodeName } from "./host_changes.ts";

/** Far more than a report takes, on any machine. */
const PATIENCE_MS = 20_000;

const S_IFIFO = 0o010000;

/** A watch over a temporary directory. */
export class WatchedTree implements AsyncDisposable {
  readonly tree: TempTree;
  readonly log: string[] = [];
  overflows = 0;
  #watch!: HostWatch;
  #reported = new Set<InodeName>();
  #wake = Promise.withResolvers<void>();
  readonly #marks = new Set<string>();

  private constructor(tree: TempTree) {
    this.tree = tree;
  }

  /** Nobody is a daemon unless `options` say so. `prepare` runs before the watch starts. */
  static async open(
    options: Partial<HostWatchOptions> = {},
    prepare: (tree: TempTree) => void = () => {},
  ): Promise<WatchedTree> {
    const watched = new WatchedTree(new TempTree());
    const mark = `${watched.tree.directory("marks")}/mark`;
    makeNode(mark, S_IFIFO | 0o600);
    watched.#marks.add(mark);
    prepare(watched.tree);
    const watch = await HostWatch.open({
      directory: watched.tree.root,
      changed: (devLo, devHi, inoLo, inoHi) => {
        watched.#reported.add(inodeName(devLo, devHi, inoLo, inoHi));
        watched.#wake.resolve();
      },
      overflowed: () => {
        watched.overflows++;
        watched.#wake.resolve();
      },
      isDaemon: () => false,
      log: (line) => watched.log.push(line),
      ...options,
    });
    if (typeof watch === "string") throw new Error(watch);
    watched.#watch = watch;
    return watched;
  }

  /** Forgets what has been reported so far. */
  clear(): void {
    this.#reported.clear();
  }

  has(inode: InodeName): boolean {
    return this.#reported.has(inode);
  }

  /** Waits until all of these have been reported. */
  async reported(inodes: readonly InodeName[]): Promise<void> {
    const missing = () => inodes.filter((inode) => !this.has(inode));
    await this.until(() => missing().length === 0, () => `reports of ${missing().join(", ")}`);
  }

  /** Waits for something that a report may bring about. */
  async until(condition: () => boolean, what: () => string): Promise<void> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake.resolve();
    }, PATIENCE_MS);
    try {
      while (!condition()) {
        if (late) throw new Error(`not within ${PATIENCE_MS} ms: ${what()}`);
        await Promise.race([this.#wake.promise, this.#watch.failed]);
        this.#wake = Promise.withResolvers();
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Waits until everything has been reported that was done before, in the queue of the mount that `directory` is in: events come in order, and a
   * last one is made. Always with the same inode: the number of a new one may have been reported when somebody deleted its predecessor.
   */
  async settled(
    directory: string = this.tree.path("marks"),
    change: (mark: string) => void = (mark) => Deno.chmodSync(mark, 0o600),
  ): Promise<void> {
    const mark = `${directory}/mark`;
    if (!this.#marks.has(mark)) {
      this.#marks.add(mark);
      makeNode(mark, S_IFIFO | 0o600);
      await this.reported([inodeAt(mark)]);
    }
    this.#reported.delete(inodeAt(mark));
    change(mark);
    await this.reported([inodeAt(mark)]);
  }

  /** Ends the watch; the tree stays. */
  async stop(): Promise<void> {
    await this.#watch.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch.close();
    this.tree[Symbol.dispose]();
  }
}
