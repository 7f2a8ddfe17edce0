/**
 * What a daemon was told to do, as JSON in its state memory: for people and programs that look on, and never read by the daemon itself.
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";
import { DESCRIPTION_OFFSET, DESCRIPTION_SIZE_MAX, STATE_HEADER } from "./layout.ts";

/** Characters that a text may have; fewer if they take so much room. The kernel's PATH_MAX. */
const TEXT_MAX = 4096;

/** A daemon's own words. */
export interface Description {
  /** The program's version. */
  readonly version: string;
  /** Where front ends connect: a path, or "fd N". */
  readonly socket: string;
  readonly sharedDir: string;
  readonly tag: string | null;
  readonly requestQueues: number;
  readonly cache: string;
  readonly readonly: boolean;
  readonly writeback: boolean;
  readonly xattr: boolean;
  readonly dax: string;
  readonly inodeFileHandles: string;
  /** The version table's path, or null. */
  readonly versionTable: string | null;
}

/** Written once, before the magic of the state memory is of interest to anybody. */
export function writeDescription(memory: NativeMemory, description: Description): void {
  let bytes = encode(description, TEXT_MAX);
  // Control characters take six bytes each.
  for (let most = TEXT_MAX / 2; bytes.length > DESCRIPTION_SIZE_MAX; most /= 2) {
    bytes = encode(description, most);
  }
  memory.u8.set(bytes, DESCRIPTION_OFFSET);
  memory.u32[STATE_HEADER.DESCRIPTION_SIZE >>> 2] = bytes.length;
}

function encode(description: Description, most: number): Uint8Array {
  const text = JSON.stringify(
    description,
    (_, value) => typeof value === "string" ? value.slice(0, most) : value,
  );
  return new TextEncoder().encode(text);
}
