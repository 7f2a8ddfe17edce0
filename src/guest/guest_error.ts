/**
 * The error of one operation of a guest: what failed, on which path, and the errno's name.
 *
 * @module
 */

import { errnoName } from "../sys/errno.ts";
import { errorText } from "../sys/unix_socket.ts";

/** Thrown by the methods of `Guest` and `GuestFile`: `ENOENT: No such file or directory, open "/x"`. */
export class GuestError extends Error {
  /** The name that distinguishes it in a log. */
  override readonly name = "GuestError";
  /** The errno's name: "ENOENT". */
  readonly code: string;
  /** The errno, above 0. */
  readonly errno: number;
  /** What was tried: "open". */
  readonly operation: string;
  /** What it was tried on. */
  readonly path: string;

  /** `status` is a negative errno. */
  constructor(status: number, operation: string, path: string) {
    const code = errnoName(status);
    super(`${code}: ${errorText(status)}, ${operation} ${JSON.stringify(path)}`);
    this.code = code;
    this.errno = -status;
    this.operation = operation;
    this.path = path;
  }
}

/** Passes a result of a system call on, or throws a {@linkcode GuestError} for a negative errno. */
export function must(result: number, operation: string, path: string): number {
  if (result < 0) throw new GuestError(result, operation, path);
  return result;
}

/** The same for calls whose result is a value. */
export function mustHave<T>(result: T | number, operation: string, path: string): T {
  if (typeof result === "number") throw new GuestError(result, operation, path);
  return result;
}
