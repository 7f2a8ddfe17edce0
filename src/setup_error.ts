/**
 * The error of an operator, as opposed to one of ours: a missing directory, a socket in use. It ends the
 * program with exit code 1 and its message as the only line, without a stack.
 *
 * @module
 */

/** Thrown while the daemon is set up, with a message that names the path or option at fault. */
export class SetupError extends Error {
  /** The name that distinguishes it in a log. */
  override readonly name = "SetupError";
}
