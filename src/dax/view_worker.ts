/**
 * The program of the views' Worker: answers the private file system's requests until it is told to end, or the file system
 * has gone.
 *
 * In the single executable this module is part of the main thread's bundle too, where it does nothing.
 *
 * @module
 */

import { WaitSet } from "../sys/wait_set.ts";
import { ViewServer } from "./view_server.ts";
import { VIEW_WORKER_NAME } from "./worker_url.ts";

/** The first and only message to the Worker. */
export interface ViewStart {
  /** /dev/fuse, before the file system is mounted. */
  readonly fuseFd: number;
  /** An eventfd that is written to when the Worker shall end. */
  readonly endFd: number;
  /** A pidfd of the process whose descriptors are viewed; null = this one. */
  readonly clientPidFd: number | null;
}

interface WorkerScope {
  readonly name: string;
  postMessage(message: "ready" | "ended"): void;
  onmessage: ((event: MessageEvent<ViewStart>) => void) | null;
  close(): void;
}

function work(scope: WorkerScope, start: ViewStart): void {
  const waitSet = new WaitSet();
  waitSet.add(start.fuseFd);
  waitSet.add(start.endFd);
  const server = new ViewServer(start.fuseFd, start.clientPidFd);
  scope.postMessage("ready");
  let ending = false;
  while (!ending && server.serve()) {
    const count = waitSet.wait(-1);
    for (let i = 0; i < count; i++) {
      if (waitSet.readyFd(i) === start.endFd) ending = true;
    }
  }
  waitSet.close();
  scope.postMessage("ended");
  scope.close();
}

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as WorkerScope;
  if (scope.name === VIEW_WORKER_NAME) scope.onmessage = (event) => work(scope, event.data);
}
