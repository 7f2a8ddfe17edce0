/**
 * `--watch`: a view that is drawn again and again. On a terminal it has the alternate screen and ends on q or Ctrl-C; anywhere else each
 * drawing is printed below the one before.
 *
 * @module
 */

import { endingSignals } from "./signals.ts";

/** What there is room for. */
export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

/** What is drawn, and how often. */
export interface LiveOptions {
  readonly intervalSeconds: number;
  /** Lines of one drawing; reads anew. Lines that do not fit are cut, an error ends all. */
  readonly draw: (size: ScreenSize) => readonly string[];
  /** The lines are data for programs: printed one below the other even on a terminal. */
  readonly isData?: boolean;
}

/** The alternate screen; no cursor; long lines are cut by the terminal, which knows how wide each character is. */
const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/** Synchronized output: terminals that know it show the whole drawing at once, others ignore this. */
const BEGIN = "\x1b[?2026h\x1b[H";
const ERASE_BELOW = "\r\n\x1b[J";
const END = "\x1b[?2026l";
/**
 * What an older, longer line left goes, a line at a time and in the same write: the screen is never blank, so nothing flickers. Not after
 * the line: where that reaches the last column, the cursor stays on its last character.
 */
const LINE_BEGIN = "\x1b[K";

const KEY_Q = 0x71;
const KEY_CTRL_C = 3;
const KEY_CTRL_D = 4;
/** Where there is no terminal, or one that does not say. */
const SIZE_DEFAULT: ScreenSize = { columns: 80, rows: 24 };

/** Draws until the user ends it; where stdout is no terminal, until a signal or the reader of a pipe does. */
export async function watchLive(options: LiveOptions): Promise<void> {
  const ending = endingSignals();
  try {
    if (Deno.stdout.isTerminal() && options.isData !== true) await onScreen(options, ending.signal);
    else await onPaper(options, ending.signal);
  } finally {
    ending.release();
  }
}

async function onPaper(options: LiveOptions, signal: AbortSignal): Promise<void> {
  const size = { columns: SIZE_DEFAULT.columns, rows: Infinity };
  for (let next = performance.now(); !signal.aborted;) {
    try {
      write(options.draw(size).join("\n") + (options.isData === true ? "\n" : "\n\n"));
    } catch (error) {
      // `… --watch | head`: the reader has seen enough.
      if (error instanceof Deno.errors.BrokenPipe) return;
      throw error;
    }
    next += options.intervalSeconds * 1000;
    await until(next, signal);
  }
}

async function onScreen(options: LiveOptions, signal: AbortSignal): Promise<void> {
  using screen = new Screen();
  const quit = AbortSignal.any([signal, screen.quit]);
  screen.onChange = () => screen.show(options.draw);
  for (let next = performance.now(); !quit.aborted;) {
    screen.show(options.draw);
    next = Math.max(next + options.intervalSeconds * 1000, performance.now());
    await until(next, quit);
  }
  if (screen.failure !== null) throw screen.failure;
}

/** The terminal, from the moment it is taken over until it is given back. */
class Screen implements Disposable {
  /** Told when the terminal's size has changed, or the program goes on after Ctrl-Z. */
  onChange: () => void = () => {};
  /** What went wrong where nobody waited. */
  failure: unknown = null;
  /** Off while the program is suspended: a drawing must not get onto the shell's screen. */
  #taken = false;
  readonly #quit = new AbortController();
  readonly #hasKeys = Deno.stdin.isTerminal();
  readonly #resized = () => this.#changed();
  readonly #suspended = () => this.#suspend();
  readonly #continued = () => {
    this.#take();
    this.#changed();
  };

  constructor() {
    this.#take();
    Deno.addSignalListener("SIGWINCH", this.#resized);
    Deno.addSignalListener("SIGTSTP", this.#suspended);
    Deno.addSignalListener("SIGCONT", this.#continued);
    if (this.#hasKeys) void this.#readKeys();
  }

  /** Aborted by q, Ctrl-C, the end of the input, or a failure. */
  get quit(): AbortSignal {
    return this.#quit.signal;
  }

  /** Draws, in one write. */
  show(draw: LiveOptions["draw"]): void {
    if (!this.#taken) return;
    const size = screenSize();
    const lines = draw(size);
    const shown = lines.length <= size.rows
      ? lines
      : [...lines.slice(0, size.rows - 1), `… ${lines.length - size.rows + 1} more lines`];
    const below = shown.length < size.rows ? ERASE_BELOW : "";
    write(BEGIN + shown.map((line) => LINE_BEGIN + line).join("\r\n") + below + END);
  }

  /** Gives the terminal back as it was. */
  [Symbol.dispose](): void {
    Deno.removeSignalListener("SIGWINCH", this.#resized);
    Deno.removeSignalListener("SIGTSTP", this.#suspended);
    Deno.removeSignalListener("SIGCONT", this.#continued);
    this.#give();
  }

  #take(): void {
    if (this.#hasKeys) Deno.stdin.setRaw(true, { cbreak: true });
    write(ENTER);
    this.#taken = true;
  }

  #give(): void {
    this.#taken = false;
    try {
      write(LEAVE);
      if (this.#hasKeys) Deno.stdin.setRaw(false);
    } catch {
      // The terminal has gone.
    }
  }

  #changed(): void {
    try {
      this.onChange();
    } catch (error) {
      this.failure = error;
      this.#quit.abort();
    }
  }

  /** Ctrl-Z: the shell gets its screen back, and the program stops as it would have. */
  #suspend(): void {
    this.#give();
    Deno.kill(Deno.pid, "SIGSTOP");
  }

  async #readKeys(): Promise<void> {
    const keys = new Uint8Array(16);
    while (true) {
      const count = await Deno.stdin.read(keys).catch(() => null);
      // cbreak leaves Ctrl-C a signal where the terminal knows it.
      const pressed = count === null ? [KEY_CTRL_D] : keys.subarray(0, count);
      if ([KEY_Q, KEY_CTRL_C, KEY_CTRL_D].some((key) => pressed.includes(key))) {
        this.#quit.abort();
        return;
      }
    }
  }
}

function screenSize(): ScreenSize {
  try {
    const { columns, rows } = Deno.consoleSize();
    return columns > 0 && rows > 0 ? { columns, rows } : SIZE_DEFAULT;
  } catch {
    return SIZE_DEFAULT;
  }
}

/** Waits for a moment of performance.now(), or for `signal`. */
async function until(moment: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const ended = Promise.withResolvers<void>();
  const timer = setTimeout(ended.resolve, Math.max(0, moment - performance.now()));
  signal.addEventListener("abort", () => ended.resolve(), { once: true });
  await ended.promise;
  clearTimeout(timer);
}

function write(text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let written = 0; written < bytes.length;) {
    written += Deno.stdout.writeSync(bytes.subarray(written));
  }
}
