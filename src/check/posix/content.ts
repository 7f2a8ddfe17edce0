/**
 * Content for the checks of files: recognisable bytes, and reading them back.
 *
 * @module
 */

import { O } from "./linux_constants.ts";
import type { Scope } from "./scope.ts";
import { sys } from "./system_calls.ts";

/** Bytes that differ from place to place, so that a misplaced block shows. */
export function pattern(size: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = seed * 2654435761 >>> 0;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** Whether two arrays hold the same bytes. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Reads until the size or the end of the file is reached. */
export function readExactly(t: Scope, fd: number, size: number, offset: number): Uint8Array {
  const parts = new Uint8Array(size);
  let done = 0;
  while (done < size) {
    const part = t.value(sys.pread(fd, size - done, offset + done), "pread");
    if (part.length === 0) break;
    parts.set(part, done);
    done += part.length;
  }
  return parts.subarray(0, done);
}

/** A new empty file "x", open for reading and writing. */
export function newFile(t: Scope, flags = 0): number {
  return t.open(t.path("x"), O.CREAT | O.RDWR | flags);
}
