/**
 * The line between the process that was started and the one that serves: messages of JSON over a socket pair, with a descriptor now and then.
 *
 * Both ends are ours. Still the outer end believes nothing it is told: the server may be in a guest's hands by then, and the outer
 * process has rights that it has not (`isolated/started.ts` says what it does when asked).
 *
 * @module
 */

import { EAGAIN, EINTR, errnoName } from "../sys/errno.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { Readiness } from "../sys/readiness.ts";
import { SOCK_SEQPACKET } from "../wire/isolation.ts";
import {
  AF_UNIX,
  CMSGHDR,
  IOVEC,
  MSG_CMSG_CLOEXEC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSGHDR,
  SCM_RIGHTS,
  SOCK_CLOEXEC,
  SOL_SOCKET,
} from "../wire/linux.ts";

/** The largest message that is received. A start has the whole configuration; what a socket's buffer does not hold is not sent. */
const MESSAGE_SIZE_MAX = 262_144;
const HEADER = MESSAGE_SIZE_MAX;
const VECTOR = HEADER + MSGHDR.SIZE;
const CONTROL = VECTOR + IOVEC.SIZE;
/** One descriptor, and no byte more: where there is room for two, two may come. */
const CONTROL_SIZE = CMSGHDR.DATA + 4;
const MEMORY_SIZE = CONTROL + CONTROL_SIZE;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A message and what came with it, which the receiver closes. */
export interface Received<T> {
  readonly message: T;
  readonly fd: OwnedFd | null;
}

/** Both ends of a new channel, closed on exec. */
export function channelPair(): [OwnedFd, OwnedFd] {
  const memory = NativeMemory.allocate(4096);
  const type = SOCK_SEQPACKET | SOCK_CLOEXEC;
  const result = status(libc.socketpair(AF_UNIX, type, 0, memory.pointerAt(0)));
  if (result < 0) throw new Error(`Cannot make a socket pair: ${errnoName(result)}`);
  return [new OwnedFd(memory.i32[0]!), new OwnedFd(memory.i32[1]!)];
}

/** One end. */
export class Channel<Incoming, Outgoing> {
  readonly #fd: OwnedFd;
  readonly #memory = NativeMemory.allocate(MEMORY_SIZE);

  constructor(fd: OwnedFd) {
    this.#fd = fd;
  }

  /** False if the other end has gone or does not read, or the message is too long. */
  send(message: Outgoing, fd = -1): boolean {
    const bytes = encoder.encode(JSON.stringify(message));
    if (bytes.length > MESSAGE_SIZE_MAX) return false;
    const { view, u8 } = this.#memory;
    u8.set(bytes);
    this.#describe(bytes.length, fd < 0 ? 0 : CONTROL_SIZE);
    this.#memory.setU64(CONTROL + CMSGHDR.LEN, CMSGHDR.DATA + 4);
    view.setInt32(CONTROL + CMSGHDR.LEVEL, SOL_SOCKET, true);
    view.setInt32(CONTROL + CMSGHDR.TYPE, SCM_RIGHTS, true);
    view.setInt32(CONTROL + CMSGHDR.DATA, fd, true);
    const header = this.#memory.pointerAt(HEADER);
    return status(libc.sendmsg(this.#fd.number, header, MSG_NOSIGNAL | MSG_DONTWAIT)) >= 0;
  }

  /** The next message, waited for with the whole thread. Null when the other end has gone. */
  receiveSync(): Received<Incoming> | null {
    for (;;) {
      const received = this.#receive(0);
      if (typeof received !== "number") return received;
      if (received !== -EINTR) return null;
    }
  }

  /** Messages until the other end goes or the signal is aborted. */
  async *messages(signal: AbortSignal): AsyncGenerator<Received<Incoming>> {
    using readiness = new Readiness(this.#fd.number, signal);
    while (await readiness.wait()) {
      const received = this.#receive(MSG_DONTWAIT);
      if (received === null) return;
      if (typeof received !== "number") yield received;
      else if (received !== -EAGAIN && received !== -EINTR) return;
    }
  }

  close(): void {
    this.#fd.close();
  }

  #receive(flags: number): Received<Incoming> | null | number {
    this.#describe(MESSAGE_SIZE_MAX, CONTROL_SIZE);
    const header = this.#memory.pointerAt(HEADER);
    const size = status(libc.recvmsg(this.#fd.number, header, flags | MSG_CMSG_CLOEXEC));
    if (size < 0) return size;
    const { view, u8 } = this.#memory;
    const hasFd = this.#memory.u64(HEADER + MSGHDR.CONTROLLEN) >= CMSGHDR.DATA + 4 &&
      view.getInt32(CONTROL + CMSGHDR.TYPE, true) === SCM_RIGHTS;
    const fd = hasFd ? new OwnedFd(view.getInt32(CONTROL + CMSGHDR.DATA, true)) : null;
    try {
      if (size > 0) return { message: JSON.parse(decoder.decode(u8.slice(0, size))), fd };
    } catch (error) {
      fd?.close();
      throw error;
    }
    fd?.close();
    return null;
  }

  #describe(size: number, controlSize: number): void {
    const memory = this.#memory;
    memory.u8.fill(0, HEADER, MEMORY_SIZE);
    memory.setU64(VECTOR + IOVEC.BASE, memory.address);
    memory.setU64(VECTOR + IOVEC.LEN, size);
    memory.setU64(HEADER + MSGHDR.IOV, memory.address + VECTOR);
    memory.setU64(HEADER + MSGHDR.IOVLEN, 1);
    if (controlSize === 0) return;
    memory.setU64(HEADER + MSGHDR.CONTROL, memory.address + CONTROL);
    memory.setU64(HEADER + MSGHDR.CONTROLLEN, controlSize);
  }
}
