/**
 * pread(2) and pwrite(2) in pieces of 1 MiB, straight through FFI: what the guest's file API is compared with.
 *
 * @module
 */

import { libc, status } from "../../src/sys/libc.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { preadv, pwritev } from "../../src/sys/vector_io.ts";
import { IOVEC, O_RDWR } from "../../src/wire/linux.ts";

const MIB = 1024 * 1024;
const memory = NativeMemory.allocate(MIB + 4096);
memory.setU64(MIB + IOVEC.BASE, memory.address);
memory.setU64(MIB + IOVEC.LEN, MIB);
const vector = memory.pointerAt(MIB);

/** One open file's loop body. */
export interface PlainLoop {
  readonly move: (offset: number) => number;
  close(): void;
}

/** Reads 1 MiB at an offset. */
export function preadLoop(path: string): PlainLoop {
  return loop(path, (fd, offset) => preadv(fd, vector, 1, offset));
}

/** Writes 1 MiB at an offset. */
export function pwriteLoop(path: string): PlainLoop {
  return loop(path, (fd, offset) => pwritev(fd, vector, 1, offset));
}

function loop(path: string, move: (fd: number, offset: number) => number): PlainLoop {
  const fd = status(libc.open(new TextEncoder().encode(path + "\0"), O_RDWR, 0));
  if (fd < 0) throw new Error(`Cannot open ${path}`);
  return { move: (offset) => move(fd, offset), close: () => libc.close(fd) };
}
