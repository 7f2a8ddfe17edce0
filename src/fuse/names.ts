/**
 * The gate that every name of a guest passes before it comes near a system call.
 *
 * @module
 */

import { EINVAL, ENAMETOOLONG, type Status } from "../sys/errno.ts";
import { NAME_MAX } from "../wire/linux.ts";

const SLASH = 0x2f;
const DOT = 0x2e;

/**
 * 0 if the bytes are one component of a path: not empty, no '/', not "." or "..", at most 255 bytes. (A NUL cannot
 * be inside: names end at their first one.) Names are bytes, in no encoding.
 */
export function checkName(bytes: Uint8Array, offset: number, size: number): Status {
  if (size === 0) return -EINVAL;
  if (size > NAME_MAX) return -ENAMETOOLONG;
  if (isDot(bytes, offset, size) || isDotDot(bytes, offset, size)) return -EINVAL;
  for (let i = offset; i < offset + size; i++) {
    if (bytes[i] === SLASH) return -EINVAL;
  }
  return 0;
}

export function isDot(bytes: Uint8Array, offset: number, size: number): boolean {
  return size === 1 && bytes[offset] === DOT;
}

export function isDotDot(bytes: Uint8Array, offset: number, size: number): boolean {
  return size === 2 && bytes[offset] === DOT && bytes[offset + 1] === DOT;
}
