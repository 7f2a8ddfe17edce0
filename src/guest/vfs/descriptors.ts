/**
 * The descriptor table of a process: numbers that name open files.
 *
 * @module
 */

import { EBADF, type Status } from "../../sys/errno.ts";
import { DirectoryStream } from "./directory_stream.ts";
import { flushOnClose } from "./file_calls.ts";
import { dropFileLocks } from "./locks.ts";
import { closeFile } from "./open.ts";
import type { OpenFile } from "./open_file.ts";
import type { Process } from "./process.ts";
import type { Volume } from "./volume.ts";

/** Descriptors 0 to 2 are nobody's here, but programs expect files to come after them. */
const FIRST = 3;

/** Open files by number. */
export class Descriptors {
  readonly #volume: Volume;
  readonly #process: Process;
  readonly #files: (OpenFile | undefined)[] = [];
  readonly #streams = new WeakMap<OpenFile, DirectoryStream>();

  constructor(volume: Volume, process: Process) {
    this.#volume = volume;
    this.#process = process;
  }

  /** How many are open. */
  get count(): number {
    return this.#files.filter((file) => file !== undefined).length;
  }

  /** Gives an open file the lowest free number. */
  add(file: OpenFile): number {
    let fd = FIRST;
    while (this.#files[fd] !== undefined) fd++;
    this.#files[fd] = file;
    return fd;
  }

  /** The open file, or null. */
  get(fd: number): OpenFile | null {
    return this.#files[fd] ?? null;
  }

  /** Where reading of an open directory stands. */
  streamOf(file: OpenFile): DirectoryStream {
    let stream = this.#streams.get(file);
    if (stream === undefined) {
      stream = new DirectoryStream();
      this.#streams.set(file, stream);
    }
    return stream;
  }

  /** dup(2) */
  duplicate(fd: number): number {
    const file = this.get(fd);
    if (file === null) return -EBADF;
    file.references++;
    return this.add(file);
  }

  /** close(2): the descriptor is gone whatever the outcome, which is that of sending what was written. */
  close(fd: number): Status {
    const file = this.get(fd);
    if (file === null) return -EBADF;
    this.#files[fd] = undefined;
    const status = flushOnClose(this.#volume, this.#process, file);
    if (--file.references === 0) {
      dropFileLocks(this.#volume, file);
      closeFile(this.#volume, file);
    }
    return status;
  }

  /** Closes all. The first error, or 0. */
  closeAll(): Status {
    let first: Status = 0;
    this.#files.forEach((file, fd) => {
      if (file === undefined) return;
      const status = this.close(fd);
      if (status < 0 && first === 0) first = status;
    });
    return first;
  }
}
