/**
 * The shared directory as one thread works on it: the tables, the thread's scratch and identity, and how an
 * inode becomes a descriptor. The operation families (names, nodes, files, …) are functions over it.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { PassthroughConfig } from "../config.ts";
import type { VersionsThread } from "../coherence/versions.ts";
import { type DaxWindow, NO_WINDOW } from "../fuse/dax_window.ts";
import type { Session } from "../fuse/session.ts";
import { O_DIRECTORY, O_NOFOLLOW } from "../sys/architecture.ts";
import { EBADF, ENFILE, EOPNOTSUPP, EPERM, errnoName, ESTALE, type Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import type { OwnDirectories } from "../sys/own_directories.ts";
import { descriptorLimit } from "../sys/rlimit.ts";
import { DaxInodeTable } from "../state/dax_inode_table.ts";
import { HandleTable } from "../state/handle_table.ts";
import { InodeKey, InodeTable } from "../state/inode_table.ts";
import { INODE_SLOT, STATE_HEADER } from "../state/layout.ts";
import { LockTable } from "../state/lock_table.ts";
import { MountTable } from "../state/mount_table.ts";
import { FUSE_ROOT_ID } from "../wire/fuse.ts";
import { FUSE2_SHARED_VERSIONS } from "../wire/shared_versions.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  CLONE_FS,
  FILE_HANDLE,
  FILE_SYSTEM_MAGIC,
  MAX_HANDLE_SZ,
  O_CLOEXEC,
  O_NOATIME,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  STATFS,
  STATX,
  STATX_BASIC_STATS,
  STATX_BTIME,
  STATX_MNT_ID,
} from "../wire/linux.ts";
import { Budget } from "./budget.ts";
import { type CachePolicy, cachePolicy } from "./cache_policy.ts";
import { Credentials } from "./credentials.ts";
import { Translation } from "./ids/translation.ts";
import { NodeVersions } from "./node_versions.ts";
import { SCRATCH, Scratch } from "./scratch.ts";
import { XattrMap } from "./xattr_map.ts";

/** What every statx(2) here asks for. */
export const STATX_MASK = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
const STATX_VIEW = SCRATCH.STATX;

/** File systems on which close(2) reports nothing, so that guests need not ask at each close (FOPEN_NOFLUSH). */
const QUIET_CLOSE = new Set<number>(Object.values(FILE_SYSTEM_MAGIC));

/** Thread-local view of the share. */
export class Share {
  readonly config: PassthroughConfig;
  readonly policy: CachePolicy;
  readonly inodes: InodeTable;
  readonly handles: HandleTable;
  readonly mounts: MountTable;
  readonly locks: LockTable;
  readonly scratch = new Scratch();
  readonly credentials = new Credentials();
  /** Between the guest's ids and the host's; null where they are the same. */
  readonly ids: Translation | null;
  /** Between the guest's names of extended attributes and the host's; null where they are the same. */
  readonly xattrMap: XattrMap | null;
  readonly key = new InodeKey();
  /** Whether the last name looked up was of an inode not known before: the next one likely is too, and two system calls do then where three would. */
  expectsNew = false;
  session!: Session;
  /** Versions that guests of several daemons share, or null (`--cache shared`). */
  readonly versions: NodeVersions | null;
  readonly daxInodes: DaxInodeTable;
  /** How much of all this the guest may have. */
  readonly budget: Budget;
  /** What is known of mounts in this session, by id: see `dax_files.ts`. */
  readonly mountKinds = new Map<number, number>();
  /** The guest's DAX window. */
  window: DaxWindow = NO_WINDOW;
  /** A descriptor of /proc/self/fdinfo, where that has no path; else -1. */
  descriptorInfo = -1;
  /** Whether inodes may be held by file handle: asked for, and possible here. */
  #handlesWork = false;
  readonly #stat: DataView;
  readonly #state: NativeMemory;
  readonly #quietMounts = new Map<number, boolean>();

  constructor(
    config: PassthroughConfig,
    state: NativeMemory,
    versions: VersionsThread | null = null,
  ) {
    this.config = config;
    this.#state = state;
    this.policy = cachePolicy(config);
    this.ids = config.ids === null ? null : new Translation(config.ids);
    this.xattrMap = config.xattrRules === null ? null : new XattrMap(config.xattrRules);
    this.locks = new LockTable(state);
    this.inodes = new InodeTable(state, {
      releaseLocks: (firstLock) => {
        this.locks.mutex.lock();
        this.locks.removeList(firstLock);
        this.locks.mutex.unlock();
      },
      releaseVersion: (slot) => this.versions?.thread.registry.release(slot),
    });
    this.versions = versions === null ? null : new NodeVersions(versions, this.inodes, state);
    this.daxInodes = new DaxInodeTable(state, this.inodes);
    this.handles = new HandleTable(state, (nodeid) => this.inodes.release(nodeid));
    this.mounts = new MountTable(state);
    this.#stat = this.scratch.memory.view;
    this.budget = new Budget(config.budget, descriptorLimit(), this);
  }

  /** Whether this session's guest sees the version table. */
  get sharesVersions(): boolean {
    return this.versions !== null && this.session.has2(FUSE2_SHARED_VERSIONS);
  }

  /** Reads the version of an inode whose attributes will be read next, if it goes into the reply. */
  loadVersion(nodeid: number): void {
    if (this.sharesVersions) this.versions!.load(nodeid);
  }

  /**
   * Makes the calling thread fit for requests: its own working directory (/proc/self/fd, see `Scratch.fdPath`) and
   * umask (0: modes come from the guest complete), and no supplementary groups.
   */
  enterThread(given: OwnDirectories | null): void {
    const unshared = status(libc.unshare(CLONE_FS));
    if (unshared < 0) throw new Error(`Cannot unshare a queue's thread: ${errnoName(unshared)}`);
    this.scratch.memory.setCString(SCRATCH.PATH, "/proc/self/fd");
    const moved = status(
      given === null
        ? libc.chdir(this.scratch.memory.pointerAt(SCRATCH.PATH))
        : libc.fchdir(given.fd),
    );
    this.descriptorInfo = given?.fdinfo ?? -1;
    if (moved < 0) throw new Error(`Cannot enter "/proc/self/fd": ${errnoName(moved)}`);
    libc.umask(0);
    this.credentials.dropGroups();
  }

  /** Opens the shared directory as the root inode. Once per daemon and connection. */
  openRoot(): Status {
    const { memory } = this.scratch;
    // This thread's working directory is /proc/self/fd: a relative path would share the daemon's descriptors.
    assert(this.config.sharedDir.startsWith("/"), "the shared directory's path is absolute");
    memory.setCString(SCRATCH.PATH, this.config.sharedDir);
    const path = memory.pointerAt(SCRATCH.PATH);
    const fd = status(libc.openat(AT_FDCWD, path, O_PATH | O_CLOEXEC | O_DIRECTORY, 0));
    if (fd < 0) return fd;
    const stat = this.statFd(fd);
    if (stat < 0) {
      libc.close(fd);
      return stat;
    }
    this.loadKey();
    this.key.handleSize = 0;
    this.inodes.insertRoot(this.key, fd);
    this.#addMount(fd);
    return 0;
  }

  /**
   * A descriptor of an inode (O_PATH), pinned until {@linkcode giveBack}; or a negative errno: ESTALE for a
   * nodeid that is not known.
   */
  borrow(nodeid: number): number {
    if (!this.inodes.acquire(nodeid)) return -ESTALE;
    const fd = this.inodes.fd(nodeid);
    if (fd >= 0) return fd;
    const opened = this.#openByHandle(nodeid);
    if (opened < 0) this.inodes.release(nodeid);
    return opened;
  }

  giveBack(nodeid: number, fd: number): void {
    if (fd !== this.inodes.fd(nodeid)) libc.close(fd);
    this.inodes.release(nodeid);
  }

  /** The descriptor of an open file or directory, pinned until `handles.release(slot)`; or -EBADF. */
  acquireHandle(slot: number, generation: number, nodeid: number): number {
    if (!this.handles.acquire(slot, generation, nodeid)) return -EBADF;
    return this.handles.fd(slot);
  }

  /** statx(2) of a descriptor into scratch. */
  statFd(fd: number): Status {
    const { empty, statx } = this.scratch;
    return status(libc.statx(fd, empty, AT_EMPTY_PATH, STATX_MASK, statx));
  }

  /** The view of the last statx; offsets are STATX's. */
  get stat(): DataView {
    return this.#stat;
  }

  /** Takes the inode's name from the last statx into `key`, without a file handle. */
  loadKey(): void {
    const { key } = this;
    const stat = this.#stat;
    key.devLo = stat.getUint32(STATX_VIEW + STATX.DEV_MINOR, true);
    key.devHi = stat.getUint32(STATX_VIEW + STATX.DEV_MAJOR, true);
    key.inoLo = stat.getUint32(STATX_VIEW + STATX.INO, true);
    key.inoHi = stat.getUint32(STATX_VIEW + STATX.INO + 4, true);
    key.mountId = stat.getUint32(STATX_VIEW + STATX.MNT_ID, true);
    key.mode = stat.getUint16(STATX_VIEW + STATX.MODE, true);
    key.handleSize = 0;
  }

  /** Whether some inodes are held by file handle, so that a lookup has to compare handles. */
  get usesHandles(): boolean {
    return this.#handlesWork && (this.config.inodeFileHandles === "mandatory" ||
      this.inodes.count > this.inodes.fdCount);
  }

  /**
   * Tries a file handle on the root: making one always works, opening one takes CAP_DAC_READ_SEARCH. Returns 0 if that
   * works, or if no handles are wanted; else why not.
   */
  probeHandles(): Status {
    if (this.config.inodeFileHandles === "never") return 0;
    const root = this.inodes.fd(FUSE_ROOT_ID);
    let result = this.loadHandle(root);
    if (result === 0) {
      const mountFd = this.mounts.fd(this.inodes.mountId(FUSE_ROOT_ID));
      const opened = status(
        libc.open_by_handle_at(mountFd, this.scratch.fileHandle, O_PATH | O_CLOEXEC),
      );
      if (opened >= 0) libc.close(opened);
      result = Math.min(opened, 0);
    }
    this.#handlesWork = result === 0;
    this.#state.u32[STATE_HEADER.HANDLES_ERRNO >>> 2] = -result;
    return result;
  }

  /** Adds the file handle of `fd` to `key`. EOPNOTSUPP where the file system has none, or one too large for a slot. */
  loadHandle(fd: number): Status {
    const { memory, fileHandle, mountId, empty } = this.scratch;
    memory.view.setUint32(SCRATCH.FILE_HANDLE + FILE_HANDLE.BYTES, MAX_HANDLE_SZ, true);
    const result = status(libc.name_to_handle_at(fd, empty, fileHandle, mountId, AT_EMPTY_PATH));
    if (result < 0) return result;
    const size = memory.view.getUint32(SCRATCH.FILE_HANDLE + FILE_HANDLE.BYTES, true);
    if (size > INODE_SLOT.HANDLE_SIZE_MAX) return -EOPNOTSUPP;
    this.key.handleType = memory.view.getInt32(SCRATCH.FILE_HANDLE + FILE_HANDLE.TYPE, true);
    this.key.handleSize = size;
    const from = SCRATCH.FILE_HANDLE + FILE_HANDLE.HANDLE;
    for (let i = 0; i < size; i++) this.key.handle[i] = memory.u8[from + i]!;
    return 0;
  }

  /**
   * Makes the inode that `fd` (O_PATH; taken over) and `key` name known to the guest, with one lookup. Returns its
   * nodeid or a negative errno.
   */
  adopt(fd: number): number {
    const { config, inodes, key } = this;
    let byHandle = false;
    if (this.#handlesWork) {
      const mandatory = config.inodeFileHandles === "mandatory";
      const scarce = inodes.fdCount >= this.budget.inodeFdPreferred;
      if (mandatory || scarce || this.usesHandles) {
        const result = this.#addMount(fd) ? this.loadHandle(fd) : -EOPNOTSUPP;
        if (result < 0) key.handleSize = 0;
        if (result < 0 && mandatory) {
          libc.close(fd);
          return result;
        }
        byHandle = result === 0 && (mandatory || scarce);
      }
    }
    if (!this.budget.allowsInode(byHandle) && inodes.find(key, 0) === 0) {
      libc.close(fd);
      return -ENFILE;
    }
    const nodeid = inodes.insert(key, byHandle ? -1 : fd);
    const { inserted } = inodes;
    if (nodeid !== 0 && this.sharesVersions) this.#statAfterVersion(nodeid, fd);
    if (byHandle || !inserted) libc.close(fd);
    return nodeid === 0 ? -ENFILE : nodeid;
  }

  /** The attributes that were read when the inode was not known yet may be older than its version. */
  #statAfterVersion(nodeid: number, fd: number): void {
    const { inodes, versions } = this;
    // Pinned: the descriptor may be the table's by now, and another queue may forget the inode.
    if (!inodes.acquire(nodeid)) return versions!.clear();
    versions!.load(nodeid);
    if (this.statFd(fd) < 0) versions!.clear();
    inodes.release(nodeid);
  }

  /**
   * Opens an inode's file for I/O. Only regular files and directories: never a device, FIFO or socket, whose opening
   * would act on the host (CVE-2020-35517), and never through a symlink.
   */
  reopen(nodeid: number, flags: number): number {
    const type = this.inodes.mode(nodeid) & S_IFMT;
    if (type !== S_IFREG && type !== S_IFDIR) return -EBADF;
    const fd = this.borrow(nodeid);
    if (fd < 0) return fd;
    const path = this.scratch.fdPath(fd);
    const allFlags = (flags & ~O_NOFOLLOW) | O_CLOEXEC;
    // Reading leaves a trace, too: none in a read-only share, where that can be had (EPERM: it takes the owner or root).
    const quiet = this.config.readonly ? O_NOATIME : 0;
    let opened = status(libc.openat(AT_FDCWD, path, allFlags | quiet, 0));
    if (opened === -EPERM && quiet !== 0) opened = status(libc.openat(AT_FDCWD, path, allFlags, 0));
    this.giveBack(nodeid, fd);
    return opened;
  }

  /** Whether closing a file of this mount reports nothing: then FLUSH need not be sent. */
  closesQuietly(mountId: number, fd: number): boolean {
    const known = this.#quietMounts.get(mountId);
    if (known !== undefined) return known;
    const result = status(libc.fstatfs(fd, this.scratch.statfs));
    const type = this.#stat.getUint32(SCRATCH.STATFS + STATFS.TYPE, true);
    const quiet = result === 0 && QUIET_CLOSE.has(type);
    this.#quietMounts.set(mountId, quiet);
    return quiet;
  }

  /** Forgets what depends on mounts: the kernel uses their ids again. No request is running on this thread's queues. */
  forgetMounts(): void {
    this.#quietMounts.clear();
    this.mountKinds.clear();
    this.mounts.keepFirst();
  }

  #openByHandle(nodeid: number): number {
    const { inodes, scratch } = this;
    const mountFd = this.mounts.fd(inodes.mountId(nodeid));
    if (mountFd < 0) return -ESTALE;
    const size = inodes.handleSize(nodeid);
    const { view, u8 } = scratch.memory;
    view.setUint32(SCRATCH.FILE_HANDLE + FILE_HANDLE.BYTES, size, true);
    view.setInt32(SCRATCH.FILE_HANDLE + FILE_HANDLE.TYPE, inodes.handleType(nodeid), true);
    const to = SCRATCH.FILE_HANDLE + FILE_HANDLE.HANDLE;
    for (let i = 0; i < size; i++) u8[to + i] = inodes.handleByte(nodeid, i);
    return status(libc.open_by_handle_at(mountFd, scratch.fileHandle, O_PATH | O_CLOEXEC));
  }

  /** Makes sure that there is a descriptor on the mount of `key`, of which `fd` is an inode. */
  #addMount(fd: number): boolean {
    const { mountId, mode } = this.key;
    if (this.mounts.fd(mountId) >= 0) return true;
    const type = mode & S_IFMT;
    if (type !== S_IFDIR && type !== S_IFREG) return false;
    const flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    const opened = status(libc.openat(AT_FDCWD, this.scratch.fdPath(fd), flags, 0));
    if (opened < 0) return false;
    if (this.mounts.insert(mountId, opened)) return true;
    libc.close(opened);
    return false;
  }
}
