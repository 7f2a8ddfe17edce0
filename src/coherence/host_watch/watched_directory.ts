/**
 * What is known of a directory that has an inotify watch: events name children by name only, and a name that is gone cannot be looked up any more.
 *
 * Names are strings of one character per byte: names need not be UTF-8.
 *
 * @module
 */

/** A name in a {@linkcode WatchedDirectory}: some 120 bytes of memory, with the name. */
export interface Child {
  readonly inoLo: number;
  readonly inoHi: number;
  /** If it is a directory that is watched. */
  directory: WatchedDirectory | null;
}

/** The name of a directory that is nowhere: as a path the empty one, which leads nowhere. */
const NOWHERE = "\0";

/** A directory with a watch. */
export class WatchedDirectory {
  /** The directory it is in; null for the one at the top, and for one that was moved away. */
  parent: WatchedDirectory | null;
  name: string;
  wd = -1;
  devLo = 0;
  devHi = 0;
  inoLo = 0;
  inoHi = 0;
  readonly children = new Map<string, Child>();

  constructor(parent: WatchedDirectory | null, name: string) {
    this.parent = parent;
    this.name = name;
  }

  /** Whether it is the child `name` of `parent`. */
  isAt(parent: WatchedDirectory, name: string): boolean {
    return this.parent === parent && this.name === name;
  }

  /** It was moved away. */
  detach(): void {
    this.parent = null;
    this.name = NOWHERE;
  }

  /** Whether it is `other` or in it. */
  isIn(other: WatchedDirectory): boolean {
    return this === other || (this.parent?.isIn(other) ?? false);
  }

  /** Its path, or that of something in it. The name of the one at the top is a path. */
  path(child?: string): Uint8Array {
    const names = [this.name];
    if (child !== undefined) names.push(child);
    for (let above = this.parent; above !== null; above = above.parent) names.unshift(above.name);
    return bytesOf(names.join("/"));
  }
}

function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** UTF-8 text as a string of one character per byte. */
export function byteString(text: string): string {
  let bytes = "";
  for (const byte of new TextEncoder().encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}

/** The NUL-terminated name at `offset` as a string of one character per byte. */
export function nameAt(memory: Uint8Array, offset: number): string {
  let name = "";
  for (let at = offset; memory[at] !== 0; at++) name += String.fromCharCode(memory[at]!);
  return name;
}
