/**
 * A DAX window that opens what it is to map and forgets it: the front end is left out.
 *
 * @module
 */

import type { DaxWindow, MappableFiles, MappingRequest } from "../../src/fuse/dax_window.ts";
import { libc } from "../../src/sys/libc.ts";
import type { Status } from "../../src/sys/errno.ts";

const PAGE_SIZE = 4096;
const PENDING = 1;
const EIO = 5;
const EACCES = 13;

/** It answers, says "later" and refuses in turn. */
export class FakeWindow implements DaxWindow {
  size = 0;
  readonly mapsWritable = true;
  readonly mapsReadOnly = true;
  #files: MappableFiles | null = null;
  #mapped = new Map<number, number>();
  #turn = 0;

  serve(files: MappableFiles, exists: boolean): void {
    this.#files = files;
    this.size = exists ? 1 << 25 : 0;
  }

  /** Inodes that are kept. */
  get count(): number {
    return this.#mapped.size;
  }

  /** What is at the beginning of an input must not depend on those before it. */
  rewind(): void {
    this.#turn = 0;
  }

  begin(): Status {
    this.clear();
    return 0;
  }

  mapsFilesLike(): boolean {
    return true;
  }

  map({ nodeid, fileOffset, length, offset, writable }: MappingRequest): Status {
    const wrong = offset + length > this.size || length <= 0 ||
      [fileOffset, length, offset].some((number) => number % PAGE_SIZE !== 0 || number < 0);
    if (wrong) throw new Error(`a mapping that is none: ${fileOffset} ${length} ${offset}`);
    const files = this.#files!;
    this.#turn++;
    if (this.#turn % 7 === 0) return PENDING;
    if (this.#turn % 11 === 0) return -EIO;
    if (!files.acquire(nodeid)) throw new Error("an inode that is not known is mapped");
    const fd = writable ? files.openToMap(nodeid) : files.openToRead(nodeid);
    if (fd >= 0) libc.close(fd);
    const refused = fd < 0 ? fd : writable && !files.openedWritable ? -EACCES : 0;
    if (refused < 0) {
      files.release(nodeid);
      return refused;
    }
    const before = this.#mapped.get(offset);
    if (before !== undefined) files.release(before);
    this.#mapped.set(offset, nodeid);
    return 0;
  }

  unmap(offset: number, length: number): Status {
    for (const [at, nodeid] of this.#mapped) {
      if (at < offset || at >= offset + length) continue;
      this.#files!.release(nodeid);
      this.#mapped.delete(at);
    }
    return 0;
  }

  clear(): void {
    this.unmap(0, this.size);
  }

  disconnect(): void {
    this.clear();
  }
}
