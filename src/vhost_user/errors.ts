/**
 * The two ways in which a front end can be wrong.
 *
 * @module
 */

/**
 * A message that cannot be done. Nothing was changed by it, and the connection is intact: where the front end
 * asked for an acknowledgement it gets a non-zero one and may go on.
 */
export class RequestError extends Error {
  override name = "RequestError";
}

/** The connection cannot go on: what follows on the socket has no meaning, or nobody waits for the answer. */
export class ConnectionError extends Error {
  override name = "ConnectionError";
}
