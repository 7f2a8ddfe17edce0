/**
 * One mount from its beginning to its end, seen from the main thread.
 *
 * @module
 */

import type { OwnedFd } from "../sys/fd.ts";
import { SetupError } from "../setup_error.ts";
import { mountFuse, openFuseDevice, unmount } from "./mount_point.ts";
import { AbortGuard } from "./abort_guard.ts";
import { NoticeRing } from "./notice_ring.ts";
import type {
  MountMessage,
  MountStart,
  NoticeMessage,
  NoticeSource,
  NoticeStart,
} from "./worker_messages.ts";
import {
  MOUNT_WORKER_NAME,
  MOUNT_WORKER_URL,
  NOTICE_WORKER_NAME,
  NOTICE_WORKER_URL,
} from "./worker_url.ts";

/** What is mounted where. */
export interface MountRequest {
  readonly socketPath: string;
  /** An absolute path. */
  readonly mountPoint: string;
  /** Flags of mount(2). */
  readonly flags: number;
  readonly queueCount: number;
  readonly pollMicroseconds: number;
}

/** What a mount tells while it lasts. */
export interface MountEvents {
  mounted(source: string): void;
  warning(message: string): void;
}

/**
 * Mounts and serves until the file system is unmounted, by anybody, or because `signal` was aborted; resolves then. A daemon that dies
 * is a {@linkcode SetupError}: the mount stays, so that nobody takes the directory below it for the share, and whoever uses it gets
 * ENOTCONN.
 */
export async function mount(
  request: MountRequest,
  events: MountEvents,
  signal: AbortSignal,
): Promise<void> {
  const device = openFuseDevice();
  const worker = new Worker(MOUNT_WORKER_URL, { type: "module", name: MOUNT_WORKER_NAME });
  try {
    await serve(request, events, signal, device, worker);
  } finally {
    worker.terminate();
    // The last descriptor: what is still mounted answers ENOTCONN from now on.
    device.close();
  }
}

async function serve(
  request: MountRequest,
  events: MountEvents,
  signal: AbortSignal,
  device: OwnedFd,
  worker: Worker,
): Promise<void> {
  const { socketPath, mountPoint, flags, queueCount, pollMicroseconds } = request;
  const ended = Promise.withResolvers<void>();
  let notices: NoticeThread | null = null;
  const onAbort = () => {
    try {
      if (unmount(mountPoint) === "busy") {
        events.warning(`"${mountPoint}" is in use: out of sight, and unmounted when it is not`);
      }
    } catch (error) {
      ended.reject(error);
    }
  };
  worker.onerror = (event) => {
    event.preventDefault();
    ended.reject(new SetupError(`The mount's thread failed: ${event.message}`));
  };
  worker.onmessage = ({ data }: MessageEvent<MountMessage>) => {
    switch (data.kind) {
      case "connected": {
        const source = data.tag ?? "virtiofs";
        try {
          mountFuse(source, mountPoint, device.number, flags);
        } catch (error) {
          return ended.reject(error);
        }
        if (data.notices !== null) {
          notices = new NoticeThread(data.notices, device.number, mountPoint, ended.reject);
        }
        worker.postMessage(null);
        events.mounted(source);
        if (signal.aborted) onAbort();
        else signal.addEventListener("abort", onAbort, { once: true });
        return;
      }
      case "warning":
        return events.warning(data.message);
      case "failed":
        return ended.reject(new SetupError(data.reason));
      case "unmounted":
        return ended.resolve();
      case "dead":
        return ended.reject(
          new SetupError(`${data.reason}; "${mountPoint}" answers ENOTCONN until it is unmounted`),
        );
    }
  };
  const start: MountStart = {
    socketPath,
    fuseFd: device.number,
    queueCount,
    pollMicroseconds,
  };
  worker.postMessage(start);
  try {
    await ended.promise;
  } finally {
    signal.removeEventListener("abort", onAbort);
    await (notices as NoticeThread | null)?.end();
  }
}

/** The thread that writes notices, for a file system that is mounted. */
class NoticeThread {
  readonly #ring: SharedArrayBuffer;
  readonly #worker: Worker;
  #guard: AbortGuard | null = null;
  #ended = false;

  constructor(
    source: NoticeSource,
    fuseFd: number,
    mountPoint: string,
    onFailure: (error: SetupError) => void,
  ) {
    this.#ring = source.ring;
    this.#worker = new Worker(NOTICE_WORKER_URL, { type: "module", name: NOTICE_WORKER_NAME });
    this.#worker.onerror = (event) => {
      event.preventDefault();
      onFailure(new SetupError(`The thread that writes notices failed: ${event.message}`));
    };
    this.#worker.onmessage = ({ data }: MessageEvent<NoticeMessage>) => {
      if (data.kind === "failed") onFailure(new SetupError(data.reason));
      // Not before: the thread must not have the guard's pipe among its descriptors.
      else if (!this.#ended) this.#guard = AbortGuard.start(mountPoint);
    };
    const start: NoticeStart = { ...source, fuseFd };
    this.#worker.postMessage(start);
  }

  async end(): Promise<void> {
    this.#ended = true;
    new NoticeRing(this.#ring).end();
    this.#worker.terminate();
    await this.#guard?.end();
  }
}
