/**
 * A listening socket that children inherit, as libvirt and kata make one for `--fd`.
 *
 * @module
 */

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

const AF_UNIX = 1;
const SOCK_STREAM = 1;

/** An open socket without close-on-exec. */
export class InheritedSocket implements Disposable {
  readonly fd: number;
  readonly #library = Deno.dlopen("libc.so.6", SYMBOLS);

  constructor(path: string, listening = true) {
    const { socket, bind, listen } = this.#library.symbols;
    this.fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const address = new Uint8Array(110);
    new DataView(address.buffer).setUint16(0, AF_UNIX, true);
    address.set(new TextEncoder().encode(path), 2);
    if (this.fd < 0 || bind(this.fd, address, address.length) !== 0) throw new Error("no socket");
    if (listening && listen(this.fd, 1) !== 0) throw new Error("not listening");
  }

  [Symbol.dispose](): void {
    this.#library.symbols.close(this.fd);
    this.#library.close();
  }
}
