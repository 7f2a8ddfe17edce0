/**
 * A terminal that tests can look at: tmux on a server of its own.
 *
 * @module
 */

import { findProgram } from "./programs.ts";

/** Where tmux is, or null. */
export const TMUX: string | null = findProgram("tmux");

const DEADLINE_MS = 20_000;

/** A shell in a terminal. */
export class Terminal implements Disposable {
  readonly #directory = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-tmux-" });

  constructor(columns: number, rows: number) {
    const size = ["-x", String(columns), "-y", String(rows)];
    this.#tmux("new-session", "-d", ...size, "env -u NO_COLOR PS1='$ ' sh");
    this.#tmux("set-option", "-g", "default-terminal", "screen-256color");
  }

  /** Types text and Enter. */
  enter(line: string): void {
    this.#tmux("send-keys", "-l", line);
    this.press("Enter");
  }

  /** Presses a key: "q", "C-c". */
  press(key: string): void {
    this.#tmux("send-keys", key);
  }

  resize(columns: number, rows: number): void {
    this.#tmux("resize-window", "-x", String(columns), "-y", String(rows));
  }

  /** What can be seen; with escape sequences where `colours` is set. */
  screen(colours = false): string {
    return this.#tmux("capture-pane", "-p", ...(colours ? ["-e"] : []));
  }

  /** Whether the alternate screen is shown, and the cursor. */
  get alternate(): boolean {
    return this.#tmux("display-message", "-p", "#{alternate_on}").trim() === "1";
  }

  get cursor(): boolean {
    return this.#tmux("display-message", "-p", "#{cursor_flag}").trim() === "1";
  }

  /** Waits for something to be seen, and returns the screen. */
  async seen(what: RegExp): Promise<string> {
    const deadline = performance.now() + DEADLINE_MS;
    while (true) {
      const screen = this.screen();
      if (what.test(screen)) return screen;
      if (performance.now() > deadline) throw new Error(`${what} is not to be seen:\n${screen}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  #tmux(...args: string[]): string {
    const { success, stdout, stderr } = new Deno.Command(TMUX!, {
      args: ["-f", "/dev/null", "-S", `${this.#directory}/socket`, ...args],
      env: { LC_ALL: "C.UTF-8", TERM: "xterm-256color" },
    }).outputSync();
    const text = new TextDecoder();
    if (!success) throw new Error(`tmux ${args[0]}: ${text.decode(stderr)}`);
    return text.decode(stdout);
  }

  [Symbol.dispose](): void {
    this.#tmux("kill-server");
    Deno.removeSync(this.#directory, { recursive: true });
  }
}
