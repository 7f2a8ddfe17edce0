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
import { FUSE2_HAS_INODE_DAX, FUSE_AUTO_INVAL_DATA, FUSE_ROOT_ID } from "../../wire/fuse.ts";
import { S_IFDIR, S_IFMT } from "../../wire/linux.ts";
import { getattr, syncfs } from "../client/attributes.ts";
import type { Handle } from "../client/files.ts";
import type { FuseClient } from "../client/fuse_client.ts";
import { hasFlag } from "../client/agreement.ts";
import { lookup } from "../client/names.ts";
import { type Attr, AttrReply, EntryReply, OpenReply } from "../client/replies.ts";
import type { GuestDaxMode } from "../client/dax_mode.ts";
import { DAX_REGION_ID, DaxWindow } from "../dax/dax_window.ts";
import type { GuestCacheMode } from "./cache_mode.ts";
import type { DaxInode } from "./dax_data.ts";
import { FileData } from "./file_data.ts";
import { type Dentry, Inode, nameKey } from "./inode.ts";
import { PageCache } from "./page_cache.ts";

/** How a volume caches. */
export interface VolumeOptions {
  readonly cache: GuestCacheMode;
  /** Inodes known at a time; each is a reference that the daemon keeps a descriptor for. */
  readonly inodeCountMax: number;
  /** Bytes of file data cached. */
  readonly pageCacheSize: number;
  /** Whether files are mapped into the device's window. Default "never". */
  readonly dax?: GuestDaxMode;
  /** The clock of all time-outs, in milliseconds. */
  readonly now?: () => number;
}

/** "always": a day. */
const ALWAYS_MS = 86_400_000;

/** The file system of one daemon. */
export class Volume {
  readonly client: FuseClient;
  readonly options: VolumeOptions;
  readonly pages: PageCache;
  /** Files are mapped into this, or null. */
  readonly dax: DaxWindow | null;
  readonly root: Inode;
  readonly now: () => number;
  /** Replies are decoded into these; what is needed of one is taken before the next request. */
  readonly entry: EntryReply = new EntryReply();
  readonly attrReply: AttrReply = new AttrReply();
  readonly openReply: OpenReply = new OpenReply();
  /** Opcodes that the daemon does not know (ENOSYS), not to be sent again. */
  readonly unsupported: Set<number> = new Set();
  /** By nodeid, least recently used first. */
  readonly #inodes = new Map<number, Inode>();

  /** `client`'s session has been started. */
  constructor(client: FuseClient, options: VolumeOptions) {
    this.client = client;
    this.options = options;
    this.now = options.now ?? (() => performance.now());
    this.pages = new PageCache(client, options.pageCacheSize);
    this.dax = windowOf(client, options.dax ?? "never");
    this.root = new Inode(FUSE_ROOT_ID, 0, S_IFDIR);
    this.root.parent = this.root;
    this.root.holds = 1;
    this.#inodes.set(FUSE_ROOT_ID, this.root);
  }

  /** How many inodes are known. */
  get inodeCount(): number {
    return this.#inodes.size;
  }

  /** The inode that `entry` names, with one reference more at the daemon; or -EIO for what the daemon cannot mean. */
  instantiate(entry: EntryReply): Inode | Status {
    const { nodeid, generation, attr } = entry;
    let inode = this.#inodes.get(nodeid);
    const isSame = inode !== undefined && inode.generation === generation &&
      (inode.type === (attr.mode & S_IFMT) || nodeid === FUSE_ROOT_ID);
    if (inode !== undefined && !isSame) {
      // The number has been given to another file; who still has the old one open cannot use it.
      if (nodeid === FUSE_ROOT_ID) return -EIO;
      inode.stale = true;
      for (const dentry of [...inode.aliases]) this.dropDentry(dentry);
      this.#inodes.delete(nodeid);
      inode = undefined;
    }
    if (inode === undefined) {
      inode = new Inode(nodeid, generation, attr.mode);
      this.#inodes.set(nodeid, inode);
    } else {
      this.#inodes.delete(nodeid);
      this.#inodes.set(nodeid, inode);
    }
    inode.lookups++;
    this.setAttributes(inode, attr, entry.attrValidMs);
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
    inode.attrValidUntil = this.#until(validMs);
    if (data === null) return;
    if (ownsTimes) {
      // fuse.h: FUSE_WRITEBACK_CACHE: the guest knows better, except of a later change of the inode itself.
      Object.assign(inode.attr, { mtime, mtimeNsec });
      const isLater = attr.ctime > ctime || (attr.ctime === ctime && attr.ctimeNsec > ctimeNsec);
      if (!isLater) Object.assign(inode.attr, { ctime, ctimeNsec });
    }
    if (ownsSize) inode.attr.size = size;
    else if (changed && !inode.ownChange) {
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
    if (!force && this.now() < inode.attrValidUntil) return 0;
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

  /** What is known of the attributes has been changed by a request of ours: ask next time. */
  expire(inode: Inode): void {
    inode.attrValidUntil = 0;
    inode.ownChange = inode.data !== null;
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
    if (known !== undefined && this.now() < known.validUntil) {
      if (known.inode === null) return -ENOENT;
      this.#touch(known.inode);
      return known.inode;
    }
    if (directory.stale) return -ENOENT;
    const status = lookup(this.client, directory.nodeid, name, this.entry);
    if (status === 0 && this.entry.nodeid !== 0) return this.enter(directory, name);
    if (known !== undefined) this.dropDentry(known);
    if (status < 0) return status;
    // A reply with nodeid 0 says how long the name is known not to exist.
    this.#remember(directory, name, key, null, this.entry.entryValidMs);
    return -ENOENT;
  }

  /** Takes over a reply that named an inode, in `entry`, under a name. */
  enter(directory: Inode, name: Uint8Array): Inode | Status {
    const inode = this.instantiate(this.entry);
    if (typeof inode === "number") return inode;
    const key = nameKey(name);
    const known = directory.children!.get(key);
    if (known !== undefined && known.inode === inode) {
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
    const key = nameKey(toName);
    this.#remember(to, toName, key, known.inode, Math.max(0, known.validUntil - this.now()));
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
    for (const inode of [...this.#inodes.values()]) {
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
      dax: { window: dax, always },
      refresh: () => this.refresh(inode, true),
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
    if (inode === null && this.#until(validMs) <= this.now()) return;
    // The name may be part of a longer path.
    const dentry: Dentry = {
      parent,
      name: name.slice(),
      key,
      inode,
      validUntil: this.#until(validMs),
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
    }
  }

  #touch(inode: Inode): void {
    this.#inodes.delete(inode.nodeid);
    this.#inodes.set(inode.nodeid, inode);
  }

  /**
   * Keeps to the budget: lets inodes go until a twentieth of it is free. Called between system calls, when nothing is in use that is not
   * held.
   */
  shrink(): void {
    this.dax?.work();
    if (this.#inodes.size <= this.options.inodeCountMax) return;
    const goal = Math.floor(this.options.inodeCountMax * 0.95);
    for (const inode of this.#inodes.values()) {
      if (this.#inodes.size <= goal) return;
      if (inode.holds > 0 || inode.stale) continue;
      if (inode.children !== null && !this.#clearNegatives(inode)) continue;
      if (inode.data !== null) {
        // An error stays with the data, and so does the inode, until somebody asks.
        if (inode.data.writeBack() < 0) continue;
        inode.data.invalidate();
      }
      for (const dentry of [...inode.aliases]) this.dropDentry(dentry);
      this.#inodes.delete(inode.nodeid);
      this.client.forget(inode.nodeid, inode.lookups);
    }
  }

  /** Whether a directory has no names left that lead somewhere. */
  #clearNegatives(directory: Inode): boolean {
    for (const dentry of directory.children!.values()) if (dentry.inode !== null) return false;
    directory.children!.clear();
    return true;
  }
}

/** The window that files of the session are mapped into, if they are. */
function windowOf(client: FuseClient, mode: GuestDaxMode): DaxWindow | null {
  const region = client.driver.frontend.shmemRegions.get(DAX_REGION_ID);
  const { flags2 } = client.agreement;
  const isWanted = mode === "always" || (mode === "inode" && hasFlag(flags2, FUSE2_HAS_INODE_DAX));
  return isWanted && region !== undefined ? new DaxWindow(client, region) : null;
}
