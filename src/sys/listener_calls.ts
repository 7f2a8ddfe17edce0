/**
 * The system calls behind the listening socket and its pid file, straight from libc.
 *
 * Every wrapper returns what the call returned, or a negative errno. errno is read right after a
 * synchronous call, which is the only kind made here.
 *
 * @module
 */

const SYMBOLS = {
  __errno_location: { parameters: [], result: "pointer" },
  /** int socket(int domain, int type, int protocol) */
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  /** int bind(int fd, const struct sockaddr *address, socklen_t length) */
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  /** int listen(int fd, int backlog) */
  listen: { parameters: ["i32", "i32"], result: "i32" },
  /** int getsockopt(int fd, int level, int name, void *value, socklen_t *length) */
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  /** mode_t umask(mode_t mask) */
  umask: { parameters: ["u32"], result: "u32" },
  /** int chown(const char *path, uid_t owner, gid_t group) */
  chown: { parameters: ["buffer", "u32", "u32"], result: "i32" },
  /** int chmod(const char *path, mode_t mode) */
  chmod: { parameters: ["buffer", "u32"], result: "i32" },
  /** int open(const char *path, int flags, mode_t mode) */
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  /** int flock(int fd, int operation) */
  flock: { parameters: ["i32", "i32"], result: "i32" },
  /** int ftruncate(int fd, off_t length) */
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  /** ssize_t write(int fd, const void *bytes, size_t length); short writes only, so the result fits */
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  /** int unlink(const char *path) */
  unlink: { parameters: ["buffer"], result: "i32" },
  /** int close(int fd) */
  close: { parameters: ["i32"], result: "i32" },
  /** int fcntl(int fd, int command, long argument) */
  fcntl: { parameters: ["i32", "i32", "i64"], result: "i32" },
  /** char *strerror(int errnum) */
  strerror: { parameters: ["i32"], result: "pointer" },
  /** struct group *getgrnam(const char *name) */
  getgrnam: { parameters: ["buffer"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** socket(2), open(2), flock(2): the constants of x86-64 and aarch64 Linux, which agree on these. */
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_ACCEPTCONN = 30;
const SO_DOMAIN = 39;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const O_WRONLY = 0o1;
const O_CREAT = 0o100;
const O_CLOEXEC = 0o2000000;
const LOCK_EX_NB = 2 | 4;
/** chown(2): leave this id as it is. */
const UNCHANGED = 0xffffffff;
/** struct group: gid_t gr_gid after two pointers. */
const GROUP_GID_OFFSET = 16;
/** struct sockaddr_un: sun_path has 108 bytes, the last of which is the NUL. */
const SUN_PATH_SIZE = 108;

const encoder = new TextEncoder();

let library: Deno.DynamicLibrary<typeof SYMBOLS> | null = null;

function symbols(): Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] {
  library ??= Deno.dlopen("libc.so.6", SYMBOLS);
  return library.symbols;
}

function errno(): number {
  const location = symbols().__errno_location();
  return location === null ? 5 : new Deno.UnsafePointerView(location).getInt32();
}

function valueOrErrno(value: number): number {
  return value < 0 ? -errno() : value;
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text + "\0");
}

/** What the C library says of a negative errno: "Permission denied". */
export function errorText(result: number): string {
  const text = symbols().strerror(-result);
  return text === null ? `errno ${-result}` : new Deno.UnsafePointerView(text).getCString();
}

/** The number of bytes that a socket's path may have. */
export const SOCKET_PATH_BYTES_MAX: number = SUN_PATH_SIZE - 1;

/** The number of bytes of `path` as the kernel sees it. */
export function pathByteLength(path: string): number {
  return encoder.encode(path).length;
}

/** An AF_UNIX stream socket, closed on exec. */
export function unixStreamSocket(): number {
  return valueOrErrno(symbols().socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/**
 * Binds to `path` with a mask that leaves nobody but the owner a way in from the first moment. The mask
 * belongs to the whole process, so this runs before any Worker creates files.
 */
export function bindPrivate(fd: number, path: string): number {
  const address = new Uint8Array(2 + SUN_PATH_SIZE);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(encoder.encode(path), 2);
  const mask = symbols().umask(0o077);
  const result = valueOrErrno(symbols().bind(fd, address, address.length));
  symbols().umask(mask);
  return result;
}

/** Starts listening. One front end is served at a time; a few more may queue. */
export function listenOn(fd: number): number {
  return valueOrErrno(symbols().listen(fd, 4));
}

/** Whether `fd` is an AF_UNIX stream socket that listens: 1 or 0, or a negative errno. */
export function isListeningUnixStream(fd: number): number {
  const wanted = [[SO_DOMAIN, AF_UNIX], [SO_TYPE, SOCK_STREAM], [SO_ACCEPTCONN, 1]] as const;
  for (const [name, value] of wanted) {
    const got = new Int32Array(1);
    const length = new Uint32Array([4]);
    const result = valueOrErrno(symbols().getsockopt(fd, SOL_SOCKET, name, got, length));
    if (result < 0) return result;
    if (got[0] !== value) return 0;
  }
  return 1;
}

/** Keeps `fd` from children. */
export function closeOnExec(fd: number): number {
  return valueOrErrno(symbols().fcntl(fd, F_SETFD, BigInt(FD_CLOEXEC)));
}

/** Gives `path` to the group and lets the group use it. */
export function shareWithGroup(path: string, gid: number): number {
  const result = valueOrErrno(symbols().chown(cString(path), UNCHANGED, gid));
  if (result < 0) return result;
  return valueOrErrno(symbols().chmod(cString(path), 0o770));
}

/** The id of the group called `name`, or -1 where there is none. */
export function groupId(name: string): number {
  const entry = symbols().getgrnam(cString(name));
  return entry === null ? -1 : new Deno.UnsafePointerView(entry).getUint32(GROUP_GID_OFFSET);
}

/** Opens the lock file `path` for writing, creating it for its owner only. */
export function openLockFile(path: string): number {
  return valueOrErrno(symbols().open(cString(path), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600));
}

/** Takes the exclusive flock(2) of an open file, or says -EWOULDBLOCK. */
export function tryLock(fd: number): number {
  return valueOrErrno(symbols().flock(fd, LOCK_EX_NB));
}

/** Replaces the contents of an open, short file. */
export function rewrite(fd: number, text: string): number {
  const bytes = encoder.encode(text);
  const result = valueOrErrno(symbols().ftruncate(fd, 0n));
  if (result < 0) return result;
  return valueOrErrno(symbols().write(fd, bytes, BigInt(bytes.length)));
}

/** Removes a name. */
export function unlinkPath(path: string): number {
  return valueOrErrno(symbols().unlink(cString(path)));
}

/** Closes a descriptor that came from here or from the launcher. */
export function closeFd(fd: number): void {
  symbols().close(fd);
}
