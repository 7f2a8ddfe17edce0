/**
 * System calls that change names: mkdir, mknod, symlink, link, unlink, rmdir, rename.
 *
 * @module
 */

import {
  EBUSY,
  EEXIST,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOSYS,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  EXDEV,
  type Status,
} from "../../sys/errno.ts";
import { Opcode } from "../../wire/fuse.ts";
import {
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from "../../wire/linux.ts";
import * as names from "../client/names.ts";
import * as nodes from "../client/nodes.ts";
import type { Inode } from "./inode.ts";
import { MAY_WRITE, mayAccess, mayAdd, mayRemove } from "./permissions.ts";
import type { Process } from "./process.ts";
import type { Volume } from "./volume.ts";
import type { Place } from "./walk.ts";

const MODE_BITS = 0o7777;

/** Whether something can be made at a place: 0 or a negative errno. */
export function mayMake(
  volume: Volume,
  process: Process,
  place: Place,
  directory: boolean,
): Status {
  if (place.inode !== null || place.special !== "") return -EEXIST;
  // "name/" can only become a directory.
  if (place.slash && !directory) return -ENOENT;
  return mayAdd(volume, process, place.parent);
}

/** Where something new is made, for a request. */
export function newName(place: Place): nodes.NewName {
  return { parent: place.parent.nodeid, groupId: place.parent.attr.gid, name: place.name };
}

/** mkdir(2) */
export function mkdir(volume: Volume, process: Process, place: Place, mode: number): Status {
  const allowed = mayMake(volume, process, place, true);
  if (allowed < 0) return allowed;
  const bits = S_IFDIR | (mode & 0o1777 & ~process.umask);
  return made(volume, place, null, () => {
    return nodes.mkdir(volume.client, newName(place), bits, volume.entry);
  });
}

/** mknod(2). `rdev` is in the kernel's 32-bit encoding. */
export function mknod(
  volume: Volume,
  process: Process,
  place: Place,
  mode: number,
  rdev: number,
): Status {
  const type = (mode & S_IFMT) === 0 ? S_IFREG : mode & S_IFMT;
  if (type === S_IFDIR) return -EPERM;
  const known = [S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK].includes(type);
  if (!known) return -EINVAL;
  const allowed = mayMake(volume, process, place, false);
  if (allowed < 0) return allowed;
  const isDevice = type === S_IFCHR || type === S_IFBLK;
  // A character device 0:0 is a whiteout, which everybody may make.
  if (isDevice && !process.isRoot && !(type === S_IFCHR && rdev === 0)) return -EPERM;
  const bits = type | (mode & MODE_BITS & ~process.umask);
  const device = isDevice ? rdev : 0;
  const { client, entry } = volume;
  return made(volume, place, null, () => {
    return nodes.mknod(client, newName(place), bits, device, entry);
  });
}

/** symlink(2) */
export function symlink(
  volume: Volume,
  process: Process,
  target: Uint8Array,
  place: Place,
): Status {
  const allowed = mayMake(volume, process, place, false);
  if (allowed < 0) return allowed;
  return made(volume, place, null, () => {
    return nodes.symlink(volume.client, newName(place), target, volume.entry);
  });
}

/** link(2) */
export function link(volume: Volume, process: Process, source: Inode, place: Place): Status {
  const allowed = mayMake(volume, process, place, false);
  if (allowed < 0) return allowed;
  if (source.isDirectory) return -EPERM;
  const { client, entry } = volume;
  return made(volume, place, source, () => {
    const { nodeid } = place.parent;
    const status = names.link(client, source.nodeid, nodeid, place.name, entry);
    volume.expire(source);
    return status;
  });
}

/** unlink(2) */
export function unlink(volume: Volume, process: Process, place: Place): Status {
  if (place.special !== "") return place.special === "." ? -EISDIR : -EISDIR;
  if (place.inode === null) return -ENOENT;
  if (place.slash) return place.inode.isDirectory ? -EISDIR : -ENOTDIR;
  const allowed = mayRemove(volume, process, place.parent, place.inode);
  if (allowed < 0) return allowed;
  if (place.inode.isDirectory) return -EISDIR;
  return removed(volume, place, place.inode, names.unlink);
}

/** rmdir(2) */
export function rmdir(volume: Volume, process: Process, place: Place): Status {
  if (place.special === ".") return -EINVAL;
  if (place.special === "..") return -ENOTEMPTY;
  if (place.special === "/") return -EBUSY;
  if (place.inode === null) return -ENOENT;
  const allowed = mayRemove(volume, process, place.parent, place.inode);
  if (allowed < 0) return allowed;
  if (!place.inode.isDirectory) return -ENOTDIR;
  return removed(volume, place, place.inode, names.rmdir);
}

/** renameat2(2) */
export function rename(
  volume: Volume,
  process: Process,
  from: Place,
  to: Place,
  flags: number,
): Status {
  const known = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
  if ((flags & ~known) !== 0) return -EINVAL;
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  if (exchange && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) !== 0) return -EINVAL;
  if (from.special !== "" || to.special !== "") {
    return (flags & RENAME_NOREPLACE) !== 0 && to.special !== "" ? -EEXIST : -EBUSY;
  }
  const checked = mayRename(volume, process, from, to, flags);
  if (checked < 0) return checked;
  const source = from.inode!;
  if (from.parent === to.parent && source === to.inode && !exchange) {
    if (sameName(from.name, to.name)) return 0;
  }
  if (flags !== 0 && volume.unsupported.has(Opcode.RENAME2)) return -EINVAL;
  const concerned = new Set([from.parent, to.parent, source, to.inode ?? source]);
  for (const inode of concerned) volume.changing(inode);
  const status = names.rename(
    volume.client,
    from.parent.nodeid,
    from.name,
    to.parent.nodeid,
    to.name,
    flags,
  );
  const done = status === 0;
  const parents = new Set([from.parent, to.parent]);
  for (const parent of parents) volume.changed(parent, done);
  // What the names led to when the daemon looked is certain only if the directories were as we knew them: otherwise the change may have been
  // made to others, and what has moved these inodes' versions was not us.
  const fromKnown = volume.namesWereKnown(from.parent);
  const toKnown = volume.namesWereKnown(to.parent);
  for (const inode of concerned) {
    if (parents.has(inode)) continue;
    const isCertain = inode === source ? fromKnown : toKnown;
    volume.changed(inode, done && isCertain);
  }
  if (status === -ENOSYS) {
    volume.unsupported.add(Opcode.RENAME2);
    return -EINVAL;
  }
  volume.expire(from.parent);
  volume.expire(to.parent);
  volume.expire(source);
  if (to.inode !== null) volume.expire(to.inode);
  if (status < 0 || exchange || (flags & RENAME_WHITEOUT) !== 0 || source === to.inode) {
    // What the names lead to now is asked when it is wanted.
    volume.dropName(from.parent, from.name);
    volume.dropName(to.parent, to.name);
    return status;
  }
  volume.moveName(from.parent, from.name, to.parent, to.name);
  return 0;
}

function mayRename(
  volume: Volume,
  process: Process,
  from: Place,
  to: Place,
  flags: number,
): Status {
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  const source = from.inode;
  if (source === null) return -ENOENT;
  const target = to.inode;
  if (target !== null && (flags & RENAME_NOREPLACE) !== 0) return -EEXIST;
  if (exchange && target === null) return -ENOENT;
  if (!source.isDirectory) {
    if (from.slash) return -ENOTDIR;
    if (!exchange && to.slash) return -ENOTDIR;
  }
  if (exchange && target !== null && !target.isDirectory && to.slash) return -ENOTDIR;
  if (isWithin(to.parent, source) === true) return -EINVAL;
  const above = target === null ? false : isWithin(from.parent, target);
  if (above === true) return exchange ? -EINVAL : -ENOTEMPTY;
  const removal = mayRemove(volume, process, from.parent, source);
  if (removal < 0) return removal;
  const addition = target === null
    ? mayAdd(volume, process, to.parent)
    : mayRemove(volume, process, to.parent, target);
  if (addition < 0) return addition;
  if (target !== null && !exchange) {
    if (source.isDirectory && !target.isDirectory) return -ENOTDIR;
    // It is ENOTEMPTY if the target lies above: where we do not know, the daemon does.
    if (!source.isDirectory && target.isDirectory && above === false) return -EISDIR;
  }
  // A directory that moves is written to: its ".." changes.
  if (source.isDirectory && from.parent !== to.parent) {
    const status = mayAccess(volume, process, source, MAY_WRITE);
    if (status < 0) return status;
  }
  if (exchange && target !== null && target.isDirectory && from.parent !== to.parent) {
    const status = mayAccess(volume, process, target, MAY_WRITE);
    if (status < 0) return status;
  }
  return 0;
}

/** Whether `inode` is `directory` or below it; null if we do not know all that is above it (cache mode "shared"). */
function isWithin(inode: Inode, directory: Inode): boolean | null {
  if (!directory.isDirectory) return false;
  for (let at: Inode | null = inode;; at = at.parent) {
    if (at === directory) return true;
    if (at === null) return null;
    if (at.parent === at) return false;
  }
}

/** Sends what makes a name, for an inode that exists already (LINK) or for a new one. */
function made(volume: Volume, place: Place, linked: Inode | null, send: () => Status): Status {
  volume.changing(place.parent);
  if (linked !== null) volume.changing(linked);
  const status = send();
  volume.changed(place.parent, status === 0);
  if (linked !== null) volume.changed(linked, status === 0);
  volume.expire(place.parent);
  if (status < 0) {
    // A name that exists after all, or a directory that has gone: ask next time.
    volume.dropName(place.parent, place.name);
    return status === -ENOSYS ? -EPERM : status;
  }
  const inode = volume.enter(place.parent, place.name, linked);
  return typeof inode === "number" ? inode : 0;
}

function removed(
  volume: Volume,
  { parent, name }: Place,
  inode: Inode,
  send: typeof names.unlink,
): Status {
  volume.changing(parent);
  volume.changing(inode);
  const status = send(volume.client, parent.nodeid, name);
  volume.changed(parent, status === 0);
  // As in rename(): somebody may have given the name to another inode.
  volume.changed(inode, status === 0 && volume.namesWereKnown(parent));
  volume.expire(parent);
  volume.dropName(parent, name);
  if (status === 0) volume.expire(inode);
  return status === -EXDEV ? -EBUSY : status;
}

function sameName(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
