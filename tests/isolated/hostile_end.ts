/**
 * The other end of the line between the two processes, in the hands of somebody who sends what he likes: bytes that are no message, and any
 * number of descriptors. Written without `src/sandbox/channel.ts`.
 *
 * @module
 */

import type { OwnedFd } from "../../src/sys/fd.ts";
import { receiveWithFds } from "../support/libc.ts";

const libc = Deno.dlopen("libc.so.6", {
  __errno_location: { parameters: [], result: "pointer" },
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
}).symbols;

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const EAGAIN = 11;
const POLLIN = 1;
const DEADLINE_MS = 20_000;
/** Larger than what any reader takes. */
const SIZE_MAX = 1 << 20;
/** Linux: SCM_MAX_FD */
export const DESCRIPTORS_MAX = 253;

/** One end. */
export class HostileEnd implements Disposable {
  readonly #fd: OwnedFd;

  constructor(fd: OwnedFd) {
    this.#fd = fd;
    const size = new Uint8Array(new Int32Array([4 * SIZE_MAX]).buffer);
    libc.setsockopt(fd.number, SOL_SOCKET, SO_SNDBUF, size, 4);
  }

  /** So many descriptors to send, all of the same. */
  descriptors(count: number): number[] {
    return new Array(count).fill(this.#fd.number);
  }

  /** Sends one message as it is. False if the queue is full. */
  trySend(content: string | Uint8Array<ArrayBuffer>, fds: readonly number[] = []): boolean {
    const count = fds.length;
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    // An address even of nothing.
    const data = bytes.length === 0 ? new Uint8Array(1) : bytes;
    const control = new Uint8Array(16 + Math.ceil(count / 2) * 8);
    const controlView = new DataView(control.buffer);
    controlView.setBigUint64(0, BigInt(16 + 4 * count), true);
    controlView.setInt32(8, SOL_SOCKET, true);
    controlView.setInt32(12, SCM_RIGHTS, true);
    fds.forEach((fd, i) => controlView.setInt32(16 + 4 * i, fd, true));
    const vector = new BigUint64Array([addressOf(data), BigInt(bytes.length)]);
    const header = new Uint8Array(56);
    const view = new DataView(header.buffer);
    view.setBigUint64(16, addressOf(vector), true);
    view.setBigUint64(24, 1n, true);
    if (count > 0) {
      view.setBigUint64(32, addressOf(control), true);
      view.setBigUint64(40, BigInt(control.length), true);
    }
    if (libc.sendmsg(this.#fd.number, header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return true;
    const errno = new Deno.UnsafePointerView(libc.__errno_location()!).getInt32();
    if (errno === EAGAIN) return false;
    throw new Error(`sendmsg: errno ${errno}`);
  }

  /** The same, when there is room; what is answered meanwhile stays to be read. */
  async send(
    content: string | Uint8Array<ArrayBuffer>,
    fds: readonly number[] = [],
  ): Promise<void> {
    const deadline = performance.now() + DEADLINE_MS;
    while (!this.trySend(content, fds)) {
      if (performance.now() > deadline) throw new Error("the queue stays full");
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** What has been answered, if anything has: a message, its descriptors, which are the caller's. */
  tryReceive(): { readonly message: unknown; readonly fds: readonly number[] } | null {
    const poll = new Uint8Array(8);
    const view = new DataView(poll.buffer);
    view.setInt32(0, this.#fd.number, true);
    view.setInt16(4, POLLIN, true);
    if (libc.poll(poll, 1n, 0) !== 1) return null;
    const { bytes, fds } = receiveWithFds(this.#fd.number, SIZE_MAX);
    if (bytes.length === 0) return null;
    return { message: JSON.parse(new TextDecoder().decode(bytes)), fds };
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }
}

/** Descriptors of this process. */
export function descriptorCount(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

function addressOf(bytes: BufferSource): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
}
