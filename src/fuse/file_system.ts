/**
 * The contract between the server and a file system.
 *
 * One method per FUSE opcode, named like it. Each gets the request and the reply and returns a status: 0, or a
 * negative errno. On 0 the reply's body must be complete: a fixed-size body is counted by the server, a variable
 * one through `reply.size` (bytes put into the reply's scratch) or `reply.directSize` (bytes written straight into
 * the guest's buffers). What a file system does not override answers ENOSYS, which guests remember and do
 * not ask again.
 *
 * The rules that hold everything together:
 *
 *  - **The guest is not trusted.** Nodeids, handles, sizes and names are what somebody sent. Names have passed
 *    `checkName` and are NUL-terminated bytes.
 *  - **Lookup counts.** Every reply that carries an entry with a nodeid (lookup, create, tmpfile, mknod, mkdir,
 *    symlink, link, each readdirplus record but "." and "..") gives the guest one reference to it. `forget` takes
 *    some back. A nodeid must mean the same inode until all are taken back; afterwards it may be used again with
 *    another generation.
 *  - **Handles.** What `open`, `opendir`, `create` and `tmpfile` put into `fh` comes back in every later
 *    request on the open file, and in one `release` or `releasedir`.
 *  - **Threads.** With several request queues each has its own thread and its own instance of the file system;
 *    they share what they must in shared memory. With one queue there is one instance.
 *  - **Waiting.** A method must not block. Some, `setlkw` first of all, may return {@linkcode PENDING}: it is called again with
 *    the same request until it returns something else.
 *
 * @module
 */

import { ENOSYS, EOPNOTSUPP, type Status } from "../sys/errno.ts";
import type { Reply } from "./reply.ts";
import type { Request } from "./request.ts";
import type { Session } from "./session.ts";

/**
 * Status of a request that cannot be answered yet; it will be tried again, as it is. {@linkcode FileSystem.setlkw},
 * {@linkcode FileSystem.setupmapping}, {@linkcode FileSystem.removemapping} and {@linkcode FileSystem.init} may return it.
 */
export const PENDING = 1;

/**
 * What a file system and its guest agree on at INIT. The server fills in what the guest offers; the file system
 * says what it wants.
 *
 * @example
 * ```ts
 * import { FileSystem, type Negotiation } from "./file_system.ts";
 * import { FUSE_DO_READDIRPLUS } from "../wire/fuse.ts";
 *
 * class ListingFs extends FileSystem {
 *   override init(negotiation: Negotiation): number {
 *     negotiation.wanted |= FUSE_DO_READDIRPLUS;
 *     return 0;
 *   }
 * }
 *
 * const negotiation = {
 *   minor: 45,
 *   offered: 0,
 *   offered2: 0,
 *   wanted: 0,
 *   wanted2: 0,
 *   maxWrite: 4096,
 *   mapAlignment: 0,
 * };
 * if (new ListingFs().init(negotiation) !== 0) throw new Error("not agreed");
 * if (negotiation.wanted !== FUSE_DO_READDIRPLUS) throw new Error("not wanted");
 * ```
 */
export interface Negotiation {
  /** The minor version of FUSE 7 that both speak. */
  readonly minor: number;
  /** FUSE_* bits that the guest offers: the low word of the INIT flags. */
  readonly offered: number;
  /** FUSE2_* bits that the guest offers: the high word. */
  readonly offered2: number;
  /** FUSE_* bits to agree on; add to what is there. Those not offered are dropped. */
  wanted: number;
  /** FUSE2_* bits to agree on. */
  wanted2: number;
  /** Largest WRITE, in bytes: up to 1 MiB. */
  maxWrite: number;
  /** With FUSE_MAP_ALIGNMENT: mappings are made in multiples of 2 to the power of this. */
  mapAlignment: number;
}

/**
 * Override what you have. See `examples/` for a small one, `src/passthrough/` for a whole one.
 *
 * A method may throw: the guest then gets EIO, and the log the reason. That is for mistakes; an errno is a return
 * value.
 *
 * @example
 * ```ts
 * import { FileSystem } from "./file_system.ts";
 * import type { Request } from "./request.ts";
 * import { ENOENT, ENOSYS, type Status } from "../sys/errno.ts";
 *
 * class Nothing extends FileSystem {
 *   override lookup(_request: Request): Status {
 *     return -ENOENT;
 *   }
 * }
 *
 * const request = {} as Request;
 * const fileSystem: FileSystem = new Nothing();
 * if (fileSystem.lookup(request, null!) !== -ENOENT) throw new Error("found");
 * if (fileSystem.mkdir(request, null!) !== -ENOSYS) throw new Error("what is not overridden is refused");
 * ```
 */
export abstract class FileSystem {
  /** INIT: choose among what the guest offers. Everything known from an earlier session has been dropped before. */
  init(_negotiation: Negotiation): Status {
    return 0;
  }

  /** Called once before any request, with the place where it will stand what INIT agreed on. */
  attach(_session: Session): void {}

  /** A count that moves when a request that is {@linkcode PENDING} may succeed now. */
  get releases(): number {
    return 0;
  }

  /** DESTROY, a new INIT, or the end of the connection: drop all nodeids, handles and locks of the guest. */
  destroy(): void {}

  /** The front end has gone, and no queue has a request in progress. Comes after {@linkcode destroy}. */
  disconnect(): void {}

  /** Node: directory. Name. Reply: ENTRY_OUT with one more lookup; nodeid 0 caches "no such name". */
  lookup(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** The guest gives back `count` lookups of `nodeid`. No reply. */
  forget(_nodeid: number, _count: number): void {}

  /** GETATTR_IN; reply ATTR_OUT. */
  getattr(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** SETATTR_IN; reply ATTR_OUT. Change only what VALID names. */
  setattr(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** STATX_IN; reply STATX_OUT. Asked only for what GETATTR cannot tell: the birth time. */
  statx(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** Reply: the target's bytes, no NUL, below 4096. */
  readlink(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** Node: directory. Name; second name: the target, any bytes. Reply ENTRY_OUT. */
  symlink(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** Node: directory. MKNOD_IN, name; also creates regular files. Reply ENTRY_OUT. */
  mknod(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** Node: directory. MKDIR_IN, name. Reply ENTRY_OUT. */
  mkdir(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** Node: directory. Name. */
  unlink(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** Node: directory. Name. */
  rmdir(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** RENAME: node: old directory. RENAME_IN, old name, new name. */
  rename(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** RENAME2: the same with RENAME2_IN; flags 1 NOREPLACE, 2 EXCHANGE, 4 WHITEOUT. */
  rename2(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** Node: directory. LINK_IN, new name. Reply ENTRY_OUT of the linked inode. */
  link(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** OPEN_IN; reply OPEN_OUT. */
  open(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** Node: directory. CREATE_IN, name: create (if missing) and open. Reply ENTRY_OUT, then OPEN_OUT. */
  create(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** Node: directory. CREATE_IN; the name is to be ignored: an unnamed file. Reply as create. */
  tmpfile(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** READ_IN; reply: the data, with `reply.append()` or straight into the reply's buffers. Fewer bytes than asked mean the end of the file. */
  read(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** WRITE_IN; the data: `request.writeData()`, or in place in the request's buffers. Reply WRITE_OUT. */
  write(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** Reply STATFS_OUT. */
  statfs(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** RELEASE_IN: the last close of an open file. */
  release(_request: Request, _reply: Reply): Status {
    return 0;
  }

  /** FLUSH_IN: one close(2) of perhaps several; drop LOCK_OWNER's POSIX locks. */
  flush(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** FSYNC_IN */
  fsync(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** OPEN_IN; reply OPEN_OUT. */
  opendir(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** READ_IN, the offset being the cookie of the last entry read (0 = start). Reply: DIRENT records; none = the end. */
  readdir(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** The same with DIRENTPLUS records; nodeid 0 = "no attributes for this name". */
  readdirplus(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** RELEASE_IN */
  releasedir(_request: Request, _reply: Reply): Status {
    return 0;
  }

  /** FSYNC_IN */
  fsyncdir(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** Node: root of the mount. syncfs(2). */
  syncfs(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** SETXATTR_IN, name; the value is the request's data. */
  setxattr(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** GETXATTR_IN, name. Reply: GETXATTR_OUT if SIZE_ is 0, else the value. */
  getxattr(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** GETXATTR_IN. Reply: GETXATTR_OUT if SIZE_ is 0, else the names, each with its NUL. */
  listxattr(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** Name. */
  removexattr(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** LK_IN; reply: FILE_LOCK, the conflicting lock or type F_UNLCK. */
  getlk(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** LK_IN; EAGAIN if somebody else holds it. Also flock(2), with FUSE_LK_FLOCK. */
  setlk(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** LK_IN; waits: {@linkcode PENDING} until it is free. */
  setlkw(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** SETUPMAPPING_IN. Map a piece of the file into the guest's window. Linux sends it only if FUSE_MAP_ALIGNMENT was agreed on. */
  setupmapping(_request: Request, _reply: Reply): Status {
    return -EOPNOTSUPP;
  }

  /** REMOVEMAPPING_IN and REMOVEMAPPING_ONEs. */
  removemapping(_request: Request, _reply: Reply): Status {
    return -EOPNOTSUPP;
  }

  /** FALLOCATE_IN */
  fallocate(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** LSEEK_IN, SEEK_DATA or SEEK_HOLE. Reply LSEEK_OUT. */
  lseek(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** COPY_FILE_RANGE_IN. Reply WRITE_OUT: at most 4 GiB. */
  copyFileRange(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** COPY_FILE_RANGE_IN. Reply COPY_FILE_RANGE_OUT. */
  copyFileRange64(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }

  /** ACCESS_IN. Linux guests check permissions themselves and never send it. */
  access(_request: Request, _reply: Reply): Status {
    return -ENOSYS;
  }
}
