/**
 * A file that somebody else writes to, read in pieces with pread(2).
 *
 * Not through a mapping, for three reasons. Reading a hole of a sparse file through a mapping makes a page of it: the looker-on would make the
 * daemon's tables grow. A file that is cut short while it is mapped is SIGBUS; pread returns fewer bytes. And a piece is a copy, of
 * which what was checked stays as it was. Each piece costs a system call of this process and nothing of the daemon's: no lock is taken, and the
 * kernel copies aligned words whole.
 *
 * @module
 */

import { errnoName } from "../sys/errno.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import { O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_RDONLY } from "../wire/linux.ts";
import { InspectError } from "./inspect_error.ts";

/** Bytes of one pread. */
const PIECE = 1 << 24;

/** A copy of some bytes, seen as words and as doubles. */
export class Piece {
  readonly u8: Uint8Array<ArrayBuffer>;
  readonly u32: Uint32Array<ArrayBuffer>;
  readonly i32: Int32Array<ArrayBuffer>;
  readonly f64: Float64Array<ArrayBuffer>;

  /** `size` is a multiple of 8. */
  constructor(size: number) {
    const buffer = new ArrayBuffer(size);
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.f64 = new Float64Array(buffer);
  }
}

/** One file, open for reading only. */
export class ReadOnlyFile implements Disposable {
  readonly #fd: OwnedFd;

  /** `name` is what error messages call it. Throws {@linkcode InspectError}. */
  constructor(path: string, readonly name: string) {
    // Opening a device or a FIFO may do something.
    if (!isRegular(path)) throw new InspectError(`${name} is not a regular file`);
    const bytes = new TextEncoder().encode(`${path}\0`);
    // O_NONBLOCK: if it has become a FIFO since, nobody waits for its other end.
    const fd = status(libc.open(bytes, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0));
    if (fd < 0) throw new InspectError(`${name} cannot be opened: ${errnoName(fd)}`);
    this.#fd = new OwnedFd(fd);
    if (!this.#info().isFile) {
      this.#fd.close();
      throw new InspectError(`${name} is not a regular file`);
    }
  }

  /** The descriptor, for what is asked of the file itself. */
  get fd(): number {
    return this.#fd.number;
  }

  /** Bytes of the file now. */
  get size(): number {
    return this.#info().size;
  }

  /** Copies `size` bytes (a multiple of 8) from `offset` on. */
  read(offset: number, size: number): Piece {
    const piece = new Piece(size);
    this.readInto(piece.u8, offset);
    return piece;
  }

  /** Fills `target` with what lies from `offset` on. */
  readInto(target: Uint8Array<ArrayBuffer>, offset: number): void {
    for (let done = 0; done < target.length;) {
      const part = target.subarray(done, done + PIECE);
      const at = BigInt(offset + done);
      const count = status(libc.pread_bytes(this.#fd.number, part, part.length, at));
      if (count < 0) throw new InspectError(`${this.name} cannot be read: ${errnoName(count)}`);
      if (count === 0) {
        throw new InspectError(`${this.name} has been cut short: it ends at byte ${offset + done}`);
      }
      done += count;
    }
  }

  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #info(): Deno.FileInfo {
    return Deno.statSync(`/proc/self/fd/${this.#fd.number}`);
  }
}

/** What is not there is for open(2) to tell. */
function isRegular(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return true;
  }
}
