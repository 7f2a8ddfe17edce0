/**
 * A guest's system calls, where every result that was not expected is an error that ends the soak.
 *
 * @module
 */

import type { Session } from "../../src/guest/session.ts";
import { GuestCalls } from "../../src/guest/vfs/calls.ts";
import { Process } from "../../src/guest/vfs/process.ts";
import { ENOENT, errnoName } from "../../src/sys/errno.ts";
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_RDONLY } from "../../src/wire/linux.ts";
import { O_DIRECTORY } from "../../src/sys/architecture.ts";
import { type FileModel, isSame } from "./file_model.ts";

/** Something is not as it must be. */
export class Unexpected extends Error {
  override readonly name = "Unexpected";
}

/** The calls of one process on one session, and what they are held to. */
export class GuestFiles {
  readonly session: Session;
  readonly calls: GuestCalls;
  /** Bytes of file contents that went either way. */
  bytes = 0;

  constructor(session: Session) {
    this.session = session;
    const [uid, gid] = [Deno.uid() ?? 0, Deno.gid() ?? 0];
    const identity = { uid, gid, groups: [], umask: 0o022, pid: Deno.pid };
    session.volume.root.holds++;
    this.calls = new GuestCalls(session.volume, new Process(identity, session.volume.root));
  }

  /** The result of a call that must not fail, except with one of `allowed`. */
  must(result: number, what: string, ...allowed: readonly number[]): number {
    if (result >= 0 || allowed.includes(-result)) return result;
    const { dead } = this.session.driver;
    throw new Unexpected(`${what}: ${errnoName(result)}${dead === null ? "" : ` (${dead})`}`);
  }

  /** A call that must fail with ENOENT. */
  mustMiss(path: string): void {
    const found = this.calls.fstatat(path, AT_SYMLINK_NOFOLLOW);
    if (found === -ENOENT) return;
    const what = typeof found === "number" ? errnoName(found) : `a file of ${found.size} bytes`;
    throw new Unexpected(`${path} is not there, and yet: ${what}`);
  }

  open(path: string, flags: number, mode = 0o644): number {
    return this.must(this.calls.open(path, flags, mode), `open ${path}`);
  }

  close(fd: number): void {
    this.must(this.calls.close(fd), "close");
  }

  /** Opens, does something and closes. */
  with(path: string, flags: number, use: (fd: number) => void): void {
    const fd = this.open(path, flags);
    try {
      use(fd);
    } finally {
      this.close(fd);
    }
  }

  pwrite(fd: number, bytes: Uint8Array, offset: number, what: string): void {
    for (let done = 0; done < bytes.length;) {
      const count = this.must(this.calls.pwrite(fd, bytes.subarray(done), offset + done), what);
      if (count === 0) throw new Unexpected(`${what}: nothing was written`);
      done += count;
    }
    this.bytes += bytes.length;
  }

  /** Reads until `into` is full or the file ends. */
  pread(fd: number, into: Uint8Array, offset: number, what: string): Uint8Array {
    let done = 0;
    while (done < into.length) {
      const count = this.must(this.calls.pread(fd, into.subarray(done), offset + done), what);
      if (count === 0) break;
      done += count;
    }
    this.bytes += done;
    return into.subarray(0, done);
  }

  /** Reads a piece and compares it with what it is to be. */
  verify(fd: number, file: FileModel, offset: number, length: number, what: string): void {
    const bytes = this.pread(fd, new Uint8Array(length), offset, what);
    const expected = file.slice(offset, length);
    if (isSame(bytes, expected)) return;
    const at = expected.findIndex((byte, i) => byte !== bytes[i]);
    throw new Unexpected(
      `${what}: at ${offset} for ${length} there are ${bytes.length} bytes, expected ${expected.length}` +
        (at < 0
          ? ""
          : `; the first difference is ${at} bytes on: ${bytes[at]} for ${expected[at]}`),
    );
  }

  /** All names in a directory but "." and "..", sorted. */
  list(path: string): string[] {
    const names: string[] = [];
    this.with(path, O_RDONLY | O_DIRECTORY, (fd) => {
      for (;;) {
        const entries = this.calls.getdents(fd);
        if (typeof entries === "number") {
          throw new Unexpected(`readdir ${path}: ${errnoName(entries)}`);
        }
        if (entries.length === 0) return;
        for (const { name } of entries) names.push(new TextDecoder().decode(name));
      }
    });
    return names.filter((name) => name !== "." && name !== "..").sort();
  }

  unlink(path: string): void {
    this.must(this.calls.unlinkat(AT_FDCWD, path, 0), `unlink ${path}`);
  }
}
