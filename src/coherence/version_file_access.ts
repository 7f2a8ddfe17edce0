/**
 * Opening the files of a version table, and whose they must be. What cannot be is the operator's to mend: {@linkcode SetupError}.
 *
 * @module
 */

import { SetupError } from "../setup_error.ts";
import { O_NOFOLLOW } from "../sys/architecture.ts";
import { EACCES, ELOOP, ENOENT, EROFS, errnoName } from "../sys/errno.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import { Mapping } from "../sys/mapping.ts";
import { O_CLOEXEC, O_CREAT, S_IFMT, S_IFREG } from "../wire/linux.ts";
import { REGISTRY_HEADER } from "./registry_layout.ts";

const encoder = new TextEncoder();
/** Nobody but the daemons' user may look or write. */
const MODE = 0o600;
/** What can always be done. */
export const GIVE_ANOTHER = "give another with --version-table";
/** What can be done about files that were a table. */
export const REMOVE_BOTH =
  `end the daemons that use it and remove it and its registry, or ${GIVE_ANOTHER}`;

/** The registry that belongs to a table. */
export function registryPath(tablePath: string): string {
  return `${tablePath}.registry`;
}

/** open(2), but not of symbolic links. The result may be a negative errno. */
export function tryOpen(path: string, flags: number): number {
  return status(libc.open(encoder.encode(`${path}\0`), flags | O_NOFOLLOW | O_CLOEXEC, MODE));
}

/** Makes a new file nobody else's and ours to write, whatever the umask is. */
export function setMode(fd: OwnedFd): void {
  libc.fchmod(fd.number, MODE);
}

/** unlink(2). */
export function unlink(path: string): void {
  libc.unlink(encoder.encode(`${path}\0`));
}

/** open(2), or the reason why not. */
export function openFile(path: string, flags: number): OwnedFd {
  const fd = tryOpen(path, flags);
  if (fd >= 0) return new OwnedFd(fd);
  throw new SetupError(
    `The version table's file ${path} cannot be opened: ${whyNot(-fd, flags)}`,
  );
}

function whyNot(errno: number, flags: number): string {
  switch (errno) {
    case EACCES:
      return `EACCES: it, or its directory, is not user ${libc.geteuid()}'s to write; ${GIVE_ANOTHER}`;
    case EROFS:
      return `EROFS: its file system is read-only; ${GIVE_ANOTHER}`;
    case ELOOP:
      return `ELOOP: it is a symbolic link; ${GIVE_ANOTHER}`;
    case ENOENT:
      return (flags & O_CREAT) !== 0
        ? `ENOENT: no such directory; make it, or ${GIVE_ANOTHER}`
        : `ENOENT: it is gone, but its registry is not; end the daemons that use that and remove it, or ${GIVE_ANOTHER}`;
    default:
      return `${errnoName(-errno)}; ${GIVE_ANOTHER}`;
  }
}

/** What stat(2) says of an open file. */
export function statOf(fd: OwnedFd, path: string): Deno.FileInfo {
  try {
    return Deno.statSync(`/proc/self/fd/${fd.number}`);
  } catch (error) {
    throw new SetupError(`The version table's file ${path}: ${(error as Error).message}`);
  }
}

/** Whether a path names this file. */
export function isFile(path: string, device: number, inode: number): boolean {
  try {
    const { dev, ino } = Deno.statSync(path);
    return dev === device && ino === inode;
  } catch {
    return false;
  }
}

/** Somebody else's file could be cut short at any time, or lie. */
export function checkOwner(fd: OwnedFd, path: string): void {
  const { uid, mode } = statOf(fd, path);
  const name = `The version table's file ${path}`;
  if (((mode ?? 0) & S_IFMT) !== S_IFREG) {
    throw new SetupError(`${name} is not a regular file; ${GIVE_ANOTHER}`);
  }
  const self = libc.geteuid();
  if (uid !== self) {
    throw new SetupError(`${name} belongs to user ${uid}, not to ${self}; ${GIVE_ANOTHER}`);
  }
  if (((mode ?? 0) & 0o077) !== 0) {
    const permissions = ((mode ?? 0) & 0o777).toString(8);
    throw new SetupError(
      `${name} has mode ${permissions}, expected 600, so that nobody else reads or changes versions; ${GIVE_ANOTHER}`,
    );
  }
}

/** The words of a file's first page. Beyond the end of a shorter file there are zeroes. */
export function headerOf(fd: OwnedFd): Uint32Array {
  const header = new Mapping(fd.number, 0, REGISTRY_HEADER.SIZE);
  try {
    return header.memory.u32.slice();
  } finally {
    header.unmap();
  }
}
