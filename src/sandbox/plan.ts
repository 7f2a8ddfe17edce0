/**
 * What happens between this process and the one that serves: the system calls that make the sandbox, as a list.
 *
 * The child makes them and becomes the program again (execve), in its namespaces and with the capabilities that it will have to its end, on
 * all its threads. It still sees the host's files, because a program of this kind loads more of itself when it has started. What is left to be done,
 * the change of its root, takes rights that it has not any more. So a helper is left behind: a child of the child, from before the rights went,
 * which has nothing but its own part of this list. It waits for a word, changes the root for every thread of the server, and ends. pivot_root(2)
 * does that for all that see the same mounts; chroot(2) for all that share the structure where it is kept (CLONE_FS).
 *
 * @module
 */

import type { SandboxMode } from "../isolation_config.ts";
import { systemCallNumber } from "../sys/architecture.ts";
import type { OwnDirectories } from "../sys/own_directories.ts";
import {
  type CallArgument,
  type CallOptions,
  Row,
  SystemCallList,
} from "../sys/system_call_list.ts";
import * as wire from "../wire/isolation.ts";
import { AT_FDCWD, CLONE_FS, O_CLOEXEC } from "../wire/linux.ts";
import type { SystemCallName } from "../wire/system_calls.ts";
import {
  capabilityData,
  capabilityHeader,
  type CapabilitySet,
  members,
  others,
} from "./capabilities.ts";

/** What a plan is made for. */
export interface PlanOptions {
  readonly sandbox: SandboxMode;
  /** Into a user namespace: the only way for ordinary users. */
  readonly userNamespace: boolean;
  readonly sharedDir: string;
  readonly capabilities: CapabilitySet;
  readonly program: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly fds: PlanFds;
}

/** Descriptors that the child finds. */
export interface PlanFds {
  /** An eventfd that lets the child go on when its ids are mapped. */
  readonly mapped: number;
  /** An eventfd that has the helper change the root. */
  readonly confine: number;
  /** Where failed calls are reported. */
  readonly report: number;
  /** Those that the server inherits, under the same numbers. */
  readonly inherited: readonly number[];
  /** The numbers under which the server finds these, if they can be had. */
  readonly ownDirectories: OwnDirectories;
  /** What becomes its standard input, and its standard output and error. */
  readonly input: number;
  readonly output: number;
}

/** What every process may open to find itself. */
const OWN_PROGRAM = "/proc/self/exe";
const EVENT_SIZE = 8;
const PAGES = 16384;

/** The list of calls. Its start() makes the child. */
export function plan(options: PlanOptions): SystemCallList {
  const list = new SystemCallList(options.fds.report, dataSize(options));
  const writer = new PlanWriter(list, options);
  writer.write();
  return list;
}

class PlanWriter {
  readonly #list: SystemCallList;
  readonly #options: PlanOptions;

  constructor(list: SystemCallList, options: PlanOptions) {
    this.#list = list;
    this.#options = options;
  }

  write(): void {
    const { sandbox, userNamespace, fds } = this.#options;
    this.#add("making namespaces", "clone", [cloneFlags(this.#options)]);
    this.#endWithParent();
    this.#wait("waiting for the id maps", fds.mapped);
    if (userNamespace) {
      // Root of the namespace, where that is anybody; else one stays who one is.
      this.#add("becoming its root", "setresgid", [0, 0, 0], { mayFail: true });
      this.#add("becoming its root", "setresuid", [0, 0, 0], { mayFail: true });
      // Who changes ids has untied himself (prctl(2)).
      this.#endWithParent();
    }
    this.#add("dropping groups", "setgroups", [0, 0], { mayFail: true });
    this.#add("leaving the directory", "chdir", [this.#list.text("/")]);
    if (sandbox === "namespace") this.#mountProc();
    this.#cloneOwnDirectories();
    if (sandbox === "namespace") this.#mountShare();
    const helper = sandbox === "none" ? null : this.#cloneHelper();
    this.#dropCapabilities();
    this.#add("no new privileges", "prctl", [wire.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
    this.#execute();
    if (helper === null) return;
    this.#list.setChild(helper, this.#list.next);
    this.#helper();
  }

  #add(
    purpose: string,
    name: SystemCallName,
    args: readonly CallArgument[],
    callOptions: CallOptions = {},
  ): Row {
    return this.#list.add(`${purpose} (${name})`, systemCallNumber(name)!, args, callOptions);
  }

  #wait(purpose: string, eventFd: number): void {
    this.#add(purpose, "read", [eventFd, this.#list.bytes(new Uint8Array(EVENT_SIZE)), EVENT_SIZE]);
  }

  #endWithParent(): void {
    this.#add("a tie to the parent", "prctl", [wire.PR_SET_PDEATHSIG, wire.SIGKILL, 0, 0, 0]);
  }

  #mountProc(): void {
    const list = this.#list;
    const { MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC, MS_SLAVE } = wire;
    // What is mounted on the host from now on is seen here; what is mounted here is not seen there.
    this.#add("parting from the host's mounts", "mount", [
      0,
      list.text("/"),
      0,
      MS_REC | MS_SLAVE,
      0,
    ]);
    const proc = list.text("proc");
    const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    this.#add("mounting /proc", "mount", [proc, list.text("/proc"), proc, flags, 0]);
  }

  /**
   * Of /proc two directories, each for itself: from anything above them ways lead to the kernel's settings, to other processes, to the
   * program's own file. Without the right to (no CAP_SYS_ADMIN, and no namespace in which one has it) their numbers stay what they were, no
   * directories.
   */
  #cloneOwnDirectories(): void {
    const list = this.#list;
    const { sandbox, fds } = this.#options;
    const mayFail = sandbox !== "namespace";
    const { fd, fdinfo } = fds.ownDirectories;
    for (const [path, number] of [["/proc/self/fd", fd], ["/proc/self/fdinfo", fdinfo]] as const) {
      const moving = new Row(list.next.index + 1);
      const tree = [AT_FDCWD, list.text(path), wire.OPEN_TREE_CLONE | O_CLOEXEC];
      this.#add(path, "open_tree", tree, { store: list.argument(moving, 0), mayFail });
      this.#add(path, "dup3", [0, number, 0], { mayFail });
    }
  }

  /** Device nodes in it are not to be opened, by nobody: the guest may make some (CAP_MKNOD). */
  #mountShare(): void {
    const list = this.#list;
    const { MS_BIND, MS_REC } = wire;
    const shared = list.text(this.#options.sharedDir);
    const purpose = "mounting the shared directory";
    this.#add(purpose, "mount", [shared, shared, 0, MS_BIND | MS_REC, 0]);
    const mounted = list.text(this.#mountedShare);
    // This adds to what the mounts are; mount(2) would take the rest from them, as being read-only. Since Linux 5.12.
    const attributes = new BigUint64Array(wire.MOUNT_ATTR.SIZE / 8);
    attributes[wire.MOUNT_ATTR.SET / 8] = BigInt(wire.MOUNT_ATTR_NODEV | wire.MOUNT_ATTR_NOSUID);
    const bytes = new Uint8Array(attributes.buffer);
    const all = [AT_FDCWD, mounted, wire.AT_RECURSIVE, bytes, wire.MOUNT_ATTR.SIZE];
    this.#add(purpose, "mount_setattr", all, { mayFail: true });
  }

  /** A path that leads onto the share's mount: "/" alone does not, its parent does. */
  get #mountedShare(): string {
    const { sharedDir } = this.#options;
    return sharedDir === "/" ? "/.." : sharedDir;
  }

  #cloneHelper(): Row {
    const shares = this.#options.sandbox === "chroot" ? CLONE_FS : 0;
    // Neither uses the stack that they share, nor changes the memory, which becomes the helper's own when the server starts.
    return this.#add("making a helper", "clone", [
      wire.CLONE_VM | shares | wire.SIGCHLD,
      0,
      0,
      0,
      0,
    ]);
  }

  /** Changes the root of the server and ends. */
  #helper(): void {
    const list = this.#list;
    const { sandbox, fds } = this.#options;
    this.#endWithParent();
    this.#wait("waiting for the server", fds.confine);
    const here = list.text(".");
    this.#add("entering the shared directory", "chdir", [list.text(this.#mountedShare)]);
    if (sandbox === "chroot") this.#add("changing the root", "chroot", [here]);
    else {
      // The old root then lies above the new one, in the same place (pivot_root(2), NOTES).
      this.#add("changing the root", "pivot_root", [here, here]);
      this.#add("leaving the old root", "umount2", [here, wire.MNT_DETACH]);
    }
    this.#add("ending", "exit_group", [0]);
  }

  #dropCapabilities(): void {
    const { capabilities, userNamespace } = this.#options;
    for (const capability of others(capabilities)) {
      const args = [wire.PR_CAPBSET_DROP, capability, 0, 0, 0];
      // Unknown to this kernel, or not ours to drop: then it could not be had either.
      this.#add("bounding capabilities", "prctl", args, { mayFail: true });
    }
    const clear = [wire.PR_CAP_AMBIENT, wire.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0];
    this.#add("clearing capabilities", "prctl", clear, { mayFail: true });
    const data = capabilityData(capabilities);
    this.#add("dropping capabilities", "capset", [capabilityHeader(), data]);
    if (!userNamespace) return;
    // Only root keeps capabilities over execve by itself.
    for (const capability of members(capabilities)) {
      const args = [wire.PR_CAP_AMBIENT, wire.PR_CAP_AMBIENT_RAISE, capability, 0, 0];
      this.#add("keeping capabilities", "prctl", args);
    }
  }

  #execute(): void {
    const { fds, program, args, environment } = this.#options;
    const { ownDirectories } = fds;
    // The launcher's may be anything: a directory, a terminal, a file of the host.
    this.#add("standard input", "dup3", [fds.input, 0, 0]);
    this.#add("standard output", "dup3", [fds.output, 1, 0]);
    this.#add("standard error", "dup3", [fds.output, 2, 0]);
    // All others are closed: `server_process.ts`.
    for (const fd of [...fds.inherited, ownDirectories.fd, ownDirectories.fdinfo]) {
      this.#add("passing a descriptor on", "fcntl", [fd, wire.F_SETFD, 0]);
    }
    this.#add("starting the server", "execve", [
      this.#list.text(OWN_PROGRAM),
      this.#list.texts([program, ...args]),
      this.#list.texts(Object.entries(environment).map(([name, value]) => `${name}=${value}`)),
    ]);
  }
}

function cloneFlags({ sandbox, userNamespace }: PlanOptions): number {
  const { CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, SIGCHLD } = wire;
  if (sandbox !== "namespace") return SIGCHLD;
  const flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | SIGCHLD;
  return userNamespace ? flags | CLONE_NEWUSER : flags;
}

/** Room for everything that calls are given by address, generously. */
function dataSize({ args, environment, sharedDir, program }: PlanOptions): number {
  const texts = [...args, program, ...Object.entries(environment).flat()];
  const words = texts.reduce((sum, text) => sum + 3 * text.length + 4 * 8, 0);
  return words + 6 * sharedDir.length + PAGES;
}
