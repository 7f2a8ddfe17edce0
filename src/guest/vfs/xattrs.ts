/**
 * Extended attributes with the rules of their name spaces (xattr(7)).
 *
 * @module
 */

import {
  E2BIG,
  EINVAL,
  ENODATA,
  ENOSYS,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
  type Status,
} from "../../sys/errno.ts";
import { Opcode } from "../../wire/fuse.ts";
import { NAME_MAX, S_ISVTX, XATTR_SIZE_MAX } from "../../wire/linux.ts";
import * as xattrs from "../client/xattrs.ts";
import type { Inode } from "./inode.ts";
import { isOwner, MAY_READ, MAY_WRITE, mayAccess } from "./permissions.ts";
import type { Process } from "./process.ts";
import type { Volume } from "./volume.ts";

const decoder = new TextDecoder();
/** linux/xattr.h */
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;

/** setxattr(2) */
export function setxattr(
  volume: Volume,
  process: Process,
  inode: Inode,
  name: Uint8Array,
  value: Uint8Array,
  flags: number,
): Status {
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) !== 0) return -EINVAL;
  const named = checkName(name);
  if (named < 0) return named;
  if (value.length > XATTR_SIZE_MAX) return -E2BIG;
  const allowed = mayUse(volume, process, inode, name, true);
  if (allowed < 0) return allowed;
  return changed(volume, inode, Opcode.SETXATTR, () => {
    return xattrs.setxattr(volume.client, inode.nodeid, name, value, flags);
  });
}

/** removexattr(2) */
export function removexattr(
  volume: Volume,
  process: Process,
  inode: Inode,
  name: Uint8Array,
): Status {
  const named = checkName(name);
  if (named < 0) return named;
  const allowed = mayUse(volume, process, inode, name, true);
  if (allowed < 0) return allowed;
  return changed(volume, inode, Opcode.REMOVEXATTR, () => {
    return xattrs.removexattr(volume.client, inode.nodeid, name);
  });
}

/** getxattr(2): the value, or a negative errno. */
export function getxattr(
  volume: Volume,
  process: Process,
  inode: Inode,
  name: Uint8Array,
): Uint8Array<ArrayBuffer> | Status {
  const named = checkName(name);
  if (named < 0) return named;
  const allowed = mayUse(volume, process, inode, name, false);
  if (allowed < 0) return allowed;
  return asked(volume, Opcode.GETXATTR, () => {
    return xattrs.getxattr(volume.client, inode.nodeid, name);
  });
}

/** listxattr(2): the names that the process may see, each with its NUL; or a negative errno. */
export function listxattr(
  volume: Volume,
  process: Process,
  inode: Inode,
): Uint8Array<ArrayBuffer> | Status {
  const list = asked(volume, Opcode.LISTXATTR, () => {
    return xattrs.listxattr(volume.client, inode.nodeid);
  });
  if (typeof list === "number" || process.isRoot) return list;
  const names = decoder.decode(list).split("\0");
  if (!names.some((name) => name.startsWith("trusted."))) return list;
  const visible = names.filter((name) => !name.startsWith("trusted."));
  return new TextEncoder().encode(visible.join("\0"));
}

function checkName(name: Uint8Array): Status {
  return name.length === 0 || name.length > NAME_MAX ? -ERANGE : 0;
}

function mayUse(
  volume: Volume,
  process: Process,
  inode: Inode,
  name: Uint8Array,
  writing: boolean,
): Status {
  const text = decoder.decode(name);
  if (text.startsWith("trusted.")) {
    return process.isRoot ? 0 : writing ? -EPERM : -ENODATA;
  }
  if (text.startsWith("security.") || text.startsWith("system.")) {
    if (!writing) return 0;
    return isOwner(process, inode) ? 0 : -EPERM;
  }
  if (!text.startsWith("user.")) return -EOPNOTSUPP;
  if (!inode.isRegular && !inode.isDirectory) return writing ? -EPERM : -ENODATA;
  const sticky = inode.isDirectory && (inode.attr.mode & S_ISVTX) !== 0;
  if (writing && sticky && !isOwner(process, inode)) return -EPERM;
  return mayAccess(volume, process, inode, writing ? MAY_WRITE : MAY_READ);
}

function changed(
  volume: Volume,
  inode: Inode,
  opcode: number,
  send: () => Status,
): Status {
  volume.changing(inode);
  const status = asked(volume, opcode, send);
  volume.changed(inode, status === 0);
  volume.expire(inode);
  return status;
}

/** Daemons that do not know an opcode are asked once (Linux: no_setxattr and its like). */
function asked<T>(volume: Volume, opcode: number, send: () => T | Status): T | Status {
  if (volume.unsupported.has(opcode)) return -EOPNOTSUPP;
  const result = send();
  if (result !== -ENOSYS) return result;
  volume.unsupported.add(opcode);
  return -EOPNOTSUPP;
}
