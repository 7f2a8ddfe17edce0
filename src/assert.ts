/**
 * Assertions for our own mistakes. What a guest, a front end or an operator can cause is never asserted:
 * it is an errno, a broken queue or an error message.
 *
 * @module
 */

/** Thrown when the program itself is wrong. */
export class AssertionError extends Error {
  override name = "AssertionError";
}

/** Throws an {@linkcode AssertionError} unless `condition` holds. The message is a literal: no cost when it holds. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}
