/**
 * One row per opcode: everything mechanical about it. Parsing, size checks, dispatch, debug lines and counters
 * all read this table.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { ENOSYS, ENOTTY, type Status } from "../sys/errno.ts";
import * as wire from "../wire/fuse.ts";
import { Opcode, OPCODE_COUNT } from "../wire/fuse.ts";
import type { FileSystem } from "./file_system.ts";
import type { Reply } from "./reply.ts";
import type { Request } from "./request.ts";

/** How the names of an operation are checked. */
export const enum NameRule {
  /** One component: see `checkName`. */
  Component,
  /** LOOKUP: also "." and "..". */
  Lookup,
  /** Anything: an xattr's name, TMPFILE's placeholder. */
  Any,
}

/** What is the same about every request with this opcode. */
export interface Operation {
  readonly name: string;
  /** Bytes of the struct after the header; more may follow. */
  readonly inSize: number;
  /** NUL-terminated names after the struct. */
  readonly nameCount: 0 | 1 | 2;
  readonly nameRule: NameRule;
  /** The second name is checked as the first; SYMLINK's target is not a component. */
  readonly secondIsComponent: boolean;
  /** Bytes of a successful reply's body, or -1 if they vary. */
  readonly outSize: number;
  /** Names an inode: a version follows the body if that was agreed on (`wire/shared_versions.ts`). */
  readonly names: boolean;
  /** Makes an inode, so that a security context may come with it. */
  readonly creates: boolean;
  readonly run: (fs: FileSystem, request: Request, reply: Reply) => Status;
}

const VARIES = -1;
const ENTRY = wire.ENTRY_OUT.SIZE;
const CREATED = wire.ENTRY_OUT.SIZE + wire.OPEN_OUT.SIZE;

function row(
  name: string,
  inSize: number,
  nameCount: 0 | 1 | 2,
  outSize: number,
  run: Operation["run"],
  other: Partial<Operation> = {},
): Operation {
  return {
    name,
    inSize,
    nameCount,
    nameRule: NameRule.Component,
    secondIsComponent: true,
    outSize,
    names: outSize === ENTRY || outSize === CREATED,
    creates: false,
    run,
    ...other,
  };
}

/** Refused on purpose: the guest remembers ENOSYS and does without. */
const refuse = (): Status => -ENOSYS;

const { SETXATTR_IN } = wire;

/** Rows for everything in the header but INIT, FORGET, BATCH_FORGET, INTERRUPT and DESTROY, which are the server's own. */
const ROWS: Record<number, Operation> = {
  [Opcode.LOOKUP]: row("LOOKUP", 0, 1, ENTRY, (fs, q, r) => fs.lookup(q, r), {
    nameRule: NameRule.Lookup,
  }),
  [Opcode.GETATTR]: row(
    "GETATTR",
    wire.GETATTR_IN.SIZE,
    0,
    wire.ATTR_OUT.SIZE,
    (fs, q, r) => fs.getattr(q, r),
  ),
  [Opcode.SETATTR]: row(
    "SETATTR",
    wire.SETATTR_IN.SIZE,
    0,
    wire.ATTR_OUT.SIZE,
    (fs, q, r) => fs.setattr(q, r),
  ),
  [Opcode.READLINK]: row("READLINK", 0, 0, VARIES, (fs, q, r) => fs.readlink(q, r)),
  [Opcode.SYMLINK]: row("SYMLINK", 0, 2, ENTRY, (fs, q, r) => fs.symlink(q, r), {
    secondIsComponent: false,
    creates: true,
  }),
  [Opcode.MKNOD]: row("MKNOD", wire.MKNOD_IN.SIZE, 1, ENTRY, (fs, q, r) => fs.mknod(q, r), {
    creates: true,
  }),
  [Opcode.MKDIR]: row("MKDIR", wire.MKDIR_IN.SIZE, 1, ENTRY, (fs, q, r) => fs.mkdir(q, r), {
    creates: true,
  }),
  [Opcode.UNLINK]: row("UNLINK", 0, 1, 0, (fs, q, r) => fs.unlink(q, r)),
  [Opcode.RMDIR]: row("RMDIR", 0, 1, 0, (fs, q, r) => fs.rmdir(q, r)),
  [Opcode.RENAME]: row("RENAME", wire.RENAME_IN.SIZE, 2, 0, (fs, q, r) => fs.rename(q, r)),
  [Opcode.LINK]: row("LINK", wire.LINK_IN.SIZE, 1, ENTRY, (fs, q, r) => fs.link(q, r)),
  [Opcode.OPEN]: row("OPEN", wire.OPEN_IN.SIZE, 0, wire.OPEN_OUT.SIZE, (fs, q, r) => fs.open(q, r)),
  [Opcode.READ]: row("READ", wire.READ_IN.SIZE, 0, VARIES, (fs, q, r) => fs.read(q, r)),
  [Opcode.WRITE]: row(
    "WRITE",
    wire.WRITE_IN.SIZE,
    0,
    wire.WRITE_OUT.SIZE,
    (fs, q, r) => fs.write(q, r),
  ),
  [Opcode.STATFS]: row("STATFS", 0, 0, wire.STATFS_OUT.SIZE, (fs, q, r) => fs.statfs(q, r)),
  [Opcode.RELEASE]: row("RELEASE", wire.RELEASE_IN.SIZE, 0, 0, (fs, q, r) => fs.release(q, r)),
  [Opcode.FSYNC]: row("FSYNC", wire.FSYNC_IN.SIZE, 0, 0, (fs, q, r) => fs.fsync(q, r)),
  [Opcode.SETXATTR]: row(
    "SETXATTR",
    SETXATTR_IN.SIZE,
    1,
    0,
    (fs, q, r) => fs.setxattr(q, r),
    { nameRule: NameRule.Any },
  ),
  [Opcode.GETXATTR]: row(
    "GETXATTR",
    wire.GETXATTR_IN.SIZE,
    1,
    VARIES,
    (fs, q, r) => fs.getxattr(q, r),
    { nameRule: NameRule.Any },
  ),
  [Opcode.LISTXATTR]: row(
    "LISTXATTR",
    wire.GETXATTR_IN.SIZE,
    0,
    VARIES,
    (fs, q, r) => fs.listxattr(q, r),
  ),
  [Opcode.REMOVEXATTR]: row("REMOVEXATTR", 0, 1, 0, (fs, q, r) => fs.removexattr(q, r), {
    nameRule: NameRule.Any,
  }),
  [Opcode.FLUSH]: row("FLUSH", wire.FLUSH_IN.SIZE, 0, 0, (fs, q, r) => fs.flush(q, r)),
  [Opcode.OPENDIR]: row(
    "OPENDIR",
    wire.OPEN_IN.SIZE,
    0,
    wire.OPEN_OUT.SIZE,
    (fs, q, r) => fs.opendir(q, r),
  ),
  [Opcode.READDIR]: row("READDIR", wire.READ_IN.SIZE, 0, VARIES, (fs, q, r) => fs.readdir(q, r)),
  [Opcode.RELEASEDIR]: row(
    "RELEASEDIR",
    wire.RELEASE_IN.SIZE,
    0,
    0,
    (fs, q, r) => fs.releasedir(q, r),
  ),
  [Opcode.FSYNCDIR]: row("FSYNCDIR", wire.FSYNC_IN.SIZE, 0, 0, (fs, q, r) => fs.fsyncdir(q, r)),
  [Opcode.GETLK]: row(
    "GETLK",
    wire.LK_IN.SIZE,
    0,
    wire.FILE_LOCK.SIZE,
    (fs, q, r) => fs.getlk(q, r),
  ),
  [Opcode.SETLK]: row("SETLK", wire.LK_IN.SIZE, 0, 0, (fs, q, r) => fs.setlk(q, r)),
  [Opcode.SETLKW]: row("SETLKW", wire.LK_IN.SIZE, 0, 0, (fs, q, r) => fs.setlkw(q, r)),
  [Opcode.ACCESS]: row("ACCESS", wire.ACCESS_IN.SIZE, 0, 0, (fs, q, r) => fs.access(q, r)),
  [Opcode.CREATE]: row("CREATE", wire.CREATE_IN.SIZE, 1, CREATED, (fs, q, r) => fs.create(q, r), {
    creates: true,
  }),
  // BMAP needs a block device under the mount; there is none.
  [Opcode.BMAP]: row("BMAP", wire.BMAP_IN.SIZE, 0, VARIES, refuse),
  // Passing an ioctl of a guest to the host's file system is refused; ENOTTY is what a file without ioctls says.
  [Opcode.IOCTL]: row("IOCTL", wire.IOCTL_IN.SIZE, 0, VARIES, () => -ENOTTY),
  // No notification can reach the guest: ENOSYS makes it treat all files as always ready.
  [Opcode.POLL]: row("POLL", wire.POLL_IN.SIZE, 0, VARIES, refuse),
  [Opcode.FALLOCATE]: row(
    "FALLOCATE",
    wire.FALLOCATE_IN.SIZE,
    0,
    0,
    (fs, q, r) => fs.fallocate(q, r),
  ),
  [Opcode.READDIRPLUS]: row(
    "READDIRPLUS",
    wire.READ_IN.SIZE,
    0,
    VARIES,
    (fs, q, r) => fs.readdirplus(q, r),
  ),
  [Opcode.RENAME2]: row("RENAME2", wire.RENAME2_IN.SIZE, 2, 0, (fs, q, r) => fs.rename2(q, r)),
  [Opcode.LSEEK]: row(
    "LSEEK",
    wire.LSEEK_IN.SIZE,
    0,
    wire.LSEEK_OUT.SIZE,
    (fs, q, r) => fs.lseek(q, r),
  ),
  [Opcode.COPY_FILE_RANGE]: row(
    "COPY_FILE_RANGE",
    wire.COPY_FILE_RANGE_IN.SIZE,
    0,
    wire.WRITE_OUT.SIZE,
    (fs, q, r) => fs.copyFileRange(q, r),
  ),
  [Opcode.SETUPMAPPING]: row(
    "SETUPMAPPING",
    wire.SETUPMAPPING_IN.SIZE,
    0,
    0,
    (fs, q, r) => fs.setupmapping(q, r),
  ),
  [Opcode.REMOVEMAPPING]: row(
    "REMOVEMAPPING",
    wire.REMOVEMAPPING_IN.SIZE,
    0,
    0,
    (fs, q, r) => fs.removemapping(q, r),
  ),
  [Opcode.SYNCFS]: row("SYNCFS", wire.SYNCFS_IN.SIZE, 0, 0, (fs, q, r) => fs.syncfs(q, r)),
  [Opcode.TMPFILE]: row(
    "TMPFILE",
    wire.CREATE_IN.SIZE,
    1,
    CREATED,
    (fs, q, r) => fs.tmpfile(q, r),
    { nameRule: NameRule.Any },
  ),
  [Opcode.STATX]: row(
    "STATX",
    wire.STATX_IN.SIZE,
    0,
    wire.STATX_OUT.SIZE,
    (fs, q, r) => fs.statx(q, r),
  ),
  [Opcode.COPY_FILE_RANGE_64]: row(
    "COPY_FILE_RANGE_64",
    wire.COPY_FILE_RANGE_IN.SIZE,
    0,
    wire.COPY_FILE_RANGE_OUT.SIZE,
    (fs, q, r) => fs.copyFileRange64(q, r),
  ),
};

/** The table by opcode; undefined where the header has no such number or the server answers by itself. */
export const OPERATIONS: readonly (Operation | undefined)[] = Array.from(
  { length: OPCODE_COUNT },
  (_, opcode) => ROWS[opcode],
);

/** The name of any opcode, for log lines. */
export function opcodeName(opcode: number): string {
  for (const [name, value] of Object.entries(Opcode)) if (value === opcode) return name;
  return `opcode ${opcode}`;
}

for (const opcode of Object.values(Opcode)) assert(opcode < OPCODE_COUNT, "opcode < OPCODE_COUNT");
