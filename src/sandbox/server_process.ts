/**
 * The process that serves, seen from the one that was started: made by a plan, watched to its end.
 *
 * @module
 */

import type { IsolationConfig } from "../isolation_config.ts";
import { SetupError } from "../setup_error.ts";
import { errnoName } from "../sys/errno.ts";
import { OwnedFd } from "../sys/fd.ts";
import { libc, status } from "../sys/libc.ts";
import type { OwnDirectories } from "../sys/own_directories.ts";
import { NativeMemory } from "../sys/native_memory.ts";
import { CALL, TRAP_REPORT_SIZE } from "../sys/system_call_code.ts";
import type { SystemCallList } from "../sys/system_call_list.ts";
import { __WALL, F_SETFD, FD_CLOEXEC, SIGKILL, SIGSYS } from "../wire/isolation.ts";
import { EFD_CLOEXEC, EFD_NONBLOCK, O_CLOEXEC, O_NONBLOCK, O_RDWR } from "../wire/linux.ts";
import type { CapabilitySet } from "./capabilities.ts";
import { channelPair } from "./channel.ts";
import { serverEnvironment } from "./environment.ts";
import { writeIdMaps } from "./id_maps.ts";
import { passOutputOn } from "./output.ts";
import { plan } from "./plan.ts";
import { refusal } from "./refusal.ts";
import { readTrap } from "./trap.ts";

/** What to start. */
export interface ServerProcessOptions {
  readonly isolation: IsolationConfig;
  readonly userNamespace: boolean;
  readonly sharedDir: string;
  readonly capabilities: CapabilitySet;
  readonly program: string;
  /** The command line for a server that finds its descriptors so. */
  readonly argumentsFor: (fds: ServerFds) => readonly string[];
  /** Descriptors that it inherits beside those. */
  readonly inherited: readonly number[];
}

/** The server's descriptors, by number. */
export interface ServerFds {
  /** Its end of the channel. */
  readonly channel: number;
  /** To be written to when the root shall be changed. */
  readonly confine: number;
  /** Where they could be had: `plan.ts`. */
  readonly ownDirectories: OwnDirectories;
  /** Where calls are reported that the filter trapped. */
  readonly report: number;
}

/** How it ended. */
export interface ServerEnd {
  /** What this process's exit code should be. */
  readonly code: number;
  /** What the operator should know, if it said nothing itself. */
  readonly reason: string | null;
}

const STDERR = 2;
/** What a signal adds to an exit code. */
const KILLED = 128;

/** A running server. */
export class ServerProcess {
  readonly pid: number;
  readonly channel: OwnedFd;
  /** Resolves when it has ended. */
  readonly ended: Promise<ServerEnd>;

  private constructor(
    pid: number,
    channel: OwnedFd,
    { report, output }: { readonly report: OwnedFd; readonly output: OwnedFd },
    list: SystemCallList,
    isolation: IsolationConfig,
  ) {
    this.pid = pid;
    this.channel = channel;
    const over = new AbortController();
    const passed = passOutputOn(output.number, over.signal);
    this.ended = waitFor(pid).then(async (waited) => {
      using _report = report;
      using _output = output;
      over.abort();
      await passed;
      return explain(waited, report.number, list, isolation);
    });
  }

  /** Starts it; what it does then, it says over the channel. Throws {@linkcode SetupError}. */
  static async start(options: ServerProcessOptions): Promise<ServerProcess> {
    using undo = new DisposableStack();
    const [outer, inner] = channelPair();
    undo.use(outer);
    using _inner = inner;
    const { read: report, write: reports } = pipe(O_NONBLOCK);
    undo.use(report);
    using _reports = reports;
    using mapped = eventFd(0);
    using confine = eventFd(0);
    // Numbers that nobody has: the list moves descriptors there.
    using fd = eventFd(0);
    using fdinfo = eventFd(0);
    using input = nullDevice();
    const { read: output, write: outputs } = pipe(0);
    undo.use(output);
    using _outputs = outputs;
    const fds: ServerFds = {
      channel: inner.number,
      confine: confine.number,
      ownDirectories: { fd: fd.number, fdinfo: fdinfo.number },
      report: reports.number,
    };
    const { isolation, userNamespace, sharedDir, capabilities, program, inherited } = options;
    const list = plan({
      sandbox: isolation.sandbox,
      userNamespace,
      sharedDir,
      capabilities,
      program,
      args: options.argumentsFor(fds),
      environment: serverEnvironment(Deno.env.toObject()),
      fds: {
        mapped: mapped.number,
        confine: fds.confine,
        report: fds.report,
        ownDirectories: fds.ownDirectories,
        input: input.number,
        output: outputs.number,
        inherited: [...inherited, fds.channel, fds.confine, fds.report],
      },
    });
    closeOnExecution();
    const pid = list.start();
    if (pid < 0) {
      throw new SetupError(refusal(`--sandbox ${isolation.sandbox}`, pid, isolation.sandbox));
    }
    const server = new ServerProcess(pid, outer, { report, output }, list, isolation);
    undo.move();
    try {
      if (userNamespace) await writeIdMaps(pid, isolation.uidMap, isolation.gidMap);
    } catch (error) {
      server.kill();
      await server.ended;
      throw error;
    }
    writeEvent(mapped.number);
    return server;
  }

  /** Whether it has ended when this resolves; waits at most so long. */
  async endsWithin(milliseconds: number): Promise<boolean> {
    const late = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => late.resolve(false), milliseconds);
    try {
      return await Promise.race([this.ended.then(() => true), late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it at once. */
  kill(): void {
    libc.kill(this.pid, SIGKILL);
  }
}

/** Whatever the launcher left open: a directory among it would be a way out of the sandbox. */
function closeOnExecution(): void {
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    const fd = Number(name);
    // The one that this directory is read by has gone.
    if (fd > STDERR) libc.fcntl_int(fd, F_SETFD, FD_CLOEXEC);
  }
}

/** Adds 1 to an eventfd. */
export function writeEvent(fd: number): void {
  const one = NativeMemory.allocate(8);
  one.setU64(0, 1);
  libc.write(fd, one.pointerAt(0), 8);
}

/** How a child ended, as waitpid(2) tells. */
interface Waited {
  readonly code: number;
  readonly signal: number;
}

async function waitFor(pid: number): Promise<Waited> {
  const memory = NativeMemory.allocate(4096);
  while (await libc.waitpid_async(pid, memory.pointerAt(0), __WALL) !== pid) {
    // Interrupted: nothing else can happen to a child of ours that nobody else waits for.
  }
  const word = memory.view.getInt32(0, true);
  return { code: (word >> 8) & 0xff, signal: word & 0x7f };
}

function explain(
  { code, signal }: Waited,
  reportFd: number,
  list: SystemCallList,
  isolation: IsolationConfig,
): ServerEnd {
  const report = readAll(reportFd);
  const call = readTrap(report.subarray(0, TRAP_REPORT_SIZE));
  if (report.length === TRAP_REPORT_SIZE && call !== null) {
    const reason = `The system call ${call} is not allowed (--seccomp trap)`;
    return { code: KILLED + SIGSYS, reason };
  }
  const failed = list.readReport(report.subarray(0, CALL.SIZE));
  if (failed !== null) {
    const what = `--sandbox ${isolation.sandbox}: ${failed.name}`;
    return { code: 1, reason: refusal(what, -failed.errno, isolation.sandbox, failed.name) };
  }
  if (signal === SIGSYS) {
    return {
      code: KILLED + signal,
      reason:
        "Killed by the system call filter (--seccomp kill): --seccomp trap says which call it was, --seccomp log lets it pass",
    };
  }
  if (signal !== 0) {
    return { code: KILLED + signal, reason: `The serving process was killed by signal ${signal}` };
  }
  return { code, reason: null };
}

function readAll(fd: number): Uint8Array {
  const memory = NativeMemory.allocate(4096);
  const size = status(libc.read(fd, memory.pointerAt(0), 4096));
  return memory.u8.slice(0, Math.max(0, size));
}

function pipe(flags: number): { read: OwnedFd; write: OwnedFd } {
  const memory = NativeMemory.allocate(4096);
  const result = status(libc.pipe2(memory.pointerAt(0), O_CLOEXEC | flags));
  if (result < 0) throw new Error(`Cannot make a pipe: ${errnoName(result)}`);
  return { read: new OwnedFd(memory.i32[0]!), write: new OwnedFd(memory.i32[1]!) };
}

function nullDevice(): OwnedFd {
  const fd = status(libc.open(new TextEncoder().encode("/dev/null\0"), O_RDWR | O_CLOEXEC, 0));
  if (fd < 0) throw new SetupError(`/dev/null cannot be opened: ${errnoName(fd)}`);
  return new OwnedFd(fd);
}

function eventFd(flags: number): OwnedFd {
  const fd = status(libc.eventfd(0, EFD_CLOEXEC | (flags & EFD_NONBLOCK)));
  if (fd < 0) throw new Error(`Cannot make an eventfd: ${errnoName(fd)}`);
  return new OwnedFd(fd);
}
