/**
 * An open file: what open(2) makes and descriptors share.
 *
 * @module
 */

import type { Handle, LockOwner } from "../client/files.ts";
import type { Inode } from "./inode.ts";

/** One open file description. */
export class OpenFile {
  readonly inode: Inode;
  /** The file's name at the daemon. Its flags are those that the daemon was told. */
  handle: Handle;
  /** A directory whose names are known: it is opened at the daemon when something has to be asked. */
  isDeferred = false;
  /** O_* as the caller gave them; O_APPEND and O_NONBLOCK may change. */
  flags: number;
  /** FOPEN_* of the daemon's reply. */
  readonly openFlags: number;
  /** Where read(2) and write(2) go on; a directory's is a cookie kept as two halves by its reader. */
  position = 0;
  /** Descriptors that name it. */
  references = 1;
  /** Who flock(2) locks of this file belong to. */
  readonly flockOwner: LockOwner;
  /** Whether flock(2) was ever used: RELEASE says so then. */
  hasFlock = false;
  /** Whether the open file itself has record locks at the daemon. */
  hasRecordLocks = false;
  /** Where sequential reading would go on, for read-ahead. */
  readAheadFrom = 0;

  constructor(
    inode: Inode,
    handle: Handle,
    flags: number,
    openFlags: number,
    flockOwner: LockOwner,
  ) {
    this.inode = inode;
    this.handle = handle;
    this.flags = flags;
    this.openFlags = openFlags;
    this.flockOwner = flockOwner;
  }
}
