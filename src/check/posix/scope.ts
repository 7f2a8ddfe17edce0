/**
 * What one check works with: its own directory, ways to make every kind of file, other users'
 * credentials, the file system's clock, and expectations that say what was seen.
 *
 * @module
 */

import { AT, type ErrnoName, O, resultName, S } from "./linux_constants.ts";
import { type Dirent, makedev, type Path, type Stat, sys } from "./system_calls.ts";

/** The kinds of file that a directory can hold. */
export const KINDS = ["regular", "dir", "fifo", "block", "char", "socket", "symlink"] as const;

/** One of {@link KINDS}. */
export type Kind = typeof KINDS[number];

/** st_mode's type bits for each kind. */
export const TYPE_BITS: Readonly<Record<Kind, number>> = {
  regular: S.IFREG,
  dir: S.IFDIR,
  fifo: S.IFIFO,
  block: S.IFBLK,
  char: S.IFCHR,
  socket: S.IFSOCK,
  symlink: S.IFLNK,
};

/** Who a piece of a check acts as. */
export interface Credentials {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** Two users without privilege, and a group that each is made a member of where a check says so. */
export const ALICE: Credentials = { uid: 65534, gid: 65533, groups: [] };
/** The other user. */
export const BOB: Credentials = { uid: 65532, gid: 65531, groups: [] };
/** A group that neither is in by default. */
export const TEAM = 65530;
/** Alice with {@link TEAM} among her supplementary groups. */
export const ALICE_IN_TEAM: Credentials = { ...ALICE, groups: [TEAM] };

/** A check that did not hold. */
export class CheckFailure extends Error {
  override name = "CheckFailure";
}

/** Which timestamps an action must move: any of the letters a, m, c; the rest must stand still. */
export type MovedTimes = "" | "c" | "m" | "mc" | "a" | "ac" | "amc";

const decoder = new TextDecoder();

/** The scope of one check. */
export class Scope {
  /** The check's own directory: empty, mode 0777, so that any user can work in it. */
  readonly dir: string;
  readonly #probe: number;
  readonly #fds: number[] = [];

  constructor(dir: string, probe: number) {
    this.dir = dir;
    this.#probe = probe;
  }

  /** The path of a name in the check's directory. */
  path(name: string): string {
    return `${this.dir}/${name}`;
  }

  /** Makes a file of a kind; regular files hold "content", symbolic links dangle. */
  make(kind: Kind, path: string, mode = 0o644, owner?: Credentials): string {
    switch (kind) {
      case "regular": {
        const fd = this.ok(sys.open(path, O.CREAT | O.EXCL | O.WRONLY, mode), "create");
        this.ok(sys.write(fd, "content"), "write");
        sys.close(fd);
        break;
      }
      case "dir":
        this.ok(sys.mkdir(path, mode), "mkdir");
        break;
      case "symlink":
        this.ok(sys.symlink("nowhere", path), "symlink");
        break;
      default: {
        const device = kind === "block" || kind === "char";
        const type = TYPE_BITS[kind];
        this.ok(sys.mknod(path, type | mode, device ? makedev(1, 2) : 0n), `mknod ${kind}`);
      }
    }
    if (owner !== undefined) this.ok(sys.lchown(path, owner.uid, owner.gid), "lchown");
    // After the chown, which clears the set-id bits.
    if (kind !== "symlink") this.ok(sys.chmod(path, mode), "chmod");
    return path;
  }

  /** A regular file in the check's directory. */
  file(name: string, mode = 0o644, owner?: Credentials): string {
    return this.make("regular", this.path(name), mode, owner);
  }

  /** A directory in the check's directory. */
  directory(name: string, mode = 0o755, owner?: Credentials): string {
    return this.make("dir", this.path(name), mode, owner);
  }

  /** Opens, and closes when the check is over. */
  open(path: Path, flags: number, mode = 0o644): number {
    const fd = this.ok(sys.open(path, flags, mode), `open ${this.#short(path)}`);
    this.#fds.push(fd);
    return fd;
  }

  /** Hands over an fd to be closed when the check is over. */
  adopt(fd: number, what: string): number {
    this.#fds.push(this.ok(fd, what));
    return fd;
  }

  /** Closes one of the check's fds early. */
  close(fd: number): void {
    const index = this.#fds.indexOf(fd);
    if (index >= 0) this.#fds.splice(index, 1);
    this.ok(sys.close(fd), "close");
  }

  /** lstat that must succeed. */
  lstat(path: Path): Stat {
    return this.value(sys.lstat(path), `lstat ${this.#short(path)}`);
  }

  /** stat that must succeed. */
  stat(path: Path): Stat {
    return this.value(sys.stat(path), `stat ${this.#short(path)}`);
  }

  /** fstat that must succeed. */
  fstat(fd: number): Stat {
    return this.value(sys.fstat(fd), "fstat");
  }

  /** The content of a file as text (one byte, one character). */
  content(path: Path): string {
    const fd = this.ok(sys.open(path, O.RDONLY), `open ${this.#short(path)}`);
    try {
      return this.text(sys.read(fd, 1 << 20));
    } finally {
      sys.close(fd);
    }
  }

  /** The bytes of a read as text, or a failure. */
  text(result: Uint8Array | number): string {
    return decoder.decode(this.value(result, "read"));
  }

  /** All entries of a directory, "." and ".." included. */
  entries(path: Path): Dirent[] {
    const fd = this.ok(sys.open(path, O.RDONLY | O.DIRECTORY), `opendir ${this.#short(path)}`);
    try {
      return this.readAll(fd);
    } finally {
      sys.close(fd);
    }
  }

  /** The rest of an open directory. */
  readAll(fd: number, bufferSize?: number): Dirent[] {
    const all: Dirent[] = [];
    for (;;) {
      const some = this.value(sys.getdents(fd, bufferSize), "getdents");
      if (some.length === 0) return all;
      all.push(...some);
    }
  }

  /** The sorted names in a directory without "." and "..". */
  names(path: Path): string[] {
    return this.entries(path).map((e) => decoder.decode(e.name))
      .filter((name) => name !== "." && name !== "..").sort();
  }

  /** Runs `action` as another user (this thread only) and comes back as root. */
  as<T>(who: Credentials, action: () => T): T {
    this.ok(sys.setgroups(who.groups), "setgroups");
    this.ok(sys.setresgid(who.gid, who.gid, 0), "setresgid");
    this.ok(sys.setresuid(who.uid, who.uid, 0), "setresuid");
    try {
      return action();
    } finally {
      this.ok(sys.setresuid(0, 0, 0), "setresuid back");
      this.ok(sys.setresgid(0, 0, 0), "setresgid back");
      this.ok(sys.setgroups([]), "setgroups back");
    }
  }

  /** Runs `action` under a umask. */
  withUmask<T>(mask: number, action: () => T): T {
    const old = sys.umask(mask);
    try {
      return action();
    } finally {
      sys.umask(old);
    }
  }

  /** Waits until a new timestamp is later than every earlier one, here and on the file system. */
  tick(): void {
    const touch = () => {
      this.ok(sys.fchmod(this.#probe, 0o600), "touch probe");
      return this.fstat(this.#probe).ctime;
    };
    const fileTime = touch();
    const localTime = sys.coarseClock();
    const latest = fileTime > localTime ? fileTime : localTime;
    const deadline = performance.now() + 5000;
    while (touch() <= latest || sys.coarseClock() <= latest) {
      if (performance.now() > deadline) this.fail("the clock of the file system stands still");
    }
  }

  /**
   * Runs `action` and holds the timestamps of each path (an fd counts too) to what is said of it:
   * the named ones later than before, all others unchanged.
   */
  times<T>(expected: readonly (readonly [string | number, MovedTimes])[], action: () => T): T {
    const look = (target: string | number) =>
      typeof target === "number" ? this.fstat(target) : this.lstat(target);
    const before = expected.map(([target]) => look(target));
    this.tick();
    const result = action();
    expected.forEach(([target, moved], i) => {
      const was = before[i]!, is = look(target);
      for (const [letter, field] of [["a", "atime"], ["m", "mtime"], ["c", "ctime"]] as const) {
        const what = `${field} of ${typeof target === "number" ? "fd" : this.#short(target)}`;
        if (moved.includes(letter)) {
          if (is[field] <= was[field]) this.fail(`${what} did not move on`);
        } else if (is[field] !== was[field]) {
          this.fail(`${what} moved by ${is[field] - was[field]} ns`);
        }
      }
    });
    return result;
  }

  /** The call must have succeeded; its result. */
  ok(result: number, what: string): number {
    if (result < 0) this.fail(`${what}: ${resultName(result)}, expected success`);
    return result;
  }

  /** The call must have given something other than an errno. */
  value<T>(result: T | number, what: string): T {
    if (typeof result === "number") this.fail(`${what}: ${resultName(result)}`);
    return result;
  }

  /** The call must have failed with one of these. A success that gave an fd is the caller's. */
  errno(result: unknown, expected: ErrnoName | readonly ErrnoName[], what: string): void {
    const names: readonly string[] = typeof expected === "string" ? [expected] : expected;
    const seen = typeof result === "number" ? resultName(result) : "OK";
    if (!names.includes(seen)) this.fail(`${what}: ${seen}, expected ${names.join(" or ")}`);
  }

  /** Two values must be the same. */
  equal<T>(actual: T, expected: T, what: string): void {
    if (actual !== expected) {
      this.fail(`${what}: ${show(actual)}, expected ${show(expected)}`);
    }
  }

  /** A condition must hold. */
  that(condition: boolean, what: string): void {
    if (!condition) this.fail(what);
  }

  /** The check does not hold. */
  fail(message: string): never {
    throw new CheckFailure(message);
  }

  /** Closes what is open and removes the check's directory. */
  dispose(): void {
    for (const fd of this.#fds.splice(0)) sys.close(fd);
    this.ok(removeTree(AT.FDCWD, this.dir), "clean up");
  }

  #short(path: Path): string {
    const text = typeof path === "string" ? path : decoder.decode(path);
    return text.startsWith(this.dir) ? text.slice(this.dir.length + 1) || "." : text;
  }
}

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number" && Number.isInteger(value)) {
    return `${value} (0${value.toString(8)})`;
  }
  return String(value);
}

/** Removes a tree one component at a time, so that no path is ever too long. 0 or -errno. */
export function removeTree(parent: number, name: Path): number {
  const open = () => sys.openat(parent, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  let fd = open();
  if (fd === -13) {
    sys.fchmodat(parent, name, 0o700);
    fd = open();
  }
  if (fd < 0) return fd;
  try {
    sys.fchmod(fd, 0o700);
    for (;;) {
      sys.lseek(fd, 0, 0);
      const entries = sys.getdents(fd);
      if (typeof entries === "number") return entries;
      const children = entries.filter((e) => !isDots(e.name));
      if (children.length === 0) break;
      for (const { name: child } of children) {
        let result = sys.unlinkat(fd, child, 0);
        if (result === -21) result = removeTree(fd, child);
        if (result < 0) return result;
      }
    }
  } finally {
    sys.close(fd);
  }
  return sys.unlinkat(parent, name, AT.REMOVEDIR);
}

function isDots(name: Uint8Array): boolean {
  return name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
}
