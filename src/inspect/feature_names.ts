/**
 * The names of what driver, front end and guest have agreed on: those of the specifications, without their prefixes.
 *
 * @module
 */

import * as fuse from "../wire/fuse.ts";
import { VHOST_USER_PROTOCOL_F } from "../wire/vhost_user.ts";
import {
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../wire/virtio_ring.ts";
import { FUSE2_SHARED_VERSIONS } from "../wire/shared_versions.ts";

const VIRTIO: Readonly<Record<number, string>> = {
  [VIRTIO_F_INDIRECT_DESC]: "INDIRECT_DESC",
  [VIRTIO_F_EVENT_IDX]: "EVENT_IDX",
  [VHOST_USER_F_PROTOCOL_FEATURES]: "PROTOCOL_FEATURES",
  [VIRTIO_F_VERSION_1]: "VERSION_1",
};

const PROTOCOL: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(VHOST_USER_PROTOCOL_F).map(([name, bit]) => [bit, name]),
);

/** INIT flags by bit number: the header's constants that are named after a single bit of the low word, then those of the high one. */
const FUSE_FLAGS: Readonly<Record<number, string>> = {
  ...flagNames({
    ASYNC_READ: fuse.FUSE_ASYNC_READ,
    POSIX_LOCKS: fuse.FUSE_POSIX_LOCKS,
    FILE_OPS: fuse.FUSE_FILE_OPS,
    ATOMIC_O_TRUNC: fuse.FUSE_ATOMIC_O_TRUNC,
    EXPORT_SUPPORT: fuse.FUSE_EXPORT_SUPPORT,
    BIG_WRITES: fuse.FUSE_BIG_WRITES,
    DONT_MASK: fuse.FUSE_DONT_MASK,
    FLOCK_LOCKS: fuse.FUSE_FLOCK_LOCKS,
    HAS_IOCTL_DIR: fuse.FUSE_HAS_IOCTL_DIR,
    AUTO_INVAL_DATA: fuse.FUSE_AUTO_INVAL_DATA,
    DO_READDIRPLUS: fuse.FUSE_DO_READDIRPLUS,
    READDIRPLUS_AUTO: fuse.FUSE_READDIRPLUS_AUTO,
    ASYNC_DIO: fuse.FUSE_ASYNC_DIO,
    WRITEBACK_CACHE: fuse.FUSE_WRITEBACK_CACHE,
    NO_OPEN_SUPPORT: fuse.FUSE_NO_OPEN_SUPPORT,
    PARALLEL_DIROPS: fuse.FUSE_PARALLEL_DIROPS,
    HANDLE_KILLPRIV: fuse.FUSE_HANDLE_KILLPRIV,
    POSIX_ACL: fuse.FUSE_POSIX_ACL,
    ABORT_ERROR: fuse.FUSE_ABORT_ERROR,
    MAX_PAGES: fuse.FUSE_MAX_PAGES,
    CACHE_SYMLINKS: fuse.FUSE_CACHE_SYMLINKS,
    NO_OPENDIR_SUPPORT: fuse.FUSE_NO_OPENDIR_SUPPORT,
    EXPLICIT_INVAL_DATA: fuse.FUSE_EXPLICIT_INVAL_DATA,
    MAP_ALIGNMENT: fuse.FUSE_MAP_ALIGNMENT,
    SUBMOUNTS: fuse.FUSE_SUBMOUNTS,
    HANDLE_KILLPRIV_V2: fuse.FUSE_HANDLE_KILLPRIV_V2,
    SETXATTR_EXT: fuse.FUSE_SETXATTR_EXT,
    INIT_EXT: fuse.FUSE_INIT_EXT,
  }, 0),
  ...flagNames({
    SECURITY_CTX: fuse.FUSE2_SECURITY_CTX,
    HAS_INODE_DAX: fuse.FUSE2_HAS_INODE_DAX,
    CREATE_SUPP_GROUP: fuse.FUSE2_CREATE_SUPP_GROUP,
    HAS_EXPIRE_ONLY: fuse.FUSE2_HAS_EXPIRE_ONLY,
    DIRECT_IO_ALLOW_MMAP: fuse.FUSE2_DIRECT_IO_ALLOW_MMAP,
    PASSTHROUGH: fuse.FUSE2_PASSTHROUGH,
    NO_EXPORT_SUPPORT: fuse.FUSE2_NO_EXPORT_SUPPORT,
    HAS_RESEND: fuse.FUSE2_HAS_RESEND,
    ALLOW_IDMAP: fuse.FUSE2_ALLOW_IDMAP,
    OVER_IO_URING: fuse.FUSE2_OVER_IO_URING,
    REQUEST_TIMEOUT: fuse.FUSE2_REQUEST_TIMEOUT,
    SHARED_VERSIONS: FUSE2_SHARED_VERSIONS,
  }, 32),
};

/** Virtio features: "EVENT_IDX". */
export function virtioFeatureNames(word: bigint): string[] {
  return names(word, VIRTIO);
}

/** Features of the vhost-user protocol: "REPLY_ACK". */
export function protocolFeatureNames(word: bigint): string[] {
  return names(word, PROTOCOL);
}

/** Flags of FUSE's INIT: "POSIX_LOCKS". */
export function fuseFlagNames(low: number, high: number): string[] {
  return names(BigInt(low) | (BigInt(high) << 32n), FUSE_FLAGS);
}

function names(word: bigint, known: Readonly<Record<number, string>>): string[] {
  const found: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if (((word >> BigInt(bit)) & 1n) !== 0n) found.push(known[bit] ?? `bit ${bit}`);
  }
  return found;
}

function flagNames(flags: Readonly<Record<string, number>>, base: number): Record<number, string> {
  return Object.fromEntries(
    Object.entries(flags).map(([name, flag]) => [base + Math.log2(flag), name]),
  );
}
