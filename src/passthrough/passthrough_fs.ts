/**
 * A host directory as a file system for guests: the contract of `fuse/file_system.ts`, each method in the
 * module of its family.
 *
 * @module
 */

import type { PassthroughConfig } from "../config.ts";
import type { DaxWindow, MappableFiles } from "../fuse/dax_window.ts";
import { FileSystem, type Negotiation, type PENDING } from "../fuse/file_system.ts";
import type { Reply } from "../fuse/reply.ts";
import type { Request } from "../fuse/request.ts";
import type { VersionRegion } from "../fuse/version_region.ts";
import type { Session } from "../fuse/session.ts";
import { errnoName, type Status } from "../sys/errno.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import type { OwnDirectories } from "../sys/own_directories.ts";
import * as wire from "../wire/fuse.ts";
import { FUSE2_SHARED_VERSIONS } from "../wire/shared_versions.ts";
import type { VersionsThread } from "../coherence/versions.ts";
import * as attributes from "./attributes.ts";
import { changing } from "./changes.ts";
import { ShareFiles } from "./dax_files.ts";
import * as directories from "./directories.ts";
import * as files from "./files.ts";
import * as locks from "./locks.ts";
import * as mapping from "./mapping.ts";
import * as names from "./names.ts";
import * as nodes from "./nodes.ts";
import * as opens from "./opens.ts";
import type { DaxInodeTable } from "../state/dax_inode_table.ts";
import { Share } from "./share.ts";
import * as xattrs from "./xattrs.ts";

/** What is always good for a passthrough of a local directory, if the guest offers it. */
const ALWAYS_WANTED = wire.FUSE_ASYNC_READ | wire.FUSE_PARALLEL_DIROPS | wire.FUSE_AUTO_INVAL_DATA |
  wire.FUSE_ASYNC_DIO | wire.FUSE_HAS_IOCTL_DIR | wire.FUSE_ATOMIC_O_TRUNC |
  // A symlink's target never changes, so a guest may always keep it.
  wire.FUSE_CACHE_SYMLINKS;

/** What a file system takes beside its directory; all of it may be left out. */
export interface PassthroughParts {
  /** Gets what an operator should know. */
  readonly warn?: (message: string) => void;
  /** Where they have no path. */
  readonly ownDirectories?: OwnDirectories | null;
  /** `--cache shared`: this thread's part in the versions. */
  readonly versions?: VersionsThread | null;
  /** Makes the guest's shared memory; `inodes` is the share's own table. */
  readonly makeRegions?: (inodes: DaxInodeTable, files: MappableFiles) => GuestRegions;
}

/** Shared memory of the guest. */
export interface GuestRegions {
  /** Into which files of the share are mapped. */
  readonly window: DaxWindow;
  /** In which the guest sees the version table, or null. */
  readonly versions: VersionRegion | null;
}

/** One per queue thread, over tables in shared memory. */
export class PassthroughFs extends FileSystem {
  readonly #share: Share;
  readonly #versionRegion: VersionRegion | null;

  /**
   * Makes the calling thread a queue's thread (its working directory, umask and groups change), and opens the shared
   * directory if no other queue has. Throws if that fails.
   */
  constructor(config: PassthroughConfig, state: NativeMemory, parts: PassthroughParts = {}) {
    super();
    const { warn = () => {} } = parts;
    const share = new Share(config, state, parts.versions ?? null);
    this.#share = share;
    const regions = parts.makeRegions?.(share.daxInodes, new ShareFiles(share)) ?? null;
    this.#versionRegion = regions?.versions ?? null;
    if (regions !== null) share.window = regions.window;
    share.enterThread(parts.ownDirectories ?? null);
    if (share.inodes.acquire(wire.FUSE_ROOT_ID)) {
      share.inodes.release(wire.FUSE_ROOT_ID);
      share.probeHandles();
      return;
    }
    const opened = share.openRoot();
    if (opened < 0) {
      throw new Error(
        `Cannot open the shared directory "${config.sharedDir}": ${errnoName(opened)}`,
      );
    }
    const handles = share.probeHandles();
    if (handles === 0) return;
    const reason = `File handles cannot be used for "${config.sharedDir}": ${errnoName(handles)}`;
    if (config.inodeFileHandles === "mandatory") throw new Error(reason);
    warn(`${reason}; inodes are held by open descriptors`);
  }

  override attach(session: Session): void {
    this.#share.session = session;
  }

  override get releases(): number {
    return this.#share.locks.releases;
  }

  override init(negotiation: Negotiation): Status {
    const { config } = this.#share;
    let wanted = ALWAYS_WANTED;
    let wanted2 = wire.FUSE2_CREATE_SUPP_GROUP | wire.FUSE2_ALLOW_IDMAP;
    if (config.readdirplus) wanted |= wire.FUSE_DO_READDIRPLUS | wire.FUSE_READDIRPLUS_AUTO;
    if (config.writeback) wanted |= wire.FUSE_WRITEBACK_CACHE;
    if (config.announceSubmounts) wanted |= wire.FUSE_SUBMOUNTS;
    if (config.killprivV2) wanted |= wire.FUSE_HANDLE_KILLPRIV_V2;
    if (config.posixLocks) wanted |= wire.FUSE_POSIX_LOCKS;
    if (config.flockLocks) wanted |= wire.FUSE_FLOCK_LOCKS;
    if (config.posixAcl) {
      const acl = wire.FUSE_POSIX_ACL | wire.FUSE_DONT_MASK | wire.FUSE_SETXATTR_EXT;
      // ACLs need all three: the default ACL takes the umask's place, which only the host can decide.
      if ((negotiation.offered & acl) === acl) wanted |= acl;
    }
    if (config.securityLabel) wanted2 |= wire.FUSE2_SECURITY_CTX;
    if (config.allowMmap) wanted2 |= wire.FUSE2_DIRECT_IO_ALLOW_MMAP;
    negotiation.wanted |= wanted;
    negotiation.wanted2 |= wanted2;
    const window = this.#initWindow(negotiation);
    return window === 0 ? this.#initVersions(negotiation) : window;
  }

  /** A guest that can read the version table says so. Without it, it is served as one that cannot. */
  #initVersions(negotiation: Negotiation): Status | typeof PENDING {
    if (this.#versionRegion === null) return 0;
    if ((negotiation.offered2 & FUSE2_SHARED_VERSIONS) === 0) return 0;
    const result = this.#versionRegion.begin();
    if (result === 0) negotiation.wanted2 |= FUSE2_SHARED_VERSIONS;
    return result < 0 ? 0 : result;
  }

  /** A guest that has a window offers FUSE_MAP_ALIGNMENT. */
  #initWindow(negotiation: Negotiation): Status | typeof PENDING {
    const { config, window } = this.#share;
    // What was found out about mounts and the window may be another matter in this session.
    this.#share.mountKinds.clear();
    if (config.dax === "never" || window.size === 0) return 0;
    if ((negotiation.offered & wire.FUSE_MAP_ALIGNMENT) === 0) return 0;
    // What is stored through a mapping counts in no version: a kernel would do so at each write(2), and guests that share hold to reading.
    const { versions } = this.#share;
    if (versions !== null && (negotiation.offered2 & FUSE2_SHARED_VERSIONS) === 0) return 0;
    const result = window.begin(config.readonly || versions !== null);
    if (result !== 0 || !window.mapsWritable) return result;
    negotiation.wanted |= wire.FUSE_MAP_ALIGNMENT;
    negotiation.wanted2 |= wire.FUSE2_HAS_INODE_DAX;
    negotiation.mapAlignment = mapping.MAP_ALIGNMENT;
    return 0;
  }

  override destroy(): void {
    const { handles, inodes, locks, window } = this.#share;
    window.clear();
    handles.closeAll();
    inodes.forgetAll();
    // The root stays, its locks do not.
    locks.mutex.lock();
    locks.removeList(inodes.firstLock(wire.FUSE_ROOT_ID));
    inodes.setFirstLock(wire.FUSE_ROOT_ID, 0);
    locks.mutex.unlock();
  }

  override disconnect(): void {
    this.#share.window.disconnect();
    this.#versionRegion?.disconnect();
    this.#share.forgetMounts();
  }

  override lookup(request: Request, reply: Reply): Status {
    return names.lookup(this.#share, request, reply);
  }

  override forget(nodeid: number, count: number): void {
    this.#share.inodes.forget(nodeid, count);
  }

  override getattr(request: Request, reply: Reply): Status {
    return attributes.getattr(this.#share, request, reply);
  }

  override setattr(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, attributes.setattr);
  }

  override statx(request: Request, reply: Reply): Status {
    return attributes.statx(this.#share, request, reply);
  }

  override statfs(request: Request, reply: Reply): Status {
    return attributes.statfs(this.#share, request, reply);
  }

  override readlink(request: Request, reply: Reply): Status {
    return nodes.readlink(this.#share, request, reply);
  }

  override symlink(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, nodes.symlink);
  }

  override mknod(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, nodes.mknod);
  }

  override mkdir(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, nodes.mkdir);
  }

  override unlink(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, nodes.unlink);
  }

  override rmdir(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, nodes.rmdir);
  }

  override rename(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, nodes.rename);
  }

  override rename2(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, nodes.rename2);
  }

  override link(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, nodes.link);
  }

  override open(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, opens.open);
  }

  override create(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, opens.create);
  }

  override tmpfile(request: Request, reply: Reply): Status {
    return opens.tmpfile(this.#share, request, reply);
  }

  override read(request: Request, reply: Reply): Status {
    return files.read(this.#share, request, reply);
  }

  override write(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, files.write);
  }

  override release(request: Request): Status {
    return opens.release(this.#share, request);
  }

  override flush(request: Request): Status {
    return opens.flush(this.#share, request);
  }

  override fsync(request: Request): Status {
    return files.fsync(this.#share, request);
  }

  override fallocate(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, files.fallocate);
  }

  override lseek(request: Request, reply: Reply): Status {
    return files.lseek(this.#share, request, reply);
  }

  override copyFileRange(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, files.copyFileRange);
  }

  override copyFileRange64(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, files.copyFileRange64);
  }

  override syncfs(request: Request): Status {
    return files.syncfs(this.#share, request);
  }

  override opendir(request: Request, reply: Reply): Status {
    return directories.opendir(this.#share, request, reply);
  }

  override readdir(request: Request, reply: Reply): Status {
    return directories.readdir(this.#share, request, reply);
  }

  override readdirplus(request: Request, reply: Reply): Status {
    return directories.readdirplus(this.#share, request, reply);
  }

  override releasedir(request: Request): Status {
    return directories.releasedir(this.#share, request);
  }

  override fsyncdir(request: Request): Status {
    return files.fsync(this.#share, request);
  }

  override setxattr(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, xattrs.setxattr);
  }

  override getxattr(request: Request, reply: Reply): Status {
    return xattrs.getxattr(this.#share, request, reply);
  }

  override listxattr(request: Request, reply: Reply): Status {
    return xattrs.listxattr(this.#share, request, reply);
  }

  override removexattr(request: Request, reply: Reply): Status {
    return changing(this.#share, request, reply, xattrs.removexattr);
  }

  override setupmapping(request: Request): Status | typeof PENDING {
    return mapping.setupmapping(this.#share, request);
  }

  override removemapping(request: Request): Status | typeof PENDING {
    return mapping.removemapping(this.#share, request);
  }

  override getlk(request: Request, reply: Reply): Status {
    return locks.getlk(this.#share, request, reply);
  }

  override setlk(request: Request): Status {
    return locks.setlk(this.#share, request);
  }

  override setlkw(request: Request): Status {
    return locks.setlkw(this.#share, request);
  }
}
