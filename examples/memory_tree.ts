/**
 * The inodes of `memory_fs.ts` and their bytes, without a word of FUSE.
 *
 * @module
 */

import { errno, linux, type Status } from "../mod.ts";

/** A name in a directory. Cookies only grow, so a listing goes on where it was whatever is removed meanwhile. */
export interface Name {
  /** What it names. */
  readonly node: Node;
  /** Its place in listings. */
  readonly cookie: number;
}

/** An inode. It lives while it has a name, or the guest has looked it up and not forgotten it: an open file, say. */
export interface Node {
  readonly id: number;
  mode: number;
  uid: number;
  gid: number;
  readonly rdev: number;
  nlink: number;
  lookups: number;
  atime: number;
  mtime: number;
  ctime: number;
  /** A file's bytes or a symlink's target, with spare room behind `size`. */
  data: Uint8Array;
  size: number;
  /** A directory's names, in the order of their cookies. */
  readonly names: Map<string, Name> | null;
  /** The directory it is in, or was; the root is in none. */
  parent: Node | null;
}

/** What a new inode gets. */
export type NodeFields = Pick<Node, "mode" | "uid" | "gid" | "rdev">;

/** Names count from here: the numbers below are for "." and "..". */
const FIRST_COOKIE = 3;

/** All inodes. */
export class MemoryTree {
  /** Most inodes there may be. */
  static readonly COUNT_MAX: number = 1_000_000;
  /** By number. */
  readonly nodes: Map<number, Node> = new Map();
  /** Most bytes of data there may be. */
  readonly sizeMax: number;
  /** Bytes of data there are, spare room included. */
  used = 0;
  #nextId: number;
  #nextCookie = FIRST_COOKIE;

  /** Makes the root, with the number `rootId`; others count up from there. */
  constructor(rootId: number, sizeMax: number) {
    this.#nextId = rootId;
    this.sizeMax = sizeMax;
    this.make({ mode: linux.S_IFDIR | 0o755, uid: 0, gid: 0, rdev: 0 }).nlink = 1;
  }

  /** A new inode, without a name. */
  make(fields: NodeFields): Node {
    const time = now();
    const names = (fields.mode & linux.S_IFMT) === linux.S_IFDIR ? new Map<string, Name>() : null;
    const fresh = { nlink: 0, lookups: 0, size: 0, data: new Uint8Array(0) };
    const times = { atime: time, mtime: time, ctime: time };
    const node: Node = { id: this.#nextId++, ...fields, ...fresh, ...times, names, parent: null };
    this.nodes.set(node.id, node);
    return node;
  }

  /** Gives an inode a name, which is free or is replaced. */
  bind(directory: Node, name: string, node: Node): void {
    directory.names!.delete(name);
    directory.names!.set(name, { node, cookie: this.#nextCookie++ });
    node.nlink++;
    node.parent = directory;
    directory.mtime = directory.ctime = node.ctime = now();
  }

  /** Takes a name away, and the inode with its last one. */
  unbind(directory: Node, name: string, node: Node): void {
    directory.names!.delete(name);
    node.nlink--;
    directory.mtime = directory.ctime = node.ctime = now();
    this.dropUnused(node);
  }

  /** rename(2) and renameat2(2): 0 or a negative errno. Both inodes are directories. */
  rename(source: Node, name: string, target: Node, newName: string, flags: number): Status {
    const moved = source.names!.get(name)?.node;
    const replaced = target.names!.get(newName)?.node;
    const exchanges = (flags & linux.RENAME_EXCHANGE) !== 0;
    if ((flags & linux.RENAME_WHITEOUT) !== 0) return -errno.EINVAL;
    if (moved === undefined || target.nlink === 0) return -errno.ENOENT;
    if (replaced === undefined && exchanges) return -errno.ENOENT;
    if (replaced !== undefined && (flags & linux.RENAME_NOREPLACE) !== 0) return -errno.EEXIST;
    if (isInside(target, moved)) return -errno.EINVAL;
    if (moved === replaced) return 0;
    if (replaced !== undefined && exchanges) {
      if (isInside(source, replaced)) return -errno.EINVAL;
      this.bind(source, name, replaced);
      this.bind(target, newName, moved);
      moved.nlink--;
      replaced.nlink--;
      return 0;
    }
    if (replaced !== undefined) {
      if (replaced.names !== null && moved.names === null) return -errno.EISDIR;
      if (replaced.names === null && moved.names !== null) return -errno.ENOTDIR;
      if (replaced.names !== null && replaced.names.size > 0) return -errno.ENOTEMPTY;
      this.unbind(target, newName, replaced);
    }
    // Bound before it is unbound: an inode without a name might be dropped.
    this.bind(target, newName, moved);
    this.unbind(source, name, moved);
    return 0;
  }

  /** Drops an inode that has neither names nor lookups. */
  dropUnused(node: Node): void {
    if (node.nlink > 0 || node.lookups > 0) return;
    if (this.nodes.delete(node.id)) this.used -= node.data.length;
  }

  /** Writes into a file. False if there is no room. */
  store(node: Node, offset: number, data: Uint8Array): boolean {
    const end = offset + data.length;
    if (end > node.size && !this.resize(node, end)) return false;
    node.data.set(data, offset);
    node.mtime = node.ctime = now();
    return true;
  }

  /** Cuts a file off or fills it up with zeroes. False if there is no room. */
  resize(node: Node, size: number): boolean {
    if (size > node.data.length || size === 0) {
      const room = this.sizeMax - this.used + node.data.length;
      if (size > room) return false;
      // Twice what is needed now, so that appending does not copy all each time.
      const data = new Uint8Array(node.size > 0 ? Math.min(2 * size, room) : size);
      data.set(node.data.subarray(0, Math.min(size, node.size)));
      this.used += data.length - node.data.length;
      node.data = data;
    }
    // What is cut off must not come back when the file grows again.
    if (size < node.size) node.data.fill(0, size, node.size);
    node.size = size;
    node.mtime = node.ctime = now();
    return true;
  }
}

/** Whether a directory is `ancestor`, or somewhere below it. */
function isInside(directory: Node, ancestor: Node): boolean {
  for (let at: Node | null = directory; at !== null; at = at.parent) {
    if (at === ancestor) return true;
  }
  return false;
}

/** Seconds since 1970. */
export function now(): number {
  return Date.now() / 1000;
}
