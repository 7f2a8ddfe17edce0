/**
 * The serving process of a daemon in a sandbox (`started.ts` starts it): the same daemon, which gives up the host's files when its code
 * has been loaded, and most system calls when its threads are running.
 *
 * @module
 */

import type { ConfinedStart, FromServer, ToServer } from "./messages.ts";
import type { HostChanges } from "../coherence/host_watch/changes.ts";
import { deviceOf, type PaddedViews, proveViews } from "../dax/view_mount.ts";
import type { Confinement } from "../device/confinement.ts";
import type { Log } from "../log.ts";
import { Channel } from "../sandbox/channel.ts";
import { confine } from "../sandbox/confine.ts";
import { installFilter } from "../sandbox/filter.ts";
import { serveDevice } from "../serve.ts";
import { OwnedFd } from "../sys/fd.ts";
import type { OwnDirectories } from "../sys/own_directories.ts";
import { setOwnPid } from "../sys/own_pid.ts";

/** What a confined server is given by its command. */
export interface ConfinedHooks {
  /** Aborted by a signal, or by what comes over the channel. */
  readonly ending: AbortController;
  readonly openLog: (start: ConfinedStart) => Log;
}

/** Serves as the channel says, until told to end. Resolves with what ended it, throws what a daemon throws. */
export async function serveConfined(channelFd: number, hooks: ConfinedHooks): Promise<Log> {
  const channel = new Channel<ToServer, FromServer>(new OwnedFd(channelFd));
  const first = channel.receiveSync();
  if (first?.message.kind !== "start") throw new Error("Nobody says what to serve");
  const start = first.message;
  setOwnPid(start.pid);
  const log = hooks.openLog(start);
  const outside = new Outside(channel, start, hooks.ending, log);
  outside.listen();
  const { config, isolation, shown, level, stateFd } = start;
  const root = isolation.sandbox === "none" ? config.passthrough.sharedDir : "/";
  const passthrough = { ...config.passthrough, sharedDir: root };
  await serveDevice(
    { ...config, shown, fileSystem: { kind: "passthrough", config: passthrough } },
    {
      log,
      signal: hooks.ending.signal,
      trace: level === "trace",
      confined: { confinement: outside, stateFile: new OwnedFd(stateFd) },
    },
  );
  return log;
}

/**
 * Has the runtime read what it reads once: the time zone. Later it would look into /etc of the new root, which is the share, and the guest
 * could answer.
 */
function warmUp(): void {
  new Date().getTimezoneOffset();
  new Date().toISOString();
}

/** The other process, as the device sees it. */
class Outside implements Confinement {
  readonly #channel: Channel<ToServer, FromServer>;
  readonly #start: ConfinedStart;
  readonly #ending: AbortController;
  readonly #log: Log;
  #changes: HostChanges | null = null;
  #views = Promise.withResolvers<{ refusal: string | null; fd: OwnedFd | null }>();
  #watching = Promise.withResolvers<string | null>();
  #daemons = "";

  constructor(
    channel: Channel<ToServer, FromServer>,
    start: ConfinedStart,
    ending: AbortController,
    log: Log,
  ) {
    this.#channel = channel;
    this.#start = start;
    this.#ending = ending;
    this.#log = log;
  }

  /** Takes messages from now on. If the other process goes, this one does, too. */
  async listen(): Promise<void> {
    for await (const { message, fd } of this.#channel.messages(new AbortController().signal)) {
      switch (message.kind) {
        case "end":
          this.#ending.abort(message.reason);
          break;
        case "views":
          this.#views.resolve({ refusal: message.refusal, fd });
          break;
        case "watching":
          this.#watching.resolve(message.refusal);
          break;
        case "changed":
          this.#count(message.files);
          break;
        case "overflowed":
          this.#changes?.overflowed();
          break;
      }
    }
    this.#ending.abort("the end of the process that started it");
  }

  confine(): Promise<OwnDirectories> {
    warmUp();
    const { isolation, confineFd, ownDirectories } = this.#start;
    return Promise.resolve(confine(isolation.sandbox, confineFd, ownDirectories));
  }

  seal(): void {
    const { isolation, reportFd, config } = this.#start;
    const usesFileHandles = config.passthrough.inodeFileHandles !== "never";
    installFilter(isolation.seccomp, { usesFileHandles, reportFd });
    this.#log.debug(`Confined: --sandbox ${isolation.sandbox}, --seccomp ${isolation.seccomp}`);
  }

  async openViews(): Promise<PaddedViews | string> {
    this.#channel.send({ kind: "openViews" });
    const { refusal, fd } = await this.#views.promise;
    if (fd === null) return refusal ?? "they were not sent";
    const flaw = proveViews(fd.number);
    if (flaw !== null) {
      fd.close();
      this.#channel.send({ kind: "closeViews" });
      return flaw;
    }
    const device = deviceOf(fd.number);
    return {
      rootFd: fd.number,
      contains: (other) => deviceOf(other) === device,
      close: () => {
        this.#channel.send({ kind: "closeViews" });
        fd.close();
        return Promise.resolve();
      },
    };
  }

  async watchHost(changes: HostChanges): Promise<string | null> {
    this.#changes = changes;
    this.#channel.send({ kind: "watchHost" });
    return await this.#watching.promise;
  }

  setDaemons(pids: ReadonlySet<number>): void {
    const list = [...pids];
    if (this.#changes === null && list.length === 0) return;
    const text = list.join();
    if (text === this.#daemons) return;
    this.#daemons = text;
    this.#channel.send({ kind: "daemons", pids: list });
  }

  watchTable(device: number, inode: number): void {
    this.#channel.send({ kind: "watchTable", device, inode });
  }

  #count(files: readonly number[]): void {
    for (let i = 0; i + 3 < files.length; i += 4) {
      this.#changes?.changed(files[i]!, files[i + 1]!, files[i + 2]!, files[i + 3]!);
    }
  }
}
