/**
 * The daemon for programs that embed it: what `mod.ts` exports of it, with defaults where the command line
 * has some.
 *
 * @module
 */

import { SLOT_COUNT_MAX, SLOT_COUNT_MIN } from "./coherence/registry_layout.ts";
import {
  type CacheMode,
  DAX_WINDOW_SIZE_DEFAULT,
  DAX_WINDOW_UNIT,
  type DaxMode,
  type GuestBudget,
  type IdTranslation,
  type InodeFileHandles,
  PASSTHROUGH_DEFAULTS,
  SHARED_QUEUE_COUNT_MAX,
  VERSION_SLOTS_DEFAULT,
  VERSION_TABLE_DEFAULT,
  type XattrRule,
} from "./config.ts";
import type { FileSystemSource } from "./device/worker_messages.ts";
import type { Log } from "./log.ts";
import { serve as serveDirectory, serveDevice } from "./serve.ts";
import * as errnoConstants from "./sys/errno.ts";
import * as fuseConstants from "./wire/fuse.ts";
import * as linuxConstants from "./wire/linux.ts";
import { VHOST_USER_PROTOCOL_F } from "./wire/vhost_user.ts";
import { VIRTIO_FS_CONFIG } from "./wire/virtio_fs.ts";

/**
 * Error numbers, and {@linkcode errno.errnoName} for their names (asm-generic/errno.h). A file system answers them
 * negated.
 *
 * @example
 * ```ts
 * import { errno } from "../mod.ts";
 *
 * const status = -errno.ENOENT;
 * if (errno.errnoName(status) !== "ENOENT") throw new Error("another number");
 * ```
 */
export const errno: typeof errnoConstants = errnoConstants;

/**
 * The FUSE protocol, with the names of linux/fuse.h: byte offsets of the fields of each struct (`fuse.READ_IN.OFFSET`),
 * opcodes and flags. A field that is called SIZE in the header is `SIZE_` here; `SIZE` is the struct's.
 *
 * @example
 * ```ts
 * import { fuse } from "../mod.ts";
 *
 * if (fuse.ENTRY_OUT.ATTR + fuse.ATTR.SIZE !== fuse.ENTRY_OUT.SIZE) throw new Error("a gap");
 * ```
 */
export const fuse: typeof fuseConstants = fuseConstants;

/**
 * Constants of the Linux system call interface that FUSE uses: file types (S_IFDIR), open flags (O_TRUNC), flags of
 * rename (RENAME_NOREPLACE).
 *
 * @example
 * ```ts
 * import { type Attributes, linux } from "../mod.ts";
 *
 * const attributes: Attributes = { ino: 2, size: 5, mode: linux.S_IFREG | 0o644 };
 * if ((attributes.mode & linux.S_IFMT) !== linux.S_IFREG) throw new Error("no file");
 * ```
 */
export const linux: typeof linuxConstants = linuxConstants;

/** virtio-fs devices have one queue of their own and this many for requests at most, each with a Worker. */
const REQUEST_QUEUES_MAX = 64;

/** How a host directory is shown. What is left out is as on the command line, where Rust virtiofsd's defaults hold. */
export interface PassthroughOptions {
  /** How long the guest may trust what it was told. Default "auto": a second, and file data while a file is open. */
  readonly cache?: CacheMode;
  /** Validity of names and attributes in seconds, in place of what the cache mode says. */
  readonly timeoutSeconds?: number;
  /** Validity of "no such name" in seconds, in place of what the cache mode says. */
  readonly negativeTimeoutSeconds?: number;
  /** The guest may keep written data back. Default false. */
  readonly writeback?: boolean;
  /** Shared mappings although the guest's page cache is off. Default false. */
  readonly allowMmap?: boolean;
  /** A guest's O_DIRECT reaches the host's open(2). Default false. */
  readonly allowDirectIo?: boolean;
  /** The guest can change nothing. Default false. */
  readonly readonly?: boolean;
  /** Extended attributes. Default false. */
  readonly xattr?: boolean;
  /** POSIX ACLs; implies xattr. Default false. */
  readonly posixAcl?: boolean;
  /** New inodes get the guest's security label; implies xattr. Default false. */
  readonly securityLabel?: boolean;
  /** Directories are read together with attributes. Default true. */
  readonly readdirplus?: boolean;
  /** Mount points of the host are mount points in the guest. Default true. */
  readonly announceSubmounts?: boolean;
  /** Set-id bits and capabilities fall when a file is written or its owner changed. Default false. */
  readonly killprivV2?: boolean;
  /** fcntl locks are taken on the host, so that several guests and the host share them. Default false. */
  readonly posixLocks?: boolean;
  /** flock(2) locks are taken on the host. Default false. */
  readonly flockLocks?: boolean;
  /** Whether inodes are held by file handles instead of open descriptors. Default "prefer". */
  readonly inodeFileHandles?: InodeFileHandles;
  /** A guest's O_NOATIME is passed on. Default false. */
  readonly preserveNoatime?: boolean;
  /** Which files guests with a DAX window map. Default "auto": those from 1 MiB to the window's size that are not executable, unless they thrash the window. */
  readonly dax?: DaxMode;
  /** Users and groups that have other numbers on the host. Not together with posixAcl. Default: none. */
  readonly ids?: IdTranslation;
  /** Names of extended attributes on the host, the first rule that matches counting; implies xattr. Default: as in the guest. */
  readonly xattrRules?: readonly XattrRule[];
  /** What the guest may make the daemon hold; null = what follows from the limit of descriptors. */
  readonly budget?: GuestBudget;
}

/** The version table that all daemons of a host share. */
export interface VersionOptions {
  /** Its file, in shared memory; a registry lies beside it. Default: `/dev/shm/virtiofsd-ts-versions`. */
  readonly path?: string;
  /** Slots of a table that is made: a power of two from 64 to 16,777,216. Default 524,288. */
  readonly slotCount?: number;
  /** Changes made on the host itself are seen by guests, too. Default false. */
  readonly watchHost?: boolean;
}

/**
 * What to serve, and where. One of `socketPath` and `fd`, and one of `sharedDir` and `fileSystem`, have to be there.
 *
 * @example
 * ```ts
 * import type { ServeOptions } from "../mod.ts";
 *
 * const options: ServeOptions = {
 *   socketPath: "share.sock",
 *   tag: "share",
 *   sharedDir: "share",
 *   passthrough: { cache: "always", readonly: true },
 * };
 * if (options.fileSystem !== undefined) throw new Error("it is a directory or a file system, not both");
 * ```
 */
export interface ServeOptions {
  /** Where front ends connect: a socket to be made, at most 107 bytes. It is removed at the end. */
  readonly socketPath?: string;
  /** The group that may connect to `socketPath`, beside the owner. */
  readonly socketGroup?: string;
  /** A listening UNIX stream socket in the place of `socketPath`. It is closed at the end. */
  readonly fd?: number;
  /**
   * The mount tag, 1 to 36 bytes, for front ends that ask the back end for it (UML, Cloud Hypervisor); QEMU's
   * vhost-user-fs device has one of its own.
   */
  readonly tag?: string;
  /** Request queues, 1 (the default) to 64. Each has a Worker, with an instance of the file system. */
  readonly requestQueues?: number;
  /** How long an idle queue is watched before its Worker sleeps, in microseconds. Default 0. */
  readonly pollMicroseconds?: number;
  /** Wait for the next front end when one has left, instead of ending. Default false. */
  readonly keepListening?: boolean;
  /** The host directory that the guest shall see. */
  readonly sharedDir?: string;
  /** Bytes of the DAX window, for front ends that have shared-memory regions: a power of two from 2 MiB on. Default 512 MiB. */
  readonly daxWindow?: number;
  /** With the cache mode "shared": the version table. */
  readonly versions?: VersionOptions;
  /** How it is shown. */
  readonly passthrough?: PassthroughOptions;
  /** A file that keeps the state memory, to be looked into after the daemon's end: see `virtiofsd-ts inspect`. Default: none. */
  readonly stateFile?: string;
  /** A path for a UNIX socket on which OpenMetrics are served over HTTP: `GET /metrics`. Default: none. */
  readonly metricsSocket?: string;
  /** Open files to ask the kernel for, with `sharedDir`; 0 = leave the limit alone. Default: a million, if allowed. */
  readonly rlimitNofile?: number;
  /**
   * A module (absolute URL) whose default export makes a file system: `(options) => FileSystem`, or a promise of
   * one. It is imported and called in each queue's Worker; what it throws makes {@linkcode serve} fail.
   */
  readonly fileSystem?: URL | string;
  /** What that function gets: anything that can be sent to a Worker. */
  readonly fileSystemOptions?: unknown;
  /** What happens goes there, `console` for example. Default: nowhere. */
  readonly log?: Log;
  /** A log line for each request and reply as well. Default false. */
  readonly trace?: boolean;
  /** Ends the daemon in order. */
  readonly signal?: AbortSignal;
}

/**
 * Serves a directory, or a file system of one's own, to the front ends (virtual machine monitors) that connect to
 * a vhost-user socket: one after another, each with its guest.
 *
 * The socket is there when the call returns; a front end may connect at once. The promise is fulfilled when `signal`
 * is aborted or, without `keepListening`, when the front end has left.
 *
 * The directory of a passthrough is opened with the rights of this process, and the limit of open files is raised
 * for the whole process (see `rlimitNofile`).
 *
 * @throws {TypeError} (rejection) if the options contradict each other or lack something.
 * @throws {RangeError} (rejection) if a number or the tag is out of its range.
 * @throws {SetupError} (rejection) for what an operator has to mend: no such directory, a socket in use, a file system
 * that could not be made. The message says which and why.
 * @throws {Error} (rejection) if a queue's Worker ended by itself.
 *
 * @example A file system of one's own
 * ```ts
 * import { serve } from "../mod.ts";
 *
 * const directory = Deno.makeTempDirSync();
 * const ending = new AbortController();
 * const ended = serve({
 *   socketPath: `${directory}/memory.sock`,
 *   tag: "memory",
 *   fileSystem: new URL("../examples/memory_fs.ts", import.meta.url),
 *   signal: ending.signal,
 * });
 * // … here a guest is started with `${directory}/memory.sock` …
 * ending.abort();
 * await ended;
 * Deno.removeSync(directory);
 * ```
 *
 * @example What could not be set up
 * ```ts
 * import { serve, SetupError } from "../mod.ts";
 *
 * const directory = Deno.makeTempDirSync();
 * try {
 *   await serve({ socketPath: `${directory}/s`, sharedDir: `${directory}/missing` });
 *   throw new Error("unreachable");
 * } catch (error) {
 *   if (!(error instanceof SetupError)) throw error;
 *   // Cannot open the shared directory ".../missing": ENOENT
 * }
 * Deno.removeSync(directory);
 * ```
 */
export async function serve(options: ServeOptions): Promise<void> {
  check(options);
  const { socketPath, sharedDir } = options;
  const device = {
    endpoint: socketPath === undefined
      ? { kind: "fd", fd: options.fd! } as const
      : { kind: "path", path: socketPath, group: options.socketGroup ?? null } as const,
    keepListening: options.keepListening ?? false,
    tag: options.tag ?? null,
    requestQueueCount: options.requestQueues ?? 1,
    pollMicroseconds: options.pollMicroseconds ?? 0,
    metricsSocket: options.metricsSocket ?? null,
  };
  const hooks = {
    log: options.log ?? SILENT,
    trace: options.trace ?? false,
    signal: options.signal ?? new AbortController().signal,
  };
  if (sharedDir === undefined) {
    const fileSystem = moduleSource(options);
    await serveDevice(
      { ...device, window: null, versions: null, stateFile: null, fileSystem },
      hooks,
    );
    return;
  }
  const given = options.passthrough ?? {};
  const xattr = given.xattr === true || given.posixAcl === true || given.securityLabel === true ||
    given.xattrRules !== undefined;
  const passthrough = { ...PASSTHROUGH_DEFAULTS, ...given, xattr, sharedDir };
  const rlimitNofile = options.rlimitNofile ?? null;
  const size = options.daxWindow ?? DAX_WINDOW_SIZE_DEFAULT;
  const window = passthrough.dax === "never"
    ? null
    : { size, protocolBit: VHOST_USER_PROTOCOL_F.SHMEM };
  const stateFile = options.stateFile ?? null;
  const { path, slotCount, watchHost } = options.versions ?? {};
  const versions = passthrough.cache !== "shared" ? null : {
    path: path ?? VERSION_TABLE_DEFAULT,
    slotCount: slotCount ?? VERSION_SLOTS_DEFAULT,
    watchHost: watchHost ?? false,
  };
  await serveDirectory(
    { ...device, rlimitNofile, window, versions, stateFile, passthrough },
    hooks,
  );
}

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };

function moduleSource(options: ServeOptions): FileSystemSource {
  const url = String(options.fileSystem);
  return { kind: "module", url, options: options.fileSystemOptions };
}

function check(options: ServeOptions): void {
  const { socketPath, fd, sharedDir, fileSystem, tag } = options;
  if ((socketPath === undefined) === (fd === undefined)) {
    throw new TypeError("Either socketPath or fd says where front ends connect");
  }
  if (options.socketGroup !== undefined && socketPath === undefined) {
    throw new TypeError("socketGroup needs socketPath, not fd");
  }
  if ((sharedDir === undefined) === (fileSystem === undefined)) {
    throw new TypeError("Either sharedDir or fileSystem says what is served");
  }
  if (fileSystem !== undefined && !URL.canParse(String(fileSystem))) {
    throw new TypeError(`fileSystem has to be an absolute URL: "${fileSystem}"`);
  }
  if (options.passthrough !== undefined && sharedDir === undefined) {
    throw new TypeError("passthrough needs sharedDir");
  }
  if (options.fileSystemOptions !== undefined && fileSystem === undefined) {
    throw new TypeError("fileSystemOptions needs fileSystem");
  }
  const tagSize = new TextEncoder().encode(tag ?? "-").length;
  if (tagSize < 1 || tagSize > VIRTIO_FS_CONFIG.TAG_SIZE) {
    throw new RangeError(`tag has ${tagSize} bytes: 1 to ${VIRTIO_FS_CONFIG.TAG_SIZE} fit`);
  }
  checkWhole("fd", fd, 0, 2 ** 31 - 1);
  checkWhole("requestQueues", options.requestQueues, 1, REQUEST_QUEUES_MAX);
  checkWhole("pollMicroseconds", options.pollMicroseconds, 0, 1_000_000);
  checkWhole("daxWindow", options.daxWindow, DAX_WINDOW_UNIT, Number.MAX_SAFE_INTEGER);
  if (!Number.isInteger(Math.log2(options.daxWindow ?? DAX_WINDOW_SIZE_DEFAULT))) {
    throw new RangeError(`daxWindow is ${options.daxWindow}: a power of two is expected`);
  }
  if (options.passthrough?.cache === "shared") {
    checkWhole("requestQueues", options.requestQueues, 1, SHARED_QUEUE_COUNT_MAX);
  }
  const { slotCount } = options.versions ?? {};
  checkWhole("versions.slotCount", slotCount, SLOT_COUNT_MIN, SLOT_COUNT_MAX);
  if (slotCount !== undefined && !Number.isInteger(Math.log2(slotCount))) {
    throw new RangeError(`versions.slotCount is ${slotCount}: a power of two is expected`);
  }
  checkWhole("rlimitNofile", options.rlimitNofile, 0, Number.MAX_SAFE_INTEGER);
}

function checkWhole(name: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw new RangeError(`${name} is ${value}: a whole number from ${min} to ${max} is expected`);
}
