/**
 * What stands between a looker-on and what he wants to see: no daemon, no permission, a file that is no state memory. One line for the operator.
 *
 * @module
 */

/** Thrown with a message that names the daemon or the file. */
export class InspectError extends Error {
  /** The name that distinguishes it. */
  override readonly name: string = "InspectError";
}

/** Thrown for a file that nobody has written as a state memory. */
export class NotStateError extends InspectError {
  /** The name that distinguishes it. */
  override readonly name = "NotStateError";
}

/** Thrown where writers were faster than reading it, in every one of many tries. */
export class BusyError extends InspectError {
  /** The name that distinguishes it. */
  override readonly name = "BusyError";

  constructor(what: string) {
    super(`${what} changes faster than it can be read: try again`);
  }
}
