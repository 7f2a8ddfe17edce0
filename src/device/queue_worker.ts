/**
 * The program of a queue's Worker: makes the file system and the server, then runs the loop.
 *
 * In the single executable this module is part of the main thread's bundle too, where it does nothing.
 *
 * @module
 */

import { regionSize } from "../coherence/registry_layout.ts";
import { VersionsThread } from "../coherence/versions.ts";
import { VhostUserVersionRegion } from "../dax/version_region.ts";
import { VhostUserWindow } from "../dax/vhost_user_window.ts";
import type { FileSystem } from "../fuse/file_system.ts";
import { FuseServer } from "../fuse/server.ts";
import { Session } from "../fuse/session.ts";
import { PassthroughFs } from "../passthrough/passthrough_fs.ts";
import { DataRegions } from "../state/data_regions.ts";
import { STATE_HEADER } from "../state/layout.ts";
import { QueueRecord } from "../state/queue_record.ts";
import { stateMemoryAt } from "../state/state_memory.ts";
import type { NativeMemory } from "../sys/native_memory.ts";
import { FIRST_REQUEST_QUEUE } from "../wire/virtio_fs.ts";
import { ControlReceiver } from "./control.ts";
import { QueueLoop } from "./queue_loop.ts";
import { Recorder } from "./recorder.ts";
import type { WorkerMessage, WorkerStart } from "./worker_messages.ts";
import { QUEUE_WORKER_NAME } from "./worker_url.ts";

interface WorkerScope {
  readonly name: string;
  postMessage(message: WorkerMessage): void;
  onmessage: ((event: MessageEvent<WorkerStart>) => void) | null;
  close(): void;
}

async function makeFileSystem(
  { fileSystem: source, queueIndices, versions, ownDirectories }: WorkerStart,
  state: NativeMemory,
  warn: (message: string) => void,
): Promise<FileSystem> {
  if (source.kind === "passthrough") {
    const { config } = source;
    const queue = queueIndices.at(-1)! - FIRST_REQUEST_QUEUE;
    return new PassthroughFs(config, state, {
      warn,
      ownDirectories,
      versions: versions === null ? null : new VersionsThread(versions, state, queue),
      makeRegions: (inodes, files) => {
        const mappingMax = config.budget.mappings ?? Infinity;
        const options = { demotes: config.dax === "auto", mappingMax, warn };
        const window = new VhostUserWindow(state, inodes, files, options);
        if (versions === null) return { window, versions: null };
        const file = { fd: versions.guestFd, size: regionSize(versions.slotCount) };
        return { window, versions: new VhostUserVersionRegion(state, window, file, warn) };
      },
    });
  }
  const module = await import(source.url);
  return module.default(source.options);
}

async function start(scope: WorkerScope, options: WorkerStart): Promise<void> {
  const log = (level: "debug" | "warn", message: string): void =>
    scope.postMessage({ kind: "log", level, message });
  const warn = (message: string): void => log("warn", message);
  try {
    const state = stateMemoryAt(options.stateAddress);
    const records = new Map(
      options.queueIndices.map((index) => [index, new QueueRecord(state, index)]),
    );
    const recordOf = (index: number) => records.get(index)!;
    const recorder = new Recorder(recordOf(options.queueIndices[0]!));
    const fs = await makeFileSystem(options, state, warn);
    const session = new Session(state.u32, STATE_HEADER.SESSION >>> 2);
    const server = new FuseServer(fs, session, {
      warn,
      trace: options.trace ? (line) => log("debug", line) : null,
      begin: (opcode, nodeid) => recorder.begin(opcode, nodeid),
      count: (opcode, status, bytesIn, bytesOut) =>
        recorder.count(opcode, status, bytesIn, bytesOut),
    });
    const loop = new QueueLoop(server, new ControlReceiver(options.control), options.controlFd, {
      releases: () => fs.releases,
      pollMicroseconds: options.pollMicroseconds,
      warn,
      dataRegions: new DataRegions(state),
      recorder,
      recordOf,
    });
    scope.postMessage({ kind: "ready" });
    loop.run();
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
  // Other Workers of the executable load this module, too.
  if (scope.name.startsWith(QUEUE_WORKER_NAME)) {
    scope.onmessage = (event) => {
      scope.onmessage = null;
      start(scope, event.data);
    };
    scope.postMessage({ kind: "loaded" });
  }
}
