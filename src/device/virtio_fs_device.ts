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
import { StateMemory } from "../state/state_memory.ts";
import type { QueueSetup, VhostUserDevice } from "../vhost_user/device.ts";
import { FIRST_REQUEST_QUEUE, HIPRIO_QUEUE, VIRTIO_FS_CONFIG } from "../wire/virtio_fs.ts";
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../wire/virtio_ring.ts";
import { ControlCaller } from "./control.ts";
import type { FileSystemSource, WorkerMessage, WorkerStart } from "./worker_messages.ts";
import { QUEUE_WORKER_URL } from "./worker_url.ts";

/** What the device is made of. */
export interface DeviceOptions {
  readonly tag: string | null;
  readonly requestQueueCount: number;
  readonly pollMicroseconds: number;
  readonly trace: boolean;
  readonly fileSystem: FileSystemSource;
  readonly log: (level: "debug" | "info" | "warn", message: string) => void;
  /** A Worker ended by itself: the device is of no use any more. */
  readonly failed: (reason: string) => void;
}

interface QueueThread {
  readonly worker: Worker;
  readonly control: ControlCaller;
}

/** A device with running (idle) threads. */
export class VirtioFsDevice implements VhostUserDevice {
  readonly queueCount: number;
  readonly features: bigint = (1n << BigInt(VIRTIO_F_VERSION_1)) |
    (1n << BigInt(VIRTIO_F_INDIRECT_DESC)) | (1n << BigInt(VIRTIO_F_EVENT_IDX));
  readonly config: Uint8Array | null;
  readonly #state: StateMemory;
  readonly #threads: readonly QueueThread[];

  private constructor(options: DeviceOptions, state: StateMemory, threads: QueueThread[]) {
    this.queueCount = FIRST_REQUEST_QUEUE + options.requestQueueCount;
    this.config = options.tag === null
      ? null
      : deviceConfig(options.tag, options.requestQueueCount);
    this.#state = state;
    this.#threads = threads;
  }

  /** Starts the threads. Throws an Error with the reason if the file system cannot be made. */
  static async start(options: DeviceOptions): Promise<VirtioFsDevice> {
    const state = StateMemory.create();
    const threads: QueueThread[] = [];
    try {
      // One after another: the first makes what the others find in the shared tables.
      for (let i = 0; i < options.requestQueueCount; i++) {
        threads.push(await startThread(options, state.address, i));
      }
    } catch (error) {
      for (const thread of threads) thread.worker.terminate();
      throw error;
    }
    return new VirtioFsDevice(options, state, threads);
  }

  async setMemory(regions: readonly RegionAddresses[]): Promise<void> {
    await Promise.all(
      this.#threads.map((thread) => thread.control.call({ kind: "memory", regions })),
    );
  }

  async startQueue(setup: QueueSetup): Promise<string | null> {
    const answer = await this.#threadOf(setup.index).control.call({ kind: "start", setup });
    return typeof answer === "string" ? answer : null;
  }

  async stopQueue(index: number): Promise<number> {
    const answer = await this.#threadOf(index).control.call({ kind: "stop", index });
    assert(typeof answer === "number", "stopping a queue answers with its index");
    return answer;
  }

  async setCallFd(index: number, callFd: number): Promise<void> {
    await this.#threadOf(index).control.call({ kind: "call", index, callFd });
  }

  async reset(): Promise<void> {
    await this.#threads[0]!.control.call({ kind: "end" });
  }

  /** Ends the threads. The queues are stopped. */
  async close(): Promise<void> {
    for (const { worker, control } of this.#threads) {
      await control.call({ kind: "exit" });
      worker.terminate();
      control.close();
    }
    this.#state.close();
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

function startThread(
  options: DeviceOptions,
  stateAddress: number,
  index: number,
): Promise<QueueThread> {
  const control = new ControlCaller();
  const worker = new Worker(QUEUE_WORKER_URL, { type: "module", name: `queue-${index + 1}` });
  const requestQueue = FIRST_REQUEST_QUEUE + index;
  const start: WorkerStart = {
    queueIndices: index === 0 ? [HIPRIO_QUEUE, requestQueue] : [requestQueue],
    control: control.buffer,
    controlFd: control.eventFd,
    stateAddress,
    pollMicroseconds: options.pollMicroseconds,
    trace: options.trace,
    fileSystem: options.fileSystem,
  };
  return new Promise((resolve, reject) => {
    let ready = false;
    const fail = (reason: string): void => {
      if (ready) options.failed(reason);
      else reject(new Error(reason));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      fail(event.message);
    };
    worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => {
      if (data.kind === "log") options.log(data.level, data.message);
      else if (data.kind === "failed") fail(data.reason);
      else {
        ready = true;
        resolve({ worker, control });
      }
    };
    worker.postMessage(start);
  });
}
