/**
 * What lies outside the share and must never be seen in a reply: bytes of files, and inode numbers.
 *
 * @module
 */

import { ATTR, ATTR_OUT, DIRENTPLUS, ENTRY_OUT, Opcode, STATX_OUT } from "../../wire/fuse.ts";
import { STATX } from "../../wire/linux.ts";

const ENTRIES: ReadonlySet<number> = new Set([
  Opcode.LOOKUP,
  Opcode.MKNOD,
  Opcode.MKDIR,
  Opcode.SYMLINK,
  Opcode.LINK,
  Opcode.CREATE,
  Opcode.TMPFILE,
]);

/** Looks through replies. */
export class Secrets {
  readonly #token: Uint8Array;
  readonly #inodes: ReadonlySet<bigint>;
  /** What was seen. */
  readonly seen: Set<string> = new Set();

  constructor(token: string, inodes: ReadonlySet<bigint>) {
    this.#token = new TextEncoder().encode(token);
    this.#inodes = inodes;
  }

  look(opcode: number, body: DataView<ArrayBuffer>): void {
    if (this.#hasToken(body)) this.seen.add("bytes of a file outside were read");
    const entry = ENTRY_OUT.ATTR + ATTR.INO;
    if (ENTRIES.has(opcode)) this.#inode(body, entry, ENTRY_OUT.NODEID);
    else if (opcode === Opcode.GETATTR || opcode === Opcode.SETATTR) {
      this.#inode(body, ATTR_OUT.ATTR + ATTR.INO);
    } else if (opcode === Opcode.STATX) this.#inode(body, STATX_OUT.STAT + STATX.INO);
    else if (opcode === Opcode.READDIRPLUS) {
      for (let at = 0; at + DIRENTPLUS.NAME <= body.byteLength;) {
        this.#inode(body, at + entry, at + ENTRY_OUT.NODEID);
        const size = body.getUint32(at + DIRENTPLUS.NAME - 8, true);
        at += DIRENTPLUS.NAME + Math.ceil(size / 8) * 8;
      }
    }
  }

  /** Entries without a node (".." of a directory that was read) tell nothing but what getdents(2) says. */
  #inode(body: DataView<ArrayBuffer>, at: number, nodeAt = -1): void {
    if (at + 8 > body.byteLength) return;
    if (nodeAt >= 0 && body.getBigUint64(nodeAt, true) === 0n) return;
    if (this.#inodes.has(body.getBigUint64(at, true))) {
      this.seen.add("attributes of something outside were told");
    }
  }

  #hasToken({ buffer, byteLength }: DataView<ArrayBuffer>): boolean {
    const bytes = new Uint8Array(buffer);
    const token = this.#token;
    const first = token[0]!;
    for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
      if (at + token.length > byteLength) return false;
      if (token.every((byte, i) => bytes[at + i] === byte)) return true;
    }
    return false;
  }
}
