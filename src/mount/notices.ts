/**
 * Notices to the kernel that something it has cached does not hold any more (fuse.h: FUSE_NOTIFY_INVAL_INODE, FUSE_NOTIFY_INVAL_ENTRY).
 *
 * The kernel carries a notice out within write(2), and waits there for the lock of the directory, or for pages that are being read:
 * whoever holds these may wait for an answer of ours. So notices are never written by the thread that answers requests. It puts them
 * into a ring, and a thread of their own (`notice_worker.ts`) writes them.
 *
 * @module
 */

import {
  FUSE_EXPIRE_ONLY,
  FUSE_NOTIFY_INVAL_ENTRY,
  FUSE_NOTIFY_INVAL_INODE,
  NOTIFY_INVAL_ENTRY_OUT,
  NOTIFY_INVAL_INODE_OUT,
  OUT_HEADER,
} from "../wire/fuse.ts";
import { NAME_MAX } from "../wire/linux.ts";
import type { NoticeRing } from "./notice_ring.ts";

/** Bytes of the longest notice. */
export const NOTICE_SIZE_MAX: number = OUT_HEADER.SIZE + NOTIFY_INVAL_ENTRY_OUT.SIZE + NAME_MAX + 1;
/** OFF of a notice about attributes only. */
const NO_PAGES = -1;

/** Where the bookkeeping sends its notices. */
export interface NoticeSink {
  /** The attributes of an inode, and what was read from it. */
  inode(nodeid: number): void;
  /** The attributes only. */
  attributes(nodeid: number): void;
  /** A name in a directory, one character per byte. It is looked up again when it is used next; what is mounted on it stays. */
  entry(parent: number, name: string): void;
  /** Hands over what was sent since the last time. True if something still waits for room. */
  flush(): boolean;
}

/** Writes notices into the ring. What does not fit waits here: the ring may be full for as long as the kernel waits for us. */
export class Notices implements NoticeSink {
  /** How many were sent. */
  count = 0;
  readonly #ring: NoticeRing;
  readonly #message = new Uint8Array(NOTICE_SIZE_MAX);
  readonly #view = new DataView(this.#message.buffer);
  readonly #waiting: Uint8Array[] = [];
  #some = false;

  constructor(ring: NoticeRing) {
    this.#ring = ring;
  }

  inode(nodeid: number): void {
    this.#inode(nodeid, 0);
  }

  attributes(nodeid: number): void {
    this.#inode(nodeid, NO_PAGES);
  }

  entry(parent: number, name: string): void {
    const at = OUT_HEADER.SIZE;
    setU64(this.#view, at + NOTIFY_INVAL_ENTRY_OUT.PARENT, parent);
    this.#view.setUint32(at + NOTIFY_INVAL_ENTRY_OUT.NAMELEN, name.length, true);
    // Without it the kernel would drop the dentry, with what is mounted below and under the feet of processes whose directory it is.
    // Kernels before 7.38 have padding there.
    this.#view.setUint32(at + NOTIFY_INVAL_ENTRY_OUT.FLAGS, FUSE_EXPIRE_ONLY, true);
    const nameAt = at + NOTIFY_INVAL_ENTRY_OUT.SIZE;
    for (let i = 0; i < name.length; i++) this.#message[nameAt + i] = name.charCodeAt(i);
    this.#message[nameAt + name.length] = 0;
    this.#send(FUSE_NOTIFY_INVAL_ENTRY, nameAt + name.length + 1);
  }

  flush(): boolean {
    let moved = 0;
    while (moved < this.#waiting.length) {
      const message = this.#waiting[moved]!;
      if (!this.#ring.put(message, message.length)) break;
      moved++;
    }
    if (moved > 0) this.#waiting.splice(0, moved);
    if (this.#some || moved > 0) this.#ring.wake();
    this.#some = false;
    return this.#waiting.length > 0;
  }

  #inode(nodeid: number, offset: number): void {
    const at = OUT_HEADER.SIZE;
    setU64(this.#view, at + NOTIFY_INVAL_INODE_OUT.INO, nodeid);
    this.#view.setInt32(at + NOTIFY_INVAL_INODE_OUT.OFF, offset, true);
    this.#view.setInt32(at + NOTIFY_INVAL_INODE_OUT.OFF + 4, offset, true);
    setU64(this.#view, at + NOTIFY_INVAL_INODE_OUT.LEN, 0);
    this.#send(FUSE_NOTIFY_INVAL_INODE, at + NOTIFY_INVAL_INODE_OUT.SIZE);
  }

  #send(code: number, size: number): void {
    this.#view.setUint32(OUT_HEADER.LEN, size, true);
    this.#view.setInt32(OUT_HEADER.ERROR, code, true);
    setU64(this.#view, OUT_HEADER.UNIQUE, 0);
    this.count++;
    this.#some = true;
    // In order: what waits goes first.
    if (this.#waiting.length === 0 && this.#ring.put(this.#message, size)) return;
    this.#waiting.push(this.#message.slice(0, size));
  }
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}
