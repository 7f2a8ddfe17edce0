/**
 * The error of a daemon that cannot be used: not there, gone, or not keeping to the protocol. Errors of a
 * single operation are another kind, see `guest_error.ts`.
 *
 * @module
 */

/** Thrown when the connection to a daemon cannot be made or has ended, with the reason. */
export class DaemonError extends Error {
  /** The name that distinguishes it in a log. */
  override readonly name = "DaemonError";
}
