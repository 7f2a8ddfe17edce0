/**
 * How the main thread tells a queue's Worker what to do while that sleeps in epoll_wait(2) and cannot take
 * messages: a command in shared memory, an eventfd to wake it, an answer in the same place.
 *
 * Commands are rare (set-up and tear-down), so they are JSON; the queue's loop only ever reads one word.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { RegionAddresses } from "../memory/guest_memory.ts";
import { libc } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { EFD_CLOEXEC, EFD_NONBLOCK } from "../wire/linux.ts";
import type { QueueSetup } from "../vhost_user/device.ts";

/** What a Worker can be told. */
export type Command =
  | { readonly kind: "memory"; readonly regions: readonly RegionAddresses[] }
  | { readonly kind: "start"; readonly setup: QueueSetup }
  | { readonly kind: "stop"; readonly index: number }
  | { readonly kind: "call"; readonly index: number; readonly callFd: number }
  | { readonly kind: "end" }
  | { readonly kind: "clear" }
  /** Nothing: the answer says that what was being served has been. */
  | { readonly kind: "pass" }
  | { readonly kind: "exit" };

/** The answer: null = done; a number or a text where the command says so. */
export type Answer = null | number | string;

/** Room for one command: 509 regions are 80 KiB of JSON. */
const COMMAND_SIZE_MAX = 256 * 1024;
const REQUESTED = 0;
const ANSWERED = 1;
const LENGTH = 2;
const HEADER_SIZE = 16;

/** The main thread's end. */
export class ControlCaller {
  readonly buffer = new SharedArrayBuffer(HEADER_SIZE + COMMAND_SIZE_MAX);
  /** The eventfd in the Worker's wait set. */
  readonly eventFd: number;
  readonly #words = new Int32Array(this.buffer, 0, HEADER_SIZE / 4);
  readonly #one = NativeMemory.allocate(4096);
  #last: Promise<unknown> = Promise.resolve();

  constructor() {
    this.eventFd = libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert(this.eventFd >= 0, "an eventfd can be made at start-up");
    this.#one.setU64(0, 1);
  }

  /** Sends a command and waits for the answer. Commands are sent one at a time. */
  call(command: Command): Promise<Answer> {
    const answer = this.#last.then(() => this.#exchange(command));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  async #exchange(command: Command): Promise<Answer> {
    write(this.buffer, this.#words, command);
    const sequence = Atomics.add(this.#words, REQUESTED, 1) + 1;
    libc.write(this.eventFd, this.#one.pointerAt(0), 8);
    for (;;) {
      const answered = Atomics.load(this.#words, ANSWERED);
      if (answered === sequence) return read(this.buffer, this.#words) as Answer;
      const waited = Atomics.waitAsync(this.#words, ANSWERED, answered);
      if (waited.async) await waited.value;
    }
  }

  close(): void {
    libc.close(this.eventFd);
  }
}

/** The Worker's end. */
export class ControlReceiver {
  readonly #buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#buffer = buffer;
    this.#words = new Int32Array(buffer, 0, HEADER_SIZE / 4);
  }

  /** Whether a command waits: one load. */
  get pending(): boolean {
    return Atomics.load(this.#words, REQUESTED) !== this.#words[ANSWERED];
  }

  take(): Command {
    return read(this.#buffer, this.#words) as Command;
  }

  answer(answer: Answer): void {
    write(this.#buffer, this.#words, answer);
    Atomics.add(this.#words, ANSWERED, 1);
    Atomics.notify(this.#words, ANSWERED);
  }
}

function write(buffer: SharedArrayBuffer, words: Int32Array, value: unknown): void {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  assert(bytes.length <= COMMAND_SIZE_MAX, "a command fits");
  new Uint8Array(buffer, HEADER_SIZE).set(bytes);
  words[LENGTH] = bytes.length;
}

function read(buffer: SharedArrayBuffer, words: Int32Array): unknown {
  const bytes = new Uint8Array(buffer, HEADER_SIZE, words[LENGTH]!).slice();
  return JSON.parse(new TextDecoder().decode(bytes));
}
