/**
 * A view of a file: its bytes in the DAX window, as mmap(2) would give them.
 *
 * @module
 */

/** What a view is made of. */
export interface ViewSource {
  /** The window's bytes at the place: an ArrayBuffer of the view's own. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where in the file it starts. */
  readonly offset: number;
  /** Whether it may be written to. */
  readonly writable: boolean;
  /** Who the view is of. */
  readonly owner: object;
  /** Called once, when the view has ended. */
  readonly release: (view: DaxView) => void;
}

/**
 * Bytes of a file, right in the host's page cache: what others write is there at once, and what is written here is there for them. The
 * piece stays where it is for as long as the view is held.
 *
 * When the view ends, `bytes` is detached and has length 0: `dispose`d, or when this guest has made the file so short that it does not
 * reach as far, or when the guest is closed. As with mmap(2), nothing protects from others who truncate the file: touching a page behind
 * the end is SIGBUS, and ends the program. `GuestFile.readSync()` does not have this danger. A view that was not asked for with `write`
 * must not be written to: that may be SIGSEGV.
 */
export class DaxView implements Disposable {
  /** Where in the file the view starts. */
  readonly offset: number;
  /** Whether it may be written to. */
  readonly writable: boolean;
  /** Whose it is. */
  readonly owner: object;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #length: number;
  readonly #release: (view: DaxView) => void;
  #ended: string | null = null;

  /** Made by `GuestFile.viewSync()`. */
  constructor(source: ViewSource) {
    this.#bytes = source.bytes;
    this.#length = source.bytes.length;
    this.offset = source.offset;
    this.writable = source.writable;
    this.owner = source.owner;
    this.#release = source.release;
  }

  /** The bytes; none when the view has ended. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** Where in the file the view ends, or ended. */
  get end(): number {
    return this.offset + this.#length;
  }

  /** Why the view has ended, or null. */
  get ended(): string | null {
    return this.#ended;
  }

  /** Ends the view for a reason. */
  revoke(reason: string): void {
    if (this.#ended !== null) return;
    this.#ended = reason;
    // Memory that is not the engine's own is let go of, not copied: 0.6 µs.
    this.#bytes.buffer.transfer(0);
    this.#release(this);
  }

  /** Gives the view up. */
  [Symbol.dispose](): void {
    this.revoke("it was given up");
  }
}
