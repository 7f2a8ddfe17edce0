/**
 * Our requests to the front end over the back-end channel: SHMEM_MAP and SHMEM_UNMAP, one at a time.
 *
 * The front end may be waiting for us at that very moment (QEMU reads one answer at a time and nothing meanwhile). So who waits here gives up
 * when the main thread has an order for any queue ({@linkcode NOT_ANSWERED}), leaves the request outstanding, and the answer is
 * awaited by whoever comes next.
 *
 * @module
 */

import { EINTR, EIO, EPROTO, type Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { shutDown } from "../sys/unix_socket.ts";
import { DAX_HEADER, STATE_HEADER } from "../state/layout.ts";
import {
  CMSGHDR,
  IOVEC,
  MSG_NOSIGNAL,
  MSGHDR,
  POLLFD,
  POLLIN,
  SCM_RIGHTS,
  SOL_SOCKET,
} from "../wire/linux.ts";
import {
  DAX_REGION_ID,
  HEADER,
  SHMEM_MAP_MESSAGE,
  U64,
  VHOST_USER_BACKEND,
  VHOST_USER_FLAG_MAP_RW,
  VHOST_USER_NEED_REPLY_MASK,
  VHOST_USER_REPLY_MASK,
  VHOST_USER_VERSION,
} from "../wire/vhost_user.ts";

/** The answer has not come, and the front end may need us first. Not an errno, and none of the DAX_ABLE_TO_* bits. */
export const NOT_ANSWERED: number = 1 << 16;

/** How often who waits looks whether the main thread needs the queue. */
const LOOK_MS = 5;

const MESSAGE = 0;
const ANSWER_SIZE = HEADER.SIZE + U64.SIZE;
const MESSAGE_HEADER = 128;
const VECTOR = MESSAGE_HEADER + MSGHDR.SIZE;
const CONTROL = VECTOR + IOVEC.SIZE;
const CONTROL_SIZE = CMSGHDR.DATA + 8;
const POLL = CONTROL + CONTROL_SIZE;
const MEMORY_SIZE = POLL + POLLFD.SIZE;

const CHANNEL = (STATE_HEADER.DAX + DAX_HEADER.CHANNEL) >>> 2;
const COMMANDS = (STATE_HEADER.DAX + DAX_HEADER.COMMANDS) >>> 2;

/** The channel, used by one thread that holds the mapping table's mutex. */
export class ShmemChannel {
  readonly #i32: Int32Array;
  readonly #region: number;
  readonly #memory = NativeMemory.allocate(MEMORY_SIZE);

  /** `region`: whose mappings it asks for. */
  constructor(state: NativeMemory, region = DAX_REGION_ID) {
    this.#i32 = state.i32;
    this.#region = region;
  }

  /** Whether there is a front end with a window. */
  get open(): boolean {
    return Atomics.load(this.#i32, CHANNEL) !== 0;
  }

  /** Asks the front end to map `length` bytes of `fd`, from `fileOffset` on, at `offset` of the window. 0, or -EIO if it is gone. */
  askToMap(
    offset: number,
    length: number,
    fd: number,
    fileOffset: number,
    writable: boolean,
  ): Status {
    return this.#send(VHOST_USER_BACKEND.SHMEM_MAP, offset, length, fd, fileOffset, writable);
  }

  /** Asks it to remove one whole mapping. */
  askToUnmap(offset: number, length: number): Status {
    return this.#send(VHOST_USER_BACKEND.SHMEM_UNMAP, offset, length, -1, 0, false);
  }

  /** Waits for the answer to what was asked last: 0, -EIO if the front end refuses or is gone, or {@linkcode NOT_ANSWERED}. */
  answer(): Status {
    const fd = this.#fd;
    if (fd < 0) return -EIO;
    const { view } = this.#memory;
    for (;;) {
      view.setInt32(POLL + POLLFD.FD, fd, true);
      view.setInt16(POLL + POLLFD.EVENTS, POLLIN, true);
      view.setInt16(POLL + POLLFD.REVENTS, 0, true);
      const ready = status(libc.poll(this.#memory.pointerAt(POLL), 1, LOOK_MS));
      // Any failure to wait (EINTR, ENOMEM) leaves the answer outstanding.
      if (ready > 0) break;
      if (Atomics.load(this.#i32, COMMANDS) !== 0) return NOT_ANSWERED;
    }
    return this.#receive(fd);
  }

  get #fd(): number {
    return Atomics.load(this.#i32, CHANNEL) - 1;
  }

  #send(
    request: number,
    offset: number,
    length: number,
    fd: number,
    fileOffset: number,
    writable: boolean,
  ): Status {
    const socket = this.#fd;
    if (socket < 0) return -EIO;
    const memory = this.#memory;
    const { view } = memory;
    const payload = MESSAGE + HEADER.SIZE;
    view.setUint32(MESSAGE + HEADER.REQUEST, request, true);
    view.setUint32(MESSAGE + HEADER.FLAGS, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY_MASK, true);
    view.setUint32(MESSAGE + HEADER.PAYLOAD_SIZE, SHMEM_MAP_MESSAGE.SIZE, true);
    memory.setU64(payload + SHMEM_MAP_MESSAGE.SHMID, this.#region);
    memory.setU64(payload + SHMEM_MAP_MESSAGE.FD_OFFSET, fileOffset);
    memory.setU64(payload + SHMEM_MAP_MESSAGE.SHM_OFFSET, offset);
    memory.setU64(payload + SHMEM_MAP_MESSAGE.LEN, length);
    memory.setU64(payload + SHMEM_MAP_MESSAGE.FLAGS, writable ? VHOST_USER_FLAG_MAP_RW : 0);
    const size = HEADER.SIZE + SHMEM_MAP_MESSAGE.SIZE;
    this.#describe(size, fd);
    // A message is far smaller than a socket's buffer, and the buffer is empty: one goes out at a time.
    const sent = status(libc.sendmsg(socket, memory.pointerAt(MESSAGE_HEADER), MSG_NOSIGNAL));
    return sent === size ? 0 : -EIO;
  }

  #receive(fd: number): Status {
    const { view } = this.#memory;
    for (let done = 0; done < ANSWER_SIZE;) {
      const count = status(
        libc.read(fd, this.#memory.pointerAt(MESSAGE + done), ANSWER_SIZE - done),
      );
      if (count === -EINTR) continue;
      if (count <= 0) return -EIO;
      done += count;
    }
    const flags = view.getUint32(MESSAGE + HEADER.FLAGS, true);
    const request = view.getUint32(MESSAGE + HEADER.REQUEST, true);
    if (
      (flags & VHOST_USER_REPLY_MASK) === 0 ||
      (request !== VHOST_USER_BACKEND.SHMEM_MAP && request !== VHOST_USER_BACKEND.SHMEM_UNMAP) ||
      view.getUint32(MESSAGE + HEADER.PAYLOAD_SIZE, true) !== U64.SIZE
    ) {
      // What comes next cannot be told from what this was: nothing more is asked.
      shutDown(fd);
      return -EPROTO;
    }
    return this.#memory.u64(MESSAGE + HEADER.SIZE + U64.VALUE) === 0 ? 0 : -EIO;
  }

  /** struct msghdr for the message, with a descriptor if there is one. */
  #describe(size: number, fd: number): void {
    const memory = this.#memory;
    const { view } = memory;
    memory.setU64(VECTOR + IOVEC.BASE, memory.address + MESSAGE);
    memory.setU64(VECTOR + IOVEC.LEN, size);
    memory.u8.fill(0, MESSAGE_HEADER, MESSAGE_HEADER + MSGHDR.SIZE);
    memory.setU64(MESSAGE_HEADER + MSGHDR.IOV, memory.address + VECTOR);
    memory.setU64(MESSAGE_HEADER + MSGHDR.IOVLEN, 1);
    if (fd < 0) return;
    memory.setU64(MESSAGE_HEADER + MSGHDR.CONTROL, memory.address + CONTROL);
    memory.setU64(MESSAGE_HEADER + MSGHDR.CONTROLLEN, CONTROL_SIZE);
    memory.setU64(CONTROL + CMSGHDR.LEN, CMSGHDR.DATA + 4);
    view.setInt32(CONTROL + CMSGHDR.LEVEL, SOL_SOCKET, true);
    view.setInt32(CONTROL + CMSGHDR.TYPE, SCM_RIGHTS, true);
    view.setInt32(CONTROL + CMSGHDR.DATA, fd, true);
  }
}
