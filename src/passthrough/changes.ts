/**
 * Requests that change inodes, and the versions that tell guests so (`--cache shared`). Which request changes what is in one table:
 * `wire/shared_versions.ts`, CHANGED_BY.
 *
 * An inode that a name leads to is found before the system call; between that and the call no other daemon may give the name to another inode, nor to one if there was
 * none. So whoever adds, removes or replaces names locks the directory for that long.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { Reply } from "../fuse/reply.ts";
import type { Request } from "../fuse/request.ts";
import { ENAMETOOLONG, ENOENT, ENOTDIR, ESTALE, type Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import {
  COPY_FILE_RANGE_IN,
  LINK_IN,
  Opcode,
  OPEN_IN,
  RENAME2_IN,
  RENAME_IN,
} from "../wire/fuse.ts";
import { AT_SYMLINK_NOFOLLOW, O_TRUNC } from "../wire/linux.ts";
import { CHANGED_BY, CHANGES } from "../wire/shared_versions.ts";
import type { NodeVersions } from "./node_versions.ts";
import { type Share, STATX_MASK } from "./share.ts";

/** An operation of this folder. */
type ShareOperation = (share: Share, request: Request, reply: Reply) => Status;

/** Carries out a request that changes inodes: no guest that shares versions trusts what it knows of them from just before to just after. */
export function changing(
  share: Share,
  request: Request,
  reply: Reply,
  operation: ShareOperation,
): Status {
  const { versions } = share;
  if (versions === null || share.config.readonly) return operation(share, request, reply);
  const roles = rolesOf(request);
  if (roles === 0) return operation(share, request, reply);
  const { nodeid } = request;
  const other = otherNode(request, roles);
  const { inodes } = share;
  // Pinned, so that their slots stay theirs.
  const hasNode = (roles & ~CHANGES.COPY_TARGET) !== 0 && inodes.acquire(nodeid);
  const hasOther = other !== 0 && inodes.acquire(other);
  const { change } = versions;
  try {
    // What is not known cannot be counted, so it is not done. (An open file keeps its inode known.)
    if (!hasNode && (roles & ~CHANGES.COPY_TARGET) !== 0) return -ESTALE;
    if (other !== 0 && !hasOther) return -ESTALE;
    const begun = begin(share, versions, request, roles, hasNode, other);
    return begun < 0 ? begun : operation(share, request, reply);
  } finally {
    change.end();
    if (hasOther) inodes.release(other);
    if (hasNode) inodes.release(nodeid);
  }
}

/** What the request may change: CHANGES.* */
function rolesOf(request: Request): number {
  const roles = CHANGED_BY[request.opcode];
  assert(roles !== undefined, "the table has every opcode that changes something");
  if ((roles & CHANGES.IF_TRUNCATED) === 0) return roles;
  if (request.opcode === Opcode.OPEN) {
    return (request.u32(OPEN_IN.FLAGS) & O_TRUNC) !== 0 ? roles : 0;
  }
  // Most names are new: what one leads to that is not is known in time, see truncating().
  return roles & ~CHANGES.NAMED;
}

/** CREATE has found a file and is about to empty it. */
export function truncating(share: Share, nodeid: number): void {
  const { versions, inodes } = share;
  versions?.change.beginOne(
    inodes.devLo(nodeid),
    inodes.devHi(nodeid),
    inodes.inoLo(nodeid),
    inodes.inoHi(nodeid),
  );
}

/** The second inode that the request names by nodeid, or 0. */
function otherNode(request: Request, roles: number): number {
  if ((roles & CHANGES.NEW_DIRECTORY) !== 0) {
    return request.u64(request.opcode === Opcode.RENAME ? RENAME_IN.NEWDIR : RENAME2_IN.NEWDIR);
  }
  if ((roles & CHANGES.LINKED) !== 0) return request.u64(LINK_IN.OLDNODEID);
  if ((roles & CHANGES.COPY_TARGET) !== 0) return request.u64(COPY_FILE_RANGE_IN.NODEID_OUT);
  return 0;
}

function begin(
  share: Share,
  versions: NodeVersions,
  request: Request,
  roles: number,
  hasNode: boolean,
  other: number,
): Status {
  const { change } = versions;
  const { nodeid } = request;
  const slot = hasNode ? versions.slotOf(nodeid) : 0;
  const otherSlot = other === 0 ? 0 : versions.slotOf(other);
  if (changesNames(request.opcode)) {
    const isDirectory = (roles & CHANGES.NEW_DIRECTORY) !== 0 && other !== 0;
    change.lockNames(
      hasNode ? namesLockOf(share, versions, nodeid) : 0,
      isDirectory ? namesLockOf(share, versions, other) : 0,
    );
  }
  if ((roles & CHANGES.NAMED) !== 0) {
    const added = addNamed(share, versions, nodeid, request.namePointer);
    if (added < 0) return added;
  }
  if ((roles & CHANGES.NEW_NAMED) !== 0) {
    const added = addNamed(share, versions, other, request.name2Pointer);
    if (added < 0) return added;
  }
  if (hasNode) addNode(share, versions, nodeid, slot);
  if (other !== 0) addNode(share, versions, other, otherSlot);
  change.begin();
  return 0;
}

/** Whether names in directories come, go or lead elsewhere. */
function changesNames(opcode: number): boolean {
  switch (opcode) {
    case Opcode.SYMLINK:
    case Opcode.MKNOD:
    case Opcode.MKDIR:
    case Opcode.UNLINK:
    case Opcode.RMDIR:
    case Opcode.RENAME:
    case Opcode.RENAME2:
    case Opcode.LINK:
    case Opcode.CREATE:
      return true;
    default:
      return false;
  }
}

function namesLockOf({ inodes }: Share, { thread }: NodeVersions, directory: number): number {
  return thread.registry.namesLockOf(
    inodes.devLo(directory),
    inodes.devHi(directory),
    inodes.inoLo(directory),
    inodes.inoHi(directory),
  );
}

function addNode({ inodes }: Share, { change }: NodeVersions, nodeid: number, slot: number): void {
  change.add(
    slot,
    inodes.devLo(nodeid),
    inodes.devHi(nodeid),
    inodes.inoLo(nodeid),
    inodes.inoHi(nodeid),
  );
}

/** Errors that say that a name leads nowhere: the request itself will find so. */
const LEADS_NOWHERE: ReadonlySet<number> = new Set([-ENOENT, -ENOTDIR, -ENAMETOOLONG, -ESTALE]);

/**
 * The inode that a name leads to, if to any: this guest need not have looked it up, but others may. What fails for another reason must not be tried:
 * it could succeed, uncounted.
 */
function addNamed(
  share: Share,
  { change }: NodeVersions,
  parent: number,
  name: Deno.PointerObject,
): Status {
  const parentFd = share.borrow(parent);
  if (parentFd < 0) return parentFd;
  const { scratch, key } = share;
  const found = status(
    libc.statx(parentFd, name, AT_SYMLINK_NOFOLLOW, STATX_MASK, scratch.statx),
  );
  share.giveBack(parent, parentFd);
  if (found < 0) return LEADS_NOWHERE.has(found) ? 0 : found;
  share.loadKey();
  change.addByName(key.devLo, key.devHi, key.inoLo, key.inoHi);
  return 0;
}

/**
 * An inode that has just been made has been changed once more, or lost its name again, before its maker was told of it. Others may have found it
 * by its name already. `fd` is O_PATH or open.
 */
export function tellChanged(share: Share, fd: number): void {
  const { versions, key } = share;
  if (versions === null || share.statFd(fd) < 0) return;
  share.loadKey();
  versions.countChange(key.devLo, key.devHi, key.inoLo, key.inoHi);
}
