/**
 * Two directories of this process in /proc, open: its descriptors are opened anew through one, and the other says what is known of them.
 *
 * In a sandbox they have no path any more, and nothing leads from them to the rest of /proc.
 *
 * @module
 */

import { O_CLOEXEC, O_PATH } from "../wire/linux.ts";
import { O_DIRECTORY } from "./architecture.ts";
import { errnoName } from "./errno.ts";
import { libc, status } from "./libc.ts";

/** Descriptors of both. */
export interface OwnDirectories {
  /** /proc/self/fd */
  readonly fd: number;
  /** /proc/self/fdinfo */
  readonly fdinfo: number;
}

/** Opens them by their paths. Set-up only. */
export function openOwnDirectories(): OwnDirectories {
  return { fd: open("/proc/self/fd"), fdinfo: open("/proc/self/fdinfo") };
}

function open(path: string): number {
  const bytes = new TextEncoder().encode(`${path}\0`);
  const fd = status(libc.open(bytes, O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
  if (fd < 0) throw new Error(`${path} cannot be opened: ${errnoName(fd)}`);
  return fd;
}
