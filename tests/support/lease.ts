/**
 * A way to make a system call of the daemon take its time: whoever opens a file for writing that somebody has a lease on waits
 * until the lease is given up (fcntl(2), F_SETLEASE).
 *
 * @module
 */
import assert from "node:assert/strict";
import { close, open } from "./libc.ts";

const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_RDLCK = 0;
const F_UNLCK = 2;
/** What is ignored by default; SIGIO would end the process. */
const SIGURG = 23;

const libc = Deno.dlopen("libc.so.6", {
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
});

function fcntl(fd: number, command: number, argument: number): void {
  assert.equal(libc.symbols.fcntl(fd, command, argument), 0, `fcntl ${command}`);
}

/** A lease for reading: others may read, and wait when they open for writing. */
export class Lease implements Disposable {
  readonly #fd: number;
  #held = true;

  constructor(path: string) {
    this.#fd = open(path, 0);
    fcntl(this.#fd, F_SETSIG, SIGURG);
    fcntl(this.#fd, F_SETLEASE, F_RDLCK);
  }

  /** Whoever waits goes on. */
  giveUp(): void {
    if (!this.#held) return;
    this.#held = false;
    fcntl(this.#fd, F_SETLEASE, F_UNLCK);
  }

  [Symbol.dispose](): void {
    this.giveUp();
    close(this.#fd);
  }
}
