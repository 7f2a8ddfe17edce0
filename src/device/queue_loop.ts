/**
 * The loop of a queue's thread: wait for a kick, serve all there is, ask for the next kick.
 *
 * Nothing here is asynchronous, allocates, or throws in steady state.
 *
 * @module
 */

import type { FuseServer } from "../fuse/server.ts";
import { type DataRegionFinder, GuestMemory } from "../memory/guest_memory.ts";
import { errnoName } from "../sys/errno.ts";
import { WaitSet } from "../sys/wait_set.ts";
import { Chain } from "../virtqueue/chain.ts";
import type { Answer, Command, ControlReceiver } from "./control.ts";
import type { QueueRecord } from "../state/queue_record.ts";
import { Queue } from "./queue.ts";
import type { Recorder } from "./recorder.ts";

/** How often requests that wait for a lock of somebody outside this daemon are tried again. */
const RETRY_MS = 10;
/** Queues without a kick descriptor are looked at this often (vhost-user: SET_VRING_KICK, bit 8). */
const KICKLESS_MS = 1;

/** One per thread. */
export class QueueLoop {
  readonly #server: FuseServer;
  readonly #control: ControlReceiver;
  readonly #releases: () => number;
  readonly #pollMs: number;
  readonly #warn: (message: string) => void;
  readonly #dataRegions: DataRegionFinder;
  readonly #recorder: Recorder;
  readonly #recordOf: (queueIndex: number) => QueueRecord;
  readonly #waitSet = new WaitSet();
  readonly #chain = new Chain();
  #memory = new GuestMemory([]);
  #queues: Queue[] = [];

  constructor(
    server: FuseServer,
    control: ControlReceiver,
    controlFd: number,
    options: {
      readonly releases: () => number;
      readonly pollMicroseconds: number;
      readonly warn: (message: string) => void;
      readonly dataRegions: DataRegionFinder;
      readonly recorder: Recorder;
      readonly recordOf: (queueIndex: number) => QueueRecord;
    },
  ) {
    this.#server = server;
    this.#control = control;
    this.#releases = options.releases;
    this.#pollMs = options.pollMicroseconds / 1000;
    this.#warn = options.warn;
    this.#dataRegions = options.dataRegions;
    this.#recorder = options.recorder;
    this.#recordOf = options.recordOf;
    this.#waitSet.add(controlFd);
  }

  /** Runs until told to exit. */
  run(): void {
    let releasesSeen = this.#releases();
    for (;;) {
      if (this.#control.pending && !this.#obey()) return;
      if (this.#serveAll()) continue;
      const waits = this.#waits();
      if (waits) {
        releasesSeen = this.#releases();
        for (const queue of this.#queues) queue.retry(this.#server, this.#chain);
      }
      if (this.#pollMs > 0 && this.#spin()) continue;
      if (this.#askForKicks()) continue;
      // A lock released by another queue between the retry and here would be missed without this.
      if (waits && this.#releases() !== releasesSeen) continue;
      this.#noteKicks(this.#waitSet.wait(this.#timeout()));
    }
  }

  #noteKicks(readyCount: number): void {
    for (let i = 0; i < readyCount; i++) {
      const fd = this.#waitSet.readyFd(i);
      for (let k = 0; k < this.#queues.length; k++) {
        if (this.#queues[k]!.kickFd === fd) this.#queues[k]!.kicked();
      }
    }
  }

  #serveAll(): boolean {
    let served = false;
    for (let i = 0; i < this.#queues.length; i++) {
      if (this.#queues[i]!.serve(this.#server, this.#chain)) served = true;
    }
    return served;
  }

  /** Watches the queues for a while before sleeping: a request that comes soon needs no kick and no wake-up. */
  #spin(): boolean {
    const end = performance.now() + this.#pollMs;
    do {
      for (let i = 0; i < this.#queues.length; i++) {
        if (this.#queues[i]!.hasAvailable) return true;
      }
      if (this.#control.pending) return true;
    } while (performance.now() < end);
    return false;
  }

  #askForKicks(): boolean {
    let available = false;
    for (let i = 0; i < this.#queues.length; i++) {
      if (this.#queues[i]!.askForKick()) available = true;
    }
    return available;
  }

  #waits(): boolean {
    for (let i = 0; i < this.#queues.length; i++) {
      if (this.#queues[i]!.waits) return true;
    }
    return false;
  }

  #timeout(): number {
    for (let i = 0; i < this.#queues.length; i++) {
      if (this.#queues[i]!.kickFd < 0) return KICKLESS_MS;
    }
    return this.#waits() ? RETRY_MS : -1;
  }

  /** Carries out a command. False for the last one. */
  #obey(): boolean {
    const command = this.#control.take();
    this.#control.answer(this.#execute(command));
    return command.kind !== "exit";
  }

  #execute(command: Command): Answer {
    switch (command.kind) {
      case "memory":
        this.#memory = new GuestMemory(command.regions, this.#dataRegions);
        for (const queue of this.#queues) queue.remap(this.#memory);
        return null;
      case "start": {
        this.#stop(command.setup.index);
        const queue = Queue.create(command.setup, this.#memory, {
          warn: this.#warn,
          recorder: this.#recorder,
          record: this.#recordOf(command.setup.index),
        });
        if (typeof queue === "string") return queue;
        if (queue.kickFd >= 0) {
          const added = this.#waitSet.add(queue.kickFd);
          if (added < 0) return `its kick descriptor cannot be waited for: ${errnoName(added)}`;
        }
        this.#queues.push(queue);
        return null;
      }
      case "stop":
        return this.#stop(command.index);
      case "call": {
        const queue = this.#queues.find((queue) => queue.index === command.index);
        if (queue !== undefined) queue.callFd = command.callFd;
        return null;
      }
      case "end":
        this.#server.disconnect();
        return null;
      case "clear":
        this.#server.end();
        return null;
      case "pass":
      case "exit":
        return null;
    }
  }

  /** Returns the queue's next avail index, or 0 if it was not running. */
  #stop(index: number): number {
    const queue = this.#queues.find((queue) => queue.index === index);
    if (queue === undefined) return 0;
    queue.interrupt(this.#server, this.#chain);
    if (queue.kickFd >= 0) this.#waitSet.remove(queue.kickFd);
    this.#queues = this.#queues.filter((other) => other !== queue);
    return queue.base;
  }
}
