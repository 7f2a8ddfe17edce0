/**
 * A file system in memory: files, directories, symlinks and hard links that live as long as the daemon. Small enough to
 * be read as documentation of the contract, whole enough to work on.
 *
 * The guest's kernel checks permissions before it asks, and nobody else changes anything here, so the guest may keep
 * what it was told for as long as it likes. One request queue only: a second one would have an instance of its own.
 *
 * @module
 */

import { type Attributes, errno, FileSystem, fuse, linux, type Negotiation } from "../mod.ts";
import type { DirectoryEntry, NodeEntry, Reply, Request, Status } from "../mod.ts";
import { MemoryTree, type Node, now } from "./memory_tree.ts";

/** What the file system begins with, and how large it may get. */
export interface MemoryFsOptions {
  /** Bytes of all files together. Default 256 MiB. */
  readonly sizeMax?: number;
  /** Files in the root directory: name and text. */
  readonly files?: Readonly<Record<string, string>>;
}

const A_DAY = 86400;
const BLOCK_SIZE = 4096;
const NAME_SIZE_MAX = 255;
/** Cookies of "." and ".."; those of names come after. */
const DOT = 1;
const DOT_DOT = 2;

/** Makes the file system; {@linkcode serve} calls it, and fails with the reason if it throws. */
export default function makeMemoryFs(options: MemoryFsOptions = {}): FileSystem {
  return new MemoryFs(options);
}

/** The file system. Text is good enough for its names: one that is not UTF-8 cannot be created. */
export class MemoryFs extends FileSystem {
  readonly #tree: MemoryTree;

  /** Throws if an option makes no sense. */
  constructor(options: MemoryFsOptions) {
    super();
    const sizeMax = options.sizeMax ?? 256 * 1024 * 1024;
    if (!(sizeMax >= 0)) throw new RangeError(`sizeMax cannot be ${sizeMax}`);
    this.#tree = new MemoryTree(fuse.FUSE_ROOT_ID, sizeMax);
    const root = this.#tree.nodes.get(fuse.FUSE_ROOT_ID)!;
    for (const [name, text] of Object.entries(options.files ?? {})) {
      const file = this.#tree.make({ mode: linux.S_IFREG | 0o644, uid: 0, gid: 0, rdev: 0 });
      this.#tree.bind(root, name, file);
      if (!this.#tree.store(file, 0, new TextEncoder().encode(text))) {
        throw new RangeError(`sizeMax ${sizeMax} leaves no room for the file ${name}`);
      }
    }
  }

  override init(negotiation: Negotiation): Status {
    negotiation.wanted |= fuse.FUSE_DO_READDIRPLUS | fuse.FUSE_READDIRPLUS_AUTO |
      fuse.FUSE_CACHE_SYMLINKS | fuse.FUSE_PARALLEL_DIROPS;
    return 0;
  }

  /** The guest has gone, and all it knew of us with it. The files stay. */
  override destroy(): void {
    for (const node of this.#tree.nodes.values()) {
      node.lookups = 0;
      this.#tree.dropUnused(node);
    }
  }

  override lookup(request: Request, reply: Reply): Status {
    const name = this.#node(request)?.names?.get(request.nameText());
    return name === undefined ? -errno.ENOENT : this.#replyEntry(reply, name.node);
  }

  override forget(nodeid: number, count: number): void {
    const node = this.#tree.nodes.get(nodeid);
    if (node === undefined) return;
    node.lookups = Math.max(0, node.lookups - count);
    this.#tree.dropUnused(node);
  }

  override getattr(request: Request, reply: Reply): Status {
    const node = this.#node(request);
    if (node === undefined) return -errno.ESTALE;
    reply.putAttributes(attributesOf(node), A_DAY);
    return 0;
  }

  override setattr(request: Request, reply: Reply): Status {
    const { SETATTR_IN } = fuse;
    const node = this.#node(request);
    if (node === undefined) return -errno.ESTALE;
    const valid = request.u32(SETATTR_IN.VALID);
    const has = (flag: number): boolean => (valid & flag) !== 0;
    if (has(fuse.FATTR_SIZE)) {
      if (node.names !== null) return -errno.EISDIR;
      if (!this.#tree.resize(node, request.u64(SETATTR_IN.SIZE_))) return -errno.ENOSPC;
    }
    if (has(fuse.FATTR_MODE)) {
      node.mode = (node.mode & linux.S_IFMT) | (request.u32(SETATTR_IN.MODE) & 0o7777);
    }
    if (has(fuse.FATTR_UID)) node.uid = request.u32(SETATTR_IN.UID);
    if (has(fuse.FATTR_GID)) node.gid = request.u32(SETATTR_IN.GID);
    node.ctime = now();
    if (has(fuse.FATTR_ATIME)) node.atime = request.time(SETATTR_IN.ATIME, SETATTR_IN.ATIMENSEC);
    if (has(fuse.FATTR_MTIME)) node.mtime = request.time(SETATTR_IN.MTIME, SETATTR_IN.MTIMENSEC);
    if (has(fuse.FATTR_ATIME_NOW)) node.atime = node.ctime;
    if (has(fuse.FATTR_MTIME_NOW)) node.mtime = node.ctime;
    reply.putAttributes(attributesOf(node), A_DAY);
    return 0;
  }

  override mknod(request: Request, reply: Reply): Status {
    const { MODE, RDEV } = fuse.MKNOD_IN;
    return this.#create(request, reply, request.u32(MODE), request.u32(RDEV));
  }

  override mkdir(request: Request, reply: Reply): Status {
    const mode = request.u32(fuse.MKDIR_IN.MODE) & 0o7777;
    return this.#create(request, reply, linux.S_IFDIR | mode);
  }

  override symlink(request: Request, reply: Reply): Status {
    return this.#create(request, reply, linux.S_IFLNK | 0o777, 0, request.name2Bytes());
  }

  override create(request: Request, reply: Reply): Status {
    const { CREATE_IN, ENTRY_OUT } = fuse;
    const created = this.#create(request, reply, request.u32(CREATE_IN.MODE));
    if (created === -errno.EEXIST && (request.u32(CREATE_IN.FLAGS) & linux.O_EXCL) === 0) {
      // Somebody else in the guest was faster: then it is an open.
      const found = this.lookup(request, reply);
      if (found < 0) return found;
    } else if (created < 0) {
      return created;
    }
    // All the open files of an inode are alike here, so one handle does for them.
    reply.setOpen(ENTRY_OUT.SIZE, 0, 0, fuse.FOPEN_KEEP_CACHE);
    return 0;
  }

  override link(request: Request, reply: Reply): Status {
    const node = this.#tree.nodes.get(request.u64(fuse.LINK_IN.OLDNODEID));
    const directory = this.#node(request);
    if (node === undefined || directory?.names == null || directory.nlink === 0) {
      return -errno.ENOENT;
    }
    if (node.names !== null) return -errno.EPERM;
    if (directory.names.has(request.nameText())) return -errno.EEXIST;
    this.#tree.bind(directory, request.nameText(), node);
    return this.#replyEntry(reply, node);
  }

  override unlink(request: Request): Status {
    return this.#remove(request, false);
  }

  override rmdir(request: Request): Status {
    return this.#remove(request, true);
  }

  override rename(request: Request): Status {
    return this.#rename(request, request.u64(fuse.RENAME_IN.NEWDIR), 0);
  }

  override rename2(request: Request): Status {
    const { NEWDIR, FLAGS } = fuse.RENAME2_IN;
    return this.#rename(request, request.u64(NEWDIR), request.u32(FLAGS));
  }

  override readlink(request: Request, reply: Reply): Status {
    const node = this.#node(request);
    if (node === undefined) return -errno.ESTALE;
    return reply.append(node.data.subarray(0, node.size)) ? 0 : -errno.EINVAL;
  }

  override open(_request: Request, reply: Reply): Status {
    reply.setOpen(0, 0, 0, fuse.FOPEN_KEEP_CACHE);
    return 0;
  }

  override read(request: Request, reply: Reply): Status {
    const { READ_IN } = fuse;
    const node = this.#node(request);
    if (node === undefined) return -errno.ESTALE;
    const start = Math.min(request.u64(READ_IN.OFFSET), node.size);
    const end = Math.min(start + request.u32(READ_IN.SIZE_), node.size);
    return reply.append(node.data.subarray(start, end)) ? 0 : -errno.EINVAL;
  }

  override write(request: Request, reply: Reply): Status {
    const { WRITE_IN, WRITE_OUT } = fuse;
    const node = this.#node(request);
    if (node === undefined) return -errno.ESTALE;
    const data = request.writeData();
    if (data === null || node.names !== null) return -errno.EINVAL;
    reply.setU64(WRITE_OUT.SIZE_, data.length);
    return this.#tree.store(node, request.u64(WRITE_IN.OFFSET), data) ? 0 : -errno.ENOSPC;
  }

  override opendir(_request: Request, reply: Reply): Status {
    reply.setOpen(0, 0, 0, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR);
    return 0;
  }

  override readdir(request: Request, reply: Reply): Status {
    return this.#list(request, (entry, _node, sizeMax) => reply.appendDirent(entry, sizeMax));
  }

  override readdirplus(request: Request, reply: Reply): Status {
    return this.#list(request, (entry, node, sizeMax) => {
      if (entry.cookie <= DOT_DOT) return reply.appendDirentPlus(entry, null, sizeMax);
      if (!reply.appendDirentPlus(entry, entryOf(node), sizeMax)) return false;
      node.lookups++;
      return true;
    });
  }

  override statfs(_request: Request, reply: Reply): Status {
    const { STATFS_OUT } = fuse;
    const { nodes, sizeMax, used } = this.#tree;
    const free = Math.floor((sizeMax - used) / BLOCK_SIZE);
    reply.zero(0, STATFS_OUT.SIZE);
    reply.setU64(STATFS_OUT.BLOCKS, Math.floor(sizeMax / BLOCK_SIZE));
    reply.setU64(STATFS_OUT.BFREE, free);
    reply.setU64(STATFS_OUT.BAVAIL, free);
    reply.setU64(STATFS_OUT.FILES, MemoryTree.COUNT_MAX);
    reply.setU64(STATFS_OUT.FFREE, MemoryTree.COUNT_MAX - nodes.size);
    reply.setU32(STATFS_OUT.BSIZE, BLOCK_SIZE);
    reply.setU32(STATFS_OUT.FRSIZE, BLOCK_SIZE);
    reply.setU32(STATFS_OUT.NAMELEN, NAME_SIZE_MAX);
    return 0;
  }

  #node(request: Request): Node | undefined {
    return this.#tree.nodes.get(request.nodeid);
  }

  /** What all that creates has in common. */
  #create(request: Request, reply: Reply, mode: number, rdev = 0, data?: Uint8Array): Status {
    const directory = this.#node(request);
    const name = request.nameText();
    if (directory?.names == null || directory.nlink === 0) return -errno.ENOENT;
    if (name.includes("\ufffd")) return -errno.EINVAL;
    if (directory.names.has(name)) return -errno.EEXIST;
    if (this.#tree.nodes.size >= MemoryTree.COUNT_MAX) return -errno.ENOSPC;
    const inherits = (directory.mode & linux.S_ISGID) !== 0;
    const isDirectory = (mode & linux.S_IFMT) === linux.S_IFDIR;
    const setgid = inherits && isDirectory ? linux.S_ISGID : 0;
    const gid = inherits ? directory.gid : request.gid;
    const node = this.#tree.make({ mode: mode | setgid, uid: request.uid, gid, rdev });
    this.#tree.bind(directory, name, node);
    if (data === undefined || this.#tree.store(node, 0, data)) return this.#replyEntry(reply, node);
    this.#tree.unbind(directory, name, node);
    return -errno.ENOSPC;
  }

  #replyEntry(reply: Reply, node: Node): Status {
    node.lookups++;
    reply.putEntry(entryOf(node));
    return 0;
  }

  #remove(request: Request, wantsDirectory: boolean): Status {
    const directory = this.#node(request);
    const node = directory?.names?.get(request.nameText())?.node;
    if (node === undefined) return -errno.ENOENT;
    if (wantsDirectory && node.names === null) return -errno.ENOTDIR;
    if (!wantsDirectory && node.names !== null) return -errno.EISDIR;
    if (node.names !== null && node.names.size > 0) return -errno.ENOTEMPTY;
    this.#tree.unbind(directory!, request.nameText(), node);
    return 0;
  }

  #rename(request: Request, newDirectoryId: number, flags: number): Status {
    const [source, target] = [this.#node(request), this.#tree.nodes.get(newDirectoryId)];
    const [sourceName, targetName] = [request.nameText(), request.name2Text()];
    if (source?.names == null || target?.names == null) return -errno.ESTALE;
    if (targetName.includes("\ufffd")) return -errno.EINVAL;
    return this.#tree.rename(source, sourceName, target, targetName, flags);
  }

  /** Emits "." and ".." and each name behind the guest's cookie, until `emit` says that there is no more room. */
  #list(
    request: Request,
    emit: (entry: DirectoryEntry, node: Node, sizeMax: number) => boolean,
  ): Status {
    const directory = this.#node(request);
    if (directory?.names == null) return -errno.ESTALE;
    const seen = request.u64(fuse.READ_IN.OFFSET);
    const sizeMax = request.u32(fuse.READ_IN.SIZE_);
    const send = (name: string, node: Node, cookie: number): boolean =>
      cookie <= seen || emit({ name, ino: node.id, mode: node.mode, cookie }, node, sizeMax);
    if (!send(".", directory, DOT)) return 0;
    if (!send("..", directory.parent ?? directory, DOT_DOT)) return 0;
    for (const [name, { node, cookie }] of directory.names) {
      if (!send(name, node, cookie)) return 0;
    }
    return 0;
  }
}

function attributesOf(node: Node): Attributes {
  return { ...node, ino: node.id };
}

function entryOf(node: Node): NodeEntry {
  return { nodeid: node.id, validSeconds: A_DAY, attributes: attributesOf(node) };
}
