/**
 * Notices on their way from the mount's thread to the thread that writes them to /dev/fuse: a ring of bytes in shared memory, with one
 * producer and one consumer.
 *
 * @module
 */

/** Bytes of messages; a power of two. */
const CAPACITY = 256 * 1024;
/** Words before the bytes. */
const PUT = 0;
const TAKEN = 1;
const ENDED = 2;
/** Counts wake-ups: what the consumer sleeps on. */
const SIGNAL = 3;
const WORD_COUNT = 4;
const BYTES = WORD_COUNT * 4;
/** Before each message: its length. */
const LENGTH_SIZE = 4;
/** In the place of a length: the next message is at the ring's beginning. */
const TURN = 0;

/** Both ends of the ring; each is used by one thread. */
export class NoticeRing {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #lengths: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer, 0, WORD_COUNT);
    this.#bytes = new Uint8Array(buffer, BYTES, CAPACITY);
    this.#lengths = new Int32Array(buffer, BYTES, CAPACITY / LENGTH_SIZE);
  }

  static makeBuffer(): SharedArrayBuffer {
    return new SharedArrayBuffer(BYTES + CAPACITY);
  }

  /** Adds the first `size` bytes of `message`; false if there is no room now. Nobody is woken. */
  put(message: Uint8Array, size: number): boolean {
    // Positions are counted without end, modulo 2^32.
    const position = this.#words[PUT]!;
    const used = (position - Atomics.load(this.#words, TAKEN)) >>> 0;
    const needed = LENGTH_SIZE + roundUp(size);
    const at = position & (CAPACITY - 1);
    const skipped = at + needed > CAPACITY ? CAPACITY - at : 0;
    if (used + skipped + needed > CAPACITY) return false;
    if (skipped > 0) this.#lengths[at / LENGTH_SIZE] = TURN;
    const start = skipped > 0 ? 0 : at;
    this.#lengths[start / LENGTH_SIZE] = size;
    for (let i = 0; i < size; i++) this.#bytes[start + LENGTH_SIZE + i] = message[i]!;
    Atomics.store(this.#words, PUT, (position + skipped + needed) | 0);
    return true;
  }

  /** Wakes the consumer, if it sleeps. */
  wake(): void {
    Atomics.add(this.#words, SIGNAL, 1);
    Atomics.notify(this.#words, SIGNAL);
  }

  /** No more messages: the consumer's {@linkcode NoticeRing.wait} returns false from now on. */
  end(): void {
    Atomics.store(this.#words, ENDED, 1);
    this.wake();
  }

  /** Takes the oldest message into `into`; its size, or 0 if there is none. */
  take(into: Uint8Array): number {
    let position = this.#words[TAKEN]!;
    if (position === Atomics.load(this.#words, PUT)) return 0;
    let at = position & (CAPACITY - 1);
    let size = this.#lengths[at / LENGTH_SIZE]!;
    if (size === TURN) {
      position += CAPACITY - at;
      at = 0;
      size = this.#lengths[0]!;
    }
    for (let i = 0; i < size; i++) into[i] = this.#bytes[at + LENGTH_SIZE + i]!;
    Atomics.store(this.#words, TAKEN, (position + LENGTH_SIZE + roundUp(size)) | 0);
    return size;
  }

  /** Sleeps until there is a message (true) or the ring has ended (false). */
  wait(): boolean {
    for (;;) {
      const signal = Atomics.load(this.#words, SIGNAL);
      if (Atomics.load(this.#words, ENDED) !== 0) return false;
      if (Atomics.load(this.#words, PUT) !== this.#words[TAKEN]) return true;
      Atomics.wait(this.#words, SIGNAL, signal);
    }
  }
}

function roundUp(size: number): number {
  return Math.ceil(size / LENGTH_SIZE) * LENGTH_SIZE;
}
