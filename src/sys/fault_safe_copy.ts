/**
 * Copies between mapped files and JavaScript memory that end where the memory faults, instead of ending the process.
 *
 * Somebody else may truncate a mapped file at any moment, and touching a page behind its end is SIGBUS. A kernel's read(2) survives
 * that: its copy routine has an entry in an exception table. So does ours: twenty instructions of machine code, of which two may fault, and
 * a handler for SIGBUS and SIGSEGV that sends a fault of those two behind the copy and hands every other to the handler that was there.
 *
 * 4 KiB cost 88 ns this way, 99 ns as `set(subarray())` (which may crash), 2,800 ns with process_vm_readv(2) on ourselves, the way for
 * other processors. A fault costs 14 µs.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { PROT_READ } from "../wire/linux.ts";
import { ARCHITECTURE } from "./architecture.ts";
import { EFAULT, errnoName } from "./errno.ts";
import { libc, status } from "./libc.ts";
import { NativeMemory } from "./native_memory.ts";
import { FAULT_SAFE_CODE } from "./fault_safe_code.ts";

const library = Deno.dlopen("libc.so.6", {
  sigaction: { parameters: ["i32", "pointer", "pointer"], result: "i32" },
  mprotect: { parameters: ["pointer", "u32", "i32"], result: "i32" },
  /** Declared for one element: it calls `compare(key, base)` once, which is how machine code gets called at 40 ns. */
  bsearch: { parameters: ["buffer", "pointer", "i32", "i32", "pointer"], result: "void" },
  process_vm_readv: {
    parameters: ["i32", "pointer", "u32", "pointer", "u32", "u32"],
    result: "i32",
  },
  process_vm_writev: {
    parameters: ["i32", "pointer", "u32", "pointer", "u32", "u32"],
    result: "i32",
  },
}).symbols;

/** asm-generic/signal.h, bits/sigaction.h */
const SIGBUS = 7;
const SIGSEGV = 11;
const SA_SIGINFO = 0x4;
const SA_ONSTACK = 0x08000000;
/** glibc's struct sigaction on 64-bit machines: handler, mask of 128 bytes, flags, restorer. */
const SIGACTION = { HANDLER: 0, FLAGS: 136, SIZE: 152 } as const;
/** Handlers that are none: SIG_DFL and SIG_IGN. */
const SIG_IGN = 1;
const PROT_EXEC = 4;
const PAGE_SIZE = 4096;

/** A way to copy. Counts that fall short say where the memory faulted. */
interface Copier {
  /** Copies `size` bytes at `address` of this process to `into[at]` and what follows. Returns how many it came to. */
  read(address: number, into: Uint8Array, at: number, size: number): number;
  /** The other way round. */
  write(address: number, from: Uint8Array, at: number, size: number): number;
}

/** What the machine code is given (see `fault_safe_code.ts`), or two struct iovec. */
const args = NativeMemory.allocate(PAGE_SIZE);
const argsPointer = args.pointerAt(0);
const ARGS = { ADDRESS: 0, SIZE_: 8, LEFT: 16, AT: 24 } as const;
const OURS = { BASE: 0, LEN: 8 } as const;
const THEIRS = { BASE: 16, LEN: 24 } as const;

let chosen: Copier | null = null;
let kernel: Copier | null = null;

/** Copies `size` bytes at `address` to `into[at]` and what follows. Returns the count: less than `size` where the memory faults. */
export function readMapped(address: number, into: Uint8Array, at: number, size: number): number {
  assert(at >= 0 && size >= 0 && at + size <= into.length, "the piece lies in the array");
  return (chosen ??= choose()).read(address, into, at, size);
}

/** Copies `from[at]` and what follows to `address`. Returns the count: less than `size` where the memory faults. */
export function writeMapped(address: number, from: Uint8Array, at: number, size: number): number {
  assert(at >= 0 && size >= 0 && at + size <= from.length, "the piece lies in the array");
  return (chosen ??= choose()).write(address, from, at, size);
}

/**
 * The same as {@linkcode readMapped}, by the kernel and so without touching the mapping: for large pieces of what is not going to be read
 * often. First touches cost more than the copy where the hypervisor keeps shadow page tables (1.3 to 5.4 µs a page, 375 to 1,400 µs a MiB,
 * instead of 130 this way; 40 once everything has been touched).
 */
export function readUntouched(address: number, into: Uint8Array, at: number, size: number): number {
  assert(at >= 0 && size >= 0 && at + size <= into.length, "the piece lies in the array");
  return (kernel ??= viaKernel()).read(address, into, at, size);
}

/** The same as {@linkcode writeMapped}, by the kernel. */
export function writeUntouched(
  address: number,
  from: Uint8Array,
  at: number,
  size: number,
): number {
  assert(at >= 0 && size >= 0 && at + size <= from.length, "the piece lies in the array");
  return (kernel ??= viaKernel()).write(address, from, at, size);
}

function choose(): Copier {
  return machineCode() ?? viaKernel();
}

/** The copier of machine code, or null where this processor or the system's rules do not allow it. */
export function machineCode(): Copier | null {
  const code = FAULT_SAFE_CODE[ARCHITECTURE.name];
  if (code === undefined) return null;
  const page = NativeMemory.allocate(PAGE_SIZE);
  page.u8.set(code.bytes);
  for (const [signal, slot] of [[SIGBUS, code.oldSigbus], [SIGSEGV, code.oldSigsegv]] as const) {
    if (library.sigaction(signal, null, argsPointer) < 0) return null;
    const old = args.u64(SIGACTION.HANDLER);
    // Rust's runtime has one for stack overflows. Where there is none, ours would have nowhere to send what is not its own.
    if (old <= SIG_IGN) return null;
    page.setU64(slot, old);
  }
  if (library.mprotect(page.pointerAt(0), PAGE_SIZE, PROT_READ | PROT_EXEC) < 0) return null;
  args.u8.fill(0, 0, SIGACTION.SIZE);
  args.setU64(SIGACTION.HANDLER, page.address + code.handler);
  args.view.setUint32(SIGACTION.FLAGS, SA_SIGINFO | SA_ONSTACK, true);
  for (const signal of [SIGBUS, SIGSEGV]) {
    const result = status(library.sigaction(signal, argsPointer, null));
    if (result < 0) throw new Error(`Cannot handle signal ${signal}: ${errnoName(result)}`);
  }
  args.u8.fill(0, 0, SIGACTION.SIZE);
  const routines = { read: page.pointerAt(code.read), write: page.pointerAt(code.write) };
  const copy = (
    routine: Deno.PointerObject,
    address: number,
    bytes: Uint8Array,
    at: number,
    size: number,
  ): number => {
    args.setU64(ARGS.ADDRESS, address);
    args.setU64(ARGS.SIZE_, size);
    args.setU64(ARGS.AT, at);
    library.bsearch(bytes as Uint8Array<ArrayBuffer>, argsPointer, 1, 1, routine);
    return size - args.u64(ARGS.LEFT);
  };
  return {
    read: (address, into, at, size) => copy(routines.read, address, into, at, size),
    write: (address, from, at, size) => copy(routines.write, address, from, at, size),
  };
}

/** The copier of process_vm_readv(2). */
export function viaKernel(): Copier {
  const pid = libc.getpid();
  const theirs = args.pointerAt(THEIRS.BASE);
  const describe = (address: number, bytes: Uint8Array, at: number, size: number): void => {
    const pointer = Deno.UnsafePointer.of(bytes as Uint8Array<ArrayBuffer>);
    args.setU64(OURS.BASE, Number(Deno.UnsafePointer.value(pointer)) + at);
    args.setU64(OURS.LEN, size);
    args.setU64(THEIRS.BASE, address);
    args.setU64(THEIRS.LEN, size);
  };
  const counted = (result: number): number => {
    const count = status(result);
    assert(count >= 0 || count === -EFAULT, "reading our own memory fails by a fault only");
    return Math.max(0, count);
  };
  return {
    read(address, into, at, size) {
      if (size === 0) return 0;
      describe(address, into, at, size);
      return counted(library.process_vm_readv(pid, argsPointer, 1, theirs, 1, 0));
    },
    write(address, from, at, size) {
      if (size === 0) return 0;
      describe(address, from, at, size);
      return counted(library.process_vm_writev(pid, argsPointer, 1, theirs, 1, 0));
    },
  };
}
