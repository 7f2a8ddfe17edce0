/**
 * The shared directory as the host sees it: what a check begins with, and what it must have led to.
 *
 * @module
 */

import { hostCalls } from "../posix/host_calls.ts";
import { INNER_NAME, PLACES } from "./operations.ts";
import { XATTR_NAME } from "./perform.ts";
import { DIRECTORY_NODES, FOUND_NODE, type Node, State } from "./state.ts";

const RENAME_EXCHANGE = 2;
const decoder = new TextDecoder();

/** What the host's file system can do. */
export interface HostFeatures {
  readonly xattr: boolean;
  readonly exchange: boolean;
  readonly countsDirectories: boolean;
}

/** Makes the directories that names are in, in an empty directory, and finds out what its file system can do. */
export function prepare(directory: string): HostFeatures {
  const [one, other] = [`${directory}/one`, `${directory}/other`];
  Deno.mkdirSync(one);
  Deno.mkdirSync(other);
  // btrfs and overlayfs have one link for every directory.
  const countsDirectories = Deno.lstatSync(directory).nlink === 4;
  const exchange = hostCalls.renameat2(one, other, RENAME_EXCHANGE) === 0;
  const xattr = hostCalls.setxattr(one, XATTR_NAME, "x") === 0;
  Deno.removeSync(one);
  Deno.removeSync(other);
  const inner = `${directory}/${INNER_NAME}`;
  Deno.mkdirSync(inner);
  Deno.chmodSync(inner, 0o755);
  Deno.chmodSync(directory, 0o755);
  return { xattr, exchange, countsDirectories };
}

/** The state that a directory is in, with no file open. */
export function hostState(directory: string, handleCount: number): State {
  let state = State.empty(handleCount);
  const known = new Map<number, number>();
  PLACES.forEach(({ path }, place) => {
    const full = directory + path;
    const info = statOf(full);
    if (info === null) return;
    const id = known.get(info.ino!) ?? FOUND_NODE + known.size;
    if (!known.has(info.ino!)) {
      known.set(info.ino!, id);
      state = state.withNode(id, nodeAt(full, info));
    }
    state = state.withEntry(place, id);
  });
  DIRECTORY_NODES.forEach((id, i) => {
    const path = i === 0 ? directory : `${directory}/${INNER_NAME}`;
    const mode = Deno.lstatSync(path).mode! & 0o7777;
    state = state.withNode(id, { ...state.node(id), mode });
  });
  return state;
}

function statOf(path: string): Deno.FileInfo | null {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function nodeAt(path: string, info: Deno.FileInfo): Node {
  if (info.isSymlink) {
    return { kind: "link", content: Deno.readLinkSync(path), mode: 0o777, xattr: null };
  }
  const mode = info.mode! & 0o7777;
  const value = new Uint8Array(256);
  const length = hostCalls.getxattr(path, XATTR_NAME, value);
  const xattr = length < 0 ? null : decoder.decode(value.subarray(0, length));
  if (info.isDirectory) return { kind: "directory", content: "", mode, xattr };
  return { kind: "file", content: Deno.readTextFileSync(path), mode, xattr };
}
