/**
 * Making and opening the daemon's state memory (see `layout.ts`).
 *
 * @module
 */

import { MFD_CLOEXEC } from "../wire/linux.ts";
import { errnoName } from "../sys/errno.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import { Mapping } from "../sys/mapping.ts";
import { NativeMemory } from "../sys/native_memory.ts";
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

  /** Makes an empty state memory. Throws when the system refuses. */
  static create(): StateMemory {
    const name = NativeMemory.allocate(4096);
    name.setCString(0, STATE_MEMORY_NAME);
    const result = status(libc.memfd_create(name.pointerAt(0), MFD_CLOEXEC));
    if (result < 0) throw new Error(`Cannot create the state memory: ${errnoName(result)}`);
    const fd = new OwnedFd(result);
    const sized = status(libc.ftruncate(fd.number, BigInt(STATE_SIZE)));
    if (sized < 0) throw new Error(`Cannot size the state memory: ${errnoName(sized)}`);
    const mapping = new Mapping(fd.number, 0, STATE_SIZE);
    const { u32 } = mapping.memory;
    u32[STATE_HEADER.LAYOUT_VERSION >>> 2] = STATE_LAYOUT_VERSION;
    u32[STATE_HEADER.PID >>> 2] = libc.getpid();
    // The magic goes in last: a reader that sees it sees a complete header.
    Atomics.store(u32, STATE_HEADER.MAGIC_LO >>> 2, STATE_MAGIC_LO);
    Atomics.store(u32, STATE_HEADER.MAGIC_HI >>> 2, STATE_MAGIC_HI);
    return new StateMemory(fd, mapping);
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
