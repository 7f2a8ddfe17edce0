/**
 * The program of the Worker that writes notices to /dev/fuse (see `notices.ts` for why it is a thread of its own).
 *
 * It may sleep in the kernel until a process has its answer, and no signal ends that. Should the mount be killed meanwhile, its descriptors
 * have to be closed all the same: the daemon waits for that, and so does the guard (`abort_guard.ts`). The descriptors of a program are closed when its
 * last thread ends; so this thread has a table of its own, with another descriptor of the connection, and without those that matter to others.
 *
 * In the single executable this module is part of the main thread's bundle too, where it does nothing.
 *
 * @module
 */

import { EINTR, ENODEV, ENOTCONN, EPERM, errnoName } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { FUSE_DEV_IOC_CLONE } from "../wire/fuse.ts";
import { CLONE_FILES, O_CLOEXEC, O_RDWR } from "../wire/linux.ts";
import { NoticeRing } from "./notice_ring.ts";
import { NOTICE_SIZE_MAX } from "./notices.ts";
import type { NoticeMessage, NoticeStart } from "./worker_messages.ts";
import { NOTICE_WORKER_NAME } from "./worker_url.ts";

interface WorkerScope {
  readonly name: string;
  postMessage(message: NoticeMessage): void;
  onmessage: ((event: MessageEvent<unknown>) => void) | null;
  close(): void;
}

const memory = NativeMemory.allocate(4096);
const PATH = 2048;

/** A descriptor of the connection, and none of those that matter to others. A negative errno if that cannot be had. */
function openOwn({ fuseFd, foreign }: NoticeStart): number {
  memory.setCString(PATH, "/dev/fuse");
  const fd = status(libc.openat(-1, memory.pointerAt(PATH), O_RDWR | O_CLOEXEC, 0));
  if (fd < 0) return fd;
  memory.view.setInt32(0, fuseFd, true);
  const cloned = status(libc.ioctl(fd, FUSE_DEV_IOC_CLONE, memory.pointerAt(0)));
  const apart = cloned < 0 ? cloned : status(libc.unshare(CLONE_FILES));
  if (apart < 0) {
    libc.close(fd);
    return apart;
  }
  libc.close(fuseFd);
  for (const other of foreign) libc.close(other);
  return fd;
}

function work(scope: WorkerScope, start: NoticeStart): void {
  const fd = openOwn(start);
  if (fd < 0) {
    const reason = `Cannot send notices to the kernel: ${errnoName(fd)}`;
    scope.postMessage({ kind: "failed", reason });
    return scope.close();
  }
  scope.postMessage({ kind: "begun" });
  const ring = new NoticeRing(start.ring);
  const pointer = memory.pointerAt(0);
  const message = memory.u8.subarray(0, NOTICE_SIZE_MAX);
  let connected = true;
  while (connected && ring.wait()) {
    for (let size = ring.take(message); size > 0 && connected; size = ring.take(message)) {
      let written = status(libc.write(fd, pointer, size));
      while (written === -EINTR) written = status(libc.write(fd, pointer, size));
      // Everything else says that the kernel does not have it (any more).
      connected = written !== -ENODEV && written !== -ENOTCONN && written !== -EPERM;
    }
  }
  libc.close(fd);
  scope.close();
}

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as WorkerScope;
  if (scope.name === NOTICE_WORKER_NAME) {
    scope.onmessage = (event) => work(scope, event.data as NoticeStart);
  }
}
