/**
 * The DAX window as a file system sees it: shared memory of the guest into which pieces of files can be mapped (virtio 1.3, 5.11.6.4). How
 * that is done, and with whom, is somebody else's matter.
 *
 * @module
 */

import { EOPNOTSUPP, type Status } from "../sys/errno.ts";
import type { PENDING } from "./file_system.ts";

/** What a window needs of the file system whose files it maps. Nodeids are the guest's. */
export interface MappableFiles {
  /** Keeps an inode until {@linkcode MappableFiles.release}; false if it is not known. */
  acquire(nodeid: number): boolean;
  release(nodeid: number): void;
  /** Opens an inode's file for reading and, where it lets us, for writing: a descriptor, or a negative errno. */
  openToMap(nodeid: number): number;
  /** Whether the last file opened so can be written to. */
  readonly openedWritable: boolean;
  /** Opens it for reading only. */
  openToRead(nodeid: number): number;
}

/** No file is mapped beyond this: 4 PiB. */
export const MAPPABLE_END: number = 2 ** 52;

/** One piece of a file and where it goes. Offsets and lengths are multiples of the page size and inside the window. */
export interface MappingRequest {
  readonly nodeid: number;
  readonly fileOffset: number;
  readonly length: number;
  /** In the window. */
  readonly offset: number;
  readonly writable: boolean;
  /** Bytes of the file, for whoever watches how files are mapped. */
  readonly fileSize: number;
  /** A 32-bit number of the file's birth time, which tells it from a later file with the same inode number. */
  readonly birth: number;
}

/**
 * A window. All methods that talk to the other side may answer PENDING: the request is to be tried again as it is.
 */
export interface DaxWindow {
  /** Bytes; 0 = there is none. */
  readonly size: number;
  /** A session begins: nothing is mapped any more. `readOnly`: only files that cannot be written to will be mapped. */
  begin(readOnly: boolean): Status | typeof PENDING;
  /** After that: whether files that can be written to, and those that cannot, can be mapped, whatever their size. */
  readonly mapsWritable: boolean;
  readonly mapsReadOnly: boolean;
  /** Whether a file of the same file system as this one can be mapped: asked before guests are told to. */
  mapsFilesLike(nodeid: number): boolean;
  /** Maps; what was at the place before is gone. */
  map(request: MappingRequest): Status | typeof PENDING;
  /** Unmaps whatever is in a range. */
  unmap(offset: number, length: number): Status | typeof PENDING;
  /** The session has ended: unmaps everything, as far as that can be done now. */
  clear(): void;
  /** The other side may have gone: then nothing is mapped, and nobody needs to be told. */
  disconnect(): void;
}

/** No window. */
export const NO_WINDOW: DaxWindow = {
  size: 0,
  begin: () => 0,
  mapsWritable: false,
  mapsReadOnly: false,
  mapsFilesLike: () => false,
  map: () => -EOPNOTSUPP,
  unmap: () => -EOPNOTSUPP,
  clear() {},
  disconnect() {},
};
