/**
 * The calls that take a path, in a form that the families can loop over.
 *
 * @module
 */

import type { Need } from "./check.ts";
import { ACCESS, ERRNO, O, S, UTIME } from "./linux_constants.ts";
import { ALICE, type Scope } from "./scope.ts";
import { sys } from "./system_calls.ts";

/** One call on one path. */
export interface PathCall {
  readonly name: string;
  /** What must be at the path for the call to succeed. */
  readonly target: "regular" | "dir" | "symlink" | "none";
  /** Whether a symbolic link at the end of the path is followed. */
  readonly follows: boolean;
  /** Whether it adds or removes an entry, and so needs write permission on the parent. */
  readonly writesParent: boolean;
  readonly needs: readonly Need[];
  /** 0 or more, or the negative errno; fds are closed inside. */
  readonly call: (t: Scope, path: string) => number;
}

function opened(fd: number): number {
  if (fd >= 0) sys.close(fd);
  return fd;
}

/** The file beside the tested path that two-path calls use. */
function other(t: Scope): string {
  return t.path("other");
}

function otherFile(t: Scope): string {
  return opened(sys.open(other(t), O.CREAT | O.WRONLY, 0o666)) < 0 ? "" : other(t);
}

function absentIsFine(result: number): number {
  return result === -ERRNO.ENODATA ? 0 : result;
}

function result(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

const nothing = new Uint8Array(0);

/** A group that both the caller of a check and the user it acts as may choose. */
function group(): number {
  return sys.geteuid() === 0 ? ALICE.gid : sys.getegid();
}

function row(
  name: string,
  target: PathCall["target"],
  traits: string,
  call: PathCall["call"],
): PathCall {
  return {
    name,
    target,
    follows: traits.includes("follows"),
    writesParent: traits.includes("writes"),
    needs: traits.includes("xattr") ? ["xattr"] : [],
    call,
  };
}

/** Every call that takes a path. */
export const PATH_CALLS: readonly PathCall[] = [
  row("chmod", "regular", "follows", (_, p) => sys.chmod(p, 0o777)),
  row("chown", "regular", "follows", (_, p) => sys.chown(p, -1, group())),
  row("lchown", "regular", "", (_, p) => sys.lchown(p, -1, group())),
  row("mkdir", "none", "writes", (_, p) => sys.mkdir(p)),
  row("mkfifo", "none", "writes", (_, p) => sys.mkfifo(p)),
  row("mknod", "none", "writes", (_, p) => sys.mknod(p, S.IFSOCK | 0o644)),
  row("open for reading", "regular", "follows", (_, p) => opened(sys.open(p, O.RDONLY))),
  row("open for writing", "regular", "follows", (_, p) => opened(sys.open(p, O.RDWR))),
  row(
    "open with O_TRUNC",
    "regular",
    "follows",
    (_, p) => opened(sys.open(p, O.WRONLY | O.TRUNC)),
  ),
  row("open with O_CREAT", "none", "follows writes", (_, p) => {
    return opened(sys.open(p, O.CREAT | O.WRONLY, 0o644));
  }),
  row("opendir", "dir", "follows", (_, p) => opened(sys.open(p, O.RDONLY | O.DIRECTORY))),
  row("rename from", "regular", "writes", (t, p) => sys.rename(p, other(t))),
  row("rename to", "none", "writes", (t, p) => sys.rename(otherFile(t), p)),
  row("rmdir", "dir", "writes", (_, p) => sys.rmdir(p)),
  row("symlink", "none", "writes", (_, p) => sys.symlink("anywhere", p)),
  row("link from", "regular", "", (t, p) => sys.link(p, other(t))),
  row("link to", "none", "writes", (t, p) => sys.link(otherFile(t), p)),
  row("truncate", "regular", "follows", (_, p) => sys.truncate(p, 3)),
  row("unlink", "regular", "writes", (_, p) => sys.unlink(p)),
  row("utimensat", "regular", "follows", (_, p) => sys.utimensat(p, [[5, 6], [7, 8]])),
  row("utimensat now", "regular", "follows", (_, p) => {
    return sys.utimensat(p, [[0, UTIME.NOW], [0, UTIME.NOW]]);
  }),
  row("stat", "regular", "follows", (_, p) => result(sys.stat(p))),
  row("lstat", "regular", "", (_, p) => result(sys.lstat(p))),
  row("access", "regular", "follows", (_, p) => sys.access(p, ACCESS.F)),
  row("readlink", "symlink", "", (_, p) => result(sys.readlink(p))),
  row("statvfs", "regular", "follows", (_, p) => result(sys.statvfs(p))),
  row("setxattr", "regular", "follows xattr", (_, p) => sys.setxattr(p, "user.k", "v")),
  row("getxattr", "regular", "follows xattr", (_, p) => {
    return absentIsFine(sys.getxattr(p, "user.k", nothing));
  }),
  row("listxattr", "regular", "follows xattr", (_, p) => sys.listxattr(p, nothing)),
  row("removexattr", "regular", "follows xattr", (_, p) => {
    return absentIsFine(sys.removexattr(p, "user.k"));
  }),
];

/** Makes what a call wants to find at a path. */
export function prepare(t: Scope, call: PathCall, path: string): void {
  if (call.target !== "none") t.make(call.target, path);
}

/** The calls that make a new directory entry, and what they make. */
export interface Creator {
  readonly name: string;
  readonly type: number;
  /** Whether the mode argument decides the permission bits. */
  readonly takesMode: boolean;
  /** Whether only root may call it. */
  readonly rootOnly: boolean;
  readonly call: (path: string, mode: number) => number;
}

const creator = (
  name: string,
  type: number,
  call: Creator["call"],
  rootOnly = false,
): Creator => ({ name, type, takesMode: type !== S.IFLNK, rootOnly, call });

/** Every way to make a new file of its own. */
export const CREATORS: readonly Creator[] = [
  creator("mkdir", S.IFDIR, (p, mode) => sys.mkdir(p, mode)),
  creator("mkfifo", S.IFIFO, (p, mode) => sys.mkfifo(p, mode)),
  creator("mknod regular", S.IFREG, (p, mode) => sys.mknod(p, S.IFREG | mode)),
  creator("mknod fifo", S.IFIFO, (p, mode) => sys.mknod(p, S.IFIFO | mode)),
  creator("mknod socket", S.IFSOCK, (p, mode) => sys.mknod(p, S.IFSOCK | mode)),
  creator("mknod char", S.IFCHR, (p, mode) => sys.mknod(p, S.IFCHR | mode, 0x102n), true),
  creator("mknod block", S.IFBLK, (p, mode) => sys.mknod(p, S.IFBLK | mode, 0x102n), true),
  creator("open O_CREAT|O_EXCL", S.IFREG, (p, mode) => {
    return opened(sys.open(p, O.CREAT | O.EXCL | O.RDWR, mode));
  }),
  creator("symlink", S.IFLNK, (p) => sys.symlink("target", p)),
];
