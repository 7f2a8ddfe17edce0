/**
 * An operation of the check as system calls.
 *
 * @module
 */

import { AT, O, S } from "../posix/linux_constants.ts";
import type { Stat, SystemCalls } from "../posix/system_calls.ts";
import { CONTENT_SIZE, DIRECTORIES, type Operation, PLACES, type Result } from "./operations.ts";
import { attributesText } from "./state.ts";

/** The extended attribute that guests set. */
export const XATTR_NAME = "user.coherence";
const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;

const decoder = new TextDecoder();
/** One more than a file has: what is longer shows. */
const buffer = new Uint8Array(CONTENT_SIZE * 2);

/** Does an operation. `fds` are the descriptors of open files by handle. */
export function perform(
  calls: SystemCalls,
  operation: Operation,
  fds: Map<number, number>,
  countsDirectories: boolean,
): Result {
  const path = "place" in operation ? PLACES[operation.place]!.path : "";
  const fd = "handle" in operation ? fds.get(operation.handle) ?? -1 : -1;
  switch (operation.kind) {
    case "stat":
      return attributesOf(calls.lstat(path), countsDirectories);
    case "stat-directory":
      return attributesOf(calls.lstat(DIRECTORIES[operation.directory]!), countsDirectories);
    case "fstat":
      return attributesOf(calls.fstat(fd), countsDirectories);
    case "read":
      return withFile(calls, path, O.RDONLY, (file) => contentOf(calls, file));
    case "pread":
      return contentOf(calls, fd);
    case "readdir":
      return listingOf(calls, DIRECTORIES[operation.directory]!);
    case "readlink":
      return calls.readlink(path);
    case "getxattr": {
      const length = calls.getxattr(path, XATTR_NAME, buffer);
      return length < 0 ? length : decoder.decode(buffer.subarray(0, length));
    }
    case "create":
      return withFile(calls, path, O.CREAT | O.EXCL | O.WRONLY, () => 0);
    case "write":
      return withFile(calls, path, O.WRONLY, (file) => written(calls, file, operation.value));
    case "rewrite": {
      const { value } = operation;
      return withFile(calls, path, O.WRONLY | O.TRUNC, (file) => written(calls, file, value));
    }
    case "pwrite":
      return written(calls, fd, operation.value);
    case "truncate":
      return calls.truncate(path, operation.size);
    case "ftruncate":
      return calls.ftruncate(fd, operation.size);
    case "chmod":
      return calls.chmod(path, operation.mode);
    case "chmod-directory":
      return calls.chmod(DIRECTORIES[operation.directory]!, operation.mode);
    case "setxattr":
      return calls.setxattr(path, XATTR_NAME, operation.value);
    case "symlink":
      return calls.symlink(operation.value, path);
    case "mkdir":
      return calls.mkdir(path, 0o755);
    case "unlink":
      return calls.unlink(path);
    case "rmdir":
      return calls.rmdir(path);
    case "link":
      return calls.linkat(AT.FDCWD, path, AT.FDCWD, PLACES[operation.target]!.path, 0);
    case "rename":
      return calls.rename(path, PLACES[operation.target]!.path);
    case "rename-noreplace":
      return calls.renameat2(path, PLACES[operation.target]!.path, RENAME_NOREPLACE);
    case "rename-exchange":
      return calls.renameat2(path, PLACES[operation.target]!.path, RENAME_EXCHANGE);
    case "open":
    case "create-open": {
      const flags = operation.kind === "open" ? O.RDWR : O.RDWR | O.CREAT | O.EXCL;
      const file = calls.open(path, flags, 0o644);
      if (file < 0) return file;
      fds.set(operation.handle, file);
      return 0;
    }
    case "close":
      fds.delete(operation.handle);
      return calls.close(fd);
    case "host-sees":
      throw new Error("The host's own look is no operation of a guest");
  }
}

/** What is compared of attributes: neither times nor blocks, nor a directory's size, which file systems choose. */
function attributesOf(stat: Stat | number, countsDirectories: boolean): Result {
  if (typeof stat === "number") return stat;
  const { type, perm, nlink, size } = stat;
  if (type === S.IFLNK) return attributesText("link", null, nlink, size);
  if (type === S.IFDIR) return attributesText("dir", perm, countsDirectories ? nlink : null, null);
  return attributesText("file", perm, nlink, size);
}

function withFile(
  calls: SystemCalls,
  path: string,
  flags: number,
  act: (fd: number) => Result,
): Result {
  const fd = calls.open(path, flags, 0o644);
  if (fd < 0) return fd;
  const result = act(fd);
  const closed = calls.close(fd);
  return typeof result === "number" && result < 0 ? result : closed < 0 ? closed : result;
}

function contentOf(calls: SystemCalls, fd: number): Result {
  const bytes = calls.pread(fd, CONTENT_SIZE * 2, 0);
  return typeof bytes === "number" ? bytes : decoder.decode(bytes);
}

function written(calls: SystemCalls, fd: number, value: string): Result {
  const count = calls.pwrite(fd, value, 0);
  return count === value.length ? 0 : count;
}

function listingOf(calls: SystemCalls, path: string): Result {
  const fd = calls.open(path, O.RDONLY | O.DIRECTORY);
  if (fd < 0) return fd;
  const names: string[] = [];
  let failed = 0;
  while (true) {
    const entries = calls.getdents(fd);
    if (typeof entries === "number") failed = entries;
    if (typeof entries === "number" || entries.length === 0) break;
    for (const { name } of entries) {
      const text = decoder.decode(name);
      if (text !== "." && text !== "..") names.push(text);
    }
  }
  calls.close(fd);
  return failed < 0 ? failed : names.sort().join(" ");
}
