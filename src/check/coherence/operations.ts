/**
 * What guests do in the check of coherence, on few names, so that they meet: the operations, and what is recorded of each.
 *
 * @module
 */

import { errnoName } from "../../sys/errno.ts";

/** The directories that names are in. They are made before the guests come, and stay: the walk to a name takes one step that can change. */
export const DIRECTORIES = ["/", "/p"] as const;
/** The name of the second directory in the first. */
export const INNER_NAME = "p";
/** The names that are made, moved and removed. Everything else says which by its index here. */
export const PLACES: readonly Place[] = [
  { directory: 0, name: "a", path: "/a" },
  { directory: 0, name: "b", path: "/b" },
  { directory: 0, name: "c", path: "/c" },
  { directory: 1, name: "a", path: "/p/a" },
  { directory: 1, name: "b", path: "/p/b" },
];
/** Files that one guest has open at a time. */
export const HANDLE_COUNT = 2;
/** Bytes of a file that is not empty: what is written is written whole, by one request. */
export const CONTENT_SIZE = 16;
/** The content of a file that truncate(2) has lengthened. */
export const ZEROS: string = "\0".repeat(CONTENT_SIZE);

/** A name in one of the directories. */
export interface Place {
  /** An index into {@linkcode DIRECTORIES}. */
  readonly directory: number;
  readonly name: string;
  readonly path: string;
}

/** Each kind with its arguments. Places, directories and handles are indices; handles are those of all guests, {@linkcode HANDLE_COUNT} each. */
interface Arguments {
  readonly stat: OnPlace;
  readonly read: OnPlace;
  readonly readlink: OnPlace;
  readonly getxattr: OnPlace;
  readonly create: OnPlace;
  readonly mkdir: OnPlace;
  readonly unlink: OnPlace;
  readonly rmdir: OnPlace;
  readonly write: OnPlace & WithValue;
  /** open(2) with O_TRUNC, then a write. */
  readonly rewrite: OnPlace & WithValue;
  readonly setxattr: OnPlace & WithValue;
  readonly symlink: OnPlace & WithValue;
  readonly truncate: OnPlace & WithSize;
  readonly chmod: OnPlace & WithMode;
  readonly link: OnPlace & WithTarget;
  readonly rename: OnPlace & WithTarget;
  readonly "rename-noreplace": OnPlace & WithTarget;
  readonly "rename-exchange": OnPlace & WithTarget;
  readonly readdir: OnDirectory;
  readonly "stat-directory": OnDirectory;
  readonly "chmod-directory": OnDirectory & WithMode;
  /** Open what is there, for reading and writing. */
  readonly open: OnPlace & OnHandle;
  /** Make a file, and keep it open. */
  readonly "create-open": OnPlace & OnHandle;
  readonly pread: OnHandle;
  readonly fstat: OnHandle;
  readonly close: OnHandle;
  readonly pwrite: OnHandle & WithValue;
  readonly ftruncate: OnHandle & WithSize;
  /** The host's own look at the whole, when no guest is at work. */
  readonly "host-sees": unknown;
}

interface OnPlace {
  readonly place: number;
}
interface OnDirectory {
  readonly directory: number;
}
interface OnHandle {
  readonly handle: number;
}
interface WithTarget {
  readonly target: number;
}
interface WithValue {
  readonly value: string;
}
interface WithMode {
  readonly mode: number;
}
interface WithSize {
  readonly size: number;
}

/** The kinds of operations. */
export type OperationKind = keyof Arguments;
/** One operation, of one of the kinds. */
export type Operation<K extends OperationKind = OperationKind> = K extends OperationKind
  ? { readonly kind: K } & Arguments[K]
  : never;

/** Kinds that change nothing. */
export const LOOKING: ReadonlySet<OperationKind> = new Set([
  "stat",
  "read",
  "readlink",
  "getxattr",
  "readdir",
  "stat-directory",
  "pread",
  "fstat",
  "host-sees",
]);

/** What an operation came to: 0, a negative errno, or what was seen, as text. */
export type Result = number | string;

/** One operation as it was done. Order numbers come from one counter of all threads. */
export interface Call {
  readonly guest: number;
  /** Whoever does one thing after the other: guests that share a connection are one thread. */
  readonly thread: number;
  readonly operation: Operation;
  /** Drawn before the operation began. */
  readonly invoked: number;
  /** Drawn after it had returned; Infinity if that does not count. */
  readonly returned: number;
  /** Null if nobody knows: the daemon was killed. The operation may have been done, not, or in part. */
  readonly result: Result | null;
}

/** The guest of {@linkcode Call}s that the host made. */
export const HOST = -1;

/** The operation in one word with its arguments. */
export function operationText(operation: Operation): string {
  return `${operation.kind}(${argumentsOf(operation).join(", ")})`;
}

/** The result as a reader wants it. */
export function resultText(result: Result | null): string {
  if (result === null) return "unknown: its daemon was killed";
  if (typeof result === "string") return result === "" ? '""' : valueText(result);
  return result < 0 ? errnoName(result) : String(result);
}

/** A value or content: the padding is not interesting. */
export function valueText(value: string): string {
  if (value === ZEROS) return "zeros";
  return value.replace(/\.+$/, "");
}

function argumentsOf(operation: Operation): string[] {
  const parts: string[] = [];
  if ("place" in operation) parts.push(PLACES[operation.place]!.path);
  if ("target" in operation) parts.push(PLACES[operation.target]!.path);
  if ("directory" in operation) parts.push(DIRECTORIES[operation.directory]!);
  if ("handle" in operation) parts.push(`file ${operation.handle}`);
  if ("value" in operation) parts.push(valueText(operation.value));
  if ("mode" in operation) parts.push(operation.mode.toString(8));
  if ("size" in operation) parts.push(String(operation.size));
  return parts;
}
