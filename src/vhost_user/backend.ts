/**
 * The back end of a vhost-user connection: reads the front end's messages one after another, does what they say to the
 * device, and answers.
 *
 * What happens to a message that cannot be done: if the front end asked for an acknowledgement (REPLY_ACK negotiated,
 * NEED_REPLY set) it gets a non-zero one, and the connection goes on as if the message had not come. Otherwise it
 * would not hear of it and rely on something that is not so, or wait for a reply that has no form for "no":
 * then the connection is dropped. Either way the log has one line.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { OwnedFd } from "../sys/fd.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { VHOST_USER_PROTOCOL_F } from "../wire/vhost_user.ts";
import { Connection, CONNECTION_MEMORY_SIZE, type Message } from "./connection.ts";
import type { VhostUserDevice } from "./device.ts";
import { ConnectionError, RequestError } from "./errors.ts";
import { hasFeature, protocolFeatureNames } from "./features.ts";
import { handle, handlerOf } from "./handlers.ts";
import { u64Payload } from "./payload.ts";
import { Session } from "./session.ts";

/** Where the back end says what it meets. The daemon's log fits. */
export interface BackendLog {
  /** Every message. */
  debug(message: string): void;
  /** A front end's coming and going. */
  info(message: string): void;
  /** A message that was refused, a connection that was dropped. */
  warn(message: string): void;
}

/** The payload of an acknowledgement: 0 = done. */
const DONE = 0;
const REFUSED = 1;

/** Serves one front end at a time on behalf of a device. */
export class Backend {
  readonly #device: VhostUserDevice;
  readonly #log: BackendLog;
  readonly #memory = NativeMemory.allocate(CONNECTION_MEMORY_SIZE);
  #serving = false;

  constructor(device: VhostUserDevice, log: BackendLog) {
    this.#device = device;
    this.#log = log;
  }

  /**
   * Serves the front end at the other end of `socket` until it hangs up, breaks the protocol, or `signal` is aborted.
   * When this resolves all queues are stopped, the device is reset, the memory is unmapped and every descriptor of the
   * connection, `socket` included, is closed. Throws only for mistakes of our own and the device's.
   */
  async serve(socket: OwnedFd, signal: AbortSignal): Promise<void> {
    assert(!this.#serving, "one front end at a time");
    this.#serving = true;
    const session = new Session(this.#device);
    try {
      using connection = new Connection(socket.number, signal, this.#memory);
      this.#log.info("Front end connected");
      this.#device.observer.setConnected(true);
      await this.#converse(connection, session);
      this.#log.info(signal.aborted ? "Front end let go" : "Front end disconnected");
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      this.#log.warn(`vhost-user: ${error.message}; the connection is dropped`);
    } finally {
      try {
        await session.close();
      } finally {
        socket.close();
        this.#device.observer.setConnected(false);
        this.#serving = false;
      }
    }
  }

  async #converse(connection: Connection, session: Session): Promise<void> {
    for (;;) {
      using message = await connection.receive();
      if (message === null) return;
      if (!(await this.#answer(connection, session, message))) return;
    }
  }

  /** False when the front end does not take the answer any more. */
  async #answer(connection: Connection, session: Session, message: Message): Promise<boolean> {
    const handler = handlerOf(message.request);
    const name = handler?.name ?? `message ${message.request}`;
    this.#log.debug(
      `vhost-user: ${name}, ${message.payload.byteLength} bytes, ${message.fdCount} descriptors`,
    );
    try {
      const reply = await handle(handler, session, message);
      if (reply !== null) return connection.send(message.request, reply);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      const isAnswerable = handler === null || !handler.replies;
      if (!isAnswerable || !wantsAcknowledgement(session, message)) {
        throw new ConnectionError(`${name} cannot be done: ${error.message}`);
      }
      this.#log.warn(`vhost-user: ${name} was refused: ${error.message}`);
      return connection.send(message.request, u64Payload(REFUSED));
    }
    if (name === "SET_PROTOCOL_FEATURES") {
      const names = protocolFeatureNames(session.protocolFeatures);
      this.#log.debug(`vhost-user: protocol features in use: ${names}`);
    }
    if (!wantsAcknowledgement(session, message)) return true;
    return connection.send(message.request, u64Payload(DONE));
  }
}

/** The flag counts only where both sides know of it. */
function wantsAcknowledgement(session: Session, message: Message): boolean {
  return message.needReply &&
    hasFeature(session.protocolFeatures, VHOST_USER_PROTOCOL_F.REPLY_ACK);
}
