/**
 * What a mode promises beyond the protocol: held to each reply, and to the tree when a session is over.
 *
 * @module
 */

import { libc, status } from "../../src/sys/libc.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { AT } from "./chains.ts";

/** A request that was answered without an error. */
export interface Answered {
  readonly request: DataView;
  readonly requestSize: number;
  /** What is before AT.REPLY is not the reply's. */
  readonly memory: DataView;
  readonly replySize: number;
}

/** Of one mode. Everything throws where a promise is broken. */
export interface Promises {
  /** Prepares the share, which is as `Ground.reset()` leaves it. */
  prepare(share: string): void;
  /** The host has put something there. */
  swapped(path: string): void;
  checkReply(answered: Answered): void;
  checkTree(share: string): void;
}

/** By mode; those that are left out promise nothing more. */
export const PROMISES: Readonly<Record<string, Promises>> = {
  ids: { prepare: giveToMapped, swapped: chown, checkReply: checkIds, checkTree: checkOwners },
  xattrs: { prepare: plantNames, swapped() {}, checkReply: checkXattrs, checkTree: checkNames },
};

const OP = { GETATTR: 3, SETATTR: 4, SYMLINK: 6, MKNOD: 8, MKDIR: 9, GETXATTR: 22, LISTXATTR: 23 };
const OP_LATER = { LOOKUP: 1, LINK: 13, CREATE: 35, TMPFILE: 51, STATX: 52 };
const MAKERS: readonly number[] = [
  ...[OP.SYMLINK, OP.MKNOD, OP.MKDIR, OP_LATER.CREATE, OP_LATER.TMPFILE],
];
const ENTRIES: readonly number[] = [OP_LATER.LOOKUP, OP_LATER.LINK, ...MAKERS];
const HEADER = 40;
const BODY = AT.REPLY + 16;
/** Where a reply has its uid; the gid follows. */
const UID_AT: ReadonlyMap<number, number> = new Map([
  ...ENTRIES.map((opcode) => [opcode, 40 + 68] as const),
  ...[OP.GETATTR, OP.SETATTR].map((opcode) => [opcode, 16 + 68] as const),
  [OP_LATER.STATX, 32 + 20],
]);

/** Ids of the guest that may be used in mode "ids"; the others are forbidden or have no meaning. */
function mayUse(id: number): boolean {
  return id < 1000 + 60000;
}

/** Ids that the guest may see: the mapped ones, the one that stands for the squashed, and nobody. */
function maySee(id: number): boolean {
  return id <= 1000 || id === 65534;
}

function giveToMapped(share: string): void {
  for (const name of ["", "file", "large", "link-out", "link-in", "dir", "dir/file", "dir/sub"]) {
    chown(`${share}/${name}`);
  }
  for (let i = 0; i < 30; i++) chown(`${share}/dir/sub/n${i}`);
  // Squashed callers shall get somewhere, too.
  for (const name of ["", "dir", "dir/sub"]) Deno.chmodSync(`${share}/${name}`, 0o777);
}

const text = NativeMemory.allocate(4096);
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

function chown(path: string): void {
  const pointer = text.pointerAt(text.setCString(0, path));
  const result = status(libc.fchownat(AT_FDCWD, pointer, 100_000, 200_000, AT_SYMLINK_NOFOLLOW));
  if (result < 0) throw new Error(`chown ${path}: ${result}`);
}

function checkIds({ request, requestSize, memory, replySize }: Answered): void {
  const opcode = request.getUint32(4, true);
  if (MAKERS.includes(opcode)) {
    const caller = [request.getUint32(24, true), request.getUint32(28, true)];
    if (!caller.every(mayUse)) throw new Error(`${caller} made something`);
  }
  if (opcode === OP.SETATTR && requestSize >= HEADER + 88) {
    const valid = request.getUint32(HEADER, true);
    [2, 4].forEach((flag, which) => {
      const id = request.getUint32(HEADER + 76 + 4 * which, true);
      if ((valid & flag) !== 0 && id !== 0xffffffff && !mayUse(id)) {
        throw new Error(`something was given to ${id}`);
      }
    });
  }
  const at = UID_AT.get(opcode);
  if (at === undefined || replySize < 16 + at + 8) return;
  // An entry without an inode says that there is none.
  if (ENTRIES.includes(opcode) && memory.getUint32(BODY, true) === 0) return;
  for (const place of [BODY + at, BODY + at + 4]) {
    const id = memory.getUint32(place, true);
    if (!maySee(id)) throw new Error(`the guest sees the host's id ${id}`);
  }
}

const MAPPED =
  "( ( -uid +99999 -uid -101000 ) -o -uid 105000 ) ( ( -gid +199999 -gid -201000 ) -o -gid 205000 )";

/** Whatever the guest has made or given away belongs to mapped ids, as all else does. */
function checkOwners(share: string): void {
  const args = ["!", "(", ...MAPPED.split(" "), ")", "-printf", "%y %U:%G %P\\n"];
  const { stdout, success } = new Deno.Command("find", {
    args: [share, ...args],
    cwd: "/",
    stderr: "null",
  }).outputSync();
  if (!success) throw new Error("find failed");
  const others = new TextDecoder().decode(stdout).split("\n")
    .filter((line) => line !== "");
  if (others.length > 0) throw new Error(`not of mapped ids: ${others.slice(0, 5).join("; ")}`);
}

const SECRET = "the guest must not read this";
const HIDDEN = ["trusted.", "user.guest.", "security.hidden", "user.hidden"];
/** On the host, for nobody else; and what the guest calls "user.a", "user.b" and "security.selinux". */
const PLANTED = ["trusted.x", "user.b", "user.hidden"];
const SHOWN = ["user.a", "user.guest.user.b", "user.guest.security.selinux"];
const KEPT = /^user\.(a|guest\.(user|security)\.)/;
const LIST = 4096;
const LIST_SIZE = 65536;
const list = NativeMemory.allocate(LIST + LIST_SIZE);

function plantNames(share: string): void {
  const values = [...PLANTED.map((name) => [name, SECRET]), ...SHOWN.map((name) => [name, "seen"])];
  for (const [name, value] of values) {
    for (const file of ["", "file", "dir", "dir/file", "large"]) {
      list.setCString(0, `${share}/${file}`);
      list.setCString(1024, name!);
      list.setCString(2048, value!);
      const [path, key, bytes] = [0, 1024, 2048].map((at) => list.pointerAt(at));
      const result = status(libc.setxattr(path!, key!, bytes!, value!.length, 0));
      if (result < 0) throw new Error(`setxattr ${name}: ${result}`);
    }
  }
}

function checkXattrs({ request, memory, replySize }: Answered): void {
  const opcode = request.getUint32(4, true);
  if (opcode !== OP.GETXATTR && opcode !== OP.LISTXATTR) return;
  if (request.getUint32(HEADER, true) === 0) return;
  const size = Math.min(replySize - 16, LIST_SIZE);
  const bytes = new Uint8Array(memory.buffer, memory.byteOffset + BODY, Math.max(0, size));
  const said = new TextDecoder().decode(bytes);
  if (opcode === OP.GETXATTR) {
    if (said.includes(SECRET)) throw new Error("the guest reads what is the host's");
    return;
  }
  for (const name of said.split("\0")) {
    if (HIDDEN.some((hidden) => name.startsWith(hidden))) throw new Error(`${name} is listed`);
  }
}

/** Names on the host's files are those that the rules make, or were planted. */
function checkNames(share: string): void {
  const walk = (path: string): void => {
    for (const { name, isDirectory } of Deno.readDirSync(path)) {
      const inner = `${path}/${name}`;
      // Names that are no UTF-8 cannot be named here.
      if (name.includes("\ufffd") || inner.length > 1000) continue;
      for (const xattr of namesOf(inner)) {
        // A system with SELinux labels what it makes.
        const wasPlanted = PLANTED.includes(xattr) || xattr === "security.selinux";
        if (!wasPlanted && !KEPT.test(xattr)) throw new Error(`${inner} has ${xattr}`);
      }
      if (isDirectory) walk(inner);
    }
  };
  walk(share);
}

function namesOf(path: string): string[] {
  // listxattr(2) follows links, those that lead out as well.
  try {
    if (Deno.lstatSync(path).isSymlink) return [];
  } catch {
    return [];
  }
  list.setCString(0, path);
  const size = status(libc.listxattr(list.pointerAt(0), list.pointerAt(LIST), LIST_SIZE));
  if (size <= 0) return [];
  const bytes = list.u8.slice(LIST, LIST + size);
  return new TextDecoder().decode(bytes).split("\0").filter((name) => name !== "");
}
