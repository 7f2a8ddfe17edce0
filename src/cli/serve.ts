/**
 * `virtiofsd-ts serve`, and `virtiofsd-ts` with options alone: the daemon.
 *
 * @module
 */

import { serve } from "../serve.ts";
import { type Log, type LogLevel, openLog, stderrSink, syslogSink } from "../log.ts";
import { levelFromRustLog } from "../log.ts";
import { SetupError } from "../setup_error.ts";
import { rewriteCompatOptions } from "./compat_options.ts";
import { EXIT, UsageError } from "./exit.ts";
import { usageLine } from "./parse.ts";
import { isolationWarnings, refuseUnsupported, serveConfig } from "./serve_config.ts";
import { parseServeOptions, SERVE_TEXT, type ServeOptions } from "./serve_options.ts";
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
    if (options.syslog) log = openSyslog(level);
    refuseUnsupported(options);
    if (rewritten.deprecated) {
      log.warn("-o is deprecated: give the long options (--cache auto, not -o cache=auto)");
    }
    for (const warning of isolationWarnings(options)) log.warn(warning);
    await serve(config, { log, signal: ending.signal, trace: level === "trace" });
    if (ending.signal.aborted) log.info(`Ended by ${ending.signal.reason}`);
    return EXIT.OK;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (error instanceof SetupError) {
      log.error(error.message);
    } else {
      log.error(`Unexpected: ${error instanceof Error ? error.message : String(error)}`);
      if (error instanceof Error && error.stack !== undefined) log.debug(error.stack);
    }
    return EXIT.FAILED;
  } finally {
    ending.release();
  }
}

/** `--log-level`, else what RUST_LOG hints at, else info. */
function logLevel(options: ServeOptions): LogLevel {
  return options.logLevel ?? levelFromRustLog(Deno.env.get("RUST_LOG")) ?? "info";
}

function openSyslog(level: LogLevel): Log {
  try {
    Deno.statSync(SYSLOG_SOCKET);
  } catch {
    throw new SetupError(`--syslog: there is no system log at ${SYSLOG_SOCKET}`);
  }
  return openLog(level, syslogSink());
}
