/**
 * A process that does nothing until this one is gone, and then ends the mount's connection.
 *
 * The kernel does that by itself when nobody has /dev/fuse open any more. But a thread that writes a notice may sleep in the kernel, until
 * a process has the answer that nobody is left to give, and no signal ends that sleep: without the guard a mount command that is
 * killed at such a moment leaves both asleep for ever (or until `umount -f`).
 *
 * @module
 */

import { ARCHITECTURE } from "../sys/architecture.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import {
  FSCONFIG_CMD_CREATE,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  O_CLOEXEC,
  O_WRONLY,
} from "../wire/linux.ts";

/** The pipe ends when this process does, and not when somebody types Ctrl-C. */
const SCRIPT = `trap '' INT TERM HUP; exec 3> "$0"; read -r _; echo 1 >&3`;
const encoder = new TextEncoder();

/** The guard of one mount. */
export class AbortGuard {
  readonly #child: Deno.ChildProcess;
  readonly #abort: OwnedFd;

  private constructor(child: Deno.ChildProcess, abort: OwnedFd) {
    this.#child = child;
    this.#abort = abort;
  }

  /** Guards what is mounted on `mountPoint`; null where that cannot be done. */
  static start(mountPoint: string): AbortGuard | null {
    const connection = connectionOf(mountPoint);
    const fd = connection === null ? -1 : openAbort(connection);
    if (fd < 0) return null;
    const abort = new OwnedFd(fd);
    try {
      const child = new Deno.Command("/bin/sh", {
        args: ["-c", SCRIPT, `/proc/${Deno.pid}/fd/${fd}`],
        stdin: "piped",
        stdout: "null",
        stderr: "null",
        cwd: "/",
      }).spawn();
      return new AbortGuard(child, abort);
    } catch {
      // No shell.
      abort.close();
      return null;
    }
  }

  async end(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has gone already.
    }
    await this.#child.status;
    await this.#child.stdin.close().catch(() => {});
    this.#abort.close();
  }
}

/** The number of the topmost mount there: without asking the file system, which might not answer. */
function connectionOf(mountPoint: string): string | null {
  let found: string | null = null;
  for (const line of Deno.readTextFileSync("/proc/self/mountinfo").split("\n")) {
    const [, , device, , target] = line.split(" ");
    if (device === undefined || target === undefined) continue;
    const path = target.replace(/\\(\d{3})/g, (_, code) => String.fromCharCode(parseInt(code, 8)));
    if (path === mountPoint) found = device.split(":")[1] ?? null;
  }
  return found;
}

/**
 * The file that ends a connection when something is written to it, in the file system of connections, which need not be mounted anywhere. A
 * negative errno if it cannot be had.
 */
function openAbort(connection: string): number {
  const { fsopen, fsconfig, fsmount } = ARCHITECTURE.syscalls;
  const context = status(libc.fsopen(fsopen, encoder.encode("fusectl\0"), FSOPEN_CLOEXEC));
  if (context < 0) return context;
  const made = status(libc.fsconfig(fsconfig, context, FSCONFIG_CMD_CREATE, null, null, 0));
  const root = made < 0 ? made : status(libc.fsmount(fsmount, context, FSMOUNT_CLOEXEC, 0));
  libc.close(context);
  if (root < 0) return root;
  const path = NativeMemory.allocate(PATH_SIZE);
  path.setCString(0, `${connection}/abort`);
  const fd = status(libc.openat(root, path.pointerAt(0), O_WRONLY | O_CLOEXEC, 0));
  libc.close(root);
  return fd;
}

const PATH_SIZE = 4096;
