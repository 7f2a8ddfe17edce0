/**
 * Making and opening the daemon's state memory (see `layout.ts`).
 *
 * @module
 */

import { MFD_CLOEXEC, O_CLOEXEC, O_CREAT, O_EXCL, O_RDONLY, O_RDWR } from "../wire/linux.ts";
import { O_NOFOLLOW } from "../sys/architecture.ts";
import { ENOENT, errnoName } from "../sys/errno.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import { Mapping } from "../sys/mapping.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { ownPid } from "../sys/own_pid.ts";
import {
  STATE_HEADER,
  STATE_LAYOUT_VERSION,
  STATE_MAGIC_HI,
  STATE_MAGIC_LO,
  STATE_MEMORY_NAME,
  STATE_SIZE,
} from "./layout.ts";

/** Owns the memfd and its mapping; made once by the main thread. */
export class StateMemory {
  readonly mapping: Mapping;
  readonly #fd: OwnedFd;

  private constructor(fd: OwnedFd, mapping: Mapping) {
    this.#fd = fd;
    this.mapping = mapping;
  }

  /** Makes an empty state memory, in a file of this path or in none. Throws when the system refuses. */
  static create(path: string | null = null): StateMemory {
    return StateMemory.in(createStateFile(path));
  }

  /** Makes it in a file from {@linkcode createStateFile}, which it owns from now on. */
  static in(fd: OwnedFd): StateMemory {
    const mapping = new Mapping(fd.number, 0, STATE_SIZE);
    const { u32 } = mapping.memory;
    u32[STATE_HEADER.LAYOUT_VERSION >>> 2] = STATE_LAYOUT_VERSION;
    u32[STATE_HEADER.PID >>> 2] = ownPid();
    mapping.memory.f64[STATE_HEADER.STARTED >>> 3] = Date.now();
    mapping.memory.f64[STATE_HEADER.STATE_SIZE >>> 3] = STATE_SIZE;
    // The magic goes in last: a reader that sees it sees a complete header.
    Atomics.store(u32, STATE_HEADER.MAGIC_LO >>> 2, STATE_MAGIC_LO);
    Atomics.store(u32, STATE_HEADER.MAGIC_HI >>> 2, STATE_MAGIC_HI);
    return new StateMemory(fd, mapping);
  }

  /** Of its file, for readers that are no part of the daemon. */
  get fd(): number {
    return this.#fd.number;
  }

  get memory(): NativeMemory {
    return this.mapping.memory;
  }

  get address(): number {
    return this.mapping.address;
  }

  close(): void {
    this.mapping.unmap();
    this.#fd.close();
  }
}

/** The state memory of this process, seen from another of its threads. */
export function stateMemoryAt(address: number): NativeMemory {
  return new NativeMemory(address, STATE_SIZE);
}

/** The empty file of a state memory: of this path, or of none. Throws when the system refuses. */
export function createStateFile(path: string | null): OwnedFd {
  const fd = path === null ? anonymousFile() : stateFile(path);
  const sized = status(libc.ftruncate(fd.number, BigInt(STATE_SIZE)));
  if (sized === 0) return fd;
  fd.close();
  throw new Error(`Cannot size the state memory: ${errnoName(sized)}`);
}

function anonymousFile(): OwnedFd {
  const name = NativeMemory.allocate(4096);
  name.setCString(0, STATE_MEMORY_NAME);
  const result = status(libc.memfd_create(name.pointerAt(0), MFD_CLOEXEC));
  if (result < 0) throw new Error(`Cannot create the state memory: ${errnoName(result)}`);
  return new OwnedFd(result);
}

/** `--state-file`: what an earlier daemon left there is replaced; whoever has it mapped keeps what he sees. Nobody else may look. */
function stateFile(path: string): OwnedFd {
  const bytes = new TextEncoder().encode(`${path}\0`);
  if (!isReplaceable(bytes)) {
    throw new Error(`The state file ${path} cannot be made: something else is there`);
  }
  const removed = status(libc.unlink(bytes));
  if (removed < 0 && removed !== -ENOENT) throw refused(path, removed);
  const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const fd = status(libc.open(bytes, flags, 0o600));
  if (fd < 0) throw refused(path, fd);
  return new OwnedFd(fd);
}

/** Only what an earlier daemon made is taken away. */
function isReplaceable(path: Uint8Array<ArrayBuffer>): boolean {
  const fd = status(libc.open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0));
  if (fd === -ENOENT) return true;
  if (fd < 0) return false;
  const head = NativeMemory.allocate(4096);
  const size = status(libc.read(fd, head.pointerAt(0), 8));
  libc.close(fd);
  return size === 0 || (size === 8 && head.u32[STATE_HEADER.MAGIC_LO >>> 2] === STATE_MAGIC_LO &&
    head.u32[STATE_HEADER.MAGIC_HI >>> 2] === STATE_MAGIC_HI);
}

function refused(path: string, error: number): Error {
  return new Error(`The state file ${path} cannot be made: ${errnoName(error)}`);
}
