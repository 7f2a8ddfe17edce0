/**
 * The guest's memory: one memfd, mapped here and shared with the daemon, handed out from its start.
 *
 * Guest-physical addresses are offsets in it: the region begins at guest address 0.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import { errnoName } from "../../sys/errno.ts";
import { OwnedFd } from "../../sys/fd.ts";
import { libc, status } from "../../sys/libc.ts";
import { Mapping } from "../../sys/mapping.ts";
import { NativeMemory } from "../../sys/native_memory.ts";
import { MFD_CLOEXEC } from "../../wire/linux.ts";

/** Its name in /proc/PID/maps. */
const NAME = "virtiofsd-ts-guest-memory";
const PAGE_SIZE = 4096;

let name: NativeMemory | null = null;

/** Pages cost nothing until they are touched, so the size is only a limit. */
export class SharedMemory implements Disposable {
  readonly #fd: OwnedFd;
  readonly #mapping: Mapping;
  // Address 0 is left out: some programs take it for "no address".
  #next = PAGE_SIZE;

  constructor(size: number) {
    name ??= NativeMemory.allocate(PAGE_SIZE);
    name.setCString(0, NAME);
    const fd = status(libc.memfd_create(name.pointerAt(0), MFD_CLOEXEC));
    if (fd < 0) throw new Error(`Cannot make the guest's memory: ${errnoName(fd)}`);
    this.#fd = new OwnedFd(fd);
    const sized = status(libc.ftruncate(fd, BigInt(size)));
    if (sized < 0) {
      this.#fd.close();
      throw new Error(`Cannot make ${size} bytes of guest memory: ${errnoName(sized)}`);
    }
    this.#mapping = new Mapping(fd, 0, size);
  }

  /** The descriptor that is shared with the daemon. */
  get fd(): number {
    return this.#fd.number;
  }

  /** Our own address of the first byte. */
  get address(): number {
    return this.#mapping.address;
  }

  get size(): number {
    return this.#mapping.size;
  }

  /** The bytes; not to be touched after {@linkcode SharedMemory.free}. */
  get bytes(): NativeMemory {
    return this.#mapping.memory;
  }

  /** Hands out `size` bytes for as long as the memory lives, from a page boundary. Returns the guest address. */
  allocate(size: number): number {
    const at = this.#next;
    this.#next += Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
    assert(this.#next <= this.size, "the guest's memory is as large as its users said");
    return at;
  }

  /** Gives the memory back. Nobody may have a view of it any more. */
  [Symbol.dispose](): void {
    this.#mapping.unmap();
    this.#fd.close();
  }
}
