/**
 * What the host kernel has cached of a share whose versions are known (`--cache shared`): learned from the replies that pass by,
 * kept honest by notices.
 *
 * The kernel is told how long it may keep things (the daemon says: a day, if there is a version). What was being changed while it was asked for,
 * or has been changed since, is passed on for this one answer, to be kept for no time at all.
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";
import { ATTR_OUT, ENTRY_OUT, FUSE_ROOT_ID, Opcode, OUT_HEADER } from "../wire/fuse.ts";
import { RENAME_EXCHANGE } from "../wire/linux.ts";
import { CHANGE, ENTRYVER_OUT } from "../wire/shared_versions.ts";
import type { Asked, AskedNode } from "./asked.ts";
import { nameOf } from "./asked.ts";
import { CacheWatcher } from "./cache_watcher.ts";
import { type KnownNode, KnownNodes } from "./known_nodes.ts";
import type { NoticeSink } from "./notices.ts";
import { NO_VERSION, versionNumber, type VersionSource } from "./version_numbers.ts";
import {
  attributeReplySize,
  entryReplySize,
  expireAttributes,
  expireAttrOut,
  expireName,
  takeVersions,
} from "./versioned_replies.ts";

/** Where there is no table nothing has a version, and the kernel keeps nothing. */
const NO_SOURCE: VersionSource = { isInRange: () => false, version: () => NO_VERSION };

/** How often it is looked whether the ring of notices has room again. */
const ROOM_MS = 1;

/** One mount's. Used by the thread that answers requests. */
export class KernelCaches {
  readonly watcher: CacheWatcher;
  readonly nodes: KnownNodes = new KnownNodes();
  readonly #clock: () => number;
  readonly #source: VersionSource;
  readonly #sink: NoticeSink;
  readonly #warn: (message: string) => void;
  #saidOutOfRange = false;
  /** What the reply at hand tells the kernel: inodes, each with the version that was asked for, and names in one directory. */
  readonly #toldNodes: KnownNode[] = [];
  readonly #toldVersions: number[] = [];
  readonly #toldNames: string[] = [];
  readonly #toldChildren: (KnownNode | null)[] = [];

  /** `clock`: milliseconds. */
  constructor(
    source: VersionSource | null,
    sink: NoticeSink,
    warn: (message: string) => void,
    clock: () => number = () => performance.now(),
  ) {
    this.#clock = clock;
    this.#source = source ?? NO_SOURCE;
    this.#sink = sink;
    this.#warn = warn;
    this.watcher = new CacheWatcher(this.#source, sink, clock);
  }

  /** Takes up the root, from the reply to a LOOKUP of "." in it. */
  learnRoot(bytes: NativeMemory, reply: number, size: number): void {
    const body = reply + OUT_HEADER.SIZE;
    const versioned = size === OUT_HEADER.SIZE + ENTRY_OUT.SIZE + ENTRYVER_OUT.SIZE &&
      bytes.u64(body + ENTRY_OUT.NODEID) === FUSE_ROOT_ID;
    const slot = versioned ? bytes.u64(body + ENTRY_OUT.SIZE + ENTRYVER_OUT.VERSION_INDEX) : 0;
    this.nodes.tell(FUSE_ROOT_ID, this.#slotOf(slot));
  }

  /** A request is about to be sent: `size` bytes of arguments behind the header at `at`. */
  ask(asked: Asked, bytes: NativeMemory, at: number, size: number): void {
    asked.read(bytes, at, size, this.nodes);
    const now = this.#clock();
    this.#begin(asked.node, now);
    this.#begin(asked.other, now);
    this.#begin(asked.named, now);
    this.#begin(asked.newNamed, now);
  }

  /**
   * The reply to it is there, and is about to be passed on. Makes it the kernel's and returns how many bytes that are; -1 if it is no
   * reply. In any case {@linkcode KernelCaches.told} has to be called once the kernel has it.
   */
  answer(asked: Asked, bytes: NativeMemory, reply: number, size: number): number {
    const failed = bytes.view.getInt32(reply + OUT_HEADER.ERROR, true) !== 0;
    this.end(asked, !failed);
    // That there is no access-control list is remembered, too.
    if (asked.opcode === Opcode.GETXATTR) this.#tellData(asked.node);
    if (failed) return size;
    const body = reply + OUT_HEADER.SIZE;
    const { opcode, node } = asked;
    const entrySize = entryReplySize(opcode);
    if (entrySize > 0) {
      if (size !== OUT_HEADER.SIZE + entrySize + ENTRYVER_OUT.SIZE) return -1;
      const version = body + entrySize;
      this.#entry(
        asked,
        bytes,
        body,
        bytes.u64(version + ENTRYVER_OUT.VERSION_INDEX),
        versionAt(bytes, version + ENTRYVER_OUT.INITIAL_VERSION),
        asked.name,
      );
      return setLength(bytes, reply, size - ENTRYVER_OUT.SIZE);
    }
    if (size === OUT_HEADER.SIZE + attributeReplySize(opcode) && size > OUT_HEADER.SIZE) {
      if (!this.#isSure(node)) expireAttrOut(bytes, body);
      else if (isValid(bytes, body + ATTR_OUT.ATTR_VALID, body + ATTR_OUT.ATTR_VALID_NSEC)) {
        this.#tellNode(node.node!, versionAfter(node));
      }
      return size;
    }
    switch (opcode) {
      case Opcode.READDIRPLUS: {
        this.#tellData(node);
        const kept = takeVersions(
          bytes,
          body,
          size - OUT_HEADER.SIZE,
          (entry, index, low, high, nameAt, nameSize) => {
            const name = nameOf(bytes.u8, nameAt, nameAt + nameSize);
            // The kernel makes nothing of these two.
            if (name === "." || name === "..") return;
            if (bytes.u64(entry + ENTRY_OUT.NODEID) === 0) return;
            this.#entry(asked, bytes, entry, index, versionNumber(low, high), name);
          },
        );
        return kept < 0 ? -1 : setLength(bytes, reply, OUT_HEADER.SIZE + kept);
      }
      case Opcode.READ:
      case Opcode.READDIR:
      case Opcode.READLINK:
      case Opcode.WRITE:
        this.#tellData(node);
        break;
      case Opcode.RENAME:
      case Opcode.RENAME2:
        this.#tellData(asked.node);
        this.#tellData(asked.other);
        break;
    }
    return size;
  }

  /** The kernel has the reply. */
  told(asked: Asked, succeeded: boolean): void {
    const now = this.#clock();
    if (succeeded) moveNames(asked, now);
    const directory = asked.node.node;
    for (let i = 0; i < this.#toldNames.length; i++) {
      directory!.tellName(this.#toldNames[i]!, this.#toldChildren[i]!, now);
    }
    this.#toldNames.length = 0;
    this.#toldChildren.length = 0;
    for (let i = 0; i < this.#toldNodes.length; i++) {
      this.watcher.tell(this.#toldNodes[i]!, this.#toldVersions[i]!, now);
    }
    this.#toldNodes.length = 0;
    this.#toldVersions.length = 0;
    this.#check(asked.node, now);
    this.#check(asked.other, now);
    this.#check(asked.named, now);
    this.#check(asked.newNamed, now);
  }

  /** The request's own changes are over. */
  end(asked: Asked, succeeded: boolean): void {
    const { node, other, named, newNamed } = asked;
    this.#end(node, succeeded);
    this.#end(other, succeeded);
    // What a name leads to is known only as long as nobody else has changed the directory.
    this.#end(named, succeeded && node.alone);
    this.#end(newNamed, succeeded && (other.changes ? other.alone : node.alone));
  }

  /** The kernel forgets an inode. */
  forget(bytes: NativeMemory, nodeidAt: number, countAt: number): void {
    const node = this.nodes.forget(bytes.u64(nodeidAt), bytes.u64(countAt));
    if (node !== null) this.watcher.forget(node);
  }

  /** Does what is due between requests. Returns in how many milliseconds there will be more; -1: not before something else happens. */
  work(): number {
    const due = this.watcher.work(this.#clock());
    // The ring is full only while the kernel waits for an answer of ours.
    if (this.#sink.flush()) return due < 0 ? ROOM_MS : Math.min(due, ROOM_MS);
    return due;
  }

  #begin(one: AskedNode, now: number): void {
    one.alone = false;
    if (one.node === null) return;
    one.asked = this.watcher.current(one.node);
    if (one.changes) this.watcher.beginOwn(one.node, one.asked, now);
  }

  #end(one: AskedNode, succeeded: boolean): void {
    if (one.node !== null && one.changes) one.alone = this.watcher.endOwn(one.node, succeeded);
  }

  #check(one: AskedNode, now: number): void {
    if (one.node !== null) this.watcher.check(one.node, now);
  }

  /** Whether the reply says how things are now, as far as that inode goes. */
  #isSure(one: AskedNode): boolean {
    if (one.node === null) return false;
    if (!one.changes) return this.watcher.holds(one.node, one.asked);
    return one.alone && this.watcher.current(one.node) === one.asked + CHANGE;
  }

  /** A fuse_entry_out for the kernel: a name in the request's directory, and an inode or none. */
  #entry(
    asked: Asked,
    bytes: NativeMemory,
    entry: number,
    index: number,
    version: number,
    name: string,
  ): void {
    const nodeid = bytes.u64(entry + ENTRY_OUT.NODEID);
    const child = nodeid === 0 ? null : this.#child(nodeid, index);
    if (child !== null) {
      const added = asked.opcode === Opcode.LINK && asked.other.node === child;
      const sure = added ? this.#isSure(asked.other) : this.watcher.holds(child, version);
      if (!sure) expireAttributes(bytes, entry);
      else if (
        isValid(bytes, entry + ENTRY_OUT.ATTR_VALID, entry + ENTRY_OUT.ATTR_VALID_NSEC)
      ) this.#tellNode(child, added ? versionAfter(asked.other) : version);
    }
    if (!this.#isSure(asked.node)) return expireName(bytes, entry);
    const isName = name !== "" && name !== "." && name !== "..";
    if (!isName) return;
    if (!isValid(bytes, entry + ENTRY_OUT.ENTRY_VALID, entry + ENTRY_OUT.ENTRY_VALID_NSEC)) return;
    this.#toldNames.push(name);
    this.#toldChildren.push(child);
    if (this.#toldNames.length === 1) this.#tellNode(asked.node.node!, versionAfter(asked.node));
  }

  #child(nodeid: number, index: number): KnownNode {
    const slot = this.#slotOf(index);
    const node = this.nodes.tell(nodeid, slot);
    const now = this.#clock();
    if (node.slot !== slot) {
      // It has been given one, or another, since the kernel was first told of it.
      this.watcher.invalidate(node, now);
      node.slot = slot;
    } else this.watcher.check(node, now);
    return node;
  }

  /** The kernel will have something of the inode that nothing can be said about in the reply: pages, say. */
  #tellData(one: AskedNode): void {
    if (one.node === null) return;
    this.#tellNode(one.node, one.alone ? one.node.version : one.asked);
  }

  #tellNode(node: KnownNode, version: number): void {
    this.#toldNodes.push(node);
    this.#toldVersions.push(version);
  }

  #slotOf(index: number): number {
    if (index === 0 || this.#source.isInRange(index)) return index;
    if (!this.#saidOutOfRange && this.#source !== NO_SOURCE) {
      this.#saidOutOfRange = true;
      this.#warn(`The daemon names slot ${index}, which the version table does not have`);
    }
    return 0;
  }
}

/** The version that a sure reply is about. */
function versionAfter({ asked, changes }: AskedNode): number {
  return changes ? asked + CHANGE : asked;
}

function versionAt(bytes: NativeMemory, at: number): number {
  return versionNumber(bytes.view.getUint32(at, true), bytes.view.getUint32(at + 4, true));
}

function isValid(bytes: NativeMemory, seconds: number, nanoseconds: number): boolean {
  return bytes.u64(seconds) > 0 || bytes.view.getUint32(nanoseconds, true) > 0;
}

function setLength(bytes: NativeMemory, reply: number, size: number): number {
  bytes.view.setUint32(reply + OUT_HEADER.LEN, size, true);
  return size;
}

/** The kernel carries a dentry along to its new name, with what it was told about how long it holds. */
function moveNames(asked: Asked, now: number): void {
  const { opcode, node, other, named, newNamed, name, newName } = asked;
  switch (opcode) {
    case Opcode.UNLINK:
    case Opcode.RMDIR:
      node.node?.names?.delete(name);
      break;
    case Opcode.RENAME:
    case Opcode.RENAME2: {
      const exchanged = (asked.flags & RENAME_EXCHANGE) !== 0;
      node.node?.names?.delete(name);
      if (exchanged) node.node?.tellName(name, newNamed.node, now);
      other.node?.tellName(newName, named.node, now);
      break;
    }
  }
}
