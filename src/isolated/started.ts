/**
 * The daemon in two processes. This is the one that a launcher started and watches: it opens the socket, makes the sandbox with the serving
 * process in it (`serving.ts`), passes signals on, and ends as that ends.
 *
 * It keeps its rights and has the host before its eyes, so there is little that the server can ask of it: padded views of files that the
 * server has open (which it has anyway), and to be told which files are changed on the host.
 *
 * @module
 */

import { assert } from "../assert.ts";
import type { ServeConfig } from "../config.ts";
import { CONFINED_COMMAND, type FromServer, type ToServer } from "./messages.ts";
import { HostEyes } from "./host_eyes.ts";
import type { MetricsServer } from "../inspect/metrics_server.ts";
import type { IsolationConfig } from "../isolation_config.ts";
import type { Log, LogLevel } from "../log.ts";
import {
  capabilityName,
  keptCapabilities,
  members,
  ownCapabilities,
} from "../sandbox/capabilities.ts";
import { Channel } from "../sandbox/channel.ts";
import { chrootObstacle } from "../sandbox/refusal.ts";
import { type ServerFds, ServerProcess } from "../sandbox/server_process.ts";
import { describe, newStateFile, prepare, startMetrics } from "../serve.ts";
import { SetupError } from "../setup_error.ts";
import { libc, status } from "../sys/libc.ts";
import { PR_SET_DUMPABLE } from "../wire/isolation.ts";
import { openListener } from "../vhost_user/listener.ts";

/** How long a server may take to end that was told to. */
const END_TIMEOUT_MS = 10_000;
/** How long one that is not told anything may take, which then has failed already. */
const DEAF_TIMEOUT_MS = 1000;
const RETRY_MS = 50;

/** What the daemon reports to, what ends it, and how it is started again. */
export interface IsolatedHooks {
  readonly log: Log;
  readonly level: LogLevel;
  readonly syslog: boolean;
  readonly signal: AbortSignal;
  /** The program, and the arguments that come before the command. */
  readonly self: { readonly program: string; readonly args: readonly string[] };
}

/** Serves from a sandbox. Resolves with the exit code. */
export async function serveIsolated(
  given: ServeConfig,
  isolation: IsolationConfig,
  hooks: IsolatedHooks,
): Promise<number> {
  const { log } = hooks;
  const config = prepare(given, log);
  const obstacle = chrootObstacle(isolation.sandbox);
  if (obstacle !== null) throw new SetupError(obstacle);
  const { sharedDir } = config.passthrough;
  const userNamespace = isolation.sandbox === "namespace" && libc.geteuid() !== 0;
  const capabilities = serverCapabilities(config, isolation, userNamespace, log);
  using undo = new DisposableStack();
  const listener = openListener(config.endpoint);
  undo.defer(() => listener.close());
  const stateFile = undo.use(newStateFile(config.stateFile));
  let fds: ServerFds | null = null;
  const server = await ServerProcess.start({
    isolation,
    userNamespace,
    sharedDir,
    capabilities,
    program: hooks.self.program,
    argumentsFor(numbers) {
      fds = numbers;
      return [...hooks.self.args, CONFINED_COMMAND, String(numbers.channel)];
    },
    inherited: [listener.fd, stateFile.number],
  });
  hideMemory();
  let metrics: MetricsServer | null;
  try {
    metrics = await startMetrics(config.metricsSocket, server.pid, stateFile.number);
  } catch (error) {
    server.kill();
    await server.ended;
    throw error;
  }
  const { confine, ownDirectories, report } = fds!;
  const channel = new Channel<FromServer, ToServer>(server.channel);
  const shown = describe({
    ...config,
    fileSystem: { kind: "passthrough", config: config.passthrough },
  });
  const heard = channel.send({
    kind: "start",
    config: { ...config, endpoint: { kind: "fd", fd: listener.fd }, metricsSocket: null },
    shown,
    isolation,
    level: hooks.level,
    syslog: hooks.syslog,
    pid: server.pid,
    startedPid: Deno.pid,
    confineFd: confine,
    ownDirectories,
    color: Deno.stderr.isTerminal() && !Deno.noColor,
    reportFd: report,
    stateFd: stateFile.number,
  });
  try {
    // One that has ended already says why.
    if (!heard && !await server.endsWithin(DEAF_TIMEOUT_MS)) {
      server.kill();
      await server.ended;
      throw new SetupError(
        "The options are too long for the serving process: fewer rules, or --sandbox none --seccomp none",
      );
    }
    return await attend(server, channel, config, hooks);
  } finally {
    await metrics?.close();
  }
}

/**
 * Nobody but root may look into, or trace, this process from now on. Without namespaces the server could otherwise, which is of the same user. (Not
 * before the id maps are written: while the child still is a copy, that would hold for it, too.)
 */
function hideMemory(): void {
  const result = status(libc.prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n));
  assert(result === 0, "a process may hide its memory");
}

/** Does what the server asks until it has ended. Resolves with the exit code. */
async function attend(
  server: ServerProcess,
  channel: Channel<FromServer, ToServer>,
  config: ServeConfig,
  { log, signal }: IsolatedHooks,
): Promise<number> {
  const over = new AbortController();
  const eyes = new HostEyes(server.pid, channel, config, log);
  const end = async (): Promise<void> => {
    const deadline = performance.now() + END_TIMEOUT_MS;
    let isHeard = false;
    do {
      // It may be behind with what it is told.
      isHeard ||= channel.send({ kind: "end", reason: String(signal.reason) });
      if (await server.endsWithin(isHeard ? deadline - performance.now() : RETRY_MS)) return;
    } while (performance.now() < deadline);
    log.warn("The serving process does not end, and is killed");
    server.kill();
  };
  signal.addEventListener("abort", end, { once: true });
  if (signal.aborted) end();
  const listening = eyes.attend(over.signal);
  const { code, reason } = await server.ended;
  over.abort();
  await listening;
  await eyes.close();
  channel.close();
  if (reason !== null) log.error(reason);
  return code;
}

/** What the server may: no more than this process, unless it is root of a namespace of its own. */
function serverCapabilities(
  config: ServeConfig,
  { capabilities }: IsolationConfig,
  userNamespace: boolean,
  log: Log,
): bigint {
  const usesHandles = config.passthrough.inodeFileHandles !== "never";
  const wanted = keptCapabilities(usesHandles, capabilities);
  if (userNamespace) return wanted;
  const own = ownCapabilities();
  const missing = members(wanted & ~own);
  if (missing.length > 0 && libc.geteuid() === 0) {
    log.warn(`Not permitted, and so gone without: ${missing.map(capabilityName).join(", ")}`);
  }
  return wanted & own;
}
