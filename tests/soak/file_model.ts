/**
 * What the files of one guest are to be, kept beside them.
 *
 * @module
 */

/** Longest file that is changed at random. */
export const FILE_SIZE_MAX = 192 * 1024;

/** One regular file, whatever its names. Beyond its size all bytes are zero. */
export class FileModel {
  size = 0;
  /** How many names it has. */
  names = 0;
  readonly xattrs = new Map<string, Uint8Array>();
  #bytes = new Uint8Array(4096);

  /** All of it. */
  get contents(): Uint8Array {
    return this.#bytes.subarray(0, this.size);
  }

  /** What a read of `length` bytes returns. */
  slice(offset: number, length: number): Uint8Array {
    return this.#bytes.subarray(Math.min(offset, this.size), Math.min(offset + length, this.size));
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#reserve(offset + bytes.length);
    this.#bytes.set(bytes, offset);
    this.size = Math.max(this.size, offset + bytes.length);
  }

  truncate(size: number): void {
    this.#reserve(size);
    if (size < this.size) this.#bytes.fill(0, size, this.size);
    this.size = size;
  }

  zero(offset: number, length: number): void {
    this.#bytes.fill(0, offset, Math.min(offset + length, this.size));
  }

  #reserve(size: number): void {
    if (size <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(size, 2 * this.#bytes.length));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}

/** Names and what they lead to. */
export class TreeModel {
  readonly files = new Map<string, FileModel>();
  readonly symlinks = new Map<string, string>();

  /** The names in a directory. */
  namesIn(directory: string): string[] {
    const prefix = `${directory}/`;
    return [...this.files.keys(), ...this.symlinks.keys()]
      .filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length)).sort();
  }

  has(path: string): boolean {
    return this.files.has(path) || this.symlinks.has(path);
  }

  /** Gives a file a name; what had it loses it. */
  name(path: string, file: FileModel): void {
    this.unname(path);
    this.files.set(path, file);
    file.names++;
  }

  unname(path: string): void {
    const file = this.files.get(path);
    if (file !== undefined) file.names--;
    this.files.delete(path);
    this.symlinks.delete(path);
  }
}

/** Whether two are the same: a plain loop, as most are short. */
export function isSame(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false;
  return true;
}
