/**
 * What a thread that works on rings sleeps on: eventfds, and a socket or device beside them.
 *
 * Edge-triggered, so that no descriptor has to be read after a wake-up: one system call per sleep instead of two.
 * Each write to an eventfd is a new edge, whatever its counter stands at.
 *
 * @module
 */

import { ARCHITECTURE } from "./architecture.ts";
import { errnoName } from "./errno.ts";
import { libc, status } from "./libc.ts";
import { NativeMemory } from "./native_memory.ts";
import { EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLET, EPOLLIN } from "../wire/linux.ts";

const EVENT_COUNT_MAX = 16;

/** One per thread. */
export class WaitSet {
  readonly #fd: number;
  readonly #events = NativeMemory.allocate(4096);
  readonly #pointer = this.#events.pointerAt(0);

  constructor() {
    this.#fd = status(libc.epoll_create1(EPOLL_CLOEXEC));
    if (this.#fd < 0) throw new Error(`Cannot make a wait set: ${errnoName(this.#fd)}`);
  }

  /** Returns 0 or a negative errno (a front end may have sent a descriptor that cannot be waited for). */
  add(fd: number): number {
    this.#events.view.setInt32(0, EPOLLIN | EPOLLET, true);
    this.#events.setU64(ARCHITECTURE.epollEvent.data, fd);
    return status(libc.epoll_ctl(this.#fd, EPOLL_CTL_ADD, fd, this.#pointer));
  }

  remove(fd: number): void {
    libc.epoll_ctl(this.#fd, EPOLL_CTL_DEL, fd, this.#pointer);
  }

  /** Sleeps until something is written to a member, or `milliseconds` pass (-1 = for ever). Returns how many members are ready. */
  wait(milliseconds: number): number {
    return libc.epoll_wait(this.#fd, this.#pointer, EVENT_COUNT_MAX, milliseconds);
  }

  /** The descriptor of one ready member, after {@linkcode WaitSet.wait} has said how many there are. */
  readyFd(index: number): number {
    const { size, data } = ARCHITECTURE.epollEvent;
    return this.#events.view.getUint32(index * size + data, true);
  }

  /** What is with that member: EPOLLIN, EPOLLHUP, ... */
  readyEvents(index: number): number {
    return this.#events.view.getUint32(index * ARCHITECTURE.epollEvent.size, true);
  }

  /** Closes the set; its members stay open. */
  close(): void {
    libc.close(this.#fd);
  }
}
