/**
 * The C library as the tests use it: sockets with file descriptors in ancillary data, shared memory,
 * eventfds and locks. Independent of the daemon's own bindings, and never used outside tests.
 *
 * @module
 */

/** errno values the tests speak of (Linux, all architectures Deno runs on). */
export const errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENXIO: 6,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ESTALE: 116,
} as const;

const libc = Deno.dlopen("libc.so.6", {
  __errno_location: { parameters: [], result: "pointer" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  mmap: { parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  flock: { parameters: ["i32", "i32"], result: "i32" },
  mknod: { parameters: ["buffer", "u32", "u64"], result: "i32" },
  lsetxattr: { parameters: ["buffer", "buffer", "buffer", "usize", "i32"], result: "i32" },
  lgetxattr: { parameters: ["buffer", "buffer", "buffer", "usize"], result: "i32" },
});

const c = libc.symbols;
const errnoView = new Int32Array(
  Deno.UnsafePointerView.getArrayBuffer(c.__errno_location()!, 4),
);

/** A failed library call. */
export class LibcError extends Error {
  constructor(call: string, readonly code: number) {
    super(`${call} failed with errno ${code}`);
    this.name = "LibcError";
  }
}

function check(call: string, result: number): number {
  if (result < 0) throw new LibcError(call, errnoView[0]!);
  return result;
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}

function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
}

/** Closes a descriptor; an error means a test bug and is thrown. */
export function close(fd: number): void {
  check("close", c.close(fd));
}

/** Connects a stream socket to a path; a daemon that accepts nobody is an error, not a hang. */
export function connectUnix(path: string): number {
  const fd = check("socket", c.socket(1, 1 | 0o2000000, 0)); // AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC
  const name = new TextEncoder().encode(path);
  const address = new Uint8Array(110);
  if (name.length > 107) throw new Error(`socket path is too long: ${path}`);
  address[0] = 1;
  address.set(name, 2);
  // A full backlog blocks connect(2) for as long as SO_SNDTIMEO says: five seconds.
  const timeout = new Uint8Array(new BigInt64Array([5n, 0n]).buffer);
  check("setsockopt", c.setsockopt(fd, SOL_SOCKET, 21, timeout, 16));
  const result = c.connect(fd, address, address.length);
  if (result < 0) {
    const code = errnoView[0]!;
    c.close(fd);
    throw new LibcError("connect", code);
  }
  return fd;
}

/** Two connected stream sockets. */
export function socketPair(): [number, number] {
  const pair = new Int32Array(2);
  check("socketpair", c.socketpair(1, 1 | 0o2000000, 0, new Uint8Array(pair.buffer)));
  return [pair[0]!, pair[1]!];
}

/** Ends both directions of a socket (or what `how` says, as in sys/socket.h) without closing the descriptor. */
export function shutdown(fd: number, how = 2): void {
  check("shutdown", c.shutdown(fd, how));
}

const SCM_RIGHTS = 1;
const SOL_SOCKET = 1;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** Sends all bytes in one message, the descriptors with the first byte. */
export function sendWithFds(fd: number, bytes: Uint8Array<ArrayBuffer>, fds: number[] = []): void {
  let sent = 0;
  let rights = fds;
  while (sent < bytes.length) {
    const part = bytes.subarray(sent);
    const iov = new BigUint64Array([addressOf(part), BigInt(part.length)]);
    const control = new Uint8Array(rights.length === 0 ? 0 : 16 + Math.ceil(rights.length / 2) * 8);
    if (rights.length > 0) {
      const view = new DataView(control.buffer);
      view.setBigUint64(0, BigInt(16 + 4 * rights.length), true);
      view.setInt32(8, SOL_SOCKET, true);
      view.setInt32(12, SCM_RIGHTS, true);
      rights.forEach((right, index) => view.setInt32(16 + 4 * index, right, true));
    }
    const header = messageHeader(iov, control);
    sent += check("sendmsg", c.sendmsg(fd, header, MSG_NOSIGNAL));
    rights = [];
  }
}

/** Receives up to `size` bytes and any descriptors; zero bytes mean that the peer hung up. */
export function receiveWithFds(
  fd: number,
  size: number,
): { bytes: Uint8Array<ArrayBuffer>; fds: number[] } {
  const bytes = new Uint8Array(size);
  const control = new Uint8Array(16 + 4 * 64);
  const iov = new BigUint64Array([addressOf(bytes), BigInt(size)]);
  const header = messageHeader(iov, control);
  const length = c.recvmsg(fd, header, MSG_CMSG_CLOEXEC);
  if (length < 0) {
    if (errnoView[0] === 104) return { bytes: new Uint8Array(0), fds: [] }; // ECONNRESET
    throw new LibcError("recvmsg", errnoView[0]!);
  }
  const fds: number[] = [];
  const controlLength = Number(new DataView(header.buffer).getBigUint64(40, true));
  if (controlLength >= 16) {
    const view = new DataView(control.buffer);
    const end = Math.min(Number(view.getBigUint64(0, true)), controlLength);
    for (let at = 16; at + 4 <= end; at += 4) fds.push(view.getInt32(at, true));
  }
  return { bytes: bytes.slice(0, length), fds };
}

/** struct msghdr of 64-bit Linux. The arrays passed in must stay alive during the call. */
function messageHeader(
  iov: BigUint64Array<ArrayBuffer>,
  control: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(56);
  const view = new DataView(header.buffer);
  view.setBigUint64(16, addressOf(new Uint8Array(iov.buffer)), true);
  view.setBigUint64(24, 1n, true);
  if (control.length > 0) {
    view.setBigUint64(32, addressOf(control), true);
    view.setBigUint64(40, BigInt(control.length), true);
  }
  return header;
}

/** A socket whose peer may want something while a test waits for something else. */
export interface Served {
  readonly fd: number;
  /** Serves what is there to be read. */
  serve(): void;
}

/** Served by whoever waits, in {@linkcode waitReadable}. */
export const servedMeanwhile = new Set<Served>();

/** Waits until the descriptor is readable or hung up; false when the time is over. */
export function waitReadable(fd: number, timeoutMs: number): boolean {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const others = [...servedMeanwhile];
    const poll = new Uint8Array(8 * (1 + others.length));
    const view = new DataView(poll.buffer);
    [fd, ...others.map((other) => other.fd)].forEach((waited, index) => {
      view.setInt32(8 * index, waited, true);
      view.setInt16(8 * index + 4, 1, true); // POLLIN
    });
    const left = Math.max(0, Math.ceil(deadline - performance.now()));
    const result = c.poll(poll, BigInt(1 + others.length), left);
    if (result < 0 && errnoView[0] !== errno.EINTR) throw new LibcError("poll", errnoView[0]!);
    if (result <= 0 && left === 0) return false;
    if (result <= 0) continue;
    if (view.getInt16(6, true) !== 0) return true;
    others.forEach((other, index) => {
      if (view.getInt16(8 * (1 + index) + 6, true) !== 0) other.serve();
    });
  }
}

/** A non-blocking eventfd. */
export function eventfd(): number {
  return check("eventfd", c.eventfd(0, 0o2000000 | 0o4000)); // EFD_CLOEXEC | EFD_NONBLOCK
}

const eventScratch = new Uint8Array(8);
const eventView = new DataView(eventScratch.buffer);

/** Adds one to an eventfd. */
export function eventfdSignal(fd: number): void {
  eventView.setBigUint64(0, 1n, true);
  check("write", c.write(fd, eventScratch, 8n));
}

/** Takes what an eventfd has counted; 0 when it was not signalled. */
export function eventfdTake(fd: number): number {
  const result = c.read(fd, eventScratch, 8n);
  if (result < 0) {
    if (errnoView[0] === errno.EAGAIN) return 0;
    throw new LibcError("read", errnoView[0]!);
  }
  return Number(eventView.getBigUint64(0, true));
}

/** Anonymous shared memory of the given size. */
export function memfd(name: string, size: number): number {
  const fd = check("memfd_create", c.memfd_create(cString(name), 1)); // MFD_CLOEXEC
  check("ftruncate", c.ftruncate(fd, BigInt(size)));
  return fd;
}

/** A shared mapping of a file. `unmap` must be the last thing done with it. */
export interface Mapping {
  readonly address: number;
  readonly buffer: ArrayBuffer;
  unmap(): void;
}

/** Maps a file shared, readable and (unless told otherwise) writable. */
export function mapShared(fd: number, size: number, offset = 0, writable = true): Mapping {
  const protection = writable ? 3 : 1; // PROT_READ | PROT_WRITE, or PROT_READ
  const pointer = c.mmap(0n, BigInt(size), protection, 1, fd, BigInt(offset)); // MAP_SHARED
  const address = Deno.UnsafePointer.value(pointer);
  if (pointer === null || BigInt.asIntN(64, address) === -1n) {
    throw new LibcError("mmap", errnoView[0]!);
  }
  return {
    address: Number(address),
    buffer: Deno.UnsafePointerView.getArrayBuffer(pointer, size),
    unmap: () => void check("munmap", c.munmap(pointer, BigInt(size))),
  };
}

/** open(2); the numbers of `flags` are those of x86-64. */
export function open(path: string, flags: number, mode = 0): number {
  return check("open", c.open(cString(path), flags | 0o2000000, mode));
}

/** A POSIX lock over a byte range by this process: 0, or the negative errno of fcntl(F_SETLK). */
export function setPosixLock(fd: number, type: 0 | 1 | 2, start: number, length: number): number {
  const lock = new Uint8Array(32);
  const view = new DataView(lock.buffer);
  view.setInt16(0, type, true);
  view.setBigInt64(8, BigInt(start), true);
  view.setBigInt64(16, BigInt(length), true);
  return c.fcntl(fd, 6, lock) < 0 ? -errnoView[0]! : 0; // F_SETLK
}

/** flock(2) without waiting: 0, or the negative errno. */
export function tryFlock(fd: number, operation: number): number {
  return c.flock(fd, operation | 4) < 0 ? -errnoView[0]! : 0; // LOCK_NB
}

/** mknod(2) of any type. */
export function makeNode(path: string, mode: number, device = 0): void {
  check("mknod", c.mknod(cString(path), mode, BigInt(device)));
}

/** lsetxattr(2): 0, or the negative errno. */
export function setXattr(path: string, name: string, value: Uint8Array<ArrayBuffer>): number {
  const result = c.lsetxattr(cString(path), cString(name), value, BigInt(value.length), 0);
  return result < 0 ? -errnoView[0]! : 0;
}

/** lgetxattr(2): the value, or null when there is none. */
export function getXattr(path: string, name: string): Uint8Array<ArrayBuffer> | null {
  const value = new Uint8Array(65536);
  const result = c.lgetxattr(cString(path), cString(name), value, BigInt(value.length));
  return result < 0 ? null : value.slice(0, result);
}
