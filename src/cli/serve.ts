/**
 * `virtiofsd-ts serve`, and `virtiofsd-ts` with options alone: the daemon.
 *
 * @module
 */

import { isOff } from "../isolation_config.ts";
import { serveIsolated } from "../isolated/started.ts";
import { serve } from "../serve.ts";
import { type Log, type LogLevel, openLog, stderrSink, syslogSink } from "../log.ts";
import { levelFromRustLog } from "../log.ts";
import { SetupError } from "../setup_error.ts";
import { rewriteCompatOptions } from "./compat_options.ts";
import { EXIT, UsageError } from "./exit.ts";
import { usageLine } from "./parse.ts";
import { isolationOf } from "./isolation_options.ts";
import { refuseUnsupported, serveConfig } from "./serve_config.ts";
import { parseServeOptions, SERVE_TEXT, type ServeOptions } from "./serve_options.ts";
import { selfCommand } from "./self_command.ts";
import { endingSignals } from "./signals.ts";

/** Where the system log listens; without it lines would vanish. */
const SYSLOG_SOCKET = "/dev/log";

/** Runs the daemon until it ends, and returns the exit code. */
export async function runServe(args: readonly string[]): Promise<number> {
  const rewritten = rewriteCompatOptions(args);
  if (rewritten.error !== null) throw new UsageError(rewritten.error, usageLine(SERVE_TEXT));
  const options = parseServeOptions(rewritten.args);
  const config = serveConfig(options);
  const level = logLevel(options);
  let log = openLog(level, stderrSink());
  const ending = endingSignals();
  try {
    if (options.syslog) log = openSyslog(level, Deno.pid);
    refuseUnsupported(options);
    if (rewritten.deprecated) {
      log.warn("-o is deprecated: give the long options (--cache auto, not -o cache=auto)");
    }
    const isolation = isolationOf(options, Deno.uid() === 0);
    if (!isOff(isolation)) {
      const hooks = { log, level, syslog: options.syslog, signal: ending.signal };
      return await serveIsolated(config, isolation, { ...hooks, self: selfCommand() });
    }
    await serve(config, { log, signal: ending.signal, trace: level === "trace" });
    if (ending.signal.aborted) log.info(`Ended by ${ending.signal.reason}`);
    return EXIT.OK;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    report(log, error);
    return EXIT.FAILED;
  } finally {
    ending.release();
  }
}

/** Says why a daemon ended that was not told to. */
export function report(log: Log, error: unknown): void {
  if (error instanceof SetupError) {
    log.error(error.message);
    return;
  }
  log.error(`Unexpected: ${error instanceof Error ? error.message : String(error)}`);
  if (error instanceof Error && error.stack !== undefined) log.debug(error.stack);
}

/** `--log-level`, else what RUST_LOG hints at, else info. */
function logLevel(options: ServeOptions): LogLevel {
  return options.logLevel ?? levelFromRustLog(Deno.env.get("RUST_LOG")) ?? "info";
}

/** The log of `--syslog` for the daemon that was started as `pid`, or a {@linkcode SetupError}. */
export function openSyslog(level: LogLevel, pid: number): Log {
  try {
    Deno.statSync(SYSLOG_SOCKET);
  } catch {
    throw new SetupError(`--syslog: there is no system log at ${SYSLOG_SOCKET}`);
  }
  return openLog(level, syslogSink(pid));
}
