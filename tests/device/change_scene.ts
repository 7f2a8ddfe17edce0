/**
 * A small tree, a guest that changes it, and another guest on another daemon that watches the version of everything in it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type FuseClient, type RequestOptions, ROOT } from "../support/fuse_client.ts";
import { O, OP, readEntry } from "../support/fuse_wire.ts";
import { name, viewOf, words } from "../support/little_endian.ts";
import type { TempTree } from "../support/temp_tree.ts";
import { CHANGE, IN_PROGRESS } from "../support/version_table.ts";
import type { VersionedGuest } from "../support/versioned_guest.ts";

/** What every scene starts with. A link's target is behind the arrow, a second name's first behind the equals sign. */
const PATHS = [
  "d/",
  "d/a",
  "d/b",
  "d/hard=e/c",
  "d/sub/",
  "d/symlink>a",
  "e/",
  "e/c",
  "e/empty/",
  "other",
  "bystander/",
  "bystander/x",
];

/** Makes the tree. */
export function makeScenery(tree: TempTree): void {
  for (const path of PATHS.filter((one) => one.endsWith("/"))) tree.directory(path);
  for (const path of PATHS) {
    if (/[\w]$/.test(path) && !/[=>]/.test(path)) tree.file(path, `this is ${path}`);
  }
  for (const path of PATHS) {
    const [link = "", target = ""] = path.split(">");
    const [second = "", first = ""] = path.split("=");
    if (path.includes(">")) Deno.symlinkSync(target, tree.path(link));
    if (path.includes("=")) Deno.linkSync(tree.path(first), tree.path(second));
  }
}

/** The guest that changes things, with versions or without: only what both replies have in common is read. */
export class Changer {
  constructor(readonly fuse: FuseClient) {}

  /** The node that a path leads to; "" is the root. */
  node(path: string): bigint {
    return path.split("/").filter((one) => one !== "").reduce((parent, one) => {
      const found = readEntry(this.ok(OP.LOOKUP, parent, name(one)));
      assert.notEqual(found.nodeid, 0n, path);
      return found.nodeid;
    }, ROOT);
  }

  open(nodeid: bigint, flags: number = O.RDWR): bigint {
    return viewOf(this.ok(OP.OPEN, nodeid, words(flags, 0))).getBigUint64(0, true);
  }

  /** A request that must succeed. */
  ok(
    opcode: number,
    nodeid: bigint,
    body: Uint8Array = new Uint8Array(0),
    options: RequestOptions = {},
  ): Uint8Array {
    return this.fuse.ok(opcode, nodeid, body, options);
  }
}

/** The guest that watches: knows the slot of everything in the tree. */
export class Watcher {
  readonly slots = new Map<string, number>();

  constructor(readonly guest: VersionedGuest) {
    this.slots.set("", guest.walk().index);
    for (const path of PATHS) this.watch(path.replace(/[=>].*|\/$/, ""));
    assert.equal(this.slots.get("d/hard"), this.slots.get("e/c"), "one inode, one slot");
    assert.equal(new Set(this.slots.values()).size, this.slots.size - 1, "all the others differ");
  }

  watch(path: string): void {
    const found = this.guest.walk(...path.split("/"));
    this.guest.versions.assertInRange(found.index, path);
    this.slots.set(path, found.index);
  }

  /** Asserts that exactly these inodes are changed, each once; and that afterwards nothing is in progress. */
  assertMoves(act: () => void, expected: readonly string[], times = 1n): void {
    const { versions } = this.guest;
    const before = versions.snapshot();
    act();
    const moved = versions.movedSince(before);
    const found: Record<string, bigint> = {};
    const wanted: Record<string, bigint> = {};
    for (const [path, index] of this.slots) {
      const by = moved.get(index);
      if (by !== undefined) found[path] = by;
      if (expected.some((one) => this.slots.get(one) === index)) wanted[path] = CHANGE * times;
      assert.equal(versions.slot(index) & IN_PROGRESS, 0n, `${path}: in progress afterwards`);
    }
    assert.deepEqual(found, wanted, "what moved, and by how much");
  }
}
