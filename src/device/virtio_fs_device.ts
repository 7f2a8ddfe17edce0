/**
 * The virtio-fs device: queues spread over Workers, commanded by the vhost-user back end.
 *
 * Queue 0 (hiprio) and the first request queue share a Worker, because FORGETs are cheap; each further request
 * queue has its own.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { RegionAddresses } from "../memory/guest_memory.ts";
import { DataRegions } from "../state/data_regions.ts";
import { DAX_HEADER, STATE_HEADER } from "../state/layout.ts";
import { ConnectionRecord } from "../state/connection_record.ts";
import { type Description, writeDescription } from "../state/description.ts";
import { StateMemory } from "../state/state_memory.ts";
import type { QueueSetup, VhostUserDevice } from "../vhost_user/device.ts";
import { FIRST_REQUEST_QUEUE, HIPRIO_QUEUE, VIRTIO_FS_CONFIG } from "../wire/virtio_fs.ts";
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../wire/virtio_ring.ts";
import type { OwnedFd } from "../sys/fd.ts";
import { descriptorLimit } from "../sys/rlimit.ts";
import { DAX_REGION_ID, VHOST_USER_PROTOCOL_F } from "../wire/vhost_user.ts";
import { VERSION_REGION_ID } from "../wire/shared_versions.ts";
import { SharedVersions } from "../coherence/versions.ts";
import type { VersionTableConfig, WindowConfig } from "../config.ts";
import type { Confinement } from "./confinement.ts";
import { VersionsUpkeep } from "./versions_upkeep.ts";
import { type Answer, type Command, ControlCaller } from "./control.ts";
import { WindowOffer } from "./window_offer.ts";
import type { FileSystemSource, WorkerMessage, WorkerStart } from "./worker_messages.ts";
import { QUEUE_WORKER_NAME, QUEUE_WORKER_URL } from "./worker_url.ts";

/** What the device is made of. */
export interface DeviceOptions {
  readonly tag: string | null;
  readonly requestQueueCount: number;
  readonly pollMicroseconds: number;
  readonly trace: boolean;
  readonly fileSystem: FileSystemSource;
  /** The DAX window, or null. */
  readonly window: WindowConfig | null;
  /** `--cache shared`: the version table, or null. */
  readonly versions: VersionTableConfig | null;
  /** From `createStateFile()`; the device owns it. */
  readonly stateFile: OwnedFd;
  /** The sandbox that it is in; null = none. */
  readonly confinement: Confinement | null;
  /** For those who look into the state memory. */
  readonly description: Description;
  readonly log: (level: "debug" | "info" | "warn", message: string) => void;
  /** A Worker ended by itself: the device is of no use any more. */
  readonly failed: (reason: string) => void;
}

const CHANNEL = (STATE_HEADER.DAX + DAX_HEADER.CHANNEL) >>> 2;
const COMMANDS = (STATE_HEADER.DAX + DAX_HEADER.COMMANDS) >>> 2;

interface QueueThread {
  readonly worker: Worker;
  readonly control: ControlCaller;
}

/** A thread whose code is on its way. */
interface LoadedThread extends QueueThread {
  /** Resolves when it has come. */
  readonly loaded: Promise<void>;
  /** Has it serve its queues. Resolves when it does, rejects with the reason why it does not. */
  start(start: WorkerStart): Promise<void>;
}

/** A device with running (idle) threads. */
export class VirtioFsDevice implements VhostUserDevice {
  readonly queueCount: number;
  readonly features: bigint = (1n << BigInt(VIRTIO_F_VERSION_1)) |
    (1n << BigInt(VIRTIO_F_INDIRECT_DESC)) | (1n << BigInt(VIRTIO_F_EVENT_IDX));
  readonly config: Uint8Array | null;
  readonly observer: ConnectionRecord;
  readonly #state: StateMemory;
  readonly #threads: readonly QueueThread[];
  readonly #window: WindowOffer | null;
  readonly #dataRegions: DataRegions;
  readonly #versions: VersionsUpkeep | null;

  private constructor(
    options: DeviceOptions,
    state: StateMemory,
    threads: QueueThread[],
    versions: SharedVersions | null,
  ) {
    const { confinement } = options;
    this.queueCount = FIRST_REQUEST_QUEUE + options.requestQueueCount;
    this.config = options.tag === null
      ? null
      : deviceConfig(options.tag, options.requestQueueCount);
    this.#state = state;
    this.observer = new ConnectionRecord(state.memory);
    this.#threads = threads;
    this.#dataRegions = new DataRegions(state.memory);
    this.#window = options.window === null ? null : new WindowOffer(
      state.memory,
      options.window,
      options.log,
      confinement === null ? undefined : () => confinement.openViews(),
    );
    this.#versions = versions === null
      ? null
      : new VersionsUpkeep(versions, options.log, confinement);
  }

  /** Starts the threads. Throws an Error with the reason if the file system cannot be made. */
  static async start(options: DeviceOptions): Promise<VirtioFsDevice> {
    const state = StateMemory.in(options.stateFile);
    state.memory.u32[STATE_HEADER.FD_LIMIT >>> 2] = descriptorLimit();
    writeDescription(state.memory, options.description);
    const threads: LoadedThread[] = [];
    let versions: SharedVersions | null = null;
    try {
      if (options.versions !== null) versions = SharedVersions.open(options.versions, state.memory);
      for (let i = 0; i < options.requestQueueCount; i++) threads.push(loadThread(options, i));
      await Promise.all(threads.map((thread) => thread.loaded));
      const ownDirectories = await options.confinement?.confine() ?? null;
      const place = versions?.place ?? null;
      const parts = { versions: place, stateAddress: state.address, ownDirectories };
      // One after another: the first makes what the others find in the shared tables.
      for (const [i, thread] of threads.entries()) {
        await thread.start(workerStart(options, parts, thread.control, i));
      }
      options.confinement?.seal();
    } catch (error) {
      for (const thread of threads) thread.worker.terminate();
      // The files stay mapped: a Worker that is being terminated may still look.
      throw error;
    }
    const device = new VirtioFsDevice(options, state, threads, versions);
    if (options.versions?.watchHost && options.fileSystem.kind === "passthrough") {
      try {
        await device.#versions!.watchHost(options.fileSystem.config.sharedDir);
      } catch (error) {
        await device.close();
        throw error;
      }
    }
    return device;
  }

  async setMemory(regions: readonly RegionAddresses[]): Promise<void> {
    this.observer.setRegions(regions);
    await Promise.all(
      this.#threads.map((thread) => this.#order(thread, { kind: "memory", regions })),
    );
  }

  async startQueue(setup: QueueSetup): Promise<string | null> {
    const answer = await this.#order(this.#threadOf(setup.index), { kind: "start", setup });
    return typeof answer === "string" ? answer : null;
  }

  async stopQueue(index: number): Promise<number> {
    const answer = await this.#order(this.#threadOf(index), { kind: "stop", index });
    assert(typeof answer === "number", "stopping a queue answers with its index");
    return answer;
  }

  async setCallFd(index: number, callFd: number): Promise<void> {
    await this.#order(this.#threadOf(index), { kind: "call", index, callFd });
  }

  async reset(): Promise<void> {
    const first = this.#threads[0]!;
    await this.#order(first, { kind: "end" });
    // What is in the window goes when the front end has had its answer and can answer, too: nobody waits for this order.
    first.control.call({ kind: "clear" });
  }

  /** The state memory's file, for those who look into it. */
  get stateFd(): number {
    return this.#state.fd;
  }

  get shmemBit(): number | null {
    if (this.#window !== null) return this.#window.protocolBit;
    return this.#versions === null ? null : VHOST_USER_PROTOCOL_F.SHMEM;
  }

  async openShmem(mappingCountMax: number): Promise<readonly number[]> {
    const sizes: number[] = [];
    if (this.#window !== null) sizes[DAX_REGION_ID] = await this.#window.open(mappingCountMax);
    if (this.#versions !== null) sizes[VERSION_REGION_ID] = this.#versions.regionSize;
    return Array.from(sizes, (size) => size ?? 0);
  }

  hasMapped(fd: number): boolean {
    return this.#window?.hasMapped(fd) ?? false;
  }

  addDataRegion({ guestAddress, hostAddress, size }: RegionAddresses): boolean {
    return this.#dataRegions.add(guestAddress, hostAddress, size);
  }

  async removeDataRegion({ guestAddress }: RegionAddresses): Promise<void> {
    this.#dataRegions.remove(guestAddress);
    // A queue may be in the midst of a request that uses it. Nobody waits for this, so it needs not be hurried (`#order`).
    await Promise.all(this.#threads.map(({ control }) => control.call({ kind: "pass" })));
  }

  setShmemChannel(fd: number): void {
    Atomics.store(this.#state.memory.i32, CHANNEL, fd + 1);
  }

  /** Ends the threads. The queues are stopped. */
  async close(): Promise<void> {
    for (const thread of this.#threads) {
      await this.#order(thread, { kind: "exit" });
      thread.worker.terminate();
      thread.control.close();
    }
    await this.#window?.close();
    await this.#versions?.close();
    this.#state.close();
  }

  /**
   * Has a thread carry out a command. The front end may be waiting for that, and so for us: no thread waits for the front end
   * meanwhile (DAX_HEADER.COMMANDS).
   */
  async #order(thread: QueueThread, command: Command): Promise<Answer> {
    const { i32 } = this.#state.memory;
    Atomics.add(i32, COMMANDS, 1);
    try {
      return await thread.control.call(command);
    } finally {
      Atomics.sub(i32, COMMANDS, 1);
    }
  }

  #threadOf(queueIndex: number): QueueThread {
    const thread =
      this.#threads[queueIndex === HIPRIO_QUEUE ? 0 : queueIndex - FIRST_REQUEST_QUEUE];
    assert(thread !== undefined, "a queue index is below queueCount");
    return thread;
  }
}

/** virtio 1.3, 5.11.4: struct virtio_fs_config. */
function deviceConfig(tag: string, requestQueueCount: number): Uint8Array {
  const config = new Uint8Array(VIRTIO_FS_CONFIG.SIZE);
  const bytes = new TextEncoder().encode(tag);
  assert(bytes.length <= VIRTIO_FS_CONFIG.TAG_SIZE, "the tag was checked");
  config.set(bytes, VIRTIO_FS_CONFIG.TAG);
  new DataView(config.buffer).setUint32(
    VIRTIO_FS_CONFIG.NUM_REQUEST_QUEUES,
    requestQueueCount,
    true,
  );
  return config;
}

function loadThread(options: DeviceOptions, index: number): LoadedThread {
  const control = new ControlCaller();
  const worker = new Worker(QUEUE_WORKER_URL, {
    type: "module",
    name: `${QUEUE_WORKER_NAME}${index + 1}`,
  });
  const loaded = Promise.withResolvers<void>();
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => {});
  let isReady = false;
  const fail = (reason: string): void => {
    if (isReady) options.failed(reason);
    loaded.reject(new Error(reason));
    ready.reject(new Error(reason));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    fail(event.message);
  };
  worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => {
    if (data.kind === "log") options.log(data.level, data.message);
    else if (data.kind === "failed") fail(data.reason);
    else if (data.kind === "loaded") loaded.resolve();
    else {
      isReady = true;
      ready.resolve();
    }
  };
  const start = (message: WorkerStart): Promise<void> => {
    worker.postMessage(message);
    return ready.promise;
  };
  return { worker, control, loaded: loaded.promise, start };
}

function workerStart(
  options: DeviceOptions,
  parts: Pick<WorkerStart, "versions" | "stateAddress" | "ownDirectories">,
  control: ControlCaller,
  index: number,
): WorkerStart {
  const requestQueue = FIRST_REQUEST_QUEUE + index;
  return {
    ...parts,
    queueIndices: index === 0 ? [HIPRIO_QUEUE, requestQueue] : [requestQueue],
    control: control.buffer,
    controlFd: control.eventFd,
    pollMicroseconds: options.pollMicroseconds,
    trace: options.trace,
    fileSystem: options.fileSystem,
  };
}
