/**
 * The actions of `virtiofsd-ts guest`: each a small program over a {@linkcode Guest}.
 *
 * @module
 */

import type { GuestFileInfo } from "../guest/file_info.ts";
import type { Guest } from "../guest/guest.ts";
import type { GuestFile } from "../guest/guest_file.ts";
import { printOut } from "./exit.ts";

/** The flags that an action may look at. */
export interface ActionFlags {
  readonly json: boolean;
  readonly long: boolean;
  readonly recursive: boolean;
  readonly parents: boolean;
  readonly symbolic: boolean;
}

/** One action. */
export interface GuestAction {
  /** Its words, for the usage line. */
  readonly synopsis: string;
  readonly wordsMin: number;
  readonly wordsMax: number;
  run(guest: Guest, words: readonly string[], flags: ActionFlags): void | Promise<void>;
}

const PIECE_SIZE = 1024 * 1024;

/** All actions by name. */
export const GUEST_ACTIONS = {
  ls: action("[PATH]...", 0, (guest, words, flags) => {
    const paths = words.length === 0 ? ["/"] : words;
    for (const path of paths) list(guest, path, flags, paths.length > 1 || flags.recursive);
  }),
  tree: action("[PATH]", 0, (guest, [path = "/"]) => {
    printOut(path);
    const count = tree(guest, path, "");
    printOut(`\n${count.directories} directories, ${count.files} files`);
  }, 1),
  cat: action("PATH...", 1, (guest, words) => {
    for (const path of words) {
      using file = guest.openSync(path);
      copy(file, (bytes) => writeOut(bytes));
    }
  }),
  stat: action("PATH...", 1, (guest, words, flags) => {
    for (const path of words) {
      const info = guest.lstatSync(path);
      printOut(flags.json ? JSON.stringify(jsonInfo(path, info)) : statText(guest, path, info));
    }
  }),
  readlink: action("PATH", 1, (guest, [path]) => printOut(guest.readLinkSync(path!)), 1),
  df: action("", 0, (guest, _words, flags) => {
    const { blocks, bfree, bavail, frsize, files, ffree } = guest.statFsSync();
    const bytes = (count: number) => count * frsize;
    const figures = {
      size: bytes(blocks),
      used: bytes(blocks - bfree),
      available: bytes(bavail),
      inodes: files,
      inodesFree: ffree,
    };
    if (flags.json) return printOut(JSON.stringify(figures));
    printOut(
      `size ${amount(figures.size)}, used ${amount(figures.used)}, ` +
        `available ${amount(figures.available)}, inodes ${files}, free ${ffree}`,
    );
  }, 0),
  put: action("HOST... SHARE", 2, (guest, words, flags) => {
    const target = words.at(-1)!;
    for (const source of words.slice(0, -1)) {
      putTree(guest, source, inside(isDirectory(guest, target), target, source), flags);
    }
  }),
  get: action("SHARE... HOST", 2, (guest, words, flags) => {
    const target = words.at(-1)!;
    for (const source of words.slice(0, -1)) {
      getTree(guest, source, inside(isHostDirectory(target), target, source), flags);
    }
  }),
  cp: action("SHARE... SHARE", 2, (guest, words, flags) => {
    const target = words.at(-1)!;
    for (const source of words.slice(0, -1)) {
      copyTree(guest, source, inside(isDirectory(guest, target), target, source), flags);
    }
  }),
  mv: action("SHARE... SHARE", 2, (guest, words) => {
    const target = words.at(-1)!;
    for (const source of words.slice(0, -1)) {
      guest.renameSync(source, inside(isDirectory(guest, target), target, source));
    }
  }),
  ln: action("[-s] TARGET PATH", 2, (guest, [target, path], flags) => {
    if (flags.symbolic) guest.symlinkSync(target!, path!);
    else guest.linkSync(target!, path!);
  }, 2),
  mkdir: action("[-p] PATH...", 1, (guest, words, flags) => {
    for (const path of words) guest.mkdirSync(path, { recursive: flags.parents });
  }),
  rm: action("[-r] PATH...", 1, (guest, words, flags) => {
    for (const path of words) guest.removeSync(path, { recursive: flags.recursive });
  }),
  touch: action("PATH...", 1, (guest, words) => {
    for (const path of words) {
      using file = guest.openSync(path, { write: true, create: true });
      const now = new Date();
      file.utimeSync(now, now);
    }
  }),
  truncate: action("SIZE PATH", 2, (guest, [size, path]) => {
    guest.truncateSync(path!, wholeNumber(size!, 10));
  }, 2),
  chmod: action("MODE PATH...", 2, (guest, [mode, ...paths]) => {
    for (const path of paths) guest.chmodSync(path, wholeNumber(mode!, 8));
  }),
  write: action("PATH", 1, async (guest, [path]) => {
    using file = guest.openSync(path!, { write: true, create: true, truncate: true });
    for await (const bytes of Deno.stdin.readable) file.writeAllSync(bytes);
  }, 1),
} as const satisfies Readonly<Record<string, GuestAction>>;

function action(
  synopsis: string,
  wordsMin: number,
  run: GuestAction["run"],
  wordsMax = Infinity,
): GuestAction {
  return { synopsis, wordsMin, wordsMax, run };
}

function list(guest: Guest, path: string, flags: ActionFlags, heading: boolean): void {
  const info = guest.statSync(path);
  if (!info.isDirectory) return printOut(line(guest, path, path, flags));
  const names = [...guest.readDirSync(path)].sort((a, b) => a.name < b.name ? -1 : 1);
  if (heading && !flags.json) printOut(`${path}:`);
  for (const { name } of names) printOut(line(guest, `${slashed(path)}${name}`, name, flags));
  if (heading && !flags.json) printOut("");
  if (!flags.recursive) return;
  for (const { name, isDirectory } of names) {
    if (isDirectory) list(guest, `${slashed(path)}${name}`, flags, true);
  }
}

function line(guest: Guest, path: string, name: string, flags: ActionFlags): string {
  if (flags.json) return JSON.stringify(jsonInfo(path, guest.lstatSync(path)));
  if (!flags.long) return name;
  const info = guest.lstatSync(path);
  const { nlink, uid, gid, size, mtime } = info;
  const target = info.isSymlink ? ` -> ${guest.readLinkSync(path)}` : "";
  const figures = `${`${nlink}`.padStart(3)} ${`${uid}`.padStart(5)} ${`${gid}`.padStart(5)} ${
    `${size}`.padStart(12)
  }`;
  return `${modeText(info)} ${figures} ${timeText(mtime)} ${name}${target}`;
}

function tree(
  guest: Guest,
  path: string,
  indent: string,
): { directories: number; files: number } {
  const count = { directories: 0, files: 0 };
  const entries = [...guest.readDirSync(path)].sort((a, b) => a.name < b.name ? -1 : 1);
  entries.forEach(({ name, isDirectory, isSymlink }, i) => {
    const last = i === entries.length - 1;
    const child = `${slashed(path)}${name}`;
    const target = isSymlink ? ` -> ${guest.readLinkSync(child)}` : "";
    printOut(`${indent}${last ? "└── " : "├── "}${name}${target}`);
    if (!isDirectory) {
      count.files++;
      return;
    }
    count.directories++;
    const below = tree(guest, child, `${indent}${last ? "    " : "│   "}`);
    count.directories += below.directories;
    count.files += below.files;
  });
  return count;
}

function putTree(guest: Guest, source: string, target: string, flags: ActionFlags): void {
  const info = Deno.lstatSync(source);
  if (info.isSymlink) return guest.symlinkSync(Deno.readLinkSync(source), target);
  if (info.isDirectory) {
    needRecursive(source, flags);
    guest.mkdirSync(target, { recursive: true });
    for (const { name } of Deno.readDirSync(source)) {
      putTree(guest, `${slashed(source)}${name}`, `${slashed(target)}${name}`, flags);
    }
    return;
  }
  using from = Deno.openSync(source);
  const mode = (info.mode ?? 0o644) & 0o777;
  using to = guest.openSync(target, { write: true, create: true, truncate: true, mode });
  const bytes = new Uint8Array(PIECE_SIZE);
  for (let count = from.readSync(bytes); count !== null; count = from.readSync(bytes)) {
    to.writeAllSync(bytes.subarray(0, count));
  }
}

function getTree(guest: Guest, source: string, target: string, flags: ActionFlags): void {
  const info = guest.lstatSync(source);
  refuseLink(target);
  if (info.isSymlink) return Deno.symlinkSync(guest.readLinkSync(source), target);
  if (info.isDirectory) {
    needRecursive(source, flags);
    Deno.mkdirSync(target, { recursive: true });
    for (const { name } of guest.readDirSync(source)) {
      getTree(guest, `${slashed(source)}${name}`, `${slashed(target)}${name}`, flags);
    }
    return;
  }
  using from = guest.openSync(source);
  const mode = info.mode & 0o777;
  using to = Deno.openSync(target, { write: true, create: true, truncate: true, mode });
  copy(from, (bytes) => {
    for (let done = 0; done < bytes.length;) done += to.writeSync(bytes.subarray(done));
  });
}

/** A daemon could name a symbolic link first, and then what is to be written through it. */
function refuseLink(target: string): void {
  try {
    if (!Deno.lstatSync(target).isSymlink) return;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  throw new Deno.errors.AlreadyExists(`"${target}" is a symbolic link: not written through`);
}

function copyTree(guest: Guest, source: string, target: string, flags: ActionFlags): void {
  const info = guest.lstatSync(source);
  if (info.isSymlink) return guest.symlinkSync(guest.readLinkSync(source), target);
  if (info.isDirectory) {
    needRecursive(source, flags);
    const names = [...guest.readDirSync(source)].map(({ name }) => name);
    guest.mkdirSync(target, { recursive: true });
    for (const name of names) {
      copyTree(guest, `${slashed(source)}${name}`, `${slashed(target)}${name}`, flags);
    }
    return;
  }
  using from = guest.openSync(source);
  const mode = info.mode & 0o777;
  using to = guest.openSync(target, { write: true, create: true, truncate: true, mode });
  copy(from, (bytes) => to.writeAllSync(bytes));
}

function copy(file: GuestFile, write: (bytes: Uint8Array) => void): void {
  const bytes = new Uint8Array(PIECE_SIZE);
  for (let count = file.readSync(bytes); count !== null; count = file.readSync(bytes)) {
    write(bytes.subarray(0, count));
  }
}

function needRecursive(path: string, flags: ActionFlags): void {
  if (!flags.recursive) {
    throw new Deno.errors.IsADirectory(`"${path}" is a directory: -r copies it with what is in it`);
  }
}

function isDirectory(guest: Guest, path: string): boolean {
  return guest.existsSync(path) && guest.statSync(path).isDirectory;
}

function isHostDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Where a copy of `source` goes: into a directory, or to the path itself. */
function inside(directory: boolean, target: string, source: string): string {
  const name = source.replace(/\/+$/, "").split("/").at(-1)!;
  return directory ? `${slashed(target)}${name}` : target;
}

function slashed(path: string): string {
  return path.endsWith("/") ? path : `${path}/`;
}

function jsonInfo(path: string, info: GuestFileInfo) {
  const { size, mode, nlink, uid, gid, ino, blocks } = info;
  return {
    path,
    type: typeName(info),
    size,
    mode: (mode & 0o7777).toString(8).padStart(4, "0"),
    nlink,
    uid,
    gid,
    ino: Number(ino),
    blocks,
    mtime: info.mtime.toISOString(),
    atime: info.atime.toISOString(),
    ctime: info.ctime.toISOString(),
  };
}

function statText(guest: Guest, path: string, info: GuestFileInfo): string {
  const target = info.isSymlink ? ` -> ${guest.readLinkSync(path)}` : "";
  const octal = (info.mode & 0o7777).toString(8).padStart(4, "0");
  return `${path}${target}
  ${typeName(info)}, ${info.size} bytes, ${info.blocks} blocks of 512
  mode ${octal} (${modeText(info)}), owner ${info.uid}, group ${info.gid}, links ${info.nlink}
  inode ${info.ino}
  modified ${info.mtime.toISOString()}
  accessed ${info.atime.toISOString()}
  changed  ${info.ctime.toISOString()}`;
}

function typeName(info: GuestFileInfo): string {
  if (info.isFile) return "file";
  if (info.isDirectory) return "directory";
  if (info.isSymlink) return "symlink";
  if (info.isFifo) return "fifo";
  if (info.isSocket) return "socket";
  return info.isBlockDevice ? "block device" : "character device";
}

function modeText(info: GuestFileInfo): string {
  const type = info.isDirectory
    ? "d"
    : info.isSymlink
    ? "l"
    : info.isFifo
    ? "p"
    : info.isSocket
    ? "s"
    : info.isBlockDevice
    ? "b"
    : info.isCharDevice
    ? "c"
    : "-";
  const bits = [6, 3, 0].map((shift) => {
    const three = (info.mode >>> shift) & 7;
    const special = (info.mode & (shift === 6 ? 0o4000 : shift === 3 ? 0o2000 : 0o1000)) !== 0;
    const x = (three & 1) !== 0;
    const letter = shift === 0 ? "t" : "s";
    const last = special ? (x ? letter : letter.toUpperCase()) : x ? "x" : "-";
    return `${(three & 4) !== 0 ? "r" : "-"}${(three & 2) !== 0 ? "w" : "-"}${last}`;
  });
  return type + bits.join("");
}

function timeText(time: Date): string {
  return time.toISOString().slice(0, 16).replace("T", " ");
}

function amount(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

function wholeNumber(text: string, radix: number): number {
  const value = parseInt(text, radix);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new Deno.errors.NotFound(`"${text}" is no number`);
  }
  return value;
}

function writeOut(bytes: Uint8Array): void {
  try {
    for (let done = 0; done < bytes.length;) done += Deno.stdout.writeSync(bytes.subarray(done));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
