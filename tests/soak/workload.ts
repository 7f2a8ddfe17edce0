/**
 * What one guest does: operations at random on its own directory, each held against a model.
 *
 * @module
 */

import { EAGAIN, EEXIST, ENODATA, EOPNOTSUPP, errnoName } from "../../src/sys/errno.ts";
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  F_RDLCK,
  F_UNLCK,
  F_WRLCK,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
  O_CREAT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
} from "../../src/wire/linux.ts";
import type { Random } from "../fuzz/random.ts";
import { FILE_SIZE_MAX, FileModel, isSame, TreeModel } from "./file_model.ts";
import { type GuestFiles, Unexpected } from "./guest_files.ts";
import { digest } from "./pattern.ts";

const DIRECTORIES = 4;
/** Names that files can have in each. */
const NAMES = 40;
/** Descriptors that are held at a time, files without names among them. */
const HELD_MAX = 150;

/** One guest at work. */
export class Workload {
  readonly #files: GuestFiles;
  readonly #random: Random;
  readonly #root: string;
  readonly #tree = new TreeModel();
  readonly #held: { fd: number; file: FileModel }[] = [];
  #serial = 0;
  readonly #operations: readonly (readonly [weight: number, run: () => void])[] = [
    [12, () => this.#create()],
    [12, () => this.#write()],
    [14, () => this.#read()],
    [4, () => this.#verifyWhole()],
    [5, () => this.#truncate()],
    [4, () => this.#allocate()],
    [6, () => this.#rename()],
    [4, () => this.#link()],
    [7, () => this.#unlink()],
    [3, () => this.#makeDirectory()],
    [4, () => this.#list()],
    [6, () => this.#xattr()],
    [5, () => this.#lock()],
    [3, () => this.#symlink()],
    [8, () => this.#miss()],
    [6, () => this.#hold()],
    [3, () => this.#useHeld()],
    [1, () => this.#dropHeld()],
  ];
  readonly #weights: number;

  constructor(files: GuestFiles, random: Random, root: string) {
    this.#files = files;
    this.#random = random;
    this.#root = root;
    this.#weights = this.#operations.reduce((sum, [weight]) => sum + weight, 0);
    for (let i = 0; i < DIRECTORIES; i++) {
      files.must(files.calls.mkdirat(AT_FDCWD, `${root}/d${i}`, 0o755), "mkdir");
    }
  }

  /** One operation. */
  step(): void {
    let left = this.#random.below(this.#weights);
    for (const [weight, run] of this.#operations) {
      left -= weight;
      if (left < 0) return run();
    }
  }

  /** Lets everything go that is open, and looks at all files once more. What the host is to find. */
  finish(): [path: string, digest: string][] {
    this.#dropHeld();
    for (let i = 0; i < DIRECTORIES; i++) this.#verifyList(`${this.#root}/d${i}`);
    for (const [path, file] of this.#tree.files) this.#verifyFile(path, file);
    return [
      ...[...this.#tree.files].map(([path, file]) => [path, digest(file.contents)] as const),
      ...[...this.#tree.symlinks].map(([path, target]) => [path, `-> ${target}`] as const),
    ].map(([path, what]) => [path.slice(this.#root.length + 1), what]);
  }

  #path(): string {
    const { below } = bound(this.#random);
    return `${this.#root}/d${below(DIRECTORIES)}/n${below(NAMES)}`;
  }

  /** A file that is there, or null while there are none. */
  #some(): [path: string, file: FileModel] | null {
    const all = [...this.#tree.files];
    return all.length === 0 ? null : this.#random.pick(all);
  }

  #bytes(lengthMax: number): Uint8Array {
    const bytes = new Uint8Array(1 + this.#random.below(lengthMax));
    let word = this.#random.u32();
    for (let i = 0; i < bytes.length; i++) {
      word = (Math.imul(word, 1664525) + 1013904223) >>> 0;
      bytes[i] = word >>> 24;
    }
    return bytes;
  }

  #create(): void {
    const path = this.#path();
    if (this.#tree.symlinks.has(path)) return;
    const known = this.#tree.files.get(path);
    const bytes = this.#bytes(16384);
    const exclusive = known === undefined && this.#random.oneIn(2) ? O_EXCL : 0;
    this.#files.with(path, O_RDWR | O_CREAT | O_TRUNC | exclusive, (fd) => {
      const file = known ?? new FileModel();
      file.truncate(0);
      if (known === undefined) this.#tree.name(path, file);
      this.#files.pwrite(fd, bytes, 0, `write ${path}`);
      file.write(0, bytes);
    });
    // Whoever makes what is there must hear of it.
    const again = this.#files.calls.open(path, O_RDWR | O_CREAT | O_EXCL, 0o644);
    if (again !== -EEXIST) throw new Unexpected(`${path} was made twice: ${again}`);
  }

  #write(): void {
    const some = this.#some();
    if (some === null) return;
    const [path, file] = some;
    const bytes = this.#bytes(this.#random.oneIn(4) ? 65536 : 3000);
    const offset = this.#random.below(FILE_SIZE_MAX - bytes.length);
    this.#files.with(path, O_RDWR, (fd) => {
      this.#files.pwrite(fd, bytes, offset, `write ${path}`);
      file.write(offset, bytes);
      if (this.#random.oneIn(8)) this.#files.must(this.#files.calls.fsync(fd), `fsync ${path}`);
      if (this.#random.oneIn(2)) {
        this.#files.verify(fd, file, offset, bytes.length + 100, `read ${path}`);
      }
    });
  }

  #read(): void {
    const some = this.#some();
    if (some === null) return;
    const [path, file] = some;
    const offset = this.#random.below(file.size + 100);
    this.#files.with(path, O_RDONLY, (fd) => {
      this.#files.verify(fd, file, offset, 1 + this.#random.below(32768), `read ${path}`);
    });
  }

  #verifyWhole(): void {
    const some = this.#some();
    if (some !== null) this.#verifyFile(...some);
  }

  #verifyFile(path: string, file: FileModel): void {
    this.#files.with(path, O_RDONLY, (fd) => {
      this.#files.verify(fd, file, 0, file.size + 4096, `read ${path}`);
    });
    const stat = this.#files.calls.fstatat(path, 0);
    if (typeof stat === "number") throw new Unexpected(`stat ${path}: ${errnoName(stat)}`);
    if (stat.size !== file.size) {
      throw new Unexpected(`${path} has ${stat.size} bytes, expected ${file.size}`);
    }
    if (stat.nlink !== file.names) {
      throw new Unexpected(`${path} has ${stat.nlink} names, expected ${file.names}`);
    }
  }

  #truncate(): void {
    const some = this.#some();
    if (some === null) return;
    const [path, file] = some;
    const size = this.#random.below(this.#random.oneIn(2) ? file.size + 1 : FILE_SIZE_MAX);
    if (this.#random.oneIn(2)) {
      this.#files.must(this.#files.calls.truncate(path, size), `truncate ${path}`);
    } else {
      this.#files.with(path, O_RDWR, (fd) => {
        this.#files.must(this.#files.calls.ftruncate(fd, size), `ftruncate ${path}`);
      });
    }
    file.truncate(size);
  }

  #allocate(): void {
    const some = this.#some();
    if (some === null) return;
    const [path, file] = some;
    const offset = this.#random.below(FILE_SIZE_MAX / 2);
    const length = 1 + this.#random.below(FILE_SIZE_MAX / 2);
    const punches = this.#random.oneIn(2);
    const mode = punches ? FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE : 0;
    this.#files.with(path, O_RDWR, (fd) => {
      const status = this.#files.must(
        this.#files.calls.fallocate(fd, mode, offset, length),
        `fallocate ${path}`,
        EOPNOTSUPP,
      );
      if (status < 0) return;
      if (punches) file.zero(offset, length);
      else file.truncate(Math.max(file.size, offset + length));
    });
  }

  #rename(): void {
    const some = this.#some();
    if (some === null) return;
    const [from, file] = some;
    const to = this.#path();
    this.#files.must(this.#files.calls.renameat2(from, to, 0), `rename ${from} ${to}`);
    // Two names of one file stay: rename(2).
    if (this.#tree.files.get(to) === file) return;
    this.#tree.unname(from);
    this.#tree.name(to, file);
    this.#files.mustMiss(from);
  }

  #link(): void {
    const some = this.#some();
    const to = this.#path();
    if (some === null) return;
    const [from, file] = some;
    const allowed = this.#tree.has(to) ? EEXIST : 0;
    const status = this.#files.must(
      this.#files.calls.linkat(AT_FDCWD, from, AT_FDCWD, to, 0),
      `link ${from} ${to}`,
      allowed,
    );
    if (status === 0) this.#tree.name(to, file);
  }

  #unlink(): void {
    const symlinks = [...this.#tree.symlinks.keys()];
    const isLink = symlinks.length > 0 && this.#random.oneIn(3);
    const path = isLink ? this.#random.pick(symlinks) : this.#some()?.[0];
    if (path === undefined) return;
    this.#files.unlink(path);
    this.#tree.unname(path);
    this.#files.mustMiss(path);
  }

  #makeDirectory(): void {
    const path = `${this.#root}/made${this.#serial++}`;
    const { calls } = this.#files;
    this.#files.must(calls.mkdirat(AT_FDCWD, path, 0o755), `mkdir ${path}`);
    for (let i = this.#random.below(5); i > 0; i--) {
      const inside = `${path}/inside${i}`;
      this.#files.must(calls.mkdirat(AT_FDCWD, inside, 0o700), `mkdir ${inside}`);
      this.#files.must(calls.unlinkat(AT_FDCWD, inside, AT_REMOVEDIR), `rmdir ${inside}`);
    }
    if (this.#files.list(path).length > 0) throw new Unexpected(`${path} is not empty`);
    this.#files.must(calls.unlinkat(AT_FDCWD, path, AT_REMOVEDIR), `rmdir ${path}`);
    this.#files.mustMiss(path);
  }

  #list(): void {
    this.#verifyList(`${this.#root}/d${this.#random.below(DIRECTORIES)}`);
  }

  #verifyList(path: string): void {
    const found = this.#files.list(path).join(" ");
    const expected = this.#tree.namesIn(path).join(" ");
    if (found !== expected) {
      throw new Unexpected(`In ${path} there are\n  ${found}\nexpected\n  ${expected}`);
    }
  }

  #xattr(): void {
    const some = this.#some();
    if (some === null) return;
    const [path, { xattrs }] = some;
    const name = `user.soak${this.#random.below(4)}`;
    const { calls } = this.#files;
    const known = xattrs.get(name);
    const into = new Uint8Array(4096);
    if (this.#random.oneIn(2)) {
      const value = this.#bytes(this.#random.oneIn(8) ? 1000 : 40);
      const status = calls.setxattr(path, name, value, 0, true);
      if (this.#files.must(status, `setxattr ${path}`, EOPNOTSUPP) === 0) xattrs.set(name, value);
      return;
    }
    const size = calls.getxattr(path, name, into, true);
    if (this.#files.must(size, `getxattr ${path}`, EOPNOTSUPP, ENODATA) >= 0) {
      if (known === undefined || !isSame(into.subarray(0, size), known)) {
        throw new Unexpected(`${path}: ${name} has another value than it was given`);
      }
      this.#files.must(calls.listxattr(path, into, true), `listxattr ${path}`);
      this.#files.must(calls.removexattr(path, name, true), `removexattr ${path}`);
      xattrs.delete(name);
    } else if (size === -ENODATA && known !== undefined) {
      throw new Unexpected(`${path}: ${name} is not there any more`);
    }
  }

  #lock(): void {
    const some = this.#some();
    if (some === null) return;
    const [path] = some;
    const { calls } = this.#files;
    const fd = this.#files.open(path, O_RDWR);
    const keeps = this.#held.length < HELD_MAX && this.#random.oneIn(4);
    const start = this.#random.below(1000);
    const range = { start, end: start + this.#random.below(1000), pid: Deno.pid };
    const type = this.#random.oneIn(2) ? F_WRLCK : F_RDLCK;
    const ofFile = this.#random.oneIn(2);
    if (this.#random.oneIn(2)) {
      const operation = (this.#random.oneIn(2) ? LOCK_EX : LOCK_SH) | LOCK_NB;
      this.#files.must(calls.flock(fd, operation), `flock ${path}`, EAGAIN);
      if (!keeps) this.#files.must(calls.flock(fd, LOCK_UN), `unlock ${path}`);
    } else {
      this.#files.must(
        calls.setLock(fd, { ...range, type }, false, ofFile),
        `lock ${path}`,
        EAGAIN,
      );
      const other = calls.getLock(fd, { ...range, type }, ofFile);
      if (typeof other === "number") this.#files.must(other, `getlk ${path}`);
      if (!keeps) {
        const unlock = { ...range, type: F_UNLCK };
        this.#files.must(calls.setLock(fd, unlock, false, ofFile), `unlock ${path}`);
      }
    }
    if (keeps) this.#held.push({ fd, file: some[1] });
    else this.#files.close(fd);
  }

  #symlink(): void {
    const path = this.#path();
    const target = this.#random.pick([
      "../d0/n1",
      "nowhere",
      `../d1/n${this.#random.below(NAMES)}`,
    ]);
    const { calls } = this.#files;
    if (!this.#tree.has(path)) {
      this.#files.must(calls.symlink(target, path), `symlink ${path}`);
      this.#tree.symlinks.set(path, target);
    }
    const expected = this.#tree.symlinks.get(path);
    if (expected === undefined) return;
    const found = calls.readlink(path);
    const text = typeof found === "number" ? errnoName(found) : new TextDecoder().decode(found);
    if (text !== expected) throw new Unexpected(`${path} leads to ${text}, expected ${expected}`);
  }

  /** Names that are not there, some of which have been asked for before. */
  #miss(): void {
    for (let i = 0; i < 8; i++) {
      const name = this.#random.oneIn(2) ? this.#random.u32() : this.#random.below(30);
      this.#files.mustMiss(`${this.#root}/d${this.#random.below(DIRECTORIES)}/missing${name}`);
    }
    const path = this.#path();
    const found = this.#files.calls.fstatat(path, AT_SYMLINK_NOFOLLOW);
    if ((typeof found !== "number") !== this.#tree.has(path)) {
      throw new Unexpected(`${path} is ${this.#tree.has(path) ? "not there" : "there"}`);
    }
  }

  /** Opens many at once; some of them then have no name any more. */
  #hold(): void {
    for (let i = 5 + this.#random.below(15); i > 0 && this.#held.length < HELD_MAX; i--) {
      const some = this.#some();
      if (some === null) return;
      const [path, file] = some;
      this.#held.push({ fd: this.#files.open(path, O_RDWR), file });
      if (!this.#random.oneIn(12)) continue;
      this.#files.unlink(path);
      this.#tree.unname(path);
    }
  }

  #useHeld(): void {
    if (this.#held.length === 0) return;
    for (let i = 0; i < 5; i++) {
      const { fd, file } = this.#random.pick(this.#held);
      const offset = this.#random.below(file.size + 1);
      if (this.#random.oneIn(2)) {
        const bytes = this.#bytes(2000);
        const at = Math.min(offset, FILE_SIZE_MAX - bytes.length);
        this.#files.pwrite(fd, bytes, at, "write to what is held");
        file.write(at, bytes);
      }
      this.#files.verify(fd, file, offset, 8192, "read what is held");
    }
  }

  #dropHeld(): void {
    for (const { fd } of this.#held.splice(0)) this.#files.close(fd);
  }
}

function bound(random: Random): { below: (count: number) => number } {
  return { below: (count) => random.below(count) };
}
