/**
 * LOOKUP: from a directory and one name to an inode the guest knows. Everything that makes or finds names ends
 * here.
 *
 * A name is looked up relative to its directory's descriptor, one component at a time, and no symlink is ever
 * followed, so there is no path that could lead out of the share.
 *
 * @module
 */

import { isDot, isDotDot } from "../fuse/names.ts";
import type { Reply } from "../fuse/reply.ts";
import type { Request } from "../fuse/request.ts";
import { O_NOFOLLOW } from "../sys/architecture.ts";
import { ENOENT, ENOTDIR, ESTALE, type Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { ENTRY_OUT, FUSE_ATTR_SUBMOUNT, FUSE_ROOT_ID, FUSE_SUBMOUNTS } from "../wire/fuse.ts";
import {
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_PATH,
  PATH_MAX,
  S_IFDIR,
  S_IFMT,
} from "../wire/linux.ts";
import { writeAttr } from "./attributes.ts";
import { daxFlag } from "./dax_files.ts";
import { SCRATCH } from "./scratch.ts";
import { type Share, STATX_MASK } from "./share.ts";

export function lookup(share: Share, request: Request, reply: Reply): Status {
  const { nodeid, nameOffset, nameSize } = request;
  const { u8 } = request.bytes;
  if ((share.inodes.mode(FUSE_ROOT_ID) & S_IFMT) !== S_IFDIR) return -ENOTDIR;
  const parentFd = share.borrow(nodeid);
  if (parentFd < 0) return parentFd;
  let result: Status;
  if (
    isDot(u8, nameOffset, nameSize) ||
    (isDotDot(u8, nameOffset, nameSize) && nodeid === FUSE_ROOT_ID)
  ) {
    // At the root ".." is the root: nothing above it exists for the guest.
    share.loadVersion(nodeid);
    result = share.statFd(parentFd);
    if (result === 0 && !share.inodes.addLookup(nodeid)) result = -ESTALE;
    if (result === 0) writeEntry(share, reply, 0, nodeid, nodeid);
  } else if (isDotDot(u8, nameOffset, nameSize)) {
    result = lookupParent(share, reply, parentFd, nodeid);
  } else {
    // Guests look up new names in runs (a tree walk) and known ones in runs (revalidation).
    const find = share.expectsNew ? lookupNewEntry : lookupEntry;
    result = find(share, parentFd, nodeid, request.namePointer, reply, 0);
  }
  share.giveBack(nodeid, parentFd);
  if (result === -ENOENT) return negativeEntry(share, reply, nodeid);
  if (result === 0) writeVersion(share, reply, ENTRY_OUT.SIZE);
  return result;
}

/**
 * Looks `name` up in a directory and writes its ENTRY_OUT at `offset` of the reply, with one more lookup counted. `guess`: the nodeid that it probably
 * has, or 0.
 *
 * A known inode costs one system call: its descriptor pins (device, inode number), so the numbers alone identify it. A
 * new one is opened first and asked afterwards, so that what is recorded is what was opened.
 */
export function lookupEntry(
  share: Share,
  parentFd: number,
  parent: number,
  name: Deno.PointerObject,
  reply: Reply,
  offset: number,
  guess = 0,
): Status {
  // A version has to be read before the attributes: with a good guess of whose, they need not be asked for twice.
  if (guess !== 0) share.loadVersion(guess);
  const stated = status(
    libc.statx(parentFd, name, AT_SYMLINK_NOFOLLOW, STATX_MASK, share.scratch.statx),
  );
  if (stated < 0) return stated;
  share.loadKey();
  const nodeid = share.inodes.find(share.key, 1);
  share.expectsNew = nodeid === 0;
  if (nodeid === 0) return lookupNewEntry(share, parentFd, parent, name, reply, offset);
  if (
    share.sharesVersions && nodeid !== guess && !statAfterVersion(share, parentFd, name, nodeid)
  ) {
    share.inodes.forget(nodeid, 1);
    return lookupNewEntry(share, parentFd, parent, name, reply, offset);
  }
  writeEntry(share, reply, offset, nodeid, parent);
  return 0;
}

/** Asks again once the version has been read. False if the name leads somewhere else by then. */
function statAfterVersion(
  share: Share,
  parentFd: number,
  name: Deno.PointerObject,
  nodeid: number,
): boolean {
  share.loadVersion(nodeid);
  const { inodes, key, scratch } = share;
  const stated = status(
    libc.statx(parentFd, name, AT_SYMLINK_NOFOLLOW, STATX_MASK, scratch.statx),
  );
  if (stated < 0) return false;
  share.loadKey();
  return key.inoLo === inodes.inoLo(nodeid) && key.inoHi === inodes.inoHi(nodeid) &&
    key.devLo === inodes.devLo(nodeid) && key.devHi === inodes.devHi(nodeid);
}

/** The same for a name that is probably not known: opens it at once, which saves the first of three system calls. */
export function lookupNewEntry(
  share: Share,
  parentFd: number,
  parent: number,
  name: Deno.PointerObject,
  reply: Reply,
  offset: number,
): Status {
  const nodeid = openEntry(share, parentFd, name);
  if (nodeid < 0) return nodeid;
  share.expectsNew = share.inodes.inserted;
  writeEntry(share, reply, offset, nodeid, parent);
  return 0;
}

/** Opens a name (O_PATH, not followed), leaves its attributes in scratch, and makes it known. Returns the nodeid or an errno. */
export function openEntry(share: Share, parentFd: number, name: Deno.PointerObject): number {
  const fd = status(libc.openat(parentFd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0));
  if (fd < 0) return fd;
  return adoptFd(share, fd);
}

/** Makes the inode of an O_PATH descriptor (taken over) known, leaving its attributes in scratch. */
export function adoptFd(share: Share, fd: number): number {
  const stated = share.statFd(fd);
  if (stated < 0) {
    libc.close(fd);
    return stated;
  }
  share.loadKey();
  return share.adopt(fd);
}

/** ENTRY_OUT of a known inode whose attributes are in scratch. */
export function writeEntry(
  share: Share,
  reply: Reply,
  offset: number,
  nodeid: number,
  parent: number,
): void {
  const { inodes, policy } = share;
  const generation = inodes.generation(nodeid);
  reply.setEntry(offset, nodeid, generation, policy.validSeconds, policy.validNanoseconds);
  writeAttr(
    share,
    reply,
    offset + ENTRY_OUT.ATTR,
    isSubmount(share, nodeid, parent) ? FUSE_ATTR_SUBMOUNT : daxFlag(share, nodeid),
  );
  if (share.sharesVersions) share.versions!.writeValidities(reply, offset, parent);
}

/** The version that belongs to the entry written last, where the guest wants it. */
export function writeVersion(share: Share, reply: Reply, offset: number): void {
  if (share.sharesVersions) share.versions!.write(reply, offset);
}

/** A directory on another mount, or another device (a btrfs subvolume), than its parent: the guest mounts it by itself. */
function isSubmount(share: Share, nodeid: number, parent: number): boolean {
  const { inodes } = share;
  if (nodeid === parent || !share.session.has(FUSE_SUBMOUNTS)) return false;
  if (
    inodes.mountId(nodeid) === inodes.mountId(parent) &&
    inodes.devLo(nodeid) === inodes.devLo(parent) && inodes.devHi(nodeid) === inodes.devHi(parent)
  ) return false;
  return (inodes.mode(nodeid) & S_IFMT) === S_IFDIR;
}

/**
 * ".." below the root: for guests that export the share, and for those whose directory another guest has moved. A parent that the guest does not know is
 * told only if it lies below the root now, so that nobody climbs out of a directory that was moved away.
 */
function lookupParent(share: Share, reply: Reply, fd: number, nodeid: number): Status {
  const parentFd = openParent(share, fd);
  if (parentFd < 0) return parentFd;
  let result = share.statFd(parentFd);
  if (result === 0) {
    share.loadKey();
    if (share.usesHandles) result = share.loadHandle(parentFd);
  }
  let parent = result < 0 ? 0 : share.inodes.find(share.key, 1);
  if (result === 0 && parent === 0 && isBelowRoot(share, parentFd)) {
    parent = adoptFd(share, parentFd);
    if (parent < 0) return parent;
  } else {
    share.loadVersion(parent);
    if (parent !== 0) result = share.statFd(parentFd);
    libc.close(parentFd);
    if (result < 0 && parent !== 0) share.inodes.forget(parent, 1);
    if (result < 0) return result;
  }
  if (parent === 0) return -ESTALE;
  writeEntry(share, reply, 0, parent, nodeid);
  return 0;
}

function openParent(share: Share, fd: number): number {
  const { memory } = share.scratch;
  const path = memory.pointerAt(memory.setCString(SCRATCH.PATH, ".."));
  return status(libc.openat(fd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0));
}

/** Whether going up from a directory leads to the share's root. */
function isBelowRoot(share: Share, fd: number): boolean {
  const { inodes, key } = share;
  let at = fd;
  let found = false;
  for (let depth = 0; depth < PATH_MAX && !found; depth++) {
    const inoLo = key.inoLo;
    const devLo = key.devLo;
    if (share.statFd(at) < 0) break;
    share.loadKey();
    // The host's root is its own parent.
    if (depth > 0 && key.inoLo === inoLo && key.devLo === devLo) break;
    found = key.inoLo === inodes.inoLo(FUSE_ROOT_ID) && key.inoHi === inodes.inoHi(FUSE_ROOT_ID) &&
      key.devLo === inodes.devLo(FUSE_ROOT_ID) && key.devHi === inodes.devHi(FUSE_ROOT_ID);
    if (found) break;
    const above = openParent(share, at);
    if (at !== fd) libc.close(at);
    at = above;
    if (at < 0) return false;
  }
  if (at !== fd) libc.close(at);
  return found;
}

/** A name that does not exist: with a validity, the guest remembers that. */
function negativeEntry(share: Share, reply: Reply, parent: number): Status {
  if (share.sharesVersions) return share.versions!.writeMissing(reply, parent) ? 0 : -ENOENT;
  const { negativeSeconds, negativeNanoseconds } = share.policy;
  if (negativeSeconds === 0 && negativeNanoseconds === 0) return -ENOENT;
  reply.zero(0, ENTRY_OUT.SIZE);
  reply.setEntry(0, 0, 0, negativeSeconds, negativeNanoseconds);
  return 0;
}
