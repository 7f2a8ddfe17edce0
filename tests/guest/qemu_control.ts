/**
 * The side channel between a test and its QEMU guest: the guest's second serial port is a socket of the
 * test's. One line asks for something, one line answers. Nothing of it passes the daemon under test.
 *
 * @module
 */

/** Answers requests until it is disposed of. */
export class QemuControl implements AsyncDisposable {
  readonly #listener: Deno.Listener;
  readonly #answer: (request: string) => string;
  readonly #loop: Promise<void>;
  #connection: Deno.Conn | null = null;

  /** `answer` gets a request's line; what it throws is the answer, too. */
  constructor(path: string, answer: (request: string) => string) {
    this.#answer = answer;
    this.#listener = Deno.listen({ transport: "unix", path });
    this.#loop = this.#serve();
  }

  async #serve(): Promise<void> {
    try {
      this.#connection = await this.#listener.accept();
      let text = "";
      const decoder = new TextDecoder();
      for await (const chunk of this.#connection.readable) {
        text += decoder.decode(chunk, { stream: true });
        for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
          const reply = new TextEncoder().encode(this.#reply(text.slice(0, end)) + "\n");
          text = text.slice(end + 1);
          for (let sent = 0; sent < reply.length;) {
            sent += await this.#connection.write(reply.subarray(sent));
          }
        }
      }
    } catch (error) {
      // The guest's end, or ours, is how it always ends.
      const isEnd = error instanceof Deno.errors.BadResource ||
        error instanceof Deno.errors.Interrupted || error instanceof Deno.errors.BrokenPipe ||
        error instanceof Deno.errors.ConnectionReset;
      if (!isEnd) throw error;
    }
  }

  #reply(request: string): string {
    try {
      return `ok ${this.#answer(request.trim())}`.trimEnd();
    } catch (error) {
      return `error ${error instanceof Error ? error.message : error}`.replaceAll("\n", " ");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    try {
      this.#connection?.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
    await this.#loop;
  }
}
