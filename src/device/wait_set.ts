/**
 * What a queue's thread sleeps on: its kick eventfds and the control eventfd.
 *
 * Edge-triggered, so that no descriptor has to be read after a wake-up: one system call per sleep instead of two.
 * Each write to an eventfd is a new edge, whatever its counter stands at.
 *
 * @module
 */

import { ARCHITECTURE } from "../sys/architecture.ts";
import { errnoName } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
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

  /** Sleeps until something is written to a member, or `milliseconds` pass (-1 = for ever). */
  wait(milliseconds: number): void {
    libc.epoll_wait(this.#fd, this.#pointer, EVENT_COUNT_MAX, milliseconds);
  }
}
