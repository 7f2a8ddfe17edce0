/**
 * The program of a mount's Worker: connects to the daemon, then moves requests until the end.
 *
 * In the single executable this module is part of the main thread's bundle too, where it does nothing.
 *
 * @module
 */

import { Driver, driverMemorySize } from "../guest/driver/driver.ts";
import { Frontend } from "../guest/frontend/frontend.ts";
import { VersionTable } from "../guest/client/version_table.ts";
import { VERSION_REGION_ID } from "../wire/shared_versions.ts";
import { Bridge, BRIDGE_SLOT_SIZE } from "./bridge.ts";
import { KernelCaches } from "./kernel_caches.ts";
import { NoticeRing } from "./notice_ring.ts";
import { Notices } from "./notices.ts";
import { TableVersions } from "./version_numbers.ts";
import type { MountMessage, MountStart, NoticeSource } from "./worker_messages.ts";
import { MOUNT_WORKER_NAME } from "./worker_url.ts";

interface WorkerScope {
  readonly name: string;
  postMessage(message: MountMessage): void;
  onmessage: ((event: MessageEvent<unknown>) => void) | null;
  close(): void;
}

/** Requests outstanding on each queue. */
const SLOT_COUNT = 64;
const HANDSHAKE_MS = 10_000;

async function connect(start: MountStart): Promise<{ driver: Driver; tag: string | null }> {
  const options = {
    queueCount: start.queueCount,
    slotCount: SLOT_COUNT,
    requestSize: BRIDGE_SLOT_SIZE,
    replySize: BRIDGE_SLOT_SIZE,
    pollMicroseconds: start.pollMicroseconds,
  };
  const frontend = await Frontend.connect({
    socketPath: start.socketPath,
    memorySize: driverMemorySize(options) + BRIDGE_SLOT_SIZE,
    timeoutMs: HANDSHAKE_MS,
  });
  try {
    return { driver: await Driver.start(frontend, options), tag: frontend.config.tag };
  } catch (error) {
    frontend.close();
    throw error;
  }
}

/** What the thread that writes notices needs, if the daemon has a version table. */
function noticeSource({ frontend }: Driver): NoticeSource | null {
  if (!frontend.shmemRegions.has(VERSION_REGION_ID)) return null;
  const foreign = [frontend.socketFd];
  if (frontend.backendChannel !== null) foreign.push(frontend.backendChannel.fd);
  return { ring: NoticeRing.makeBuffer(), foreign };
}

function openCaches(
  { frontend }: Driver,
  ring: SharedArrayBuffer,
  warn: (message: string) => void,
): KernelCaches {
  const table = VersionTable.open(frontend.shmemRegions.get(VERSION_REGION_ID));
  if (typeof table === "string") {
    warn(`The version table cannot be used (${table}): the kernel keeps no names and attributes`);
  }
  const source = typeof table === "string" ? null : new TableVersions(table);
  return new KernelCaches(source, new Notices(new NoticeRing(ring)), warn);
}

async function work(scope: WorkerScope, start: MountStart): Promise<void> {
  try {
    const mounted = new Promise((resolve) => {
      scope.onmessage = resolve;
    });
    const { driver, tag } = await connect(start);
    const notices = noticeSource(driver);
    scope.postMessage({ kind: "connected", tag, notices });
    await mounted;
    const warn = (message: string) => scope.postMessage({ kind: "warning", message });
    const versions = notices === null ? null : () => openCaches(driver, notices.ring, warn);
    const bridge = new Bridge(driver, start.fuseFd, warn, versions);
    const unmounted = bridge.run();
    if (unmounted) bridge.destroy();
    const reason = driver.dead;
    await driver.stop();
    scope.postMessage(
      unmounted ? { kind: "unmounted" } : { kind: "dead", reason: reason ?? "The daemon is gone" },
    );
  } catch (error) {
    scope.postMessage({
      kind: "failed",
      reason: error instanceof Error ? error.message : String(error),
    });
  }
  scope.close();
}

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as WorkerScope;
  if (scope.name === MOUNT_WORKER_NAME) {
    scope.onmessage = (event) => work(scope, event.data as MountStart);
  }
}
