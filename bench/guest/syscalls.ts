/**
 * System calls for the guest's side of the benchmark. Paths and buffers are made before the clock starts, so
 * that a call is little more than the system call itself.
 *
 * @module
 */

const { symbols: c } = Deno.dlopen("libc.so.6", {
  __errno_location: { parameters: [], result: "pointer" },
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  mkdir: { parameters: ["buffer", "u32"], result: "i32" },
  unlink: { parameters: ["buffer"], result: "i32" },
  rename: { parameters: ["buffer", "buffer"], result: "i32" },
  pread: { parameters: ["i32", "pointer", "usize", "i64"], result: "i32" },
  pwrite: { parameters: ["i32", "pointer", "usize", "i64"], result: "i32" },
  statx: { parameters: ["i32", "buffer", "i32", "u32", "pointer"], result: "i32" },
  getdents64: { parameters: ["i32", "pointer", "usize"], result: "i32" },
  aligned_alloc: { parameters: ["usize", "usize"], result: "pointer" },
});

const errno = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(c.__errno_location()!, 4));

/** open(2) flags; O_DIRECT as on x86-64, where User Mode Linux runs. */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  DIRECT: 0o40000,
  DIRECTORY: 0o200000,
} as const;

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_STATX_FORCE_SYNC = 0x2000;
const STATX_BASIC_STATS = 0x7ff;

/** Page-aligned, as O_DIRECT wants it; large enough for every row. */
export const BUFFER_SIZE = 1024 * 1024;
const buffer = c.aligned_alloc(4096n, BigInt(BUFFER_SIZE))!;
const bytes = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(buffer, BUFFER_SIZE));
const entries = new DataView(bytes.buffer);
bytes.fill(0x55);

/** A path as system calls take it. */
export type CPath = Uint8Array<ArrayBuffer>;

/** Makes a path ready for system calls. */
export function cPath(path: string): CPath {
  return new TextEncoder().encode(path + "\0");
}

function checked(result: number, call: string): number {
  if (result < 0) throw new Error(`${call} failed with errno ${errno[0]}`);
  return result;
}

/** Opens a file; throws when that fails, as all functions here do. */
export function open(path: CPath, flags: number): number {
  return checked(c.open(path, flags, 0o644), "open");
}

/** Closes a descriptor. */
export function close(fd: number): void {
  checked(c.close(fd), "close");
}

/** Makes a directory. */
export function mkdir(path: string): void {
  checked(c.mkdir(cPath(path), 0o755), "mkdir");
}

/** Removes a name. */
export function unlink(path: CPath): void {
  checked(c.unlink(path), "unlink");
}

/** Renames. */
export function rename(from: CPath, to: CPath): void {
  checked(c.rename(from, to), "rename");
}

/** Reads into the one buffer. */
export function pread(fd: number, size: number, offset: number): number {
  return checked(c.pread(fd, buffer, size as never, offset as never), "pread");
}

/** Writes the one buffer's bytes. */
export function pwrite(fd: number, size: number, offset: number): void {
  const written = checked(c.pwrite(fd, buffer, size as never, offset as never), "pwrite");
  if (written !== size) throw new Error(`pwrite wrote ${written} bytes of ${size}`);
}

/** lstat(2); with `isForced`, one that the guest may not answer from its own memory. */
export function stat(path: CPath, isForced: boolean): void {
  const flags = AT_SYMLINK_NOFOLLOW | (isForced ? AT_STATX_FORCE_SYNC : 0);
  checked(c.statx(AT_FDCWD, path, flags, STATX_BASIC_STATS, buffer), "statx");
}

const LIST_SIZE = 32768;

/** Lists a directory as ls does; returns the count of entries, "." and ".." included. */
export function list(fd: number): number {
  for (let count = 0;;) {
    const size = checked(c.getdents64(fd, buffer, LIST_SIZE as never), "getdents64");
    if (size === 0) return count;
    for (let at = 0; at < size; at += entries.getUint16(at + 16, true)) count++;
  }
}
