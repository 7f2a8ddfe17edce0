/**
 * A guest from the socket to the file system: connects, starts the queues and the FUSE session, and ends
 * them in order.
 *
 * @module
 */

import { errnoName } from "../sys/errno.ts";
import { VERSION_REGION_ID } from "../wire/shared_versions.ts";
import type { Caller } from "./client/caller.ts";
import type { GuestDaxMode } from "./client/dax_mode.ts";
import { FuseClient, REPLY_SIZE, REQUEST_SIZE } from "./client/fuse_client.ts";
import { handshake } from "./client/handshake.ts";
import { VersionTable } from "./client/version_table.ts";
import { DaemonError } from "./daemon_error.ts";
import { DAX_REGION_ID } from "./dax/dax_window.ts";
import { Driver, driverMemorySize } from "./driver/driver.ts";
import { Frontend } from "./frontend/frontend.ts";
import type { GuestCacheMode } from "./vfs/cache_mode.ts";
import { PageCache } from "./vfs/page_cache.ts";
import { Volume } from "./vfs/volume.ts";

/** How to connect, and how to cache. What is left out has the default that stands with it. */
export interface SessionOptions {
  /** Where the daemon listens. */
  readonly socketPath: string;
  /** "auto" (the default): as long as the daemon says. "none": never. "always": for a day. "shared": until somebody changes it. */
  readonly cache?: GuestCacheMode;
  /**
   * Map files into the DAX window, so that reading and writing them takes no requests. "inode" (the default): those that the daemon
   * marks, if it has a window. "always": all. "never": none.
   */
  readonly dax?: GuestDaxMode;
  /** Is told, once, why less is cached than was asked for. Default: a line on the error output. */
  readonly warn?: (message: string) => void;
  /** Keep written data back, where the daemon offers it (FUSE_WRITEBACK_CACHE). Default true. */
  readonly writeback?: boolean;
  /** Request queues to use, where the device has them. Default 1. */
  readonly queueCount?: number;
  /** Microseconds to watch the rings before sleeping. Default 0: sleep at once. */
  readonly pollMicroseconds?: number;
  /** How long the daemon may take for one answer, in milliseconds; 0 waits for ever. Default 60 seconds. */
  readonly timeoutMs?: number;
  /** Inodes known at a time. Default 100,000. */
  readonly inodeCountMax?: number;
  /** Bytes of file data cached. Default 64 MiB. */
  readonly pageCacheSize?: number;
  /** Largest READ or WRITE, in bytes. Default 1 MiB. */
  readonly transferSizeMax?: number;
}

/** Requests outstanding on each queue. */
export const SLOT_COUNT = 128;
const MIB = 1024 * 1024;
/** The handshake's answers come at once or not at all. */
const HANDSHAKE_MS = 10_000;

/** The layers of one connected guest. */
export interface Session {
  readonly frontend: Frontend;
  readonly driver: Driver;
  readonly client: FuseClient;
  readonly volume: Volume;
}

/**
 * Connects to a daemon, with `spareMemory` bytes of guest memory for the caller's own use. Throws a {@linkcode DaemonError} with the
 * reason where that fails.
 */
export async function openSession(
  options: SessionOptions,
  caller: Caller,
  spareMemory = 0,
): Promise<Session> {
  const pageCacheSize = options.pageCacheSize ?? 64 * MIB;
  const driverOptions = {
    queueCount: options.queueCount ?? 1,
    slotCount: SLOT_COUNT,
    requestSize: REQUEST_SIZE,
    replySize: REPLY_SIZE,
    pollMicroseconds: options.pollMicroseconds ?? 0,
  };
  const timeoutMs = options.timeoutMs ?? 60_000;
  const frontend = await Frontend.connect({
    socketPath: options.socketPath,
    memorySize: driverMemorySize(driverOptions) + PageCache.memorySize(pageCacheSize) +
      spareMemory + MIB,
    timeoutMs: timeoutMs > 0 ? Math.min(timeoutMs, HANDSHAKE_MS) : HANDSHAKE_MS,
  });
  const hasWindow = frontend.shmemRegions.has(DAX_REGION_ID);
  const wantedDax = options.dax ?? "inode";
  if (wantedDax === "always" && !hasWindow) {
    frontend.close();
    throw new DaemonError("All files were to be mapped (DAX), and the daemon offers no window");
  }
  const dax = hasWindow ? wantedDax : "never";
  const cache = options.cache ?? "auto";
  let driver: Driver;
  try {
    driver = await Driver.start(frontend, driverOptions);
  } catch (error) {
    frontend.close();
    throw error;
  }
  const client = new FuseClient(driver, caller, timeoutMs);
  const agreement = handshake(client, {
    writeback: options.writeback ?? true,
    transferSizeMax: options.transferSizeMax ?? MIB,
    dax,
    sharedVersions: cache === "shared",
  });
  if (typeof agreement === "number") {
    const reason = driver.dead ?? `INIT was answered with ${errnoName(agreement)}`;
    await driver.stop();
    throw new DaemonError(`Cannot start a session with the daemon: ${reason}`);
  }
  client.begun(agreement);
  const warn = options.warn ?? ((message: string) => console.warn(message));
  const versionTable = cache === "shared" ? openVersionTable(client, warn) : null;
  const volume = new Volume(client, {
    cache,
    versionTable,
    warn,
    inodeCountMax: options.inodeCountMax ?? 100_000,
    pageCacheSize,
    dax,
  });
  if (versionTable !== null) volume.learnRoot();
  return { frontend, driver, client, volume };
}

/** The table of versions, or null and a warning: then nothing is cached, but everything works. */
function openVersionTable(
  client: FuseClient,
  warn: (message: string) => void,
): VersionTable | null {
  const consequence = "nothing is cached";
  if (client.entryVersionSize === 0) {
    warn(`The daemon keeps no shared versions (--cache shared), so ${consequence}`);
    return null;
  }
  const table = VersionTable.open(client.driver.frontend.shmemRegions.get(VERSION_REGION_ID));
  if (typeof table !== "string") return table;
  warn(`The daemon's table of versions cannot be used: ${table}; so ${consequence}`);
  return null;
}

/** Writes everything back, ends the FUSE session and stops the queues. Returns what writing back came to. */
export async function closeSession(session: Session): Promise<number> {
  const status = session.volume.close();
  await session.driver.stop();
  return status;
}
