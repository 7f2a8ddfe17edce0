/**
 * What operations do to the single copy, in steps that happen at one instant each.
 *
 * Most operations have one step. An operation that a guest, any guest, makes of a walk to a file and something done to that file has two: what
 * the name led to, and later, whatever has become of the name, what is done to the file. Others may come between. These are all:
 *
 * - stat, read, write, truncate, chmod, getxattr, setxattr, link: the file, then the act. rewrite: the file, O_TRUNC, the write.
 * - rename that is refused for what the two names lead to: the first name, then the second. Linux looks both up before it asks, and a
 *   daemon cannot lock the names of a guest. A rename that succeeds happens at one instant.
 * - mkdir and symlink that give ENOENT: made, and gone again when the daemon looked at what it had made. Linux has no call that does both,
 *   and a guest must be told of an inode.
 * - readdir: all names at one instant; and, as a directory is read until an answer is empty, names that were added afterwards.
 *
 * An operation whose daemon was killed may stop after any of its steps, and before the first.
 *
 * Nothing else is forgiven. Not decided: a statx(2) of the host that others interrupt between two attributes (it takes no lock); nobody has
 * seen it.
 *
 * @module
 */

import { EEXIST, EINVAL, EISDIR, ENODATA, ENOENT, ENOTDIR, EPERM } from "../../sys/errno.ts";
import { type Call, type Operation, PLACES, type Result, ZEROS } from "./operations.ts";
import { DIRECTORY_NODES, FIRST_NODE, listingText, type Node, type State } from "./state.ts";

/** What the model has to know of the host's file system. */
export interface ModelOptions {
  /** Whether a directory's link count tells its subdirectories. */
  readonly countsDirectories: boolean;
}

/** How far an operation has come. */
export interface Progress {
  readonly call: Call;
  /** Steps done, or {@linkcode DONE}. */
  readonly step: number;
  /** The node that the walk has led to, or 0. */
  readonly node: number;
  /** readdir: names still to be accounted for, as bits by place. */
  readonly names: number;
}

/** The step of an operation that has done all. */
export const DONE = -1;

/** Called with each way that an operation can go on from a state. */
export type Emit = (state: State, progress: Progress) => void;

/** An operation that has been called. */
export function begun(call: Call): Progress {
  return { call, step: 0, node: 0, names: 0 };
}

/**
 * Tells `emit` the states that the next step of an operation can lead to, given what the operation is going to return; and `possible`, if that
 * is asked for, what it could have returned instead.
 */
export function advance(
  options: ModelOptions,
  state: State,
  progress: Progress,
  emit: Emit,
  possible?: (result: Result) => void,
): void {
  const { call } = progress;
  const { operation, result } = call;
  const finish = (after: State, value: Result) => {
    possible?.(value);
    if (result === null || value === result) {
      emit(after, { ...progress, step: DONE, node: 0, names: 0 });
    }
  };
  switch (operation.kind) {
    case "create":
    case "mkdir":
    case "symlink":
    case "create-open":
      return made(state, progress, operation, finish, emit);
    case "unlink":
    case "rmdir":
      return removed(state, operation.place, operation.kind === "rmdir", finish);
    case "readlink": {
      const id = state.entries[operation.place]!;
      if (id === 0) return finish(state, -ENOENT);
      const { kind, content } = state.node(id);
      return finish(state, kind === "link" ? content : -EINVAL);
    }
    case "open": {
      const id = fileAt(state, operation.place);
      return id < 0 ? finish(state, id) : finish(state.withHandle(operation.handle, id), 0);
    }
    case "close":
      return finish(state.withHandle(operation.handle, 0), 0);
    case "pread":
    case "fstat":
    case "pwrite":
    case "ftruncate":
      return acted(options, state, operation, state.handles[operation.handle]!, finish);
    case "stat-directory":
    case "chmod-directory":
      return acted(options, state, operation, DIRECTORY_NODES[operation.directory]!, finish);
    case "rename":
    case "rename-noreplace":
    case "rename-exchange":
      return renamed(state, progress, operation, finish, emit);
    case "readdir":
      return listed(state, progress, operation.directory, finish, emit);
    case "host-sees":
      return finish(state, state.snapshot());
    default:
      return walked(options, state, progress, operation, finish, emit);
  }
}

type Finish = (after: State, value: Result) => void;
type Walked = Operation<
  | "stat"
  | "read"
  | "getxattr"
  | "write"
  | "rewrite"
  | "setxattr"
  | "truncate"
  | "chmod"
  | "link"
>;

/** First the name, then what it led to. */
function walked(
  options: ModelOptions,
  state: State,
  progress: Progress,
  operation: Walked,
  finish: Finish,
  emit: Emit,
): void {
  const { step, node } = progress;
  if (step === 0) {
    const id = walk(state, operation);
    if (id === -ENOENT || id === -EISDIR) return finish(state, id);
    return emit(state, { ...progress, step: 1, node: id });
  }
  switch (operation.kind) {
    case "link":
      return linked(state, operation.target, node, finish);
    case "rewrite": {
      const content = step === 1 ? "" : operation.value;
      const after = state.withNode(node, { ...state.node(node), content });
      return step === 1 ? emit(after, { ...progress, step: 2 }) : finish(after, 0);
    }
    default:
      return acted(options, state, operation, node, finish);
  }
}

/** The node that an operation's name leads to, or why it ends there. */
function walk(state: State, { kind, place }: Walked): number {
  const id = state.entries[place]!;
  if (id === 0) return -ENOENT;
  switch (kind) {
    case "stat":
    case "link":
      return id;
    case "chmod":
    case "getxattr":
    case "setxattr":
      // Symbolic links are followed, and lead nowhere.
      return state.node(id).kind === "link" ? -ENOENT : id;
    default:
      return fileAt(state, place);
  }
}

/** The file that a name leads to, for reading or writing it. */
function fileAt(state: State, place: number): number {
  const id = state.entries[place]!;
  if (id === 0) return -ENOENT;
  const { kind } = state.node(id);
  return kind === "link" ? -ENOENT : kind === "directory" ? -EISDIR : id;
}

/** What is done to a node that has been reached. */
function acted(
  options: ModelOptions,
  state: State,
  operation: Operation,
  id: number,
  finish: Finish,
): void {
  const node = state.nodes.get(id);
  if (node === undefined) return;
  const change = (to: Partial<Node>) => finish(state.withNode(id, { ...node, ...to }), 0);
  switch (operation.kind) {
    case "stat":
    case "fstat":
    case "stat-directory":
      return finish(state, state.attributes(id, options.countsDirectories));
    case "read":
    case "pread":
      return finish(state, node.content);
    case "getxattr":
      return finish(state, node.xattr ?? -ENODATA);
    case "write":
    case "pwrite":
      return change({ content: operation.value });
    case "truncate":
    case "ftruncate":
      return change({ content: operation.size === 0 ? "" : node.content || ZEROS });
    case "chmod":
    case "chmod-directory":
      return change({ mode: operation.mode });
    case "setxattr":
      return change({ xattr: operation.value });
  }
}

function made(
  state: State,
  progress: Progress,
  operation: Operation<"create" | "mkdir" | "symlink" | "create-open">,
  finish: Finish,
  emit: Emit,
): void {
  const { call, step } = progress;
  const isThere = state.entries[operation.place] !== 0;
  if (step === 1) {
    if (!isThere) finish(state, -ENOENT);
    return;
  }
  if (isThere) return finish(state, -EEXIST);
  const id = call.invoked + FIRST_NODE;
  const named = state.withNode(id, newNode(operation)).withEntry(operation.place, id);
  const opens = operation.kind === "create-open";
  finish(opens ? named.withHandle(operation.handle, id) : named, 0);
  const isLookedUp = operation.kind === "mkdir" || operation.kind === "symlink";
  if (isLookedUp && call.result === -ENOENT) emit(named, { ...progress, step: 1 });
}

function newNode(operation: Operation): Node {
  switch (operation.kind) {
    case "mkdir":
      return { kind: "directory", content: "", mode: 0o755, xattr: null };
    case "symlink":
      return { kind: "link", content: operation.value, mode: 0o777, xattr: null };
    default:
      return { kind: "file", content: "", mode: 0o644, xattr: null };
  }
}

function removed(state: State, place: number, directory: boolean, finish: Finish): void {
  const id = state.entries[place]!;
  if (id === 0) return finish(state, -ENOENT);
  const isDirectory = state.node(id).kind === "directory";
  if (isDirectory !== directory) return finish(state, directory ? -ENOTDIR : -EISDIR);
  finish(state.withEntry(place, 0), 0);
}

function linked(state: State, target: number, id: number, finish: Finish): void {
  if (state.entries[target] !== 0) return finish(state, -EEXIST);
  if (state.node(id).kind === "directory") return finish(state, -EPERM);
  // A file without a name gets none.
  if (!state.entries.includes(id)) return finish(state, -ENOENT);
  finish(state.withEntry(target, id), 0);
}

function renamed(
  state: State,
  progress: Progress,
  { kind, place, target }: Operation<"rename" | "rename-noreplace" | "rename-exchange">,
  finish: Finish,
  emit: Emit,
): void {
  const from = state.entries[place]!;
  const to = state.entries[target]!;
  const isDirectory = (id: number) => id !== 0 && state.node(id).kind === "directory";
  const { result } = progress.call;
  if (progress.step === 1) {
    // Refused for what was found at the two names, one after the other.
    const fits = to !== 0 && (result === -EEXIST || isDirectory(to) === (result === -EISDIR));
    if (fits) finish(state, result!);
    return;
  }
  const isFirst = from !== 0 &&
    (kind === "rename-noreplace"
      ? result === -EEXIST
      : kind === "rename" && result === (isDirectory(from) ? -ENOTDIR : -EISDIR));
  if (isFirst) emit(state, { ...progress, step: 1 });
  if (from === 0) return finish(state, -ENOENT);
  if (kind === "rename-exchange") {
    if (to === 0) return finish(state, -ENOENT);
    return finish(state.withEntry(place, to).withEntry(target, from), 0);
  }
  if (to !== 0) {
    if (kind === "rename-noreplace") return finish(state, -EEXIST);
    if (isDirectory(from) !== isDirectory(to)) {
      return finish(state, isDirectory(from) ? -ENOTDIR : -EISDIR);
    }
  }
  // Two names of one file both stay.
  finish(from === to ? state : state.withEntry(place, 0).withEntry(target, from), 0);
}

function listed(
  state: State,
  progress: Progress,
  directory: number,
  finish: Finish,
  emit: Emit,
): void {
  const { result } = progress.call;
  let present = 0;
  const names: string[] = [];
  PLACES.forEach((place, i) => {
    if (place.directory !== directory || state.entries[i] === 0) return;
    present |= 1 << i;
    names.push(place.name);
  });
  if (progress.step === 0) {
    finish(state, listingText(directory, names));
    const seen = namesIn(directory, result);
    const added = seen & ~present;
    if (seen >= 0 && (present & ~seen) === 0 && added !== 0) {
      emit(state, { ...progress, step: 1, names: added });
    }
    return;
  }
  const left = progress.names & ~present;
  if (left === 0) finish(state, result!);
  else if (left !== progress.names) emit(state, { ...progress, names: left });
}

/** The names of a listing as bits by place, or -1 if it is none. */
function namesIn(directory: number, result: Result | null): number {
  if (typeof result !== "string") return -1;
  const names = result.split(" ");
  let bits = 0;
  const found: string[] = [];
  PLACES.forEach((place, i) => {
    if (place.directory !== directory || !names.includes(place.name)) return;
    bits |= 1 << i;
    found.push(place.name);
  });
  return listingText(directory, found) === result ? bits : -1;
}
