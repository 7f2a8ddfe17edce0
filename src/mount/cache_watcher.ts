/**
 * Watches the slots of what the kernel has cached, tells own changes from those of others, and takes back from the kernel what others have
 * changed.
 *
 * Two rules make it sound. The version of an inode is never newer than anything that the kernel has of it; and it is compared with
 * the table after the kernel was told something, so that a notice never goes out before what it takes back.
 *
 * @module
 */

import { CHANGE } from "../wire/shared_versions.ts";
import { type KnownNode, NAME_COUNT_MAX } from "./known_nodes.ts";
import type { NoticeSink } from "./notices.ts";
import { isStable, NO_VERSION, type VersionSource } from "./version_numbers.ts";
import { WatchList } from "./watch_list.ts";

/** How often the slots are looked at while the kernel asks for things; 1.9 % of a processor. */
const INTERVAL_MS = 2;
/** The same when it has not asked for anything for a while. */
const IDLE_INTERVAL_MS = 10;
const IDLE_AFTER_MS = 1000;
/** Slots that are looked at in one go, between requests. */
const SCAN_COUNT = 8192;
/** Of the thread's time no more than 1 in this many goes into looking. */
const SCAN_SHARE = 20;
/** As long as changes of this mount are in progress a slot may move because of them; but not for longer than this without a break. */
const OWN_MS = 20;
/**
 * The kernel's process takes an answer up some time after it was written, maybe after the notice that takes it back (most of what it
 * does then is protected by attribute versions and locks; a name's revalidation and an inode's first attributes are not). So what was told
 * less than this before a notice is taken back once more, this long after it.
 */
const SETTLE_MS = 250;

interface Again {
  readonly dueAt: number;
  readonly nodeid: number;
  readonly names: readonly string[];
}

/** One mount's. */
export class CacheWatcher {
  /** How many times something was taken back from the kernel. */
  invalidations = 0;
  readonly #clock: () => number;
  readonly #source: VersionSource;
  readonly #sink: NoticeSink;
  readonly #list = new WatchList();
  readonly #moved: KnownNode[] = [];
  readonly #again: Again[] = [];
  #cursor = 0;
  #nextScan = 0;
  #lastTold = 0;

  constructor(source: VersionSource, sink: NoticeSink, clock: () => number) {
    this.#clock = clock;
    this.#source = source;
    this.#sink = sink;
  }

  /** Inodes of which the kernel has something. */
  get watchedCount(): number {
    return this.#list.count;
  }

  current(node: KnownNode): number {
    return node.slot === 0 ? NO_VERSION : this.#source.version(node.slot);
  }

  /** Whether what was asked for at version `asked` still holds, and no change of our own is under way. */
  holds(node: KnownNode, asked: number): boolean {
    return node.ownChanges === 0 && isStable(asked) && this.current(node) === asked;
  }

  /** A request that changes the inode is about to be sent; `version` is what the slot stands at. */
  beginOwn(node: KnownNode, version: number, now: number): void {
    if (node.slot === 0) return;
    if (node.ownChanges++ > 0) return;
    node.ownSince = now;
    // Where the kernel has nothing, nothing is older than this.
    if (node.watchIndex < 0) node.version = version;
    node.expected = isStable(version) && version === node.version ? version : NO_VERSION;
  }

  /**
   * It was answered. True if it succeeded, and nobody else has changed the inode since the kernel was told about it: then the kernel, which
   * takes its own changes into account, knows all there is to know.
   */
  endOwn(node: KnownNode, succeeded: boolean): boolean {
    if (node.ownChanges === 0) return false;
    node.ownChanges--;
    // A failed one may have counted or not.
    node.expected = succeeded ? node.expected + CHANGE : NO_VERSION;
    if (node.ownChanges > 0 || this.current(node) !== node.expected) return false;
    node.version = node.expected;
    if (node.watchIndex >= 0) this.#list.set(node);
    return true;
  }

  /** The kernel was told something of an inode that was asked for at version `asked`. */
  tell(node: KnownNode, asked: number, now: number): void {
    // A reply may come after the kernel has forgotten what it is about.
    if (node.slot === 0 || node.lookups <= 0) return;
    node.toldAt = now;
    this.#lastTold = now;
    if (node.watchIndex < 0) {
      // With changes of our own under way, `version` is that from before them.
      if (node.ownChanges === 0) node.version = asked;
      this.#list.set(node);
      if (this.#list.count === 1) this.#nextScan = now + INTERVAL_MS;
    }
    if (node.names !== null && node.names.size > NAME_COUNT_MAX) this.invalidate(node, now);
    else this.check(node, now);
  }

  /** Takes back what does not hold any more. */
  check(node: KnownNode, now: number): void {
    if (node.watchIndex < 0) return;
    const current = this.current(node);
    if (current === node.version) return;
    const maybeOurs = node.ownChanges > 0 && now - node.ownSince < OWN_MS &&
      current <= node.expected + node.ownChanges * CHANGE;
    if (!maybeOurs) this.invalidate(node, now);
  }

  /** Takes back everything that the kernel has of an inode. */
  invalidate(node: KnownNode, now: number): void {
    this.invalidations++;
    const late: string[] = [];
    if (node.names !== null) {
      for (const [name, { toldAt }] of node.names) {
        this.#sink.entry(node.nodeid, name);
        if (now - toldAt < SETTLE_MS) late.push(name);
      }
      node.names.clear();
    }
    this.#sink.inode(node.nodeid);
    this.#list.delete(node);
    node.version = NO_VERSION;
    node.expected = NO_VERSION;
    if (late.length > 0 || now - node.toldAt < SETTLE_MS) {
      this.#again.push({ dueAt: now + SETTLE_MS, nodeid: node.nodeid, names: late });
    }
  }

  /** The kernel has forgotten the inode. */
  forget(node: KnownNode): void {
    this.#list.delete(node);
  }

  /** Does what is due. Returns in how many milliseconds there will be more; -1: not before something else happens. */
  work(now: number): number {
    while (this.#again.length > 0 && this.#again[0]!.dueAt <= now) {
      const { nodeid, names } = this.#again.shift()!;
      for (const name of names) this.#sink.entry(nodeid, name);
      this.#sink.attributes(nodeid);
    }
    if (this.#list.count > 0 && now >= this.#nextScan) this.#scan(now);
    let due = this.#again.length > 0 ? this.#again[0]!.dueAt : Infinity;
    if (this.#list.count > 0) due = Math.min(due, this.#nextScan);
    return due === Infinity ? -1 : Math.max(0, due - now);
  }

  #scan(now: number): void {
    if (this.#cursor <= 0) this.#cursor = this.#list.count;
    this.#cursor = this.#list.scan(this.#source, this.#cursor, SCAN_COUNT, this.#moved);
    for (const node of this.#moved) this.check(node, now);
    this.#moved.length = 0;
    const end = this.#clock();
    const interval = end - this.#lastTold < IDLE_AFTER_MS ? INTERVAL_MS : IDLE_INTERVAL_MS;
    const rest = this.#cursor > 0 ? 0 : interval;
    this.#nextScan = end + Math.max(rest, (end - now) * SCAN_SHARE);
  }
}
