/**
 * vhost-user messages on a stream socket: framing, and the file descriptors that come with them.
 *
 * Descriptors arrive with a byte of their message. No read reaches beyond the message it is for, so what
 * arrives during one belongs to that one, and a message's descriptors are closed unless somebody takes them.
 *
 * @module
 */

import { EAGAIN, EINTR } from "../sys/errno.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import {
  CMSGHDR,
  IOVEC,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSGHDR,
  POLLIN,
  SCM_RIGHTS,
  SOL_SOCKET,
} from "../wire/linux.ts";
import {
  HEADER,
  VHOST_USER_NEED_REPLY_MASK,
  VHOST_USER_REPLY_MASK,
  VHOST_USER_VERSION,
  VHOST_USER_VERSION_MASK,
} from "../wire/vhost_user.ts";
import { ConnectionError } from "./errors.ts";
import { POLLOUT, Readiness } from "../sys/readiness.ts";

/** Descriptors in one message: a full memory table has 8, the rest is room for the front end's mistakes. */
export const MESSAGE_FD_COUNT_MAX = 32;
/** Bytes of payload in one message: none that we offer has more than a few hundred. */
export const PAYLOAD_SIZE_MAX = 4096;

/** Layout of a connection's native memory. */
const MESSAGE = 0;
const MESSAGE_HEADER = MESSAGE + HEADER.SIZE + PAYLOAD_SIZE_MAX + 4;
const VECTOR = MESSAGE_HEADER + MSGHDR.SIZE;
const CONTROL = VECTOR + IOVEC.SIZE;
const CONTROL_SIZE = CMSGHDR.DATA + 4 * MESSAGE_FD_COUNT_MAX;
/** Bytes of native memory that a {@linkcode Connection} works in. */
export const CONNECTION_MEMORY_SIZE = CONTROL + CONTROL_SIZE;

/** A message with the descriptors that came along. Disposing it closes those that nobody took. */
export class Message implements Disposable {
  readonly request: number;
  readonly needReply: boolean;
  readonly payload: DataView<ArrayBuffer>;
  readonly #fds: OwnedFd[];
  readonly fdCount: number;

  constructor(
    request: number,
    needReply: boolean,
    payload: DataView<ArrayBuffer>,
    fds: readonly OwnedFd[],
  ) {
    this.request = request;
    this.needReply = needReply;
    this.payload = payload;
    this.#fds = [...fds];
    this.fdCount = fds.length;
  }

  /** Descriptor `index`, to look at while the message lives. */
  fd(index: number): OwnedFd {
    return this.#fds[index]!;
  }

  /** Descriptor `index`, to keep: the caller closes it. */
  takeFd(index: number): OwnedFd {
    return new OwnedFd(this.#fds[index]!.release());
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds) fd.close();
  }
}

/** One front end. The socket stays the caller's. */
export class Connection implements Disposable {
  readonly #socket: number;
  readonly #readiness: Readiness;
  readonly #memory: NativeMemory;

  /** `memory` has {@linkcode CONNECTION_MEMORY_SIZE} bytes and is used by nobody else meanwhile. */
  constructor(socket: number, signal: AbortSignal, memory: NativeMemory) {
    this.#socket = socket;
    this.#memory = memory;
    this.#readiness = new Readiness(socket, signal);
  }

  /** The next message; null when the front end hung up between two messages, or the signal was aborted. */
  async receive(): Promise<Message | null> {
    const fds: OwnedFd[] = [];
    let received = false;
    try {
      if (!(await this.#receiveExactly(0, HEADER.SIZE, fds))) return null;
      const { view } = this.#memory;
      const request = view.getUint32(MESSAGE + HEADER.REQUEST, true);
      const flags = view.getUint32(MESSAGE + HEADER.FLAGS, true);
      const size = view.getUint32(MESSAGE + HEADER.PAYLOAD_SIZE, true);
      if ((flags & VHOST_USER_VERSION_MASK) !== VHOST_USER_VERSION) {
        throw new ConnectionError(`message ${request} has protocol version ${flags & 3}, not 1`);
      }
      if ((flags & VHOST_USER_REPLY_MASK) !== 0) {
        throw new ConnectionError(
          `message ${request} is marked as a reply, and none was asked for`,
        );
      }
      if (size > PAYLOAD_SIZE_MAX) {
        throw new ConnectionError(`message ${request} claims ${size} bytes of payload`);
      }
      if (!(await this.#receiveExactly(HEADER.SIZE, size, fds))) return null;
      const payload = this.#memory.u8.slice(MESSAGE + HEADER.SIZE, MESSAGE + HEADER.SIZE + size);
      const needReply = (flags & VHOST_USER_NEED_REPLY_MASK) !== 0;
      received = true;
      return new Message(request, needReply, new DataView(payload.buffer), fds);
    } finally {
      if (!received) { for (const fd of fds) fd.close(); }
    }
  }

  /** Reads `size` bytes to `offset` of the message. False at a hang-up before the first byte, or when aborted. */
  async #receiveExactly(offset: number, size: number, fds: OwnedFd[]): Promise<boolean> {
    let done = 0;
    while (done < size) {
      this.#prepare(offset + done, size - done, CONTROL_SIZE);
      const flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
      const count = status(
        libc.recvmsg(this.#socket, this.#memory.pointerAt(MESSAGE_HEADER), flags),
      );
      if (count === -EINTR) continue;
      if (count === -EAGAIN) {
        if (!(await this.#readiness.wait(POLLIN))) return false;
        continue;
      }
      if (count <= 0) {
        // A reset is a hang-up with bytes of ours unread.
        if (offset + done === 0) return false;
        throw new ConnectionError("the front end hung up within a message");
      }
      this.#takeFds(fds);
      done += count;
    }
    return true;
  }

  /** Collects the descriptors of the last recvmsg(2), all of them before anything is complained about. */
  #takeFds(fds: OwnedFd[]): void {
    const { view } = this.#memory;
    const end = CONTROL + this.#memory.u64(MESSAGE_HEADER + MSGHDR.CONTROLLEN);
    for (let at = CONTROL; at + CMSGHDR.DATA <= end;) {
      const size = this.#memory.u64(at + CMSGHDR.LEN);
      if (size < CMSGHDR.DATA) break;
      const level = view.getInt32(at + CMSGHDR.LEVEL, true);
      const type = view.getInt32(at + CMSGHDR.TYPE, true);
      if (level === SOL_SOCKET && type === SCM_RIGHTS) {
        for (let fd = at + CMSGHDR.DATA; fd + 4 <= Math.min(at + size, end); fd += 4) {
          fds.push(new OwnedFd(view.getInt32(fd, true)));
        }
      }
      at += Math.ceil(size / 8) * 8;
    }
    if ((view.getInt32(MESSAGE_HEADER + MSGHDR.FLAGS, true) & MSG_CTRUNC) !== 0) {
      throw new ConnectionError("file descriptors of a message were lost: too many of them");
    }
    if (fds.length > MESSAGE_FD_COUNT_MAX) {
      throw new ConnectionError(`a message came with ${fds.length} file descriptors`);
    }
  }

  /** Sends a reply. False when the front end is gone or the signal was aborted: the caller's next receive says so. */
  async send(
    request: number,
    payload: Uint8Array,
    fds: readonly number[] = [],
  ): Promise<boolean> {
    const { view, u8 } = this.#memory;
    view.setUint32(MESSAGE + HEADER.REQUEST, request, true);
    view.setUint32(MESSAGE + HEADER.FLAGS, VHOST_USER_VERSION | VHOST_USER_REPLY_MASK, true);
    view.setUint32(MESSAGE + HEADER.PAYLOAD_SIZE, payload.length, true);
    u8.set(payload, MESSAGE + HEADER.SIZE);
    const size = HEADER.SIZE + payload.length;
    let done = 0;
    while (done < size) {
      // The descriptors go with the first byte, once.
      this.#prepare(done, size - done, done === 0 ? this.#putFds(fds) : 0);
      const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
      const count = status(
        libc.sendmsg(this.#socket, this.#memory.pointerAt(MESSAGE_HEADER), flags),
      );
      if (count === -EINTR) continue;
      if (count === -EAGAIN) {
        if (!(await this.#readiness.wait(POLLOUT))) return false;
        continue;
      }
      if (count < 0) return false;
      done += count;
    }
    return true;
  }

  /** Writes the ancillary data for `fds` and returns its size. */
  #putFds(fds: readonly number[]): number {
    if (fds.length === 0) return 0;
    const { view } = this.#memory;
    const size = CMSGHDR.DATA + 4 * fds.length;
    this.#memory.setU64(CONTROL + CMSGHDR.LEN, size);
    view.setInt32(CONTROL + CMSGHDR.LEVEL, SOL_SOCKET, true);
    view.setInt32(CONTROL + CMSGHDR.TYPE, SCM_RIGHTS, true);
    for (let i = 0; i < fds.length; i++) {
      view.setInt32(CONTROL + CMSGHDR.DATA + 4 * i, fds[i]!, true);
    }
    return Math.ceil(size / 8) * 8;
  }

  /** struct msghdr for `size` bytes at `offset` of the message. */
  #prepare(offset: number, size: number, controlSize: number): void {
    const memory = this.#memory;
    memory.setU64(VECTOR + IOVEC.BASE, memory.address + MESSAGE + offset);
    memory.setU64(VECTOR + IOVEC.LEN, size);
    memory.u8.fill(0, MESSAGE_HEADER, MESSAGE_HEADER + MSGHDR.SIZE);
    memory.setU64(MESSAGE_HEADER + MSGHDR.IOV, memory.address + VECTOR);
    memory.setU64(MESSAGE_HEADER + MSGHDR.IOVLEN, 1);
    if (controlSize === 0) return;
    memory.setU64(MESSAGE_HEADER + MSGHDR.CONTROL, memory.address + CONTROL);
    memory.setU64(MESSAGE_HEADER + MSGHDR.CONTROLLEN, controlSize);
  }

  /** Ends waiting; the socket stays open. */
  close(): void {
    this.#readiness.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
