/**
 * UNIX sockets and the pid file beside a listening one. All results are those of the call, or a negative errno.
 *
 * @module
 */

import { AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET } from "../wire/linux.ts";
import { F_SETFD, FD_CLOEXEC } from "../wire/isolation.ts";
import { O_CLOEXEC, O_CREAT, O_WRONLY } from "../wire/linux.ts";
import { libc, status } from "./libc.ts";

/** getsockopt(2), fcntl(2), flock(2): the same on x86-64 and aarch64. */
const SO_TYPE = 3;
const SO_PEERCRED = 17;
const SO_ACCEPTCONN = 30;
const SO_DOMAIN = 39;
const SHUT_RDWR = 2;
const LOCK_EX_NB = 2 | 4;
/** chown(2): leave this id as it is. */
const UNCHANGED = 0xffffffff;
/** struct group: gid_t gr_gid after two pointers. */
const GROUP_GID_OFFSET = 16;
/** struct sockaddr_un: sun_path has 108 bytes, the last of which is the NUL. */
const SUN_PATH_SIZE = 108;

const encoder = new TextEncoder();

function cString(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text + "\0");
}

/** What the C library says of a negative errno: "Permission denied". */
export function errorText(result: number): string {
  const text = libc.strerror(-result);
  return text === null ? `errno ${-result}` : new Deno.UnsafePointerView(text).getCString();
}

/** The number of bytes that a socket's path may have. */
export const SOCKET_PATH_BYTES_MAX: number = SUN_PATH_SIZE - 1;

/** The number of bytes of `path` as the kernel sees it. */
export function pathByteLength(path: string): number {
  return encoder.encode(path).length;
}

/** struct sockaddr_un of a path. */
function unixAddress(path: string): Uint8Array<ArrayBuffer> {
  const address = new Uint8Array(2 + SUN_PATH_SIZE);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(encoder.encode(path), 2);
  return address;
}

/** Connects a socket to whoever listens on `path`. */
export function connectUnix(fd: number, path: string): number {
  const address = unixAddress(path);
  return status(libc.connect(fd, address, address.length));
}

/** An AF_UNIX stream socket, closed on exec. */
export function unixStreamSocket(): number {
  return status(libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/**
 * Binds to `path` with a mask that leaves nobody but the owner a way in from the first moment. The mask
 * belongs to the whole process, so this runs before any Worker creates files.
 */
export function bindPrivate(fd: number, path: string): number {
  const address = unixAddress(path);
  const mask = libc.umask(0o077);
  const result = status(libc.bind(fd, address, address.length));
  libc.umask(mask);
  return result;
}

/** Starts listening. One front end is served at a time; a few more may queue. */
export function listenOn(fd: number): number {
  return status(libc.listen(fd, 4));
}

/** Whether `fd` is an AF_UNIX stream socket that listens: 1 or 0, or a negative errno. */
export function isListeningUnixStream(fd: number): number {
  const wanted = [[SO_DOMAIN, AF_UNIX], [SO_TYPE, SOCK_STREAM], [SO_ACCEPTCONN, 1]] as const;
  for (const [name, value] of wanted) {
    const got = new Int32Array(1);
    const length = new Uint32Array([4]);
    const result = status(libc.getsockopt(fd, SOL_SOCKET, name, got, length));
    if (result < 0) return result;
    if (got[0] !== value) return 0;
  }
  return 1;
}

/** The process id of whoever listened at the other end (struct ucred), or 0 where that is not known. */
export function peerPid(fd: number): number {
  const credentials = new Int32Array(3);
  const length = new Uint32Array([12]);
  const result = status(libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length));
  return result < 0 ? 0 : credentials[0]!;
}

/** Keeps `fd` from children. */
export function closeOnExec(fd: number): number {
  return status(libc.fcntl_int(fd, F_SETFD, FD_CLOEXEC));
}

/** Gives `path` to the group and lets the group use it. */
export function shareWithGroup(path: string, gid: number): number {
  const result = status(libc.chown(cString(path), UNCHANGED, gid));
  if (result < 0) return result;
  return status(libc.chmod(cString(path), 0o770));
}

/** The id of the group called `name`, or -1 where there is none. */
export function groupId(name: string): number {
  const entry = libc.getgrnam(cString(name));
  return entry === null ? -1 : new Deno.UnsafePointerView(entry).getUint32(GROUP_GID_OFFSET);
}

/** Opens the lock file `path` for writing, creating it for its owner only. */
export function openLockFile(path: string): number {
  return status(libc.open(cString(path), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600));
}

/** Takes the exclusive flock(2) of an open file, or says -EWOULDBLOCK. */
export function tryLock(fd: number): number {
  return status(libc.flock(fd, LOCK_EX_NB));
}

/** Replaces the contents of an open, short file. */
export function rewrite(fd: number, text: string): number {
  const bytes = encoder.encode(text);
  const result = status(libc.ftruncate(fd, 0n));
  if (result < 0) return result;
  return status(libc.write_bytes(fd, bytes, bytes.length));
}

/** Removes a name. */
export function unlinkPath(path: string): number {
  return status(libc.unlink(cString(path)));
}

/** Closes a descriptor that came from here or from the launcher. */
export function closeFd(fd: number): void {
  libc.close(fd);
}

/** shutdown(2), both ways: whoever waits for the socket sees its end. */
export function shutDown(fd: number): void {
  libc.shutdown(fd, SHUT_RDWR);
}
