/**
 * How much room a reply needs, by opcode: what Linux's virtio-fs driver offers for each.
 *
 * @module
 */

import {
  ATTR_OUT,
  COPY_FILE_RANGE_OUT,
  ENTRY_OUT,
  FILE_LOCK,
  GETXATTR_IN,
  GETXATTR_OUT,
  INIT_OUT,
  IOCTL_IN,
  LSEEK_OUT,
  Opcode,
  OPEN_OUT,
  READ_IN,
  STATFS_OUT,
  STATX_OUT,
  WRITE_OUT,
} from "../wire/fuse.ts";
import { PATH_MAX } from "../wire/linux.ts";

/** fuse.h: fuse_bmap_out, fuse_poll_out, fuse_ioctl_out */
const BMAP_OUT_SIZE = 8;
const POLL_OUT_SIZE = 8;
const IOCTL_OUT_SIZE = 16;

const FIXED: readonly (number | undefined)[] = bodySizes([
  [ENTRY_OUT.SIZE, Opcode.LOOKUP, Opcode.SYMLINK, Opcode.MKNOD, Opcode.MKDIR, Opcode.LINK],
  [ATTR_OUT.SIZE, Opcode.GETATTR, Opcode.SETATTR],
  [PATH_MAX - 1, Opcode.READLINK],
  [OPEN_OUT.SIZE, Opcode.OPEN, Opcode.OPENDIR],
  [ENTRY_OUT.SIZE + OPEN_OUT.SIZE, Opcode.CREATE, Opcode.TMPFILE],
  [WRITE_OUT.SIZE, Opcode.WRITE],
  [STATFS_OUT.SIZE, Opcode.STATFS],
  [INIT_OUT.SIZE, Opcode.INIT],
  [FILE_LOCK.SIZE, Opcode.GETLK],
  [BMAP_OUT_SIZE, Opcode.BMAP],
  [POLL_OUT_SIZE, Opcode.POLL],
  [LSEEK_OUT.SIZE, Opcode.LSEEK],
  [COPY_FILE_RANGE_OUT.SIZE, Opcode.COPY_FILE_RANGE, Opcode.COPY_FILE_RANGE_64],
  [STATX_OUT.SIZE, Opcode.STATX],
]);

/** Bytes of the largest body that a reply can have. `u32` reads a field of the request's argument struct. */
export function bodySize(opcode: number, u32: (field: number) => number): number {
  switch (opcode) {
    case Opcode.READ:
    case Opcode.READDIR:
    case Opcode.READDIRPLUS:
      return u32(READ_IN.SIZE_);
    case Opcode.GETXATTR:
    case Opcode.LISTXATTR: {
      const size = u32(GETXATTR_IN.SIZE_);
      return size === 0 ? GETXATTR_OUT.SIZE : size;
    }
    case Opcode.IOCTL:
      return IOCTL_OUT_SIZE + u32(IOCTL_IN.OUT_SIZE);
    default:
      return FIXED[opcode] ?? 0;
  }
}

function bodySizes(rows: readonly (readonly [number, ...number[]])[]): (number | undefined)[] {
  const sizes: (number | undefined)[] = [];
  for (const [size, ...opcodes] of rows) for (const opcode of opcodes) sizes[opcode] = size;
  return sizes;
}
