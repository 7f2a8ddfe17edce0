/**
 * One mounted file system: the inodes that the guest knows, the names it remembers, and how long both can be relied
 * on.
 *
 * An inode's life: a reply names it (`instantiate()`, one more reference at the daemon each time); names and open files hold it; when
 * more inodes are known than the budget says, those least recently used that nobody holds leave, and FORGET gives all their references
 * back.
 *
 * @module
 */

import { EIO, ENOENT, ENOSYS, type Status } from "../../sys/errno.ts";
import { FUSE_AUTO_INVAL_DATA, FUSE_ROOT_ID } from "../../wire/fuse.ts";
import { S_IFDIR, S_IFMT } from "../../wire/linux.ts";
import { getattr, syncfs } from "../client/attributes.ts";
import type { Handle } from "../client/files.ts";
import type { FuseClient } from "../client/fuse_client.ts";
import { hasFlag } from "../client/agreement.ts";
import { lookup } from "../client/names.ts";
import { type Attr, AttrReply, EntryReply, OpenReply } from "../client/replies.ts";
import { type DaxWindow, windowOf } from "../dax/dax_window.ts";
import type { DaxInode } from "./dax_data.ts";
import type { DirectoryEntry } from "./directory_entry.ts";
import { FileData } from "./file_data.ts";
import { type Dentry, Inode, nameKey } from "./inode.ts";
import { KnownInodes } from "./known_inodes.ts";
import { PageCache } from "./page_cache.ts";
import { Versions } from "./versions.ts";
import type { VolumeOptions } from "./volume_options.ts";

/** "always": a day. */
const ALWAYS_MS = 86_400_000;
const SELF = Uint8Array.of(0x2e);

/** The file system of one daemon. */
export class Volume {
  readonly client: FuseClient;
  readonly options: VolumeOptions;
  readonly pages: PageCache;
  /** Files are mapped into this, or null. */
  readonly dax: DaxWindow | null;
  /** What tells whether something kept still holds: in cache mode "shared", otherwise null. */
  readonly versions: Versions | null;
  readonly root: Inode;
  readonly now: () => number;
  /** Replies are decoded into these; what is needed of one is taken before the next request. */
  readonly entry: EntryReply = new EntryReply();
  readonly attrReply: AttrReply = new AttrReply();
  readonly openReply: OpenReply = new OpenReply();
  /** Opcodes that the daemon does not know (ENOSYS), not to be sent again. */
  readonly unsupported: Set<number> = new Set();
  readonly #inodes = new KnownInodes();

  /** `client`'s session has been started. */
  constructor(client: FuseClient, options: VolumeOptions) {
    this.client = client;
    this.options = options;
    this.now = options.now ?? (() => performance.now());
    this.pages = new PageCache(client, options.pageCacheSize);
    this.dax = windowOf(client, options.dax ?? "never");
    this.versions = options.cache !== "shared" ? null : new Versions(
      client,
      options.versionTable ?? null,
      (inode) => inode.forgetContents(),
      options.warn ?? (() => {}),
    );
    this.root = new Inode(FUSE_ROOT_ID, 0, S_IFDIR);
    this.root.parent = this.root;
    this.root.holds = 1;
    this.#inodes.add(this.root);
  }

  /** How many inodes are known. */
  get inodeCount(): number {
    return this.#inodes.size;
  }

  /** Cache mode "shared": asks for the root's slot, which no other reply names. */
  learnRoot(): void {
    const status = lookup(this.client, FUSE_ROOT_ID, SELF, this.entry);
    if (status === 0 && this.entry.nodeid === FUSE_ROOT_ID) this.instantiate(this.entry);
  }

  /**
   * The inode that `entry` names, with one reference more at the daemon; or -EIO for what the daemon cannot mean. `changedByUs`: the inode
   * that the request itself has changed.
   */
  instantiate(entry: EntryReply, changedByUs: Inode | null = null): Inode | Status {
    const { nodeid, generation, attr } = entry;
    let inode = this.#inodes.get(nodeid);
    // Nobody has told the root's generation before: FUSE has no reply that names it, but LOOKUP of ".".
    const isSame = inode !== undefined && (nodeid === FUSE_ROOT_ID ||
      (inode.generation === generation && inode.type === (attr.mode & S_IFMT)));
    if (inode !== undefined && !isSame) {
      // The number has been given to another file; who still has the old one open cannot use it.
      inode.stale = true;
      for (const dentry of [...inode.aliases]) this.dropDentry(dentry);
      this.#inodes.delete(nodeid);
      inode = undefined;
    }
    if (inode === undefined) {
      inode = new Inode(nodeid, generation, attr.mode);
      this.#inodes.add(inode);
    }
    inode.recent = true;
    inode.lookups++;
    const isKept = this.versions?.adopt(inode, entry, inode === changedByUs) ?? true;
    this.setAttributes(inode, attr, isKept ? entry.attrValidMs : 0);
    return inode;
  }

  /** Takes over attributes that the daemon has just told. */
  setAttributes(inode: Inode, attr: Attr, validMs: number): void {
    const { data } = inode;
    const { size, mtime, mtimeNsec, ctime, ctimeNsec } = inode.attr;
    const ownsTimes = data !== null && data.dirty;
    const ownsSize = data !== null && data.ownsSize;
    const changed = size !== attr.size || mtime !== attr.mtime || mtimeNsec !== attr.mtimeNsec;
    inode.attr.assign(attr);
    const isProven = this.versions !== null && inode.version.proven;
    inode.attrValidUntil = this.versions !== null && !isProven ? 0 : this.#until(validMs);
    if (data === null) return;
    if (ownsTimes) {
      // fuse.h: FUSE_WRITEBACK_CACHE: the guest knows better, except of a later change of the inode itself.
      Object.assign(inode.attr, { mtime, mtimeNsec });
      const isLater = attr.ctime > ctime || (attr.ctime === ctime && attr.ctimeNsec > ctimeNsec);
      if (!isLater) Object.assign(inode.attr, { ctime, ctimeNsec });
    }
    if (ownsSize) inode.attr.size = size;
    else if (changed && !inode.ownChange && !isProven) {
      const autoInvalidate = hasFlag(this.client.agreement.flags, FUSE_AUTO_INVAL_DATA);
      if (size !== attr.size) data.truncated(Math.min(size, attr.size));
      if (autoInvalidate || size !== attr.size) data.changedOutside();
    }
    inode.ownChange = false;
    data.attributesSet();
  }

  /** Makes the attributes those that hold now, asking the daemon where they have expired, or in any case. */
  refresh(inode: Inode, force = false, handle: Handle | null = null): Status {
    if (inode.stale) return -EIO;
    if (!force && this.attributesHold(inode)) return 0;
    this.versions?.observe(inode);
    const version = inode.attrVersion;
    const status = getattr(this.client, inode.nodeid, handle, this.attrReply);
    if (status < 0) return status;
    const { attr, validMs } = this.attrReply;
    if (
      (attr.mode & S_IFMT) !== inode.type && inode.nodeid !== FUSE_ROOT_ID
    ) {
      inode.stale = true;
      return -EIO;
    }
    if (version === inode.attrVersion) this.setAttributes(inode, attr, validMs);
    return 0;
  }

  /** Whether what is known of the attributes can be relied on without asking. */
  attributesHold(inode: Inode): boolean {
    return this.versions === null
      ? this.now() < inode.attrValidUntil
      : inode.attrValidUntil > 0 && this.versions.holds(inode);
  }

  /** What a name is known to lead to, or null where it must be asked for. */
  known(directory: Inode, key: string): Dentry | null {
    const dentry = directory.children!.get(key);
    return dentry !== undefined && this.#nameHolds(dentry) ? dentry : null;
  }

  /** All names in a directory, or null where that is not known. */
  listing(directory: Inode): readonly DirectoryEntry[] | null {
    return directory.listing !== null && this.versions!.holds(directory) ? directory.listing : null;
  }

  /** A request of ours that changes an inode is about to be sent. */
  changing(inode: Inode): void {
    this.versions?.changing(inode);
  }

  /** It has come back. */
  changed(inode: Inode, succeeded: boolean): void {
    this.versions?.changed(inode, succeeded);
  }

  /** After {@linkcode Volume.changed}: whether a directory's names are what they were when the request was sent, but for the request's own doing. */
  namesWereKnown(directory: Inode): boolean {
    return this.versions?.holds(directory) ?? true;
  }

  /** What is known of the attributes has been changed by a request of ours: ask next time. */
  expire(inode: Inode): void {
    inode.attrValidUntil = 0;
    inode.ownChange = inode.data !== null;
    inode.listing = null;
    inode.listingSerial++;
  }

  /** The data of a regular file. */
  dataOf(inode: Inode): FileData {
    inode.data ??= new FileData(this.pages, this.#dataInode(inode));
    return inode.data;
  }

  /** A name in a directory: the inode, or a negative errno. */
  child(directory: Inode, name: Uint8Array): Inode | Status {
    const key = nameKey(name);
    const known = directory.children!.get(key);
    if (known !== undefined && this.#nameHolds(known)) {
      if (known.inode === null) return -ENOENT;
      known.inode.recent = true;
      return known.inode;
    }
    if (directory.stale) return -ENOENT;
    this.versions?.observe(directory);
    const status = lookup(this.client, directory.nodeid, name, this.entry);
    if (status === 0 && this.entry.nodeid !== 0) return this.enter(directory, name);
    if (known !== undefined) this.dropDentry(known);
    if (status < 0) return status;
    // A reply with nodeid 0 says how long the name is known not to exist.
    this.#remember(directory, name, key, null, this.entry.entryValidMs);
    return -ENOENT;
  }

  /** Takes over a reply that named an inode, in `entry`, under a name. */
  enter(
    directory: Inode,
    name: Uint8Array,
    changedByUs: Inode | null = null,
  ): Inode | Status {
    const inode = this.instantiate(this.entry, changedByUs);
    if (typeof inode === "number") return inode;
    const key = nameKey(name);
    const known = directory.children!.get(key);
    if (known !== undefined && known.inode === inode && this.versions === null) {
      known.validUntil = this.#until(this.entry.entryValidMs);
    } else {
      if (known !== undefined) this.dropDentry(known);
      this.#remember(directory, name, key, inode, this.entry.entryValidMs);
    }
    return inode;
  }

  /** Moves a name with what it leads to, as the daemon has just done. */
  moveName(from: Inode, fromName: Uint8Array, to: Inode, toName: Uint8Array): void {
    const known = from.children!.get(nameKey(fromName));
    const target = to.children!.get(nameKey(toName));
    if (target !== undefined) this.dropDentry(target);
    if (known === undefined) return;
    this.dropDentry(known);
    if (known.inode === null) return;
    // Somebody may have given the name to another inode before the daemon moved it.
    const holds = known.epoch === from.namesEpoch && this.namesWereKnown(from);
    const left = this.versions === null ? known.validUntil - this.now() : holds ? ALWAYS_MS : 0;
    this.#remember(to, toName, nameKey(toName), known.inode, Math.max(0, left));
  }

  /** Forgets a name: it is to be asked for. */
  dropName(directory: Inode, name: Uint8Array): void {
    const known = directory.children!.get(nameKey(name));
    if (known !== undefined) this.dropDentry(known);
  }

  /** Forgets a name. */
  dropDentry(dentry: Dentry): void {
    dentry.parent.children!.delete(dentry.key);
    dentry.inode?.aliases.delete(dentry);
  }

  /** Sends everything that is dirty. The first error, or 0. */
  flushAll(): Status {
    let first: Status = 0;
    for (const inode of this.#inodes.all()) {
      const status = inode.data?.flush() ?? 0;
      if (status < 0 && first === 0) first = status;
    }
    return first;
  }

  /** Everything reaches the disk of the host: what sync(2) does. */
  sync(): Status {
    const flushed = this.flushAll();
    const status = syncfs(this.client);
    // Daemons that do not know it have nothing to say against it.
    return flushed < 0 ? flushed : status === -ENOSYS ? 0 : status;
  }

  /** Writes everything back and ends the session. */
  close(): Status {
    this.dax?.close();
    const status = this.flushAll();
    this.client.destroy();
    this.#inodes.clear();
    this.versions?.close();
    return status;
  }

  /** An inode as its data sees it. */
  #dataInode(inode: Inode): DaxInode {
    const { dax } = this;
    const always = this.options.dax === "always";
    return {
      nodeid: inode.nodeid,
      attr: inode.attr,
      get attrVersion() {
        return inode.attrVersion;
      },
      set attrVersion(version) {
        inode.attrVersion = version;
      },
      dax: { window: dax, always, isStoredTo: this.versions === null },
      refresh: () => this.refresh(inode, true),
      changing: () => this.changing(inode),
      changed: (succeeded, reply) => this.#dataChanged(inode, succeeded, reply),
      hold(count) {
        inode.holds += count;
      },
    };
  }

  #remember(
    parent: Inode,
    name: Uint8Array,
    key: string,
    inode: Inode | null,
    validMs: number,
  ): void {
    const epoch = this.versions === null || (parent.version.proven && validMs > 0)
      ? parent.namesEpoch
      : -1;
    if (inode === null && (epoch < 0 || this.#until(validMs) <= this.now())) return;
    // The name may be part of a longer path.
    const dentry: Dentry = {
      parent,
      name: name.slice(),
      key,
      inode,
      validUntil: this.#until(validMs),
      epoch,
    };
    parent.children!.set(key, dentry);
    if (inode === null) return;
    if (inode.isDirectory) {
      // A directory has one name; another one that is known is from before a rename.
      for (const old of [...inode.aliases]) this.dropDentry(old);
      inode.parent = parent;
    }
    inode.aliases.add(dentry);
  }

  #until(validMs: number): number {
    switch (this.options.cache) {
      case "none":
        return 0;
      case "auto":
        return validMs === 0 ? 0 : this.now() + validMs;
      case "always":
        return this.now() + ALWAYS_MS;
      case "shared":
        return validMs === 0 ? 0 : Infinity;
    }
  }

  #nameHolds(dentry: Dentry): boolean {
    return this.versions === null
      ? this.now() < dentry.validUntil
      : dentry.epoch === dentry.parent.namesEpoch && this.versions.holds(dentry.parent);
  }

  /** A WRITE or SETATTR of the data side has come back, the latter with the attributes that it has led to. */
  #dataChanged(inode: Inode, succeeded: boolean, reply: AttrReply | null): void {
    if (this.versions === null) return;
    this.versions.changed(inode, succeeded);
    if (succeeded && reply !== null && inode.version.proven && inode.version.outstanding === 0) {
      this.setAttributes(inode, reply.attr, reply.validMs);
    }
  }

  /** Keeps to the budget. Called between system calls, when nothing is in use that is not held. */
  shrink(): void {
    this.dax?.work();
    const { inodeCountMax } = this.options;
    if (this.#inodes.size > inodeCountMax) this.#inodes.shrink(inodeCountMax, this.#leave);
  }

  /** Lets an inode go, if nobody needs it; whether that was so. */
  readonly #leave = (inode: Inode): boolean => {
    if (inode.children !== null && !inode.forgetAbsentNames()) return false;
    if (inode.data !== null) {
      // An error stays with the data, and so does the inode, until somebody asks.
      if (inode.data.writeBack() < 0) return false;
      inode.data.invalidate();
    }
    for (const dentry of [...inode.aliases]) this.dropDentry(dentry);
    this.client.forget(inode.nodeid, inode.lookups);
    return true;
  };
}
