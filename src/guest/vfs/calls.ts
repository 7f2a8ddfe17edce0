/**
 * The system calls of one process of the guest. Results are those of the calls in Linux: 0 or more, or a negative
 * errno; they never throw for one.
 *
 * @module
 */

import { EBADF, EINVAL, ENOENT, ENOTDIR, EPERM, ERANGE, type Status } from "../../sys/errno.ts";
import {
  __O_TMPFILE,
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  O_ACCMODE,
  O_EXCL,
  O_PATH,
  O_RDONLY,
  S_IFIFO,
  UTIME_NOW,
  UTIME_OMIT,
} from "../../wire/linux.ts";
import { type NewTime, statfs } from "../client/attributes.ts";
import type { LockRange } from "../client/locks.ts";
import * as attributes from "./attributes.ts";
import type { DaxView } from "../dax/dax_view.ts";
import { resolveKnown } from "./cached_walk.ts";
import { Descriptors } from "./descriptors.ts";
import type { DirectoryEntry } from "./directory_entry.ts";
import * as fileCalls from "./file_calls.ts";
import type { Inode } from "./inode.ts";
import * as locks from "./locks.ts";
import * as namespace from "./namespace.ts";
import { open } from "./open.ts";
import type { OpenFile } from "./open_file.ts";
import type { Process } from "./process.ts";
import { encodeDevice, type Stat, statOf, type StatVfs } from "./stat.ts";
import type { Volume } from "./volume.ts";
import { linkTarget, pathBytes, type Place, resolve } from "./walk.ts";
import * as xattrs from "./xattrs.ts";

/** A path: text is UTF-8, bytes are taken as they are. */
export type Path = string | Uint8Array;
/** A time for utimensat(2): seconds and nanoseconds, UTIME_NOW or UTIME_OMIT among these. */
export type TimeSpec = readonly [seconds: number, nanoseconds: number];

/** linux/dirent.h: what a record takes beside its name, and the multiple that it is padded to. */
const DIRENT_HEADER = 19;

/** One process and its system calls. */
export class GuestCalls {
  readonly volume: Volume;
  readonly process: Process;
  readonly descriptors: Descriptors;

  constructor(volume: Volume, process: Process) {
    this.volume = volume;
    this.process = process;
    this.descriptors = new Descriptors(volume, process);
  }

  open(path: Path, flags: number, mode = 0): number {
    return this.openat(AT_FDCWD, path, flags, mode);
  }

  openat(fd: number, path: Path, flags: number, mode = 0): number {
    const start = this.#start(fd, path);
    if (typeof start === "number") return start;
    const file = open(this.volume, this.process, start, pathBytes(path), flags, mode);
    return typeof file === "number" ? file : this.descriptors.add(file);
  }

  close(fd: number): Status {
    this.#begin();
    return this.descriptors.close(fd);
  }

  dup(fd: number): number {
    return this.descriptors.duplicate(fd);
  }

  mkdirat(fd: number, path: Path, mode: number): Status {
    return this.#onPlace(fd, path, false, (place) => {
      return namespace.mkdir(this.volume, this.process, place, mode);
    });
  }

  /** `major` and `minor` are those of a device. */
  mknod(path: Path, mode: number, major = 0, minor = 0): Status {
    return this.#onPlace(AT_FDCWD, path, false, (place) => {
      const rdev = encodeDevice(major, minor);
      return namespace.mknod(this.volume, this.process, place, mode, rdev);
    });
  }

  mkfifo(path: Path, mode: number): Status {
    return this.mknod(path, S_IFIFO | (mode & 0o7777));
  }

  symlink(target: Path, path: Path): Status {
    const bytes = pathBytes(target);
    if (bytes.length === 0) return -ENOENT;
    return this.#onPlace(AT_FDCWD, path, false, (place) => {
      return namespace.symlink(this.volume, this.process, bytes, place);
    });
  }

  linkat(fromFd: number, from: Path, toFd: number, to: Path, flags: number): Status {
    if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) !== 0) return -EINVAL;
    const source = (flags & AT_EMPTY_PATH) !== 0 && from.length === 0
      ? this.#linkable(fromFd)
      : this.#inode(fromFd, from, (flags & AT_SYMLINK_FOLLOW) !== 0);
    if (typeof source === "number") return source;
    return this.#holding(source, () =>
      this.#onPlace(toFd, to, false, (place) => {
        return namespace.link(this.volume, this.process, source, place);
      }));
  }

  unlinkat(fd: number, path: Path, flags: number): Status {
    if ((flags & ~AT_REMOVEDIR) !== 0) return -EINVAL;
    return this.#onPlace(fd, path, false, (place) => {
      return flags === 0
        ? namespace.unlink(this.volume, this.process, place)
        : namespace.rmdir(this.volume, this.process, place);
    }, flags === 0);
  }

  renameat2(from: Path, to: Path, flags: number): Status {
    return this.#onPlace(
      AT_FDCWD,
      from,
      false,
      (source) =>
        this.#holding(source.parent, () =>
          this.#onPlace(AT_FDCWD, to, false, (target) => {
            return namespace.rename(this.volume, this.process, source, target, flags);
          }, true)),
      true,
    );
  }

  /** The target's bytes, at most `size` of them, or a negative errno. */
  readlink(path: Path, size = 4096): Uint8Array | Status {
    if (size <= 0) return -EINVAL;
    const inode = this.#inode(AT_FDCWD, path, false);
    if (typeof inode === "number") return inode;
    if (!inode.isSymlink) return -EINVAL;
    const target = linkTarget(this.volume, inode);
    return typeof target === "number" ? target : target.subarray(0, size);
  }

  fchmodat(fd: number, path: Path, mode: number): Status {
    return this.#onInode(fd, path, true, (inode) => {
      return attributes.chmod(this.volume, this.process, inode, mode);
    });
  }

  fchmod(fd: number, mode: number): Status {
    return this.#onFile(fd, ({ inode }) => {
      return attributes.chmod(this.volume, this.process, inode, mode);
    });
  }

  /** Ids below 0 stay as they are. */
  fchownat(fd: number, path: Path, uid: number, gid: number, flags: number): Status {
    return this.#onInode(fd, path, (flags & AT_SYMLINK_NOFOLLOW) === 0, (inode) => {
      return attributes.chown(this.volume, this.process, inode, uid >>> 0, gid >>> 0);
    });
  }

  fchown(fd: number, uid: number, gid: number): Status {
    return this.#onFile(fd, ({ inode }) => {
      return attributes.chown(this.volume, this.process, inode, uid >>> 0, gid >>> 0);
    });
  }

  truncate(path: Path, size: number): Status {
    if (size < 0) return -EINVAL;
    return this.#onInode(AT_FDCWD, path, true, (inode) => {
      return attributes.truncate(this.volume, this.process, inode, null, size);
    });
  }

  ftruncate(fd: number, size: number): Status {
    return this.#onFile(fd, (file) => {
      if (size < 0 || (file.flags & O_ACCMODE) === O_RDONLY) return -EINVAL;
      return attributes.truncate(this.volume, this.process, file.inode, file.handle, size);
    });
  }

  /** `times` null sets both to now. */
  utimensat(path: Path, times: readonly [TimeSpec, TimeSpec] | null, flags = 0): Status {
    if ((flags & ~AT_SYMLINK_NOFOLLOW) !== 0) return -EINVAL;
    return this.#onInode(AT_FDCWD, path, (flags & AT_SYMLINK_NOFOLLOW) === 0, (inode) => {
      return this.#utimes(inode, times);
    });
  }

  futimens(fd: number, times: readonly [TimeSpec, TimeSpec] | null): Status {
    return this.#onFile(fd, ({ inode }) => this.#utimes(inode, times));
  }

  /** stat(2), or lstat(2) with AT_SYMLINK_NOFOLLOW. */
  fstatat(path: Path, flags: number): Stat | Status {
    const inode = this.#inode(AT_FDCWD, path, (flags & AT_SYMLINK_NOFOLLOW) === 0);
    if (typeof inode === "number") return inode;
    const status = this.volume.refresh(inode);
    return status < 0 ? status : statOf(inode);
  }

  fstat(fd: number): Stat | Status {
    this.#begin();
    const file = this.descriptors.get(fd);
    if (file === null) return -EBADF;
    // An unlinked file is reached through its handle only.
    const isPath = (file.flags & O_PATH) !== 0 || file.inode.isDirectory;
    const status = this.volume.refresh(file.inode, false, isPath ? null : file.handle);
    return status < 0 ? status : statOf(file.inode);
  }

  faccessat(path: Path, mask: number, flags = 0): Status {
    if ((mask & ~7) !== 0) return -EINVAL;
    return this.#onInode(AT_FDCWD, path, (flags & AT_SYMLINK_NOFOLLOW) === 0, (inode) => {
      return attributes.access(this.volume, this.process, inode, mask);
    });
  }

  /** Reads into `into` where the file stands. */
  read(fd: number, into: Uint8Array): number {
    return this.#onFile(fd, (file) => {
      const count = fileCalls.pread(this.volume, file, file.position, into);
      if (count > 0) file.position += count;
      return count;
    });
  }

  write(fd: number, from: Uint8Array): number {
    return this.#onFile(fd, (file) => {
      const { volume, process } = this;
      const count = fileCalls.pwrite(volume, process, file, file.position, from);
      if (count > 0) file.position += count;
      return count;
    });
  }

  pread(fd: number, into: Uint8Array, offset: number): number {
    return this.#onFile(fd, (file) => fileCalls.pread(this.volume, file, offset, into));
  }

  pwrite(fd: number, from: Uint8Array, offset: number): number {
    return this.#onFile(fd, (file) => {
      const { position } = file;
      const count = fileCalls.pwrite(this.volume, this.process, file, offset, from);
      file.position = position;
      return count;
    });
  }

  lseek(fd: number, offset: number, whence: number): number {
    return this.#onFile(fd, (file) => {
      return fileCalls.lseek(this.volume, file, offset, whence);
    });
  }

  /** lseek(2) with SEEK_SET of a directory: `cookie` is a `next` of {@linkcode GuestCalls.getdents}, or 0. */
  seekdir(fd: number, cookie: bigint): Status {
    return this.#onFile(fd, (file) => {
      if (!file.inode.isDirectory) return -ENOTDIR;
      this.descriptors.streamOf(file).seek(cookie);
      return 0;
    });
  }

  fallocate(fd: number, mode: number, offset: number, length: number): Status {
    return this.#onFile(fd, (file) => {
      return fileCalls.fallocate(this.volume, this.process, file, mode, offset, length);
    });
  }

  copyFileRange(
    source: number,
    sourceOffset: number,
    target: number,
    targetOffset: number,
    length: number,
  ): number {
    return this.#onFile(source, (from) =>
      this.#onFile(target, (to) => {
        const { volume, process } = this;
        return fileCalls.copyFileRange(
          volume,
          process,
          from,
          sourceOffset,
          to,
          targetOffset,
          length,
        );
      }));
  }

  /** What mmap(2) would show of a file in the DAX window. */
  view(fd: number, offset: number, length: number, writable: boolean): DaxView | Status {
    this.#begin();
    const file = fileCalls.viewable(this.descriptors.get(fd), offset, writable);
    if (typeof file === "number") return file;
    return this.volume.dataOf(file.inode).view(offset, length, writable);
  }

  /** The next entries of a directory, as many as getdents64(2) would put into `size` bytes; none at the end. */
  getdents(fd: number, size = 32768): DirectoryEntry[] | Status {
    this.#begin();
    const file = this.descriptors.get(fd);
    if (file === null || (file.flags & O_PATH) !== 0) return -EBADF;
    if (!file.inode.isDirectory) return -ENOTDIR;
    const stream = this.descriptors.streamOf(file);
    const entries: DirectoryEntry[] = [];
    for (let left = size;;) {
      const entry = stream.peek(this.volume, file);
      if (entry === null) return entries;
      if (typeof entry === "number") return entries.length > 0 ? entries : entry;
      const record = Math.ceil((DIRENT_HEADER + entry.name.length + 1) / 8) * 8;
      if (record > left) return entries.length > 0 ? entries : -EINVAL;
      left -= record;
      entries.push(entry);
      stream.advance();
    }
  }

  /** F_SETLK and F_SETLKW of POSIX locks, or of open file description locks. */
  setLock(fd: number, range: LockRange, wait: boolean, ofFile: boolean): Status {
    return this.#onFile(fd, (file) => {
      const owner = ofFile ? file.flockOwner : this.process.lockOwner;
      return locks.setLock(this.volume, file, owner, range, wait);
    });
  }

  getLock(fd: number, range: LockRange, ofFile: boolean): LockRange | Status {
    this.#begin();
    const file = this.descriptors.get(fd);
    if (file === null) return -EBADF;
    const owner = ofFile ? file.flockOwner : this.process.lockOwner;
    return locks.getLock(this.volume, file, owner, range);
  }

  flock(fd: number, operation: number): Status {
    return this.#onFile(fd, (file) => locks.flock(this.volume, file, operation));
  }

  setxattr(
    target: Path | number,
    name: Path,
    value: Uint8Array,
    flags: number,
    follow: boolean,
  ): Status {
    return this.#onTarget(target, follow, (inode) => {
      const bytes = pathBytes(name);
      return xattrs.setxattr(this.volume, this.process, inode, bytes, value, flags);
    });
  }

  /** Fills `into` and returns the length; an empty `into` asks for it. */
  getxattr(target: Path | number, name: Path, into: Uint8Array, follow: boolean): number {
    return this.#onTarget(target, follow, (inode) => {
      return filled(xattrs.getxattr(this.volume, this.process, inode, pathBytes(name)), into);
    });
  }

  listxattr(target: Path | number, into: Uint8Array, follow: boolean): number {
    return this.#onTarget(target, follow, (inode) => {
      return filled(xattrs.listxattr(this.volume, this.process, inode), into);
    });
  }

  removexattr(target: Path | number, name: Path, follow: boolean): Status {
    return this.#onTarget(target, follow, (inode) => {
      return xattrs.removexattr(this.volume, this.process, inode, pathBytes(name));
    });
  }

  fsync(fd: number): Status {
    return this.#onFile(fd, (file) => fileCalls.sync(this.volume, file, false));
  }

  fdatasync(fd: number): Status {
    return this.#onFile(fd, (file) => fileCalls.sync(this.volume, file, true));
  }

  sync(): Status {
    this.#begin();
    return this.volume.sync();
  }

  statvfs(path: Path): StatVfs | Status {
    const inode = this.#inode(AT_FDCWD, path, true);
    if (typeof inode === "number") return inode;
    const figures = statfs(this.volume.client, inode.nodeid);
    if (typeof figures === "number") return figures;
    const { namelen, ...rest } = figures;
    return { ...rest, namemax: namelen };
  }

  umask(mask: number): number {
    const old = this.process.umask;
    this.process.umask = mask & 0o777;
    return old;
  }

  chdir(path: Path): Status {
    return this.#onInode(AT_FDCWD, path, true, (inode) => {
      if (!inode.isDirectory) return -ENOTDIR;
      const allowed = attributes.access(this.volume, this.process, inode, 1);
      if (allowed < 0) return allowed;
      inode.holds++;
      this.process.cwd.holds--;
      this.process.cwd = inode;
      return 0;
    });
  }

  /** Changes who the process is; only root may. */
  become(uid: number, gid: number, groups: readonly number[]): Status {
    if (!this.process.isRoot) return -EPERM;
    Object.assign(this.process, { uid, gid, groups });
    return 0;
  }

  /** Every call begins here: requests are made for this process, and the budget is kept. */
  #begin(): void {
    this.volume.client.caller = this.process;
    this.volume.shrink();
  }

  #start(fd: number, path: Path): Inode | Status {
    this.#begin();
    if (fd === AT_FDCWD || path[0] === "/" || path[0] === 0x2f) return this.process.cwd;
    const file = this.descriptors.get(fd);
    if (file === null) return -EBADF;
    return file.inode.isDirectory ? file.inode : -ENOTDIR;
  }

  /** `keepSlash`: a trailing slash does not make the last component be followed. */
  #onPlace(
    fd: number,
    path: Path,
    follow: boolean,
    act: (place: Place) => Status,
    keepSlash = false,
  ): Status {
    const start = this.#start(fd, path);
    if (typeof start === "number") return start;
    const bytes = pathBytes(path);
    const place = resolve(this.volume, this.process, start, bytes, follow, !keepSlash);
    return typeof place === "number" ? place : act(place);
  }

  #inode(fd: number, path: Path, follow: boolean): Inode | Status {
    const start = this.#start(fd, path);
    if (typeof start === "number") return start;
    const known = typeof path === "string"
      ? resolveKnown(this.volume, this.process, start, path)
      : null;
    if (known !== null) return known;
    const place = resolve(this.volume, this.process, start, pathBytes(path), follow);
    if (typeof place === "number") return place;
    return place.inode ?? -ENOENT;
  }

  #onInode(
    fd: number,
    path: Path,
    follow: boolean,
    act: (inode: Inode) => Status,
  ): Status {
    const inode = this.#inode(fd, path, follow);
    return typeof inode === "number" ? inode : act(inode);
  }

  /** Files that were opened with O_PATH can be looked at and walked from, and nothing else. */
  #onFile(fd: number, act: (file: OpenFile) => number): number {
    this.#begin();
    const file = this.descriptors.get(fd);
    return file === null || (file.flags & O_PATH) !== 0 ? -EBADF : act(file);
  }

  /** The file that AT_EMPTY_PATH names, if it may get another name: it still has one, or it is an O_TMPFILE without O_EXCL. */
  #linkable(fd: number): Inode | Status {
    this.#begin();
    const file = this.descriptors.get(fd);
    if (file === null) return -EBADF;
    // CAP_DAC_READ_SEARCH (linkat(2)).
    if (!this.process.isRoot) return -ENOENT;
    const status = this.volume.refresh(file.inode, false, file.handle);
    if (status < 0) return status;
    const unnamed = (file.flags & __O_TMPFILE) !== 0 && (file.flags & O_EXCL) === 0;
    return file.inode.attr.nlink === 0 && !unnamed ? -ENOENT : file.inode;
  }

  #onTarget(target: Path | number, follow: boolean, act: (inode: Inode) => number): number {
    if (typeof target === "number") return this.#onFile(target, ({ inode }) => act(inode));
    return this.#onInode(AT_FDCWD, target, follow, act);
  }

  /** Runs `act` while an inode cannot be forgotten. */
  #holding(inode: Inode, act: () => Status): Status {
    inode.holds++;
    try {
      return act();
    } finally {
      inode.holds--;
    }
  }

  #utimes(inode: Inode, times: readonly [TimeSpec, TimeSpec] | null): Status {
    const [atime, mtime] = times ?? [[0, UTIME_NOW], [0, UTIME_NOW]] as const;
    for (const [, nsec] of [atime, mtime]) {
      const known = nsec === UTIME_NOW || nsec === UTIME_OMIT;
      if (!known && (nsec < 0 || nsec > 999_999_999)) return -EINVAL;
    }
    const { volume, process } = this;
    return attributes.utimes(volume, process, inode, newTime(atime), newTime(mtime));
  }
}

function newTime(time: TimeSpec): NewTime | undefined {
  if (time[1] === UTIME_OMIT) return undefined;
  return time[1] === UTIME_NOW ? "now" : time;
}

function filled(value: Uint8Array | Status, into: Uint8Array): number {
  if (typeof value === "number") return value;
  if (into.length === 0) return value.length;
  if (value.length > into.length) return -ERANGE;
  into.set(value);
  return value.length;
}
