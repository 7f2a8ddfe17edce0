/**
 * connect(2) to a UNIX socket: what the demo's guest needs of the front end's side.
 *
 * @module
 */

const SYMBOLS = {
  /** int connect(int fd, const struct sockaddr *address, socklen_t length) */
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const AF_UNIX = 1;
/** struct sockaddr_un: sun_family, then 108 bytes of path. */
const SUN_PATH_OFFSET = 2;
const SOCKADDR_UN_SIZE = 110;

let library: Deno.DynamicLibrary<typeof SYMBOLS> | null = null;

/** Connects `fd`, an AF_UNIX socket, to whoever listens on `path`; 0, or -1 with errno lost. */
export function connectUnix(fd: number, path: string): number {
  library ??= Deno.dlopen("libc.so.6", SYMBOLS);
  const address = new Uint8Array(SOCKADDR_UN_SIZE);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(new TextEncoder().encode(path), SUN_PATH_OFFSET);
  return library.symbols.connect(fd, address, address.length);
}
