/**
 * The daemon's requests to the front end (vhost-user: SET_BACKEND_REQ_FD). A daemon that maps a file waits for the
 * answer before it answers the guest, so whoever waits for the guest's reply serves this meanwhile.
 *
 * @module
 */

import { EAGAIN, EINVAL, EOPNOTSUPP, EPROTO, errnoName, type Status } from "../../sys/errno.ts";
import { OwnedFd } from "../../sys/fd.ts";
import { libc, status } from "../../sys/libc.ts";
import { NativeMemory } from "../../sys/native_memory.ts";
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
  SOCK_STREAM,
  SOL_SOCKET,
} from "../../wire/linux.ts";
import {
  HEADER,
  SHMEM_MAP_MESSAGE,
  VHOST_USER_BACKEND,
  VHOST_USER_FLAG_MAP_RW,
  VHOST_USER_NEED_REPLY_MASK,
  VHOST_USER_REPLY_MASK,
  VHOST_USER_VERSION,
} from "../../wire/vhost_user.ts";
import type { ShmemRegion } from "./shmem_region.ts";

/** Layout of the native memory; messages of the daemon are short. */
const MESSAGE = 0;
const PAYLOAD_SIZE_MAX = 1024;
const MESSAGE_HEADER = 2048;
const VECTOR = MESSAGE_HEADER + MSGHDR.SIZE;
const CONTROL = VECTOR + IOVEC.SIZE;
const CONTROL_SIZE = 64;
const scratch = NativeMemory.allocate(CONTROL + CONTROL_SIZE);
const FD_COUNT_MAX = 8;

/** Our end of the channel. */
export class BackendChannel implements Disposable {
  readonly #socket: OwnedFd;
  readonly #regions: ReadonlyMap<number, ShmemRegion>;

  private constructor(socket: OwnedFd, regions: ReadonlyMap<number, ShmemRegion>) {
    this.#socket = socket;
    this.#regions = regions;
  }

  /** A channel, and the end that is to be sent to the daemon and then closed. */
  static open(
    regions: ReadonlyMap<number, ShmemRegion>,
  ): { channel: BackendChannel; theirs: OwnedFd } {
    const made = status(
      libc.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, scratch.pointerAt(0)),
    );
    if (made < 0) throw new Error(`Cannot make a pair of sockets: ${errnoName(made)}`);
    const ours = new OwnedFd(scratch.view.getInt32(0, true));
    const theirs = new OwnedFd(scratch.view.getInt32(4, true));
    return { channel: new BackendChannel(ours, regions), theirs };
  }

  /** To be watched: readable when the daemon asks for something. */
  get fd(): number {
    return this.#socket.number;
  }

  /** Does what the daemon has asked for so far, without waiting for more. */
  serve(): void {
    while (!this.#socket.closed && this.#serveOne()) { /* the next */ }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  /** False when there is nothing (more) to serve. */
  #serveOne(): boolean {
    const fds: OwnedFd[] = [];
    try {
      const received = this.#receive(MESSAGE, HEADER.SIZE, MSG_DONTWAIT, fds);
      if (received === -EAGAIN) return false;
      const size = scratch.view.getUint32(MESSAGE + HEADER.PAYLOAD_SIZE, true);
      if (received < 0 || size > PAYLOAD_SIZE_MAX) return this.#giveUp();
      if (this.#receive(MESSAGE + HEADER.SIZE, size, 0, fds) < 0) return this.#giveUp();
      const request = scratch.view.getUint32(MESSAGE + HEADER.REQUEST, true);
      const flags = scratch.view.getUint32(MESSAGE + HEADER.FLAGS, true);
      const result = this.#obey(request, size, fds);
      if ((flags & VHOST_USER_NEED_REPLY_MASK) !== 0) this.#answer(request, result);
      return true;
    } finally {
      for (const fd of fds) fd.close();
    }
  }

  #obey(request: number, size: number, fds: readonly OwnedFd[]): Status {
    if (request === VHOST_USER_BACKEND.CONFIG_CHANGE_MSG) return 0;
    if (
      request !== VHOST_USER_BACKEND.SHMEM_MAP && request !== VHOST_USER_BACKEND.SHMEM_UNMAP
    ) return -EOPNOTSUPP;
    if (size !== SHMEM_MAP_MESSAGE.SIZE) return -EPROTO;
    const at = MESSAGE + HEADER.SIZE;
    const region = this.#regions.get(scratch.u8[at + SHMEM_MAP_MESSAGE.SHMID]!);
    if (region === undefined) return -EINVAL;
    const offset = scratch.u64(at + SHMEM_MAP_MESSAGE.SHM_OFFSET);
    const length = scratch.u64(at + SHMEM_MAP_MESSAGE.LEN);
    if (request === VHOST_USER_BACKEND.SHMEM_UNMAP) return region.unmap(offset, length);
    if (fds.length !== 1) return -EPROTO;
    const fdOffset = scratch.u64(at + SHMEM_MAP_MESSAGE.FD_OFFSET);
    const flags = scratch.view.getUint32(at + SHMEM_MAP_MESSAGE.FLAGS, true);
    const writable = (flags & VHOST_USER_FLAG_MAP_RW) !== 0;
    return region.map(offset, length, fds[0]!.number, fdOffset, writable);
  }

  #answer(request: number, result: Status): void {
    const { view } = scratch;
    view.setUint32(MESSAGE + HEADER.REQUEST, request, true);
    view.setUint32(MESSAGE + HEADER.FLAGS, VHOST_USER_VERSION | VHOST_USER_REPLY_MASK, true);
    view.setUint32(MESSAGE + HEADER.PAYLOAD_SIZE, 8, true);
    // vhost-user: REPLY_ACK: 0 is success, anything else is not.
    view.setInt32(MESSAGE + HEADER.SIZE, result, true);
    view.setInt32(MESSAGE + HEADER.SIZE + 4, result < 0 ? -1 : 0, true);
    this.#describe(MESSAGE, HEADER.SIZE + 8, 0);
    libc.sendmsg(this.#socket.number, scratch.pointerAt(MESSAGE_HEADER), MSG_NOSIGNAL);
  }

  /** Reads exactly `size` bytes; descriptors that come along are added to `fds`. 0, or a negative errno. */
  #receive(at: number, size: number, flags: number, fds: OwnedFd[]): Status {
    let got = 0;
    while (got < size) {
      this.#describe(at + got, size - got, CONTROL_SIZE);
      const count = status(
        libc.recvmsg(
          this.#socket.number,
          scratch.pointerAt(MESSAGE_HEADER),
          (got === 0 ? flags : 0) | MSG_CMSG_CLOEXEC,
        ),
      );
      if (count < 0) return count;
      if (count === 0) return -EPROTO;
      takeDescriptors(fds);
      got += count;
    }
    return 0;
  }

  #describe(at: number, size: number, controlSize: number): void {
    scratch.setU64(VECTOR + IOVEC.BASE, scratch.address + at);
    scratch.setU64(VECTOR + IOVEC.LEN, size);
    scratch.u8.fill(0, MESSAGE_HEADER, MESSAGE_HEADER + MSGHDR.SIZE);
    scratch.setU64(MESSAGE_HEADER + MSGHDR.IOV, scratch.address + VECTOR);
    scratch.setU64(MESSAGE_HEADER + MSGHDR.IOVLEN, 1);
    if (controlSize === 0) return;
    scratch.setU64(MESSAGE_HEADER + MSGHDR.CONTROL, scratch.address + CONTROL);
    scratch.setU64(MESSAGE_HEADER + MSGHDR.CONTROLLEN, controlSize);
  }

  /** The channel is of no use any more; the daemon notices at its next request. */
  #giveUp(): boolean {
    this.#socket.close();
    return false;
  }
}

function takeDescriptors(fds: OwnedFd[]): void {
  const { view } = scratch;
  const controlSize = scratch.u64(MESSAGE_HEADER + MSGHDR.CONTROLLEN);
  if (controlSize < CMSGHDR.DATA) return;
  const rights = view.getInt32(CONTROL + CMSGHDR.LEVEL, true) === SOL_SOCKET &&
    view.getInt32(CONTROL + CMSGHDR.TYPE, true) === SCM_RIGHTS;
  if (!rights) return;
  const end = Math.min(scratch.u64(CONTROL + CMSGHDR.LEN), controlSize);
  for (let at = CMSGHDR.DATA; at + 4 <= end && fds.length < FD_COUNT_MAX; at += 4) {
    fds.push(new OwnedFd(view.getInt32(CONTROL + at, true)));
  }
}
