/**
 * The same requests for a daemon of its own, in its sandbox and under its system call filter: over a socket and a ring, as a guest sends
 * them. A call that the filter does not know ends the daemon, which names it (`--seccomp trap`).
 *
 * What only the ring's own memory could show is left out: chains are sound here.
 *
 * @module
 */

import { IsolatedDaemon } from "../sandbox/isolated_daemon.ts";
import { Guest } from "../support/guest.ts";
import { AT, type Chain, WRITE } from "./chains.ts";
import { MODES } from "./modes.ts";
import type { Random } from "./random.ts";
import { type FuzzTarget, type Outcome, outcomeOf } from "./target.ts";

const QUEUES = 2;
const QUEUE_SIZE = 128;
const FUSE_SETLK = 32;
const FUSE_SETLKW = 33;
/** That may wait at a time: each keeps its part of the ring. */
const WAITING_MAX = 6;
/** Until a request that may wait is taken to do so. */
const WAIT_MS = 15;
const ANSWER_MS = 20_000;
/** What cannot be had without a front end that maps files. */
const WITHOUT_WINDOW: readonly string[] = ["--dax=always"];
const NOTHING_HELD = "1 inodes, 0 handles, 0 locks, 0 mappings";

/** Modes that differ without a window. */
export const DAEMON_MODES: readonly string[] = Object.keys(MODES).filter((mode) => mode !== "dax");

/** A daemon in one mode. */
export class DaemonTarget implements FuzzTarget {
  readonly warnings: string[] = [];
  readonly memory: FuzzTarget["memory"];
  readonly #daemon: IsolatedDaemon;
  #guest: Guest | null = null;
  #waiting = 0;
  #requests = 0;

  private constructor(daemon: IsolatedDaemon) {
    const u8 = new Uint8Array(AT.END);
    this.memory = { u8, view: new DataView(u8.buffer) };
    this.#daemon = daemon;
  }

  /** Starts it. `place` is where its own files may be. */
  static async start(mode: string, sharedDir: string, place: string): Promise<DaemonTarget> {
    Deno.env.set("TMPDIR", place);
    const own = mode === "shared" ? ["--version-table", `${place}/table`] : [];
    const args = MODES[mode]!.filter((word) => !WITHOUT_WINDOW.includes(word));
    const daemon = await IsolatedDaemon.start({
      sharedDir,
      args: [
        ...[
          "--keep-listening",
          "--num-request-queues",
          `${QUEUES}`,
          "--sandbox",
          "namespace",
          "--seccomp",
          "trap",
        ],
        ...args,
        ...own,
      ],
    });
    return new DaemonTarget(daemon);
  }

  get waits(): boolean {
    return false;
  }

  /** Not seen from here; the next session has the same limits. */
  get held(): string {
    return NOTHING_HELD;
  }

  rewind(): void {}
  retry(): void {}
  restartQueue(): void {}

  submit({ pieces, isSound, isIndirect, room }: Chain, random: Random): Outcome {
    if (!isSound) return { used: -1, status: 0, broken: false };
    this.#guest ??= this.#connect();
    const { view, u8 } = this.memory;
    const queue = this.#guest.queues[1 + random.below(QUEUES)]!;
    if (view.getUint32(AT.REQUEST + 4, true) === FUSE_SETLKW && this.#waiting >= WAITING_MAX) {
      view.setUint32(AT.REQUEST + 4, FUSE_SETLK, true);
    }
    const mayWait = view.getUint32(AT.REQUEST + 4, true) === FUSE_SETLKW;
    const readable = pieces.filter(({ flags }) => (flags & WRITE) === 0)
      .map(({ address, size }) => u8.slice(address, address + size));
    const writable = pieces.filter(({ flags }) => (flags & WRITE) !== 0).map(({ size }) => size);
    const head = queue.add(readable, writable, { indirect: isIndirect });
    queue.publish();
    this.#requests++;
    for (;;) {
      const used = queue.tryTake(mayWait ? WAIT_MS : ANSWER_MS);
      if (used === null && !mayWait) throw new Error(`no answer; ${this.#daemon.stderr()}`);
      if (used === null) {
        this.#waiting++;
        return { used: -1, status: 0, broken: false };
      }
      if (used.head !== head) {
        // One that has waited.
        this.#waiting--;
        continue;
      }
      u8.set(used.written, AT.REPLY);
      return outcomeOf(view, used.length, room);
    }
  }

  /** The guest goes; the daemon is to be there for the next one. */
  disconnect(): void {
    this.#guest?.[Symbol.dispose]();
    this.#guest = null;
    this.#waiting = 0;
  }

  /** It has lived, said nothing that it should not have, and ends as it is told. */
  async close(): Promise<void> {
    this.disconnect();
    this.#daemon.signal("SIGTERM");
    const { code } = await this.#daemon.status;
    const said = this.#daemon.stderr();
    await this.#daemon[Symbol.asyncDispose]();
    if (code !== 0) {
      throw new Error(`the daemon ended with ${code} after ${this.#requests}: ${said}`);
    }
    const wrong = said.split("\n").filter((line) => /ERROR|unexpectedly|not allowed/.test(line));
    if (wrong.length > 0) throw new Error(`the daemon said: ${wrong.join("; ")}`);
  }

  #connect(): Guest {
    return Guest.connect(this.#daemon.socketPath, {
      requestQueues: QUEUES,
      queueSize: QUEUE_SIZE,
      init: false,
    });
  }
}
