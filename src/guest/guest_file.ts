/**
 * An open file of a guest, in the shape of Deno.FsFile's synchronous half.
 *
 * @module
 */

import { EAGAIN, ENOTCONN } from "../sys/errno.ts";
import { LOCK_EX, LOCK_SH, LOCK_UN } from "../wire/linux.ts";
import type { DaxView } from "./dax/dax_view.ts";
import { fileInfo, type GuestFileInfo } from "./file_info.ts";
import { GuestError, must, mustHave } from "./guest_error.ts";
import type { GuestCalls } from "./vfs/calls.ts";

/** What is read at a time where the size is not known. */
const PIECE_SIZE = 65536;

/**
 * An open file. Every method that fails throws a `GuestError`.
 *
 * @example
 * ```ts
 * import type { GuestFile } from "../../mod.ts";
 *
 * function firstLine(file: GuestFile): string {
 *   const bytes = new Uint8Array(100);
 *   const count = file.readSync(bytes) ?? 0;
 *   return new TextDecoder().decode(bytes.subarray(0, count)).split("\n")[0]!;
 * }
 * if (typeof firstLine !== "function") throw new Error("no function");
 * ```
 */
export class GuestFile implements Disposable {
  /** The path that it was opened by. */
  readonly path: string;
  readonly #calls: GuestCalls;
  readonly #fd: number;
  #closed = false;

  /** Made by `Guest.openSync()`. */
  constructor(calls: GuestCalls, fd: number, path: string) {
    this.#calls = calls;
    this.#fd = fd;
    this.path = path;
  }

  /** Reads into `into` where the file stands and moves on. Returns the count, or null at the end. */
  readSync(into: Uint8Array): number | null {
    const count = must(this.#calls.read(this.#fd, into), "read", this.path);
    return count === 0 && into.length > 0 ? null : count;
  }

  /** Writes where the file stands and moves on. Returns the count, which may be less than was given. */
  writeSync(from: Uint8Array): number {
    return must(this.#calls.write(this.#fd, from), "write", this.path);
  }

  /** Reads at `offset`, leaving where the file stands. Returns the count, or null at the end. */
  readAtSync(into: Uint8Array, offset: number): number | null {
    const count = must(this.#calls.pread(this.#fd, into, offset), "read", this.path);
    return count === 0 && into.length > 0 ? null : count;
  }

  /** Writes at `offset`, leaving where the file stands. Returns the count. */
  writeAtSync(from: Uint8Array, offset: number): number {
    return must(this.#calls.pwrite(this.#fd, from, offset), "write", this.path);
  }

  /** Everything from where the file stands to its end. */
  readAllSync(): Uint8Array<ArrayBuffer> {
    const size = this.statSync().size;
    const position = this.seekSync(0, Deno.SeekMode.Current);
    let bytes = new Uint8Array(Math.max(0, size - position));
    let length = 0;
    for (;;) {
      if (length === bytes.length) {
        // Once more than the size says: it may have grown.
        const probe = new Uint8Array(PIECE_SIZE);
        const count = this.readSync(probe);
        if (count === null) return bytes;
        const grown = new Uint8Array(length + count);
        grown.set(bytes);
        grown.set(probe.subarray(0, count), length);
        bytes = grown;
        length += count;
        continue;
      }
      const count = this.readSync(bytes.subarray(length));
      if (count === null) return bytes.slice(0, length);
      length += count;
    }
  }

  /** Writes all of `from` where the file stands. */
  writeAllSync(from: Uint8Array): void {
    for (let done = 0; done < from.length;) done += this.writeSync(from.subarray(done));
  }

  /** Moves where the file stands. Returns the new place. */
  seekSync(offset: number, whence: Deno.SeekMode): number {
    return must(this.#calls.lseek(this.#fd, offset, whence), "seek", this.path);
  }

  /** The file's attributes. */
  statSync(): GuestFileInfo {
    return fileInfo(mustHave(this.#calls.fstat(this.#fd), "stat", this.path));
  }

  /** Makes the file `size` bytes long. */
  truncateSync(size = 0): void {
    must(this.#calls.ftruncate(this.#fd, size), "truncate", this.path);
  }

  /** Has data and attributes reach the host's disk. */
  syncSync(): void {
    must(this.#calls.fsync(this.#fd), "fsync", this.path);
  }

  /** Has data reach the host's disk. */
  syncDataSync(): void {
    must(this.#calls.fdatasync(this.#fd), "fdatasync", this.path);
  }

  /** Sets the times: dates, or seconds since 1970. */
  utimeSync(atime: number | Date, mtime: number | Date): void {
    const times = [timeSpec(atime), timeSpec(mtime)] as const;
    must(this.#calls.futimens(this.#fd, times), "utime", this.path);
  }

  /** Takes a lock on the whole file (flock(2)), waiting for it. */
  lockSync(exclusive = false): void {
    const operation = exclusive ? LOCK_EX : LOCK_SH;
    must(this.#calls.flock(this.#fd, operation), "lock", this.path);
  }

  /** Gives the lock up. */
  unlockSync(): void {
    must(this.#calls.flock(this.#fd, LOCK_UN), "unlock", this.path);
  }

  /**
   * A view of the file's bytes where they are, in the DAX window: see {@linkcode DaxView}. It may be shorter than `length`: it ends with the
   * file, or at the next multiple of 2 MiB. With `write` it may be written to, if the file was opened for reading and writing.
   *
   * Throws a `GuestError`: EACCES without the right, ENODEV for a file that is not mapped (`guest.dax` is null, or the daemon does not
   * mark it), ENXIO at the end of the file, EAGAIN while every range of the window is held by views.
   */
  viewSync(offset: number, length: number, options: { write?: boolean } = {}): DaxView {
    const view = this.#calls.view(this.#fd, offset, length, options.write === true);
    return mustHave(view, "view", this.path);
  }

  /** The same, waiting for a range. */
  async view(offset: number, length: number, options: { write?: boolean } = {}): Promise<DaxView> {
    for (;;) {
      const view = this.#calls.view(this.#fd, offset, length, options.write === true);
      if (view !== -EAGAIN) return mustHave(view, "view", this.path);
      const isOpen = await this.#calls.volume.dax!.whenFree();
      if (!isOpen) throw new GuestError(-ENOTCONN, "view", this.path);
    }
  }

  /** Closes the file. An error that came up while written data was sent is thrown here. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    must(this.#calls.close(this.#fd), "close", this.path);
  }

  /** The same as `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** A time for utimensat(2). */
export function timeSpec(time: number | Date): readonly [number, number] {
  const ms = typeof time === "number" ? time * 1000 : time.getTime();
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1_000_000)];
}
