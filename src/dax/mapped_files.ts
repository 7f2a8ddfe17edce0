/**
 * The descriptors that mappings are made from: one for each inode that anything is mapped of, a padded view where there are views.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { MappableFiles } from "../fuse/dax_window.ts";
import type { DaxInodeTable } from "../state/dax_inode_table.ts";
import { DAX_HEADER, DAX_INODE_WRITABLE, STATE_HEADER } from "../state/layout.ts";
import { libc } from "../sys/libc.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import { Views } from "./views.ts";

const VIEW_ROOT = (STATE_HEADER.DAX + DAX_HEADER.VIEW_ROOT) >>> 2;

/** Seen by one thread. Whoever calls holds the mapping table's mutex, except for {@linkcode MappedFiles.canView}. */
export class MappedFiles {
  readonly #i32: Int32Array;
  readonly #inodes: DaxInodeTable;
  readonly #files: MappableFiles;
  #views: Views | null = null;
  #viewRoot = 0;

  constructor(state: NativeMemory, inodes: DaxInodeTable, files: MappableFiles) {
    this.#i32 = state.i32;
    this.#inodes = inodes;
    this.#files = files;
  }

  /** The views, if there are any in this session. */
  get views(): Views | null {
    const root = Atomics.load(this.#i32, VIEW_ROOT);
    if (root !== this.#viewRoot) {
      this.#viewRoot = root;
      this.#views = root === 0 ? null : new Views(root - 1);
    }
    return this.#views;
  }

  /** Whether files of this one's file system can be viewed, where there are views. */
  canView(nodeid: number): boolean {
    const { views } = this;
    if (views === null) return true;
    const file = this.#files.openToRead(nodeid);
    if (file < 0) return false;
    const view = views.open(file, false);
    libc.close(file);
    if (view >= 0) libc.close(view);
    return view >= 0;
  }

  /**
   * The inode's descriptor, opened if need be, for writing if that can be had; or a negative errno. It is to be held next: one that nobody
   * holds is closed by the next {@linkcode MappedFiles.release}.
   */
  open(nodeid: number, writable: boolean): number {
    const known = this.#inodes.fd(nodeid);
    if (known >= 0 && (!writable || this.#inodes.flag(nodeid, DAX_INODE_WRITABLE))) return known;
    const file = this.#files.openToMap(nodeid);
    if (file < 0) return file;
    const canWrite = this.#files.openedWritable;
    const { views } = this;
    const fd = views === null ? file : views.open(file, canWrite);
    if (views !== null) libc.close(file);
    if (fd < 0) return fd;
    this.#close(nodeid);
    this.#inodes.setFd(nodeid, fd);
    this.#inodes.setFlag(nodeid, DAX_INODE_WRITABLE, canWrite);
    return fd;
  }

  /** Keeps inode and descriptor for a mapping. The inode is known to be there: a request or another mapping holds it. */
  hold(nodeid: number): void {
    assert(this.#files.acquire(nodeid), "a request or a mapping holds the inode");
    this.#inodes.addMapping(nodeid, 1);
  }

  /** Undoes one {@linkcode MappedFiles.hold}; the last closes the descriptor. */
  release(nodeid: number): void {
    if (this.#inodes.addMapping(nodeid, -1) === 0) this.#close(nodeid);
    this.#files.release(nodeid);
  }

  #close(nodeid: number): void {
    const fd = this.#inodes.fd(nodeid);
    if (fd >= 0) libc.close(fd);
    this.#inodes.setFd(nodeid, -1);
  }
}
