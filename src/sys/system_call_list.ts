/**
 * Starting a process by a list of system calls, which a few instructions of machine code make in the child.
 *
 * A program of many threads cannot enter a user namespace, and no library function starts a child in one. clone(2) can, but
 * returns twice, which JavaScript does not survive. So between clone and execve nothing of this program runs in the child: what is to be done there is data,
 * made beforehand (`system_call_code.ts`).
 *
 * @module
 */

import { assert } from "../assert.ts";
import { ARCHITECTURE } from "./architecture.ts";
import type { Status } from "./errno.ts";
import { executable } from "./executable.ts";
import { NativeMemory } from "./native_memory.ts";
import { CALL, SYSTEM_CALL_CODE } from "./system_call_code.ts";

/** Rows, then bytes: a command line and an environment lie in here, too. */
const ROWS_MAX = 512;
const DATA = ROWS_MAX * CALL.SIZE;
const WORD_SIZE = 8;
const ARGUMENTS_MAX = 6;

/** An argument: a number, or bytes whose address is meant. */
export type CallArgument = number | Uint8Array | Address;

/** A place in the list's own memory. */
export class Address {
  /** `value` is the address. */
  constructor(readonly value: number) {}
}

/** What becomes of a call's result. */
export interface CallOptions {
  /** The result is stored here. */
  readonly store?: Address;
  /** Where to go on in the child of a clone. */
  readonly child?: Row;
  /** A failure is not the end. */
  readonly mayFail?: boolean;
}

/** A row, to be gone to. */
export class Row {
  /** `index` is its place in the list. */
  constructor(readonly index: number) {}
}

/** A call that failed in the child. */
export interface FailedCall {
  /** What it was for. */
  readonly name: string;
  /** Positive. */
  readonly errno: number;
}

/** Calls to be made in a child, in order. The last of each strand has to be one that does not return. */
export class SystemCallList {
  readonly #memory: NativeMemory;
  readonly #reportFd: number;
  readonly #names: string[] = [];
  #end = DATA;

  /** The row of a call that fails is written to `reportFd`; `dataSize` is room for all that calls are given by address. */
  constructor(reportFd: number, dataSize: number) {
    this.#memory = NativeMemory.allocate(DATA + dataSize);
    this.#reportFd = reportFd;
  }

  /** Where the next call will be. */
  get next(): Row {
    return new Row(this.#names.length);
  }

  /** Adds a call. `name` says what it is for, should it fail. */
  add(
    name: string,
    number: number,
    args: readonly CallArgument[] = [],
    options: CallOptions = {},
  ): Row {
    const row = this.next;
    assert(row.index < ROWS_MAX && args.length <= ARGUMENTS_MAX, "the call has room");
    this.#names.push(name);
    const at = row.index * CALL.SIZE;
    const memory = this.#memory;
    memory.setU64(at + CALL.NUMBER, number);
    for (const [i, argument] of args.entries()) {
      const to = at + CALL.ARGUMENTS + i * WORD_SIZE;
      if (typeof argument === "number") memory.view.setBigInt64(to, BigInt(argument), true);
      else {memory.setU64(
          to,
          argument instanceof Address ? argument.value : this.bytes(argument).value,
        );}
    }
    if (options.store !== undefined) memory.setU64(at + CALL.STORE, options.store.value);
    if (options.child !== undefined) {
      memory.setU64(at + CALL.ON_ZERO, this.#addressOf(options.child));
    }
    memory.view.setUint32(at + CALL.INDEX, row.index, true);
    memory.view.setInt32(
      at + CALL.REPORT_FD,
      options.mayFail === true ? -1 : this.#reportFd,
      true,
    );
    return row;
  }

  /** Where argument `index` of a row lies: a result stored there is what that call is given. */
  argument(row: Row, index: number): Address {
    return new Address(
      this.#memory.address + row.index * CALL.SIZE + CALL.ARGUMENTS + index * WORD_SIZE,
    );
  }

  /** Where to go on in the child of the clone of a row. */
  setChild(row: Row, child: Row): void {
    this.#memory.setU64(row.index * CALL.SIZE + CALL.ON_ZERO, this.#addressOf(child));
  }

  /** Puts bytes where the child finds them. */
  bytes(data: Uint8Array): Address {
    const at = Math.ceil(this.#end / WORD_SIZE) * WORD_SIZE;
    assert(at + data.length <= this.#memory.size, "the data has room");
    this.#memory.u8.set(data, at);
    this.#end = at + data.length;
    return new Address(this.#memory.address + at);
  }

  /** A C string. */
  text(text: string): Address {
    return this.bytes(new TextEncoder().encode(`${text}\0`));
  }

  /** A NULL-ended array of C strings, as execve(2) wants it. */
  texts(texts: readonly string[]): Address {
    const pointers = new BigUint64Array(texts.length + 1);
    for (const [i, text] of texts.entries()) pointers[i] = BigInt(this.text(text).value);
    return this.bytes(new Uint8Array(pointers.buffer));
  }

  /** clone(2), with the flags of the first row, and the rest of the list in the child. Returns the child's pid or a negative errno. */
  start(): Status {
    return Number(runner()(this.#memory.pointerAt(0)));
  }

  /** What a report says: the call that failed and its errno. Null if it is none. */
  readReport(report: Uint8Array): FailedCall | null {
    if (report.length !== CALL.SIZE) return null;
    const view = new DataView(report.buffer, report.byteOffset, report.length);
    const name = this.#names[view.getUint32(CALL.INDEX, true)] ?? "a system call";
    return { name, errno: -Number(view.getBigInt64(CALL.ON_ZERO, true)) };
  }

  #addressOf(row: Row): number {
    return this.#memory.address + row.index * CALL.SIZE;
  }
}

const RUN = { parameters: ["pointer"], result: "i64" } as const;

/** The machine code, made ready once. */
let run: ((list: Deno.PointerValue) => number | bigint) | null = null;

function runner(): (list: Deno.PointerValue) => number | bigint {
  if (run !== null) return run;
  const code = executable<typeof RUN>(SYSTEM_CALL_CODE[ARCHITECTURE.name].run);
  const routine = new Deno.UnsafeFnPointer(code, RUN);
  run = (list) => routine.call(list);
  return run;
}
