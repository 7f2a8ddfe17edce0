/**
 * A process beside the guest that makes the same system calls again and again: it swaps names on the host, or writes to the guest's memory.
 *
 * Nothing of this program runs in it but a few instructions (`sys/system_call_list.ts`), so it waits for nobody: not for the guest's
 * loop, not for the daemon. It counts in an eventfd what it has done, so that an attack can tell whether anything happened while its requests ran.
 *
 * @module
 */

import { assert } from "../../assert.ts";
import { systemCallNumber } from "../../sys/architecture.ts";
import { EAGAIN, errnoName } from "../../sys/errno.ts";
import { OwnedFd } from "../../sys/fd.ts";
import { libc, status } from "../../sys/libc.ts";
import { NativeMemory } from "../../sys/native_memory.ts";
import {
  type Address,
  type CallArgument,
  Row,
  SystemCallList,
} from "../../sys/system_call_list.ts";
import { PR_SET_PDEATHSIG, SIGCHLD, SIGKILL } from "../../wire/isolation.ts";
import {
  AT_FDCWD,
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  IOVEC,
  MFD_CLOEXEC,
  RENAME_EXCHANGE,
} from "../../wire/linux.ts";
import { CALL } from "../../sys/system_call_code.ts";
import type { SystemCallName } from "../../wire/system_calls.ts";

const COUNT_SIZE = 8;
const FD_MAX = 0xffffffff;
const LIST_SIZE = 256 * 1024;
/** How long it may take to get going, on a machine that is busy. */
const STARTED_MS = 20_000;

/** Places of the guest's memory, and what is written to all of them at once. */
export interface Flip {
  /** Addresses in the guest's memory. */
  readonly places: readonly number[];
  /** Of one length: each place gets them one after another, and its neighbour is one behind. */
  readonly values: readonly ((place: number) => Uint8Array)[];
}

/** One of the calls that are repeated. */
interface Step {
  readonly name: SystemCallName;
  readonly args: readonly CallArgument[];
  /** What it returns when it has done something: 0, or a number of bytes. */
  readonly returns: "zero" | "size";
}

/** It runs until it is disposed of, which has to be before the guest hangs up. */
export class SecondProcess implements Disposable {
  readonly #list: SystemCallList;
  readonly #counter: OwnedFd;
  readonly #report: OwnedFd;
  readonly #perTurn: number;
  readonly #pid: number;
  #hasEnded = false;

  private constructor(
    perTurn: number,
    data: OwnedFd | null,
    stepsOf: (list: SystemCallList) => readonly Step[],
  ) {
    this.#perTurn = perTurn;
    using undo = new DisposableStack();
    const counter = new OwnedFd(made(libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "an eventfd"));
    undo.defer(() => counter.close());
    const report = memoryFile();
    undo.defer(() => report.close());
    this.#counter = counter;
    this.#report = report;
    this.#list = new SystemCallList(report.number, LIST_SIZE);
    const kept = [counter, report, ...(data === null ? [] : [data])].map((fd) => fd.number);
    this.#prepare(kept);
    this.#repeat(stepsOf(this.#list));
    this.#pid = made(this.#list.start(), "a process");
    undo.move();
  }

  /** Exchanges the names of each pair, one pair after another. A pair may be away. */
  static swapping(pairs: readonly (readonly [string, string])[]): SecondProcess {
    const begun = new SecondProcess(1, null, (list) =>
      pairs.map(([one, other]) => {
        const names = [list.text(one), list.text(other)] as const;
        const args = [AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE];
        return { name: "renameat2", args, returns: "zero" };
      }));
    return begun.#begun();
  }

  /** Writes to the guest's memory: each flip with all its values, one after another. */
  static flipping(memory: NativeMemory, flips: readonly Flip[]): SecondProcess {
    const data = memoryFile();
    try {
      let size = 0;
      const { length } = flips[0]!.places;
      const begun = new SecondProcess(
        length,
        data,
        (list) =>
          flips.flatMap(({ places, values }) => {
            assert(places.length === length, "all flips have as many places");
            const vectors = vectorsOf(list, memory, places, values[0]!(0).length);
            return values.map((_, phase) => {
              const written = places.map((_, i) => values[(phase + i) % values.length]!(i));
              const at = size;
              for (const bytes of written) size += append(data, bytes);
              const args = [data.number, vectors, places.length, at, 0];
              return { name: "preadv", args, returns: "size" } as const;
            });
          }),
      );
      return begun.#begun();
    } finally {
      // The process has its own.
      data.close();
    }
  }

  /** How much it has done since this was asked last: swaps, or places written to. */
  take(): number {
    const result = status(libc.read(this.#counter.number, COUNT.pointerAt(0), COUNT_SIZE));
    if (result === -EAGAIN) {
      const row = new Uint8Array(CALL.SIZE);
      const size = status(libc.pread_bytes(this.#report.number, row, row.length, 0n));
      const failed = this.#list.readReport(row.subarray(0, Math.max(0, size)));
      if (failed === null) return 0;
      throw new Error(`The second process has ended: ${failed.name}: ${errnoName(failed.errno)}`);
    }
    return COUNT.u64(0) * this.#perTurn;
  }

  [Symbol.dispose](): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    libc.kill(this.#pid, SIGKILL);
    libc.waitpid(this.#pid, null, 0);
    this.#counter.close();
    this.#report.close();
  }

  /** It has done something. */
  #begun(): SecondProcess {
    const deadline = performance.now() + STARTED_MS;
    try {
      while (this.take() === 0) {
        if (performance.now() > deadline) throw new Error("The second process does nothing");
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    return this;
  }

  /** It ends with us, and holds nothing open: a connection of the guest's ends when the guest hangs up. */
  #prepare(kept: readonly number[]): void {
    this.#add("clone", [SIGCHLD]);
    this.#add("prctl", [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0]);
    let from = 0;
    for (const fd of kept.toSorted((a, b) => a - b)) {
      if (fd > from) this.#add("close_range", [from, fd - 1, 0]);
      from = fd + 1;
    }
    this.#add("close_range", [from, FD_MAX, 0]);
  }

  /** sched_yield(2) returns 0 always: it serves as a jump. */
  #repeat(steps: readonly Step[]): void {
    const list = this.#list;
    const first = list.next;
    const one = list.bytes(new Uint8Array(new BigUint64Array([1n]).buffer));
    for (const { name, args, returns } of steps) {
      const swaps = returns === "zero";
      const row = this.#add(name, args, swaps);
      if (swaps) {
        const over = this.#add("sched_yield", []);
        list.setChild(row, list.next);
        // A swap that failed is not counted.
        list.setChild(over, new Row(list.next.index + 1));
      }
      this.#add("write", [this.#counter.number, one, COUNT_SIZE], true);
    }
    list.setChild(this.#add("sched_yield", []), first);
  }

  #add(name: SystemCallName, args: readonly CallArgument[], mayFail = false): Row {
    return this.#list.add(name, systemCallNumber(name)!, args, { mayFail });
  }
}

const COUNT = NativeMemory.allocate(4096);
const NAME = NativeMemory.allocate(4096);
NAME.setCString(0, "virtiofsd-ts-hostile");

function memoryFile(): OwnedFd {
  return new OwnedFd(made(libc.memfd_create(NAME.pointerAt(0), MFD_CLOEXEC), "a file"));
}

function made(result: number, what: string): number {
  const fd = status(result);
  if (fd < 0) throw new Error(`Cannot make ${what}: ${errnoName(fd)}`);
  return fd;
}

function append(file: OwnedFd, bytes: Uint8Array): number {
  const written = libc.write_bytes(file.number, bytes as Uint8Array<ArrayBuffer>, bytes.length);
  assert(written === bytes.length, "there is room in memory");
  return bytes.length;
}

/** An array of struct iovec. */
function vectorsOf(
  list: SystemCallList,
  memory: NativeMemory,
  places: readonly number[],
  size: number,
): Address {
  const words = new BigUint64Array(places.length * IOVEC.SIZE / 8);
  for (const [i, place] of places.entries()) {
    words[i * 2] = BigInt(memory.address + place);
    words[i * 2 + 1] = BigInt(size);
  }
  return list.bytes(new Uint8Array(words.buffer));
}
