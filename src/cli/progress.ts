/**
 * A line that says how far a long command is, on terminals only.
 *
 * @module
 */

const CLEAR = "\r\x1b[K";
const INTERVAL_MS = 100;

/** The progress line of one command, on stderr. */
export class Progress implements Disposable {
  readonly #visible = Deno.stderr.isTerminal();
  #shownAt = 0;
  #shown = false;

  /** Shows `text` in place of what was shown before, at most ten times a second. */
  show(text: string): void {
    if (!this.#visible || performance.now() - this.#shownAt < INTERVAL_MS) return;
    this.#shownAt = performance.now();
    this.#shown = true;
    Deno.stderr.writeSync(new TextEncoder().encode(CLEAR + text.slice(0, columnCount() - 1)));
  }

  /** Takes the line away, so that other text can be written. */
  clear(): void {
    if (!this.#shown) return;
    this.#shown = false;
    this.#shownAt = 0;
    Deno.stderr.writeSync(new TextEncoder().encode(CLEAR));
  }

  /** The same as `clear()`. */
  [Symbol.dispose](): void {
    this.clear();
  }
}

function columnCount(): number {
  try {
    return Deno.consoleSize().columns;
  } catch {
    // A terminal that does not say how wide it is.
    return 80;
  }
}
