/**
 * Random operations through the guest, and the same on a plain directory: both must come to the same.
 *
 * A failure prints its seed; VIRTIOFSD_TS_SEED=N deno test -A tests/userspace_guest/model_test.ts runs it again.
 */

import { deepEqual, equal } from "node:assert/strict";
import { Guest, type GuestCacheMode, type GuestDaxMode, GuestError } from "../../mod.ts";
import { ServedDirectory } from "./daemons.ts";

const STEPS = 1500;

/** A small generator of random numbers (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

/** What the guest and the plain directory both offer. */
interface Files {
  write(path: string, at: number, bytes: Uint8Array): void;
  read(path: string): Uint8Array;
  truncate(path: string, size: number): void;
  mkdir(path: string): void;
  remove(path: string): void;
  rename(from: string, to: string): void;
  link(from: string, to: string): void;
  symlink(target: string, path: string): void;
  chmod(path: string, mode: number): void;
  list(path: string): string[];
  look(path: string): string;
}

function guestFiles(guest: Guest): Files {
  return {
    write(path, at, bytes) {
      using file = guest.openSync(path, { read: true, write: true, create: true });
      for (let done = 0; done < bytes.length;) {
        done += file.writeAtSync(bytes.subarray(done), at + done);
      }
    },
    read: (path) => guest.readFileSync(path),
    truncate: (path, size) => guest.truncateSync(path, size),
    mkdir: (path) => guest.mkdirSync(path),
    remove: (path) => guest.removeSync(path),
    rename: (from, to) => guest.renameSync(from, to),
    link: (from, to) => guest.linkSync(from, to),
    symlink: (target, path) => guest.symlinkSync(target, path),
    chmod: (path, mode) => guest.chmodSync(path, mode),
    list: (path) => [...guest.readDirSync(path)].map(({ name }) => name).sort(),
    look: (path) => {
      const { mode, size, isDirectory, nlink } = guest.lstatSync(path);
      return `${mode.toString(8)} ${isDirectory ? "" : `${size} ${nlink}`}`;
    },
  };
}

function hostFiles(root: string): Files {
  const at = (path: string) => `${root}${path}`;
  return {
    write(path, offset, bytes) {
      using file = Deno.openSync(at(path), { read: true, write: true, create: true });
      file.seekSync(offset, Deno.SeekMode.Start);
      for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
    },
    read: (path) => Deno.readFileSync(at(path)),
    truncate(path, size) {
      // Without making the file, as truncate(2).
      using file = Deno.openSync(at(path), { write: true });
      file.truncateSync(size);
    },
    mkdir: (path) => Deno.mkdirSync(at(path)),
    remove: (path) => Deno.removeSync(at(path)),
    rename: (from, to) => Deno.renameSync(at(from), at(to)),
    link: (from, to) => Deno.linkSync(at(from), at(to)),
    symlink: (target, path) => Deno.symlinkSync(target, at(path)),
    chmod: (path, mode) => Deno.chmodSync(at(path), mode),
    list: (path) => [...Deno.readDirSync(at(path))].map(({ name }) => name).sort(),
    look: (path) => {
      const { mode, size, isDirectory, nlink } = Deno.lstatSync(at(path));
      return `${mode!.toString(8)} ${isDirectory ? "" : `${size} ${nlink}`}`;
    },
  };
}

function codeOf(error: unknown): string {
  if (error instanceof GuestError) return error.code;
  if (error instanceof Error && "code" in error) return String(error.code);
  throw error;
}

/** The result of a call as text: its value, or its errno. */
function outcome(act: () => unknown): string {
  try {
    const value = act();
    if (value instanceof Uint8Array) return `${value.length} ${digest(value)}`;
    return value === undefined ? "done" : String(value);
  } catch (error) {
    return codeOf(error);
  }
}

/** FNV-1a */
function digest(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** One random step as something to do with either side. */
function step(next: (below: number) => number): [string, (files: Files) => unknown] {
  const directories = ["", "/d0", "/d1", "/d0/e"];
  const path = () => `${directories[next(4)]}/${["a", "b", "c", "d0", "d1", "e"][next(6)]}`;
  const [one, two] = [path(), path()];
  const sizes = [1, 100, 4096, 5000, 65536, 70_000, 200_000];
  const size = sizes[next(sizes.length)]!;
  const offset = [0, 1, 4095, 4096, 65_535, 65_536, 150_000][next(7)]!;
  switch (next(13)) {
    case 0:
    case 1:
    case 2: {
      const bytes = new Uint8Array(size).fill(next(256));
      return [`write ${one} ${offset}+${size}`, (files) => files.write(one, offset, bytes)];
    }
    case 3:
    case 4:
      return [`read ${one}`, (files) => files.read(one)];
    case 5:
      return [`truncate ${one} ${offset}`, (files) => files.truncate(one, offset)];
    case 6:
      return [`mkdir ${one}`, (files) => files.mkdir(one)];
    case 7:
      return [`remove ${one}`, (files) => files.remove(one)];
    case 8:
      return [`rename ${one} ${two}`, (files) => files.rename(one, two)];
    case 9:
      return [`link ${one} ${two}`, (files) => files.link(one, two)];
    case 10:
      return [`symlink a ${one}`, (files) => files.symlink("a", one)];
    case 11:
      return [`list ${one}`, (files) => files.list(one)];
    default:
      return [`look ${one}`, (files) => files.look(one)];
  }
}

/** Name, options of the daemon, the guest's cache mode, and its DAX mode where that is not "never". */
type Configuration = readonly [
  string,
  string[],
  GuestCacheMode,
  ("inode" | "always")?,
];

const DAX = ["--dax", "always", "--dax-window", "8M"];
/** A table of this run's own. */
const TABLE = `/dev/shm/virtiofsd-ts-model-${crypto.randomUUID()}`;
const SHARED = ["--cache", "shared", "--version-table", TABLE, "--version-slots", "4096"];
globalThis.addEventListener("unload", () => {
  for (const path of [TABLE, `${TABLE}.registry`]) {
    try {
      Deno.removeSync(path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
});

const CONFIGURATIONS: readonly Configuration[] = [
  ["cache=auto", ["--cache", "auto"], "auto"],
  ["cache=never", ["--cache", "never"], "auto"],
  ["cache=always with write-back", ["--cache", "always", "--writeback"], "auto"],
  ["cache=auto with write-back, a guest that believes for a day", [
    "--cache",
    "auto",
    "--writeback",
  ], "always"],
  ["a guest without caches", ["--cache", "always"], "none"],
  ["DAX", ["--cache", "auto", ...DAX], "auto", "always"],
  [
    "DAX of marked files, write-back",
    [
      "--cache",
      "always",
      "--writeback",
      ...DAX,
    ],
    "auto",
    "inode",
  ],
  ["DAX, a guest without caches", ["--cache", "never", ...DAX], "none", "always"],
  ["shared versions", SHARED, "shared"],
  ["shared versions, write-back", [...SHARED, "--writeback"], "shared"],
  ["shared versions, DAX", [...SHARED, ...DAX], "shared", "always"],
  ["a guest that wants shared versions of a daemon without", ["--cache", "auto"], "shared"],
];

for (const [name, args, cache, given] of CONFIGURATIONS) {
  const dax: GuestDaxMode = given ?? "never";
  Deno.test(`random operations come to the same as on a plain directory: ${name}`, async () => {
    const wanted = Deno.env.get("VIRTIOFSD_TS_SEED");
    const seed = wanted === undefined
      ? crypto.getRandomValues(new Uint32Array(1))[0]!
      : Number(wanted);
    await using served = await ServedDirectory.ours(...args);
    const plain = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "virtiofsd-ts-model-" });
    try {
      // A cache of 2 MiB, so that blocks are evicted and written back in the middle of things.
      const options = {
        socketPath: served.socketPath,
        cache,
        dax,
        pageCacheSize: 2 << 20,
        warn: () => {},
      };
      await using guest = await Guest.connect(options);
      const ours = guestFiles(guest);
      const theirs = hostFiles(plain);
      const next = random(seed);
      const log: string[] = [];
      for (let i = 0; i < STEPS; i++) {
        const [what, act] = step(next);
        const expected = outcome(() => act(theirs));
        const seen = outcome(() => act(ours));
        log.push(`${what}: ${expected}`);
        equal(
          seen,
          expected,
          `${what}: ${seen}, step ${i} (VIRTIOFSD_TS_SEED=${seed}); before: ${
            log.slice(-12).join("; ")
          }`,
        );
      }
      guest.syncSync();
      deepEqual(tree(served.directory), tree(plain), `VIRTIOFSD_TS_SEED=${seed}`);
    } finally {
      Deno.removeSync(plain, { recursive: true });
    }
  });
}

/** Everything below a directory: paths, modes, contents. */
function tree(root: string, below = ""): string[] {
  const lines: string[] = [];
  for (const { name, isDirectory, isFile } of Deno.readDirSync(`${root}${below}`)) {
    const path = `${below}/${name}`;
    const bytes = isFile ? Deno.readFileSync(`${root}${path}`) : null;
    const mode = Deno.lstatSync(`${root}${path}`).mode!.toString(8);
    lines.push(`${path} ${mode} ${bytes === null ? "" : `${bytes.length} ${digest(bytes)}`}`);
    if (isDirectory) lines.push(...tree(root, path));
  }
  return lines.sort();
}
