/**
 * What a request of the kernel is about, as far as it matters to what the kernel caches: read from our own memory before the daemon gets it.
 *
 * @module
 */

import type { NativeMemory } from "../sys/native_memory.ts";
import {
  COPY_FILE_RANGE_IN,
  CREATE_IN,
  IN_HEADER,
  LINK_IN,
  MKDIR_IN,
  MKNOD_IN,
  Opcode,
  OPEN_IN,
  RENAME2_IN,
  RENAME_IN,
} from "../wire/fuse.ts";
import { O_TRUNC } from "../wire/linux.ts";
import { CHANGED_BY, CHANGES } from "../wire/shared_versions.ts";
import type { KnownNode, KnownNodes } from "./known_nodes.ts";
import { NO_VERSION } from "./version_numbers.ts";

/** Where a request's (first) name begins behind the header. */
const NAME_AT: Readonly<Record<number, number>> = {
  [Opcode.LOOKUP]: 0,
  [Opcode.SYMLINK]: 0,
  [Opcode.UNLINK]: 0,
  [Opcode.RMDIR]: 0,
  [Opcode.MKNOD]: MKNOD_IN.SIZE,
  [Opcode.MKDIR]: MKDIR_IN.SIZE,
  [Opcode.LINK]: LINK_IN.SIZE,
  [Opcode.CREATE]: CREATE_IN.SIZE,
  [Opcode.RENAME]: RENAME_IN.SIZE,
  [Opcode.RENAME2]: RENAME2_IN.SIZE,
};

/** One inode in a request, and its version when it was asked. */
export class AskedNode {
  node: KnownNode | null = null;
  asked = NO_VERSION;
  /** The request changes it. */
  changes = false;
  /** Once it was answered: it did, and nobody else did. */
  alone = false;
}

/** One request; used again for the next in its slot. */
export class Asked {
  opcode = 0;
  /** The request's nodeid. */
  readonly node: AskedNode = new AskedNode();
  /** The new directory of a RENAME, the inode that a LINK adds a name to, the target of a copy. */
  readonly other: AskedNode = new AskedNode();
  /** What the name leads to, and the new name of a RENAME, if that was known. */
  readonly named: AskedNode = new AskedNode();
  readonly newNamed: AskedNode = new AskedNode();
  /** One character per byte. */
  name = "";
  newName = "";
  /** RENAME2's. */
  flags = 0;

  /** Reads the request at `at`, whose arguments are `size` bytes in all. */
  read(bytes: NativeMemory, at: number, size: number, nodes: KnownNodes): void {
    const { view } = bytes;
    const opcode = view.getUint32(at + IN_HEADER.OPCODE, true);
    const args = at + IN_HEADER.SIZE;
    const end = args + size;
    this.opcode = opcode;
    this.name = "";
    this.newName = "";
    this.flags = 0;
    this.node.node = nodes.get(bytes.u64(at + IN_HEADER.NODEID));
    this.other.node = null;
    const nameAt = NAME_AT[opcode];
    if (nameAt !== undefined) this.name = nameOf(bytes.u8, args + nameAt, end);
    let truncates = false;
    switch (opcode) {
      case Opcode.OPEN:
        truncates = (view.getUint32(args + OPEN_IN.FLAGS, true) & O_TRUNC) !== 0;
        break;
      case Opcode.CREATE:
        truncates = (view.getUint32(args + CREATE_IN.FLAGS, true) & O_TRUNC) !== 0;
        break;
      case Opcode.RENAME:
      case Opcode.RENAME2:
        if (opcode === Opcode.RENAME2) this.flags = view.getUint32(args + RENAME2_IN.FLAGS, true);
        this.other.node = nodes.get(bytes.u64(args + RENAME_IN.NEWDIR));
        this.newName = nameOf(bytes.u8, args + nameAt! + this.name.length + 1, end);
        break;
      case Opcode.LINK:
        this.other.node = nodes.get(bytes.u64(args + LINK_IN.OLDNODEID));
        break;
      case Opcode.COPY_FILE_RANGE:
      case Opcode.COPY_FILE_RANGE_64:
        this.other.node = nodes.get(bytes.u64(args + COPY_FILE_RANGE_IN.NODEID_OUT));
        break;
    }
    this.#findChanges(truncates, nodes);
  }

  #findChanges(truncates: boolean, nodes: KnownNodes): void {
    let changes = CHANGED_BY[this.opcode] ?? 0;
    if ((changes & CHANGES.IF_TRUNCATED) !== 0 && !truncates) {
      changes &= this.opcode === Opcode.OPEN ? 0 : ~CHANGES.NAMED;
    }
    const { node, other, named, newNamed } = this;
    const ofOther = CHANGES.NEW_DIRECTORY | CHANGES.LINKED | CHANGES.COPY_TARGET;
    node.changes = (changes & CHANGES.NODE) !== 0;
    // An inode in two roles is changed once.
    other.changes = (changes & ofOther) !== 0 && !(node.changes && other.node === node.node);
    named.node = (changes & CHANGES.NAMED) !== 0 ? child(node.node, this.name, nodes) : null;
    named.changes = named.node !== null;
    newNamed.node = (changes & CHANGES.NEW_NAMED) !== 0
      ? child(other.node, this.newName, nodes)
      : null;
    newNamed.changes = newNamed.node !== null && newNamed.node !== named.node;
  }
}

function child(directory: KnownNode | null, name: string, nodes: KnownNodes): KnownNode | null {
  const known = directory?.names?.get(name);
  return known === undefined ? null : nodes.get(known.nodeid);
}

/** The bytes up to a NUL as characters. */
export function nameOf(u8: Uint8Array, at: number, end: number): string {
  let name = "";
  for (let i = at; i < end && u8[i] !== 0; i++) name += String.fromCharCode(u8[i]!);
  return name;
}
