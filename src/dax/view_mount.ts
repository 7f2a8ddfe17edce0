/**
 * The private mount behind `views.ts`, made, proved and ended by the main thread.
 *
 * It takes CAP_SYS_ADMIN and a kernel with FUSE passthrough (6.9). Whether it works is found out here, with a file of our own, and not
 * when a guest's file is to be mapped.
 *
 * @module
 */

import { ARCHITECTURE } from "../sys/architecture.ts";
import { errnoName } from "../sys/errno.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import { Mapping } from "../sys/mapping.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import {
  AT_EMPTY_PATH,
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  FSCONFIG_CMD_CREATE,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MFD_CLOEXEC,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  SEEK_END,
  SEEK_SET,
  STATX,
} from "../wire/linux.ts";
import type { ViewStart } from "./view_worker.ts";
import { Views } from "./views.ts";
import { VIEW_WORKER_NAME, VIEW_WORKER_URL } from "./worker_url.ts";

const encoder = new TextEncoder();
/** What a guest maps at a time, of a file of one page or less. */
const PROOF_MAP_SIZE = 2 * 1024 * 1024;
const PROOF_FILE_SIZE = 100;
const PROOF_BYTE = 0x5a;

/** Where views are opened, whoever makes them. */
export interface PaddedViews {
  /** The root, to be opened in: see {@linkcode Views}. */
  readonly rootFd: number;
  /** Whether a descriptor is of a file in it. */
  contains(fd: number): boolean;
  /** Ends it. What others have mapped through views stays mapped. */
  close(): Promise<void>;
}

/** A running private file system. */
export class ViewMount implements PaddedViews {
  /** The root, to be opened in: see {@linkcode Views}. */
  readonly rootFd: number;
  readonly #device: number;
  readonly #mount: OwnedFd;
  readonly #fuse: OwnedFd;
  readonly #end: OwnedFd;
  readonly #client: OwnedFd | null;
  readonly #worker: Worker;
  readonly #ended: Promise<void>;

  private constructor(
    fuse: OwnedFd,
    mount: OwnedFd,
    end: OwnedFd,
    client: OwnedFd | null,
    worker: Worker,
  ) {
    this.rootFd = mount.number;
    this.#device = deviceOf(mount.number);
    this.#fuse = fuse;
    this.#mount = mount;
    this.#end = end;
    this.#client = client;
    this.#worker = worker;
    this.#ended = new Promise((resolve) => {
      const ended = () => {
        // Nobody answers any more: the kernel is told so, and lets those go who wait.
        this.#fuse.close();
        resolve();
      };
      worker.onmessage = ended;
      worker.onerror = (event) => {
        event.preventDefault();
        ended();
      };
    });
  }

  /**
   * Makes the mount and proves that views work; or says in a few words why they cannot be had here. With `clientPid` it is for another
   * process, whose descriptors are the names in it and who has to prove it (`proveViews`).
   */
  static async open(clientPid: number | null = null): Promise<ViewMount | string> {
    using undo = new DisposableStack();
    const opened = status(
      libc.open(encoder.encode("/dev/fuse\0"), O_RDWR | O_NONBLOCK | O_CLOEXEC, 0),
    );
    if (opened < 0) return `/dev/fuse cannot be opened (${errnoName(opened)})`;
    const fuse = undo.use(new OwnedFd(opened));
    const mounted = mountPrivately(fuse.number);
    if (mounted < 0) return `a private FUSE mount is refused (${errnoName(mounted)})`;
    const mount = undo.use(new OwnedFd(mounted));
    const eventFd = status(libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (eventFd < 0) return `an eventfd cannot be made (${errnoName(eventFd)})`;
    const end = undo.use(new OwnedFd(eventFd));
    let client: OwnedFd | null = null;
    if (clientPid !== null) {
      const reached = status(libc.pidfd_open(ARCHITECTURE.syscalls.pidfd_open, clientPid, 0));
      if (reached < 0) return `the serving process cannot be reached (${errnoName(reached)})`;
      client = undo.use(new OwnedFd(reached));
    }
    const worker = await startWorker({
      fuseFd: fuse.number,
      endFd: end.number,
      clientPidFd: client?.number ?? null,
    });
    undo.move();
    const views = new ViewMount(fuse, mount, end, client, worker);
    if (clientPid !== null) return views;
    const flaw = proveViews(views.rootFd);
    if (flaw === null) return views;
    await views.close();
    return flaw;
  }

  /** Whether a descriptor is of a file in it. */
  contains(fd: number): boolean {
    return deviceOf(fd) === this.#device;
  }

  /** Ends it. What others have mapped through views stays mapped. */
  async close(): Promise<void> {
    const one = NativeMemory.allocate(8);
    one.setU64(0, 1);
    libc.write(this.#end.number, one.pointerAt(0), 8);
    await this.#ended;
    this.#worker.terminate();
    this.#mount.close();
    this.#end.close();
    // The Worker has ended, which used it.
    this.#client?.close();
  }
}

/** fsopen(2) to fsmount(2): the root of a mount that is in no name space, or a negative errno. */
function mountPrivately(fuseFd: number): number {
  const { fsopen, fsconfig, fsmount } = ARCHITECTURE.syscalls;
  const context = status(libc.fsopen(fsopen, encoder.encode("fuse\0"), FSOPEN_CLOEXEC));
  if (context < 0) return context;
  const settings: readonly [string, string | null][] = [
    ["source", "virtiofsd-ts-views"],
    ["fd", String(fuseFd)],
    ["rootmode", "40000"],
    ["user_id", String(libc.geteuid())],
    ["group_id", String(libc.getegid())],
    // The monitor may be another user.
    ["allow_other", null],
  ];
  let result = 0;
  for (const [key, value] of settings) {
    const name = encoder.encode(`${key}\0`);
    if (result < 0) break;
    result = status(
      value === null
        ? libc.fsconfig(fsconfig, context, FSCONFIG_SET_FLAG, name, null, 0)
        : libc.fsconfig(
          fsconfig,
          context,
          FSCONFIG_SET_STRING,
          name,
          encoder.encode(`${value}\0`),
          0,
        ),
    );
  }
  if (result === 0) {
    result = status(libc.fsconfig(fsconfig, context, FSCONFIG_CMD_CREATE, null, null, 0));
  }
  if (result === 0) result = status(libc.fsmount(fsmount, context, FSMOUNT_CLOEXEC, 0));
  libc.close(context);
  return result;
}

let stat: NativeMemory | null = null;

/** Major and minor number of the file system that an open file is in, as one number; -1 if that cannot be told. */
export function deviceOf(fd: number): number {
  stat ??= NativeMemory.allocate(4096);
  const scratch = stat;
  const empty = scratch.pointerAt(scratch.setCString(STATX.SIZE, ""));
  if (libc.statx(fd, empty, AT_EMPTY_PATH, 0, scratch.pointerAt(0)) < 0) return -1;
  const major = scratch.view.getUint32(STATX.DEV_MAJOR, true);
  return major * 2 ** 32 + scratch.view.getUint32(STATX.DEV_MINOR, true);
}

function startWorker(start: ViewStart): Promise<Worker> {
  const worker = new Worker(VIEW_WORKER_URL, { type: "module", name: VIEW_WORKER_NAME });
  return new Promise((resolve, reject) => {
    worker.onmessage = () => resolve(worker);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`The views' Worker cannot start: ${event.message}`));
    };
    worker.postMessage(start);
  });
}

/**
 * Tries a view of a small file of our own in every respect that counts: it claims to be long, can be mapped beyond the file's
 * end, what is written through it is in the file, and neither that nor a truncation changes the file's size. Null, or what is wrong.
 */
export function proveViews(rootFd: number): string | null {
  const views = new Views(rootFd);
  const scratch = NativeMemory.allocate(4096);
  scratch.setCString(0, "virtiofsd-ts-view-proof");
  const made = status(libc.memfd_create(scratch.pointerAt(0), MFD_CLOEXEC));
  if (made < 0) return `a file to try cannot be made (${errnoName(made)})`;
  using file = new OwnedFd(made);
  libc.ftruncate(file.number, BigInt(PROOF_FILE_SIZE));
  const opened = views.open(file.number, true);
  if (opened < 0) return `FUSE passthrough does not work here (${errnoName(opened)})`;
  using view = new OwnedFd(opened);
  let mapping: Mapping;
  try {
    mapping = new Mapping(view.number, 0, PROOF_MAP_SIZE);
  } catch (error) {
    return (error as Error).message;
  }
  mapping.memory.u8[PROOF_FILE_SIZE - 1] = PROOF_BYTE;
  mapping.unmap();
  if (status(libc.ftruncate(view.number, BigInt(PROOF_MAP_SIZE))) === 0) {
    return "a view can be truncated";
  }
  if (Number(libc.lseek(view.number, 0n, SEEK_END)) < PROOF_MAP_SIZE) return "a view has no size";
  if (Number(libc.lseek(file.number, 0n, SEEK_END)) !== PROOF_FILE_SIZE) {
    return "a mapping changes the file's size";
  }
  libc.lseek(file.number, BigInt(PROOF_FILE_SIZE - 1), SEEK_SET);
  const count = status(libc.read(file.number, scratch.pointerAt(0), 2));
  if (count !== 1 || scratch.u8[0] !== PROOF_BYTE) return "what is mapped is not the file";
  return null;
}
