/**
 * What the process outside the sandbox does for the one inside: see the host.
 *
 * @module
 */

import { HostWatch } from "../coherence/host_watch/host_watch.ts";
import type { ServeConfig } from "../config.ts";
import type { FromServer, ToServer } from "./messages.ts";
import { ViewMount } from "../dax/view_mount.ts";
import type { Log } from "../log.ts";
import { members, ownCapabilities } from "../sandbox/capabilities.ts";
import type { Channel } from "../sandbox/channel.ts";
import { CAPABILITY } from "../wire/isolation.ts";

const TABLE_PERIOD_MS = 1000;
/** How long changes are collected that the server does not take. */
const RETRY_MS = 5;
/** Numbers in one message about changes: four for each file. */
const NUMBERS_MAX = 4096;
const NUMBERS_EACH = 4;

/** For one server. */
export class HostEyes {
  readonly #pid: number;
  readonly #channel: Channel<FromServer, ToServer>;
  readonly #config: ServeConfig;
  readonly #log: Log;
  #views: ViewMount | null = null;
  #viewsAsked = false;
  #watch: HostWatch | null = null;
  #watchAsked = false;
  #daemons: ReadonlySet<number>;
  #tableTimer: ReturnType<typeof setInterval> | undefined;
  #changed: number[] = [];
  #overflowed = false;
  #flushQueued = false;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(
    pid: number,
    channel: Channel<FromServer, ToServer>,
    config: ServeConfig,
    log: Log,
  ) {
    this.#pid = pid;
    this.#channel = channel;
    this.#config = config;
    this.#log = log;
    this.#daemons = new Set([pid]);
  }

  /** Answers until the server has gone or the signal is aborted. */
  async attend(signal: AbortSignal): Promise<void> {
    try {
      for await (const { message, fd } of this.#channel.messages(signal)) {
        fd?.close();
        await this.#answer(message);
      }
    } catch (error) {
      this.#log.warn(`The server cannot be understood: ${(error as Error).message}`);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#tableTimer);
    clearTimeout(this.#flushTimer);
    await this.#watch?.close();
    await this.#views?.close();
  }

  async #answer(message: FromServer): Promise<void> {
    switch (message.kind) {
      case "openViews":
        return await this.#openViews();
      case "closeViews":
        await this.#views?.close();
        this.#views = null;
        return;
      case "watchHost":
        return await this.#watchHost();
      case "daemons":
        this.#daemons = new Set(message.pids);
        return;
      case "watchTable":
        return this.#watchTable(message.device, message.inode);
    }
  }

  /** Once: a server that has closed its views is ending. */
  async #openViews(): Promise<void> {
    if (this.#viewsAsked) return;
    this.#viewsAsked = true;
    // The first request as another user makes the server one that only this right lets us take descriptors of.
    const views = members(ownCapabilities()).includes(CAPABILITY.SYS_PTRACE)
      ? await ViewMount.open(this.#pid)
      : "CAP_SYS_PTRACE is missing";
    if (typeof views === "string") {
      this.#channel.send({ kind: "views", refusal: views });
      return;
    }
    this.#views = views;
    this.#channel.send({ kind: "views", refusal: null }, views.rootFd);
  }

  async #watchHost(): Promise<void> {
    if (this.#watchAsked || !(this.#config.versions?.watchHost ?? false)) return;
    this.#watchAsked = true;
    const watch = await HostWatch.open({
      directory: this.#config.passthrough.sharedDir,
      changed: (devLo, devHi, inoLo, inoHi) => {
        this.#changed.push(devLo, devHi, inoLo, inoHi);
        this.#flushSoon(0);
      },
      overflowed: () => this.#overflow(),
      isDaemon: (pid) => this.#daemons.has(pid),
      log: (line) => this.#log.warn(line),
    });
    if (typeof watch === "string") {
      this.#channel.send({ kind: "watching", refusal: watch });
      return;
    }
    this.#watch = watch;
    watch.failed.catch((error) => {
      this.#log.warn(`The host is not watched any more: ${(error as Error).message}`);
      this.#overflow();
    });
    this.#channel.send({ kind: "watching", refusal: null });
  }

  #overflow(): void {
    this.#overflowed = true;
    this.#flushSoon(0);
  }

  /** What one wake-up of the watch reports goes together. */
  #flushSoon(afterMs: number): void {
    if (this.#flushQueued || this.#isClosed) return;
    this.#flushQueued = true;
    const flush = (): void => {
      this.#flushQueued = false;
      if (this.#isClosed) return;
      if (!this.#flush()) this.#flushSoon(RETRY_MS);
    };
    if (afterMs > 0) this.#flushTimer = setTimeout(flush, afterMs);
    else queueMicrotask(flush);
  }

  /** False if the server does not read. */
  #flush(): boolean {
    if (this.#changed.length > NUMBERS_MAX * NUMBERS_EACH) {
      // It is far behind: better all of them than a backlog.
      this.#changed = [];
      this.#overflowed = true;
    }
    if (this.#overflowed) {
      if (!this.#channel.send({ kind: "overflowed" })) return false;
      this.#overflowed = false;
    }
    while (this.#changed.length > 0) {
      const files = this.#changed.slice(0, NUMBERS_MAX);
      if (!this.#channel.send({ kind: "changed", files })) return false;
      this.#changed.splice(0, files.length);
    }
    return true;
  }

  #watchTable(device: number, inode: number): void {
    const path = this.#config.versions?.path;
    if (path === undefined || this.#tableTimer !== undefined) return;
    this.#tableTimer = setInterval(() => {
      if (isFile(path, device, inode)) return;
      clearInterval(this.#tableTimer);
      this.#log.warn(
        "The version table's file has been removed or replaced: guests of daemons that start from now on are not coherent with this one's",
      );
    }, TABLE_PERIOD_MS);
  }
}

function isFile(path: string, device: number, inode: number): boolean {
  try {
    const { dev, ino } = Deno.statSync(path);
    return dev === device && ino === inode;
  } catch {
    return false;
  }
}
