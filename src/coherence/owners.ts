/**
 * The daemons that use a registry. Each has a number, and is alive while it holds a lock on the byte of that number in the registry's file: the
 * kernel drops it with the process's last thread, so nobody can be taken for dead who still runs, nor for alive by a reused pid,
 * and both hold across pid namespaces. Pid and start time are there to be looked at.
 *
 * @module
 */

import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { ownPid } from "../sys/own_pid.ts";
import { F_OFD_GETLK, F_OFD_SETLK, F_UNLCK, F_WRLCK, FLOCK } from "../wire/linux.ts";
import {
  OWNER,
  OWNER_COUNT_MAX,
  OWNER_FREE,
  OWNER_USED,
  OWNERS_OFFSET,
} from "./registry_layout.ts";

/** The owners' records, seen by one thread. */
export class Owners {
  readonly #memory: NativeMemory;
  readonly #fd: number;
  readonly #flock = NativeMemory.allocate(FLOCK.SIZE);

  /** `fd` is the registry's file, opened by this daemon. */
  constructor(registry: NativeMemory, fd: number) {
    this.#memory = registry;
    this.#fd = fd;
  }

  /** Takes a free number and fills in its record; -1 if there is none. `sweep` takes back what is left of the number's last owner. */
  claim(sweep: (owner: number) => boolean): number {
    for (let owner = 0; owner < OWNER_COUNT_MAX; owner++) {
      if (!this.tryLock(owner)) continue;
      if (this.state(owner) !== OWNER_FREE && !sweep(owner)) {
        this.unlock(owner);
        continue;
      }
      const record = offsetOf(owner);
      this.#memory.u32[(record + OWNER.PID) >>> 2] = ownPid();
      this.#memory.f64[(record + OWNER.START) >>> 3] = ownStartTime();
      this.#memory.f64[(record + OWNER.SINCE) >>> 3] = Date.now();
      this.#setState(owner, OWNER_USED);
      return owner;
    }
    return -1;
  }

  /** The number is free again: everything of its owner has been taken back. Its lock is held. */
  free(owner: number): void {
    const record = offsetOf(owner) >>> 2;
    this.#memory.u32.fill(0, record + (OWNER.CHANGES >>> 2), record + (OWNER.SIZE >>> 2));
    this.#setState(owner, OWNER_FREE);
  }

  /** Whether its daemon lives. Of its own number a daemon must not ask. */
  isAlive(owner: number): boolean {
    this.#describe(owner, F_WRLCK);
    if (status(libc.fcntl(this.#fd, F_OFD_GETLK, this.#flock.pointerAt(0))) < 0) return true;
    return this.#flock.view.getInt16(FLOCK.TYPE, true) !== F_UNLCK;
  }

  /** Takes the lock that says that a number's owner is alive; false if he is. */
  tryLock(owner: number): boolean {
    this.#describe(owner, F_WRLCK);
    return status(libc.fcntl(this.#fd, F_OFD_SETLK, this.#flock.pointerAt(0))) === 0;
  }

  unlock(owner: number): void {
    this.#describe(owner, F_UNLCK);
    libc.fcntl(this.#fd, F_OFD_SETLK, this.#flock.pointerAt(0));
  }

  /** OWNER_* */
  state(owner: number): number {
    return Atomics.load(this.#memory.u32, (offsetOf(owner) + OWNER.STATE) >>> 2);
  }

  pid(owner: number): number {
    return this.#memory.u32[(offsetOf(owner) + OWNER.PID) >>> 2]!;
  }

  #setState(owner: number, state: number): void {
    Atomics.store(this.#memory.u32, (offsetOf(owner) + OWNER.STATE) >>> 2, state);
  }

  /** struct flock for one byte of the file. */
  #describe(owner: number, type: number): void {
    const flock = this.#flock;
    flock.u8.fill(0, 0, FLOCK.SIZE);
    flock.view.setInt16(FLOCK.TYPE, type, true);
    flock.setU64(FLOCK.START, owner);
    flock.setU64(FLOCK.LEN, 1);
  }
}

function offsetOf(owner: number): number {
  return OWNERS_OFFSET + owner * OWNER.SIZE;
}

/** proc(5): /proc/pid/stat: the 22nd field; the second one is in brackets and may hold anything. */
function ownStartTime(): number {
  const text = Deno.readTextFileSync("/proc/self/stat");
  return Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[19]);
}
