/**
 * The socket that front ends connect to, and the `<socket>.pid` lock that keeps two daemons from the same
 * one (the convention of Rust virtiofsd and of QEMU's: flock(2) on a file that holds the pid).
 *
 * @module
 */

import type { Endpoint } from "../config.ts";
import { SetupError } from "../setup_error.ts";
import { EACCES, EAGAIN, ENOENT, ENOTDIR, EROFS } from "../sys/errno.ts";
import {
  bindPrivate,
  closeFd,
  closeOnExec,
  errorText,
  groupId,
  isListeningUnixStream,
  listenOn,
  openLockFile,
  pathByteLength,
  rewrite,
  shareWithGroup,
  SOCKET_PATH_BYTES_MAX,
  tryLock,
  unixStreamSocket,
  unlinkPath,
} from "../sys/unix_socket.ts";

/** How often a pid file that vanished under us is tried again: each time is somebody else's exit. */
const LOCK_ATTEMPTS_MAX = 100;

/** A listening socket; the caller accepts on `fd`. */
export interface Listener {
  /** The listening AF_UNIX stream socket. */
  readonly fd: number;
  /** Closes the socket and, where this process made them, removes the socket and the pid file. */
  close(): void;
}

/** Opens what `endpoint` names, or throws a {@linkcode SetupError} that says why not. */
export function openListener(endpoint: Endpoint): Listener {
  return endpoint.kind === "fd"
    ? adoptListener(endpoint.fd)
    : bindListener(endpoint.path, endpoint.group);
}

/** A launcher's socket: it belongs to the launcher, so nothing is removed when it is closed. */
function adoptListener(fd: number): Listener {
  const listening = isListeningUnixStream(fd);
  if (listening < 0) {
    throw new SetupError(`--fd ${fd} is not a socket (${errorText(listening)})`);
  }
  if (listening === 0) {
    throw new SetupError(`--fd ${fd} is not a listening UNIX stream socket`);
  }
  closeOnExec(fd);
  return { fd, close: once(() => closeFd(fd)) };
}

function bindListener(path: string, group: string | null): Listener {
  if (pathByteLength(path) > SOCKET_PATH_BYTES_MAX) {
    throw new SetupError(
      `The socket path ${path} has more than ${SOCKET_PATH_BYTES_MAX} bytes, which no socket can have`,
    );
  }
  // The group is looked up first: a typing mistake must not take a running daemon's stale files away.
  const gid = group === null ? null : groupId(group);
  if (gid === -1) throw new SetupError(`There is no group ${group} for --socket-group`);
  const pidPath = `${path}.pid`;
  // The names are removed by their whole path: the process may change its directory meanwhile. The socket is
  // bound by the path as given, which may be the only one that is short enough.
  const whole = path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
  const lockFd = lockPidFile(path, pidPath);
  const undo: (() => void)[] = [() => closeFd(lockFd), () => unlinkPath(`${whole}.pid`)];
  try {
    removeStaleSocket(path);
    const fd = check(unixStreamSocket(), "Cannot make a socket");
    undo.push(() => closeFd(fd));
    check(bindPrivate(fd, path), `Cannot bind the socket ${path}`);
    undo.push(() => unlinkPath(whole));
    if (gid !== null) {
      check(shareWithGroup(path, gid), `Cannot give the socket ${path} to the group ${group}`);
    }
    check(listenOn(fd), `Cannot listen on ${path}`);
    // The names go while the lock is still held: whoever gets it next then finds no name of ours.
    return { fd, close: once(() => runBackwards(undo)) };
  } catch (error) {
    runBackwards(undo);
    throw error;
  }
}

/** Takes the lock of the socket and writes our pid into it. Returns the descriptor that holds the lock. */
function lockPidFile(path: string, pidPath: string): number {
  for (let attempt = 0; attempt < LOCK_ATTEMPTS_MAX; attempt++) {
    const fd = openLockFile(pidPath);
    if (fd === -ENOENT || fd === -ENOTDIR) {
      throw new SetupError(`The directory of the socket ${path} does not exist`);
    }
    if (fd === -EACCES || fd === -EROFS) {
      throw new SetupError(`The directory of the socket ${path} is not writable`);
    }
    check(fd, `Cannot open the pid file ${pidPath}`);
    const locked = tryLock(fd);
    if (locked < 0) {
      closeFd(fd);
      if (locked === -EAGAIN) {
        throw new SetupError(
          `The socket ${path} is in use: another daemon holds the lock ${pidPath}${
            holder(pidPath)
          }`,
        );
      }
      check(locked, `Cannot lock the pid file ${pidPath}`);
    }
    // The last holder removes the file before it lets go: a lock on a nameless file keeps nobody out.
    if (!sameFile(fd, pidPath)) {
      closeFd(fd);
      continue;
    }
    const written = rewrite(fd, `${Deno.pid}\n`);
    if (written < 0) closeFd(fd);
    check(written, `Cannot write the pid file ${pidPath}`);
    return fd;
  }
  throw new SetupError(`Cannot lock the pid file ${pidPath}: it keeps vanishing`);
}

function sameFile(fd: number, path: string): boolean {
  try {
    const named = Deno.lstatSync(path);
    const opened = Deno.statSync(`/proc/self/fd/${fd}`);
    return named.dev === opened.dev && named.ino === opened.ino;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** " (pid N)" where the pid file says one. */
function holder(pidPath: string): string {
  try {
    const pid = Deno.readTextFileSync(pidPath).trim();
    return /^[0-9]+$/.test(pid) ? ` (pid ${pid})` : "";
  } catch {
    return "";
  }
}

/** What a daemon left that was killed. Only a socket is removed: anything else is not ours to take. */
function removeStaleSocket(path: string): void {
  let info: Deno.FileInfo;
  try {
    info = Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (info.isSocket !== true) {
    throw new SetupError(`${path} exists and is not a socket`);
  }
  check(unlinkPath(path), `Cannot remove the old socket ${path}`);
}

function check(result: number, what: string): number {
  if (result < 0) throw new SetupError(`${what}: ${errorText(result)}`);
  return result;
}

function runBackwards(undo: (() => void)[]): void {
  while (undo.length > 0) undo.pop()?.();
}

function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    action();
  };
}
