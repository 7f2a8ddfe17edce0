/**
 * The daemon: a socket, a device behind it, one front end after another.
 *
 * @module
 */

import type { Endpoint, ServeConfig, VersionTableConfig, WindowConfig } from "./config.ts";
import { VirtioFsDevice } from "./device/virtio_fs_device.ts";
import type { Confinement } from "./device/confinement.ts";
import type { FileSystemSource } from "./device/worker_messages.ts";
import { openOwn } from "./inspect/daemon_state.ts";
import { type MetricsServer, openMetricsServer } from "./inspect/metrics_server.ts";
import type { Log } from "./log.ts";
import { checkIds } from "./passthrough/ids/translation.ts";
import { checkXattrRules } from "./passthrough/xattr_map.ts";
import { RootRefused } from "./sandbox/confine.ts";
import { SetupError } from "./setup_error.ts";
import type { Description } from "./state/description.ts";
import { createStateFile } from "./state/state_memory.ts";
import type { OwnedFd } from "./sys/fd.ts";
import { descriptorLimit, setDescriptorLimit } from "./sys/rlimit.ts";
import { acceptFrontend } from "./vhost_user/accept.ts";
import { Backend } from "./vhost_user/backend.ts";
import { VERSION } from "./version.ts";
import { openListener } from "./vhost_user/listener.ts";

/** Descriptors asked for by default: Rust virtiofsd's number. */
const NOFILE_DEFAULT = 1_000_000;

/** What the daemon reports to, and what ends it. */
export interface ServeHooks {
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Log a line per request and reply. */
  readonly trace?: boolean;
  /** The sandbox that this process is in, and the state memory's file as the process outside has made it. */
  readonly confined?: { readonly confinement: Confinement; readonly stateFile: OwnedFd };
}

/** A device to be served: {@linkcode ServeConfig} with any file system in it. */
export interface DeviceConfig {
  readonly endpoint: Endpoint;
  readonly keepListening: boolean;
  readonly tag: string | null;
  readonly requestQueueCount: number;
  readonly pollMicroseconds: number;
  readonly fileSystem: FileSystemSource;
  readonly window: WindowConfig | null;
  readonly versions: VersionTableConfig | null;
  readonly stateFile: string | null;
  /** What `inspect` is told where that is not what the rest says: a sandbox changes paths. */
  readonly shown?: Partial<Description>;
  readonly metricsSocket: string | null;
}

/** Serves a directory until `signal` or, without keepListening, the front end's leaving ends it. */
export async function serve(config: ServeConfig, hooks: ServeHooks): Promise<void> {
  const prepared = prepare(config, hooks.log);
  const fileSystem = { kind: "passthrough", config: prepared.passthrough } as const;
  await serveDevice({ ...prepared, fileSystem }, hooks);
}

/** Checks what can be checked beforehand, makes paths absolute, and raises the limit of descriptors: children inherit it, but not the directory. */
export function prepare(config: ServeConfig, log: Log): ServeConfig {
  const passthrough = {
    ...config.passthrough,
    sharedDir: realDirectory(config.passthrough.sharedDir),
  };
  checkIds(passthrough);
  checkXattrRules(passthrough);
  limitDescriptors(config.rlimitNofile, log);
  const { stateFile, versions } = config;
  return {
    ...config,
    passthrough,
    stateFile: stateFile === null ? null : absolutePath(stateFile),
    versions: versions === null ? null : { ...versions, path: absolutePath(versions.path) },
  };
}

/** The queues' threads have working directories of their own: a path relative to ours would mean another place there. */
function realDirectory(path: string): string {
  let real: string;
  try {
    real = Deno.realPathSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new SetupError(`The shared directory ${path} does not exist`);
    }
    throw new SetupError(
      `The shared directory ${path} cannot be used: ${(error as Error).message}`,
    );
  }
  if (Deno.statSync(real).isDirectory) return real;
  throw new SetupError(`The shared directory ${path} is not a directory`);
}

/** `--rlimit-nofile`: exactly what was asked for; by default as many as the kernel lets any process have, if that is more than now. */
function limitDescriptors(asked: number | null, log: Log): void {
  if (asked === 0) return;
  const wanted = asked ?? Math.min(NOFILE_DEFAULT, descriptorMaximum());
  if (asked === null && descriptorLimit() >= wanted) return;
  const limit = setDescriptorLimit(wanted);
  if (limit < wanted) log.warn(`The limit of open files is ${limit}; ${wanted} were wanted`);
}

/** The same for any file system. Throws {@linkcode SetupError} for what the operator has to mend. */
export async function serveDevice(config: DeviceConfig, hooks: ServeHooks): Promise<void> {
  const { log } = hooks;
  const listener = openListener(config.endpoint);
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => {});
  try {
    let isBroken = false;
    const device = await startDevice(config, hooks, (reason) => {
      isBroken = true;
      broken.reject(new Error(reason));
    });
    let metrics: MetricsServer | null = null;
    try {
      metrics = await startMetrics(config.metricsSocket, Deno.pid, device.stateFd);
      const backend = new Backend(device, log);
      const serveAll = async () => {
        do {
          log.info("Waiting for vhost-user socket connection...");
          const socket = await acceptFrontend(listener.fd, hooks.signal);
          if (isBroken) socket?.close();
          if (socket === null || isBroken) return;
          await backend.serve(socket, hooks.signal);
        } while (config.keepListening && !hooks.signal.aborted && !isBroken);
      };
      // One race for all front ends: a promise that is never settled keeps whatever has raced against it.
      await Promise.race([serveAll(), broken.promise]);
    } finally {
      await metrics?.close();
      await Promise.race([device.close(), broken.promise.catch(() => {})]);
    }
  } finally {
    listener.close();
  }
}

async function startDevice(
  config: DeviceConfig,
  hooks: ServeHooks,
  failed: (reason: string) => void,
): Promise<VirtioFsDevice> {
  const { log } = hooks;
  const { confinement = null, stateFile = newStateFile(config.stateFile) } = hooks.confined ?? {};
  try {
    return await VirtioFsDevice.start({
      tag: config.tag,
      requestQueueCount: config.requestQueueCount,
      pollMicroseconds: config.pollMicroseconds,
      trace: hooks.trace ?? false,
      fileSystem: config.fileSystem,
      window: config.window,
      versions: config.versions,
      stateFile,
      confinement,
      description: { ...describe(config), ...config.shown },
      log: (level, message) => log[level](message),
      failed,
    });
  } catch (error) {
    if (error instanceof RootRefused) throw error;
    throw new SetupError((error as Error).message);
  }
}

/** `--state-file`, or a file without a name. Throws {@linkcode SetupError}. */
export function newStateFile(path: string | null): OwnedFd {
  try {
    return createStateFile(path);
  } catch (error) {
    throw new SetupError((error as Error).message);
  }
}

/** `--metrics-socket` of the daemon `pid`, whose state memory is a descriptor of this process. Throws {@linkcode SetupError}. */
export async function startMetrics(
  path: string | null,
  pid: number,
  stateFd: number,
): Promise<MetricsServer | null> {
  if (path === null) return null;
  try {
    return await openMetricsServer(path, () => openOwn(stateFd, pid));
  } catch (error) {
    throw new SetupError(`Cannot serve metrics on ${path}: ${(error as Error).message}`);
  }
}

/** What `inspect` says of the daemon. */
export function describe(config: DeviceConfig): Description {
  const { endpoint, fileSystem } = config;
  const passthrough = fileSystem.kind === "passthrough" ? fileSystem.config : null;
  return {
    version: VERSION,
    socket: endpoint.kind === "path" ? absolutePath(endpoint.path) : `fd ${endpoint.fd}`,
    sharedDir: fileSystem.kind === "passthrough" ? fileSystem.config.sharedDir : fileSystem.url,
    tag: config.tag,
    requestQueues: config.requestQueueCount,
    cache: passthrough?.cache ?? "",
    readonly: passthrough?.readonly ?? false,
    writeback: passthrough?.writeback ?? false,
    xattr: passthrough?.xattr ?? false,
    dax: passthrough?.dax ?? "never",
    inodeFileHandles: passthrough?.inodeFileHandles ?? "never",
    versionTable: config.versions === null ? null : absolutePath(config.versions.path),
  };
}

/** A path as others can use it. */
export function absolutePath(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}

/** The most that the kernel lets any process ask for. */
function descriptorMaximum(): number {
  try {
    return Number(Deno.readTextFileSync("/proc/sys/fs/nr_open"));
  } catch {
    return NOFILE_DEFAULT;
  }
}
