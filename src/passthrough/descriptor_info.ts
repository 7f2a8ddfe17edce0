/**
 * What the kernel tells of a descriptor of this process, as a file to be read: /proc/self/fdinfo/FD (proc_pid_fdinfo(5)).
 *
 * @module
 */

import type { Status } from "../sys/errno.ts";
import { libc, status } from "../sys/libc.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY } from "../wire/linux.ts";
import { SCRATCH } from "./scratch.ts";
import type { Share } from "./share.ts";

/** Opens it: the caller's to close, or a negative errno. */
export function openDescriptorInfo(
  { scratch: { memory }, descriptorInfo }: Pick<Share, "scratch" | "descriptorInfo">,
  fd: number,
): Status {
  // The thread's working directory is /proc/self/fd.
  const [directory, path] = descriptorInfo < 0
    ? [AT_FDCWD, `../fdinfo/${fd}`]
    : [descriptorInfo, String(fd)];
  const name = memory.pointerAt(memory.setCString(SCRATCH.PATH, path));
  return status(libc.openat(directory, name, O_RDONLY | O_CLOEXEC, 0));
}
