/**
 * vhost-user messages as a front end sends them: each is written at once, and its answer is awaited without
 * blocking the thread, with a deadline, because a daemon may never answer.
 *
 * @module
 */

import { ECONNREFUSED, ENOENT, errnoName } from "../../sys/errno.ts";
import { OwnedFd } from "../../sys/fd.ts";
import { libc, status } from "../../sys/libc.ts";
import { NativeMemory } from "../../sys/native_memory.ts";
import { Readiness } from "../../sys/readiness.ts";
import {
  connectUnix,
  pathByteLength,
  peerPid,
  SOCKET_PATH_BYTES_MAX,
  unixStreamSocket,
} from "../../sys/unix_socket.ts";
import { CMSGHDR, IOVEC, MSG_NOSIGNAL, MSGHDR, SCM_RIGHTS, SOL_SOCKET } from "../../wire/linux.ts";
import {
  HEADER,
  VHOST_USER,
  VHOST_USER_NEED_REPLY_MASK,
  VHOST_USER_REPLY_MASK,
  VHOST_USER_VERSION,
  VHOST_USER_VERSION_MASK,
} from "../../wire/vhost_user.ts";
import { DaemonError } from "../daemon_error.ts";

/** Bytes of payload in one message: GET_SHMEM_CONFIG's reply is the longest, with 2056. */
const PAYLOAD_SIZE_MAX = 4096;

/** Layout of the native memory that messages are built in. No two connections use it at the same time: building and writing is one step. */
const MESSAGE = 0;
const MESSAGE_HEADER = 8192;
const VECTOR = MESSAGE_HEADER + MSGHDR.SIZE;
const CONTROL = VECTOR + IOVEC.SIZE;
const scratch = NativeMemory.allocate(CONTROL + 64);

/** The socket of one daemon. */
export class Connection implements Disposable {
  readonly #socket: OwnedFd;
  readonly #timeoutMs: number;

  private constructor(socket: OwnedFd, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
  }

  /** Connects to the daemon that listens on `path`. Throws a {@linkcode DaemonError} that names the path. */
  static open(path: string, timeoutMs: number): Connection {
    if (pathByteLength(path) > SOCKET_PATH_BYTES_MAX) {
      throw new DaemonError(
        `The socket path "${path}" is too long: ${SOCKET_PATH_BYTES_MAX} bytes at most`,
      );
    }
    const fd = unixStreamSocket();
    if (fd < 0) throw new DaemonError(`Cannot make a socket: ${errnoName(fd)}`);
    const socket = new OwnedFd(fd);
    const result = connectUnix(fd, path);
    if (result < 0) {
      socket.close();
      const reason = result === -ENOENT
        ? "there is no such socket"
        : result === -ECONNREFUSED
        ? "nobody listens on it"
        : errnoName(result);
      throw new DaemonError(`Cannot connect to the daemon at "${path}": ${reason}`);
    }
    return new Connection(socket, timeoutMs);
  }

  /** The socket, to be watched for a hang-up. */
  get fd(): number {
    return this.#socket.number;
  }

  /** The daemon's process id, as the kernel knows it; 0 where it is in no process namespace of ours. */
  get daemonPid(): number {
    return peerPid(this.#socket.number);
  }

  /** Sends a message that has no answer. */
  tell(request: number, payload: Uint8Array, fd: number | null = null): void {
    this.#send(request, VHOST_USER_VERSION, payload, fd);
  }

  /** Sends a message and returns the payload of its reply. */
  async ask(request: number, payload: Uint8Array = NO_BYTES): Promise<DataView<ArrayBuffer>> {
    this.#send(request, VHOST_USER_VERSION, payload, null);
    return await this.#receive(request);
  }

  /** Sends a message and waits until the daemon has obeyed (vhost-user: REPLY_ACK). */
  async order(request: number, payload: Uint8Array, fd: number | null = null): Promise<void> {
    this.#send(request, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY_MASK, payload, fd);
    const reply = await this.#receive(request);
    if (reply.byteLength !== 8) {
      throw new DaemonError(
        `The daemon acknowledged ${nameOf(request)} with ${reply.byteLength} bytes instead of 8`,
      );
    }
    if (reply.getBigUint64(0, true) !== 0n) {
      throw new DaemonError(`The daemon refused ${nameOf(request)}`);
    }
  }

  /** Hangs up. */
  [Symbol.dispose](): void {
    this.#socket.close();
  }

  #send(request: number, flags: number, payload: Uint8Array, fd: number | null): void {
    const { view, u8, address } = scratch;
    view.setUint32(MESSAGE + HEADER.REQUEST, request, true);
    view.setUint32(MESSAGE + HEADER.FLAGS, flags, true);
    view.setUint32(MESSAGE + HEADER.PAYLOAD_SIZE, payload.length, true);
    u8.set(payload, MESSAGE + HEADER.SIZE);
    scratch.setU64(VECTOR + IOVEC.BASE, address + MESSAGE);
    scratch.setU64(VECTOR + IOVEC.LEN, HEADER.SIZE + payload.length);
    u8.fill(0, MESSAGE_HEADER, MESSAGE_HEADER + MSGHDR.SIZE);
    scratch.setU64(MESSAGE_HEADER + MSGHDR.IOV, address + VECTOR);
    scratch.setU64(MESSAGE_HEADER + MSGHDR.IOVLEN, 1);
    if (fd !== null) {
      scratch.setU64(CONTROL + CMSGHDR.LEN, CMSGHDR.DATA + 4);
      view.setInt32(CONTROL + CMSGHDR.LEVEL, SOL_SOCKET, true);
      view.setInt32(CONTROL + CMSGHDR.TYPE, SCM_RIGHTS, true);
      view.setInt32(CONTROL + CMSGHDR.DATA, fd, true);
      scratch.setU64(MESSAGE_HEADER + MSGHDR.CONTROL, address + CONTROL);
      scratch.setU64(MESSAGE_HEADER + MSGHDR.CONTROLLEN, CMSGHDR.DATA + 8);
    }
    const sent = status(
      libc.sendmsg(this.#socket.number, scratch.pointerAt(MESSAGE_HEADER), MSG_NOSIGNAL),
    );
    if (sent < 0) {
      throw new DaemonError(`The daemon hung up at ${nameOf(request)}: ${errnoName(sent)}`);
    }
  }

  async #receive(request: number): Promise<DataView<ArrayBuffer>> {
    const header = await this.#receiveBytes(request, HEADER.SIZE);
    const answered = header.getUint32(HEADER.REQUEST, true);
    const flags = header.getUint32(HEADER.FLAGS, true);
    const size = header.getUint32(HEADER.PAYLOAD_SIZE, true);
    if (answered !== request || (flags & VHOST_USER_REPLY_MASK) === 0) {
      throw new DaemonError(
        `The daemon answered ${nameOf(answered)} when ${nameOf(request)} was asked`,
      );
    }
    if ((flags & VHOST_USER_VERSION_MASK) !== VHOST_USER_VERSION) {
      throw new DaemonError(`The daemon speaks version ${flags & 3} of vhost-user, not 1`);
    }
    if (size > PAYLOAD_SIZE_MAX) {
      throw new DaemonError(`The daemon's answer to ${nameOf(request)} claims ${size} bytes`);
    }
    return await this.#receiveBytes(request, size);
  }

  async #receiveBytes(request: number, size: number): Promise<DataView<ArrayBuffer>> {
    const bytes = new Uint8Array(size);
    let received = 0;
    while (received < size) {
      await this.#readable(request);
      const count = status(
        libc.read(this.#socket.number, scratch.pointerAt(MESSAGE), size - received),
      );
      if (count <= 0) throw new DaemonError(`The daemon hung up at ${nameOf(request)}`);
      bytes.set(scratch.u8.subarray(MESSAGE, MESSAGE + count), received);
      received += count;
    }
    return new DataView(bytes.buffer);
  }

  async #readable(request: number): Promise<void> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), this.#timeoutMs);
    using readiness = new Readiness(this.#socket.number, abort.signal);
    const ready = await readiness.wait();
    clearTimeout(timer);
    if (!ready) {
      throw new DaemonError(
        `The daemon does not answer ${nameOf(request)}: waited ${this.#timeoutMs / 1000} s${
          request === VHOST_USER.GET_FEATURES ? "; does it serve another guest?" : ""
        }`,
      );
    }
  }
}

const NO_BYTES = new Uint8Array(0);

/** What the specification calls a message. */
function nameOf(request: number): string {
  const found = Object.entries(VHOST_USER).find(([, number]) => number === request);
  return found?.[0] ?? `message ${request}`;
}
