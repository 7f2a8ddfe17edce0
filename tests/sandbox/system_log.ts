/**
 * A system log as daemons see it: the datagram socket that is /dev/log.
 *
 * @module
 */

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const MSG_DONTWAIT = 0x40;
const LINE_MAX = 8192;

/** One that keeps what it is sent. */
export class SystemLog implements Disposable {
  readonly #library = Deno.dlopen("libc.so.6", SYMBOLS);
  readonly #fd: number;
  readonly #lines: string[] = [];

  constructor(path: string) {
    const { socket, bind } = this.#library.symbols;
    this.#fd = socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
    const address = new Uint8Array(110);
    new DataView(address.buffer).setUint16(0, AF_UNIX, true);
    address.set(new TextEncoder().encode(path), 2);
    if (this.#fd < 0 || bind(this.#fd, address, address.length) !== 0) throw new Error("no socket");
  }

  /** All lines so far, as they came. */
  get lines(): readonly string[] {
    const { recv } = this.#library.symbols;
    const buffer = new Uint8Array(LINE_MAX);
    for (;;) {
      const size = Number(recv(this.#fd, buffer, BigInt(LINE_MAX), MSG_DONTWAIT));
      if (size < 0) return this.#lines;
      this.#lines.push(new TextDecoder().decode(buffer.slice(0, size)));
    }
  }

  has(text: string): boolean {
    return this.lines.some((line) => line.includes(text));
  }

  [Symbol.dispose](): void {
    this.#library.symbols.close(this.#fd);
    this.#library.close();
  }
}
