/**
 * open(2) and close(2).
 *
 * FIFOs, sockets and devices cannot be opened: there is nothing behind them in a guest that is a program (ENXIO).
 *
 * @module
 */

import {
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENOENT,
  ENOSYS,
  ENOTDIR,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  ESTALE,
  type Status,
} from "../../sys/errno.ts";
import { O_DIRECTORY, O_NOFOLLOW, O_TMPFILE } from "../../sys/architecture.ts";
import {
  FOPEN_CACHE_DIR,
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  FUSE_ATOMIC_O_TRUNC,
  Opcode,
} from "../../wire/fuse.ts";
import {
  __O_TMPFILE,
  O_ACCMODE,
  O_CREAT,
  O_EXCL,
  O_NOATIME,
  O_NOCTTY,
  O_PATH,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  S_IFREG,
} from "../../wire/linux.ts";
import { type Handle, open as sendOpen, release } from "../client/files.ts";
import { hasFlag } from "../client/agreement.ts";
import { create as sendCreate, tmpfile as sendTmpfile } from "../client/nodes.ts";
import { truncate } from "./attributes.ts";
import type { Inode } from "./inode.ts";
import { mayMake, mknod, newName } from "./namespace.ts";
import { OpenFile } from "./open_file.ts";
import {
  isOwner,
  MAY_READ,
  MAY_WRITE,
  mayAccess,
  mayAdd,
  modeWithoutSetId,
} from "./permissions.ts";
import { newLockOwner, type Process } from "./process.ts";
import type { Volume } from "./volume.ts";
import { type Place, resolve } from "./walk.ts";

const NO_HANDLE = { fhLow: 0, fhHigh: 0 } as const;
const encoder = new TextEncoder();

/** open(2) of a path that starts at `start`: the open file, or a negative errno. */
export function open(
  volume: Volume,
  process: Process,
  start: Inode,
  path: Uint8Array,
  flags: number,
  mode: number,
  isRetry = false,
): OpenFile | Status {
  const creating = (flags & O_CREAT) !== 0;
  if (creating && (flags & O_DIRECTORY) === O_DIRECTORY) return -EINVAL;
  if ((flags & __O_TMPFILE) !== 0) return openUnnamed(volume, process, start, path, flags, mode);
  const exclusive = creating && (flags & O_EXCL) !== 0;
  const follow = (flags & O_NOFOLLOW) === 0 && !exclusive;
  const place = resolve(volume, process, start, path, follow);
  if (typeof place === "number") return place;
  if (creating) {
    if (place.slash) return -EISDIR;
    if (place.inode === null) {
      const file = create(volume, process, place, flags, mode);
      // Linux: do_filp_open(): the name has come to lead to something that is not opened by CREATE.
      if (file !== -ESTALE || isRetry) return file;
      return open(volume, process, start, path, flags, mode, true);
    }
    if (exclusive) return -EEXIST;
    if (place.inode.isDirectory) return -EISDIR;
  }
  if (place.inode === null) return -ENOENT;
  return openInode(volume, process, place.inode, flags);
}

/** Opens what is there. */
export function openInode(
  volume: Volume,
  process: Process,
  inode: Inode,
  flags: number,
): OpenFile | Status {
  if ((flags & O_PATH) !== 0) {
    if ((flags & O_DIRECTORY) !== 0 && !inode.isDirectory) return -ENOTDIR;
    return hold(new OpenFile(inode, { ...NO_HANDLE, flags }, flags, 0, newLockOwner()));
  }
  if (inode.isSymlink) return -ELOOP;
  if ((flags & O_DIRECTORY) !== 0 && !inode.isDirectory) return -ENOTDIR;
  const access = flags & O_ACCMODE;
  const writes = access !== O_RDONLY || (flags & O_TRUNC) !== 0;
  if (inode.isDirectory && (writes || (flags & O_CREAT) !== 0)) return -EISDIR;
  const mask = (access !== O_WRONLY ? MAY_READ : 0) | (writes ? MAY_WRITE : 0);
  const allowed = mayAccess(volume, process, inode, mask);
  if (allowed < 0) return allowed;
  if (!inode.isDirectory && !inode.isRegular) return -ENXIO;
  if ((flags & O_NOATIME) !== 0 && !isOwner(process, inode)) return -EPERM;
  return sendOpenOf(volume, process, inode, flags);
}

/** Makes sure that the daemon has a handle for an open directory. */
export function openedAtDaemon(volume: Volume, file: OpenFile): Status {
  if (!file.isDeferred) return 0;
  const { openReply, client } = volume;
  const { flags } = file.handle;
  if (volume.unsupported.has(Opcode.OPENDIR)) noOpen(volume, file.inode);
  else {
    const status = sendOpen(client, file.inode.nodeid, flags, true, false, openReply);
    if (status < 0) return status;
  }
  file.handle = { fhLow: openReply.fhLow, fhHigh: openReply.fhHigh, flags };
  file.isDeferred = false;
  return 0;
}

/** The last descriptor of a file is closed: RELEASE. FLUSH has been sent before. */
export function closeFile(volume: Volume, file: OpenFile): void {
  const { inode } = file;
  inode.holds--;
  if ((file.flags & O_PATH) !== 0 || file.isDeferred) return;
  const opcode = inode.isDirectory ? Opcode.OPENDIR : Opcode.OPEN;
  inode.data?.released(file);
  if (volume.unsupported.has(opcode)) return;
  const owner = file.hasFlock ? file.flockOwner : null;
  release(volume.client, inode.nodeid, file.handle, inode.isDirectory, owner);
}

function sendOpenOf(
  volume: Volume,
  process: Process,
  inode: Inode,
  flags: number,
): OpenFile | Status {
  if (inode.isDirectory && volume.listing(inode) !== null) {
    const file = new OpenFile(inode, { ...NO_HANDLE, flags }, flags, 0, newLockOwner());
    file.isDeferred = true;
    return hold(file);
  }
  const opcode = inode.isDirectory ? Opcode.OPENDIR : Opcode.OPEN;
  const atomic = hasFlag(volume.client.agreement.flags, FUSE_ATOMIC_O_TRUNC);
  const truncating = (flags & O_TRUNC) !== 0;
  let sent = flags & ~(O_CREAT | O_EXCL | O_NOCTTY);
  if (!atomic) sent &= ~O_TRUNC;
  if (truncating && inode.data !== null) inode.data.writeBack();
  const withoutOpen = volume.unsupported.has(opcode);
  const { openReply } = volume;
  if (withoutOpen) noOpen(volume, inode);
  else {
    const kill = truncating && modeWithoutSetId(process, inode) !== null;
    const directory = inode.isDirectory;
    const changes = (sent & O_TRUNC) !== 0;
    if (changes) volume.changing(inode);
    const status = sendOpen(volume.client, inode.nodeid, sent, directory, kill, openReply);
    if (changes) volume.changed(inode, status === 0);
    if (status === -ENOSYS) {
      volume.unsupported.add(opcode);
      noOpen(volume, inode);
    } else if (status < 0) return status;
  }
  const file = opened(volume, inode, flags, sent);
  if (truncating) {
    const done = truncated(volume, process, file, atomic && !volume.unsupported.has(opcode));
    if (done < 0) {
      closeFile(volume, file);
      return done;
    }
  }
  return file;
}

/** After O_TRUNC: the daemon has done it with OPEN, or is asked to now. */
function truncated(volume: Volume, process: Process, file: OpenFile, done: boolean): Status {
  const { inode } = file;
  const kill = modeWithoutSetId(process, inode) !== null;
  if (!done || kill) return truncate(volume, process, inode, file.handle, 0);
  inode.attr.size = 0;
  inode.attrVersion++;
  volume.dataOf(inode).truncated(0);
  volume.expire(inode);
  // The size and times that the daemon has now are the ones that hold, whoever else writes here.
  return volume.refresh(inode, true);
}

function create(
  volume: Volume,
  process: Process,
  place: Place,
  flags: number,
  mode: number,
): OpenFile | Status {
  const allowed = mayMake(volume, process, place, false);
  if (allowed < 0) return allowed;
  const bits = S_IFREG | (mode & 0o7777 & ~process.umask);
  if (!volume.unsupported.has(Opcode.CREATE)) {
    const { client, entry, openReply } = volume;
    const sent = flags & ~O_NOCTTY;
    volume.changing(place.parent);
    const status = sendCreate(client, newName(place), sent, bits, entry, openReply);
    volume.changed(place.parent, status === 0);
    volume.expire(place.parent);
    if (status === 0) {
      const inode = volume.enter(place.parent, place.name);
      return typeof inode === "number" ? inode : opened(volume, inode, flags, sent);
    }
    if (status !== -ENOSYS) {
      volume.dropName(place.parent, place.name);
      return status;
    }
    volume.unsupported.add(Opcode.CREATE);
  }
  const status = mknod(volume, process, place, S_IFREG | mode, 0);
  if (status < 0) return status;
  const inode = volume.child(place.parent, place.name);
  // Whoever makes a file may use it as it was asked for, whatever its mode says.
  return typeof inode === "number"
    ? inode
    : sendOpenOf(volume, process, inode, flags & ~(O_EXCL | O_CREAT));
}

function openUnnamed(
  volume: Volume,
  process: Process,
  start: Inode,
  path: Uint8Array,
  flags: number,
  mode: number,
): OpenFile | Status {
  if ((flags & O_TMPFILE) !== O_TMPFILE) return -EINVAL;
  if ((flags & O_ACCMODE) === O_RDONLY) return -EINVAL;
  const place = resolve(volume, process, start, path, true);
  if (typeof place === "number") return place;
  if (place.inode === null) return -ENOENT;
  if (!place.inode.isDirectory) return -ENOTDIR;
  const allowed = mayAdd(volume, process, place.inode);
  if (allowed < 0) return allowed;
  if (volume.unsupported.has(Opcode.TMPFILE)) return -EOPNOTSUPP;
  const { client, entry, openReply } = volume;
  const where = {
    parent: place.inode.nodeid,
    groupId: place.inode.attr.gid,
    name: encoder.encode(`#${process.pid}`),
  };
  const bits = S_IFREG | (mode & 0o7777 & ~process.umask);
  const status = sendTmpfile(client, where, flags, bits, entry, openReply);
  if (status === -ENOSYS) {
    volume.unsupported.add(Opcode.TMPFILE);
    return -EOPNOTSUPP;
  }
  if (status < 0) return status;
  const inode = volume.instantiate(entry);
  return typeof inode === "number" ? inode : opened(volume, inode, flags, flags);
}

/** The open file that the daemon's reply, in `volume.openReply`, is about. */
function opened(volume: Volume, inode: Inode, flags: number, sent: number): OpenFile {
  const { fhLow, fhHigh } = volume.openReply;
  let { openFlags } = volume.openReply;
  if (volume.options.cache === "none") openFlags = openFlags | FOPEN_DIRECT_IO;
  if (volume.options.cache === "always") {
    openFlags = (openFlags | FOPEN_KEEP_CACHE) & ~FOPEN_DIRECT_IO;
  }
  if (volume.versions !== null && inode.isRegular && !inode.stale) {
    // The daemon knows what it has told this guest, and not what this guest can prove.
    openFlags = volume.versions.observe(inode)
      ? openFlags | FOPEN_KEEP_CACHE
      : openFlags & ~FOPEN_KEEP_CACHE;
  }
  const handle: Handle = { fhLow, fhHigh, flags: sent };
  const file = new OpenFile(inode, handle, flags, openFlags, newLockOwner());
  if (inode.isRegular) volume.dataOf(inode).opened(file);
  return hold(file);
}

function hold(file: OpenFile): OpenFile {
  file.inode.holds++;
  return file;
}

/** A daemon that does not know OPEN keeps no state: handle 0, and caches may be kept (fuse.h: FUSE_NO_OPEN_SUPPORT). */
function noOpen(volume: Volume, inode: Inode): void {
  volume.openReply.fhLow = 0;
  volume.openReply.fhHigh = 0;
  volume.openReply.openFlags = FOPEN_KEEP_CACHE | (inode.isDirectory ? FOPEN_CACHE_DIR : 0);
}
