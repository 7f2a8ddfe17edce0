/**
 * A guest in userspace: the files that a virtio-fs daemon serves, without a virtual machine.
 *
 * @module
 */

import {
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  O_APPEND,
  O_CREAT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
} from "../wire/linux.ts";
import { EEXIST, EINVAL, EISDIR, ENOENT } from "../sys/errno.ts";
import { O_DIRECTORY } from "../sys/architecture.ts";
import type { OpcodeTraffic } from "./client/traffic.ts";
import type { GuestDaxCounters } from "./dax/dax_window.ts";
import { dirEntry, fileInfo, type GuestDirEntry, type GuestFileInfo } from "./file_info.ts";
import { GuestError, must, mustHave } from "./guest_error.ts";
import { GuestFile, timeSpec } from "./guest_file.ts";
import { closeSession, openSession, type Session, type SessionOptions } from "./session.ts";
import { GuestCalls } from "./vfs/calls.ts";
import { Process } from "./vfs/process.ts";
import type { StatVfs } from "./vfs/stat.ts";

/** Who the guest's files are used as. What is left out is as the running program's. */
export interface GuestIdentity {
  /** The user. Default that of the program. */
  readonly uid?: number;
  /** The group. Default that of the program. */
  readonly gid?: number;
  /** Supplementary groups. Default none. */
  readonly groups?: readonly number[];
  /** Mode bits that new files do not get. Default 0o022. */
  readonly umask?: number;
}

/** How to connect to a daemon, and as whom. */
export interface GuestOptions extends SessionOptions, GuestIdentity {}

/** How a file is opened, as for Deno.open. Without any of these: for reading. */
export interface GuestOpenOptions {
  /** For reading. */
  readonly read?: boolean;
  /** For writing. */
  readonly write?: boolean;
  /** For writing, always at the end. */
  readonly append?: boolean;
  /** Empty it first. */
  readonly truncate?: boolean;
  /** Make it if there is none. */
  readonly create?: boolean;
  /** Make it; it must not be there. */
  readonly createNew?: boolean;
  /** Permission bits of a new file, before the umask. Default 0o666. */
  readonly mode?: number;
}

/**
 * One process of a guest, with the file system that the daemon serves as its root.
 *
 * The methods are those of Deno, the synchronous ones: an answer comes back over the ring in microseconds, sooner than a promise
 * could be told. Whatever fails throws a {@linkcode GuestError} with the errno's name as `code`. Paths are absolute or relative to the
 * share's root; symbolic links are followed inside the share, as in a guest that has it mounted as its root.
 *
 * @example Copy a file out of a share
 * ```ts
 * import { Guest } from "../../mod.ts";
 *
 * async function readHello(socketPath: string): Promise<string> {
 *   await using guest = await Guest.connect({ socketPath });
 *   return guest.readTextFileSync("/hello.txt");
 * }
 *
 * try {
 *   await readHello("/nowhere/daemon.sock");
 * } catch (error) {
 *   if (!(error instanceof Error) || error.name !== "DaemonError") throw error;
 * }
 * ```
 */
export class Guest implements AsyncDisposable {
  readonly #session: Session;
  readonly #calls: GuestCalls;

  private constructor(session: Session, calls: GuestCalls) {
    this.#session = session;
    this.#calls = calls;
  }

  /** Connects to a daemon. Throws a `DaemonError` with the reason where that fails. */
  static async connect(options: GuestOptions): Promise<Guest> {
    const identity = identityOf(options);
    const session = await openSession(options, identity);
    return new Guest(session, newCalls(session, identity));
  }

  /** Another process of the same guest: the same caches, another identity. It ends with this one. */
  as(identity: GuestIdentity): Guest {
    return new Guest(this.#session, newCalls(this.#session, identityOf(identity)));
  }

  /** The mount tag, or null from a daemon that leaves it to the virtual machine monitor. */
  get tag(): string | null {
    return this.#session.frontend.config.tag;
  }

  /** Request queues of the daemon's device. */
  get requestQueueCount(): number {
    return this.#session.frontend.config.requestQueueCount;
  }

  /** The FUSE version that was agreed on: "7.45". */
  get protocol(): string {
    return `7.${this.#session.client.agreement.minor}`;
  }

  /** What went over the ring so far, by opcode. */
  get traffic(): OpcodeTraffic[] {
    return this.#session.client.traffic.byOpcode();
  }

  /** How full the DAX window is and what happened in it, or null if this guest has none. */
  get dax(): GuestDaxCounters | null {
    return this.#session.volume.dax?.counters ?? null;
  }

  /** Opens a file. */
  openSync(path: string, options: GuestOpenOptions = {}): GuestFile {
    const fd = must(
      this.#calls.open(path, openFlags(options), options.mode ?? 0o666),
      "open",
      path,
    );
    return new GuestFile(this.#calls, fd, path);
  }

  /** Makes a file, or empties it, and opens it for reading and writing. */
  createSync(path: string): GuestFile {
    return this.openSync(path, { read: true, write: true, create: true, truncate: true });
  }

  /** The bytes of a file. */
  readFileSync(path: string): Uint8Array<ArrayBuffer> {
    using file = this.openSync(path);
    if (file.statSync().isDirectory) throw new GuestError(-EISDIR, "read", path);
    return file.readAllSync();
  }

  /** The text of a file. */
  readTextFileSync(path: string): string {
    return new TextDecoder().decode(this.readFileSync(path));
  }

  /** Writes a file's whole contents; it is made if need be. */
  writeFileSync(
    path: string,
    data: Uint8Array,
    options: { append?: boolean; create?: boolean; createNew?: boolean; mode?: number } = {},
  ): void {
    const { append = false, create = true, createNew = false, mode = 0o666 } = options;
    using file = this.openSync(path, {
      ...(append ? { append } : { write: true, truncate: true }),
      create,
      createNew,
      mode,
    });
    file.writeAllSync(data);
  }

  /** The same for text. */
  writeTextFileSync(
    path: string,
    text: string,
    options: { append?: boolean; create?: boolean; createNew?: boolean; mode?: number } = {},
  ): void {
    this.writeFileSync(path, new TextEncoder().encode(text), options);
  }

  /** The attributes of what a path leads to. */
  statSync(path: string): GuestFileInfo {
    return fileInfo(mustHave(this.#calls.fstatat(path, 0), "stat", path));
  }

  /** The same, of a symbolic link itself. */
  lstatSync(path: string): GuestFileInfo {
    return fileInfo(mustHave(this.#calls.fstatat(path, AT_SYMLINK_NOFOLLOW), "lstat", path));
  }

  /** Whether there is something at a path. */
  existsSync(path: string): boolean {
    const found = this.#calls.fstatat(path, 0);
    if (typeof found !== "number") return true;
    if (found === -ENOENT) return false;
    throw new GuestError(found, "stat", path);
  }

  /** The names in a directory without "." and "..", in the daemon's order. */
  *readDirSync(path: string): Generator<GuestDirEntry> {
    const fd = must(this.#calls.open(path, O_RDONLY | O_DIRECTORY), "readdir", path);
    try {
      for (;;) {
        const entries = mustHave(this.#calls.getdents(fd), "readdir", path);
        if (entries.length === 0) return;
        for (const entry of entries) {
          const found = dirEntry(entry);
          if (found !== null) yield found;
        }
      }
    } finally {
      this.#calls.close(fd);
    }
  }

  /** Makes a directory; with `recursive` also those above it, and it may be there already. */
  mkdirSync(path: string, options: { recursive?: boolean; mode?: number } = {}): void {
    const mode = options.mode ?? 0o777;
    const status = this.#calls.mkdirat(AT_FDCWD, path, mode);
    if (options.recursive !== true) {
      must(status, "mkdir", path);
      return;
    }
    if (status === -ENOENT) {
      const parent = parentOf(path);
      if (parent === "" || parent === path) throw new GuestError(status, "mkdir", path);
      this.mkdirSync(parent, options);
      this.mkdirSync(path, options);
    } else if (status === -EEXIST) {
      if (!this.statSync(path).isDirectory) throw new GuestError(status, "mkdir", path);
    } else must(status, "mkdir", path);
  }

  /** Removes a file or an empty directory; with `recursive` all that is in it. */
  removeSync(path: string, options: { recursive?: boolean } = {}): void {
    const { isDirectory } = this.lstatSync(path);
    if (isDirectory && options.recursive === true) {
      for (const { name } of [...this.readDirSync(path)]) {
        this.removeSync(`${path.replace(/\/+$/, "")}/${name}`, options);
      }
    }
    const flags = isDirectory ? AT_REMOVEDIR : 0;
    must(this.#calls.unlinkat(AT_FDCWD, path, flags), "remove", path);
  }

  /** Moves a name; what is at the new one is replaced. */
  renameSync(oldPath: string, newPath: string): void {
    must(this.#calls.renameat2(oldPath, newPath, 0), "rename", oldPath);
  }

  /** Gives a file another name. */
  linkSync(oldPath: string, newPath: string): void {
    must(this.#calls.linkat(AT_FDCWD, oldPath, AT_FDCWD, newPath, 0), "link", newPath);
  }

  /** Makes a symbolic link. */
  symlinkSync(target: string, path: string): void {
    must(this.#calls.symlink(target, path), "symlink", path);
  }

  /** A symbolic link's target. */
  readLinkSync(path: string): string {
    return new TextDecoder().decode(mustHave(this.#calls.readlink(path), "readlink", path));
  }

  /** Makes a file `size` bytes long. */
  truncateSync(path: string, size = 0): void {
    must(this.#calls.truncate(path, size), "truncate", path);
  }

  /** Sets the permission bits. */
  chmodSync(path: string, mode: number): void {
    must(this.#calls.fchmodat(AT_FDCWD, path, mode), "chmod", path);
  }

  /** Sets owner and group; null leaves one as it is. */
  chownSync(path: string, uid: number | null, gid: number | null): void {
    must(this.#calls.fchownat(AT_FDCWD, path, uid ?? -1, gid ?? -1, 0), "chown", path);
  }

  /** The same, of a symbolic link itself. */
  lchownSync(path: string, uid: number | null, gid: number | null): void {
    const flags = AT_SYMLINK_NOFOLLOW;
    must(this.#calls.fchownat(AT_FDCWD, path, uid ?? -1, gid ?? -1, flags), "lchown", path);
  }

  /** Sets the times: dates, or seconds since 1970. */
  utimeSync(path: string, atime: number | Date, mtime: number | Date): void {
    const times = [timeSpec(atime), timeSpec(mtime)] as const;
    must(this.#calls.utimensat(path, times), "utime", path);
  }

  /** An extended attribute's value, or null if there is none of this name. */
  getXattrSync(path: string, name: string): Uint8Array | null {
    const value = new Uint8Array(65536);
    const size = this.#calls.getxattr(path, name, value, true);
    if (size < 0) {
      const error = new GuestError(size, "getxattr", path);
      if (error.code === "ENODATA") return null;
      throw error;
    }
    return value.slice(0, size);
  }

  /** Sets an extended attribute. */
  setXattrSync(path: string, name: string, value: Uint8Array): void {
    must(this.#calls.setxattr(path, name, value, 0, true), "setxattr", path);
  }

  /** The names of the extended attributes. */
  listXattrSync(path: string): string[] {
    const list = new Uint8Array(65536);
    const size = must(this.#calls.listxattr(path, list, true), "listxattr", path);
    return new TextDecoder().decode(list.subarray(0, size)).split("\0").filter((name) => name);
  }

  /** Removes an extended attribute. */
  removeXattrSync(path: string, name: string): void {
    must(this.#calls.removexattr(path, name, true), "removexattr", path);
  }

  /** The figures of the host's file system. */
  statFsSync(path = "/"): StatVfs {
    return mustHave(this.#calls.statvfs(path), "statfs", path);
  }

  /** Has everything that was written reach the host's disk. */
  syncSync(): void {
    must(this.#calls.sync(), "sync", "/");
  }

  /** Closes what is open, writes everything back and hangs up. Throws what went wrong with written data. */
  async close(): Promise<void> {
    const closed = this.#calls.descriptors.closeAll();
    const status = await closeSession(this.#session);
    must(closed < 0 ? closed : status, "close", "/");
  }

  /** The same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function identityOf(identity: GuestIdentity) {
  return {
    uid: identity.uid ?? Deno.uid() ?? 0,
    gid: identity.gid ?? Deno.gid() ?? 0,
    groups: identity.groups ?? [],
    umask: identity.umask ?? 0o022,
    pid: Deno.pid,
  };
}

function newCalls(session: Session, identity: ReturnType<typeof identityOf>): GuestCalls {
  const { volume } = session;
  volume.root.holds++;
  return new GuestCalls(volume, new Process(identity, volume.root));
}

function openFlags(options: GuestOpenOptions): number {
  const { read, write, append, truncate, create, createNew } = options;
  const writes = write === true || append === true;
  const reads = read ?? !writes;
  if (!reads && !writes) throw new GuestError(-EINVAL, "open", "");
  let flags = reads && writes ? O_RDWR : writes ? O_WRONLY : O_RDONLY;
  if (append === true) flags |= O_APPEND;
  if (truncate === true) flags |= O_TRUNC;
  if (create === true) flags |= O_CREAT;
  if (createNew === true) flags |= O_CREAT | O_EXCL;
  return flags;
}

function parentOf(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  const slash = trimmed.lastIndexOf("/");
  return slash < 0 ? "" : slash === 0 ? "/" : trimmed.slice(0, slash);
}
