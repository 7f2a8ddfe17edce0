/**
 * Logging: one line per event on stderr, in the form that launchers of virtiofsd know:
 *
 *     [2026-11-22T10:00:00Z INFO  virtiofsd_ts] Waiting for vhost-user socket connection...
 *
 * Built on LogTape: anything in the program may take `getLogger(["virtiofsd_ts"])`, and what it says ends up
 * in the sink chosen here. A program that uses this package as a library sets LogTape up by itself.
 *
 * @module
 */

import { configureSync, getLogger, type LogRecord } from "@logtape/logtape";
import { Syslog, SYSLOG_SEVERITY } from "./sys/syslog.ts";

/** `--log-level`, from the least to the most talkative. */
export const LOG_LEVELS = ["off", "error", "warn", "info", "debug", "trace"] as const;

/** One of {@linkcode LOG_LEVELS}. */
export type LogLevel = typeof LOG_LEVELS[number];

/** How much one line matters; `off` is no line's level. */
export type LineLevel = Exclude<LogLevel, "off">;

/** What the parts of the daemon write to. */
export interface Log {
  /** Per request or per message: for whoever looks for a fault. */
  debug(message: string): void;
  /** Connections coming and going. */
  info(message: string): void;
  /** Something that was asked for is not so, and the daemon goes on. */
  warn(message: string): void;
  /** Something failed. */
  error(message: string): void;
}

/** Where finished lines go. */
export interface LineSink {
  /** Takes one event; it has no line break at its end. */
  write(level: LineLevel, text: string, timestamp: Date): void;
}

/** The category of all our loggers, and the name in each line. */
export const LOG_CATEGORY = "virtiofsd_ts";

const LEVEL_WORD: Readonly<Record<LineLevel, string>> = {
  error: "ERROR",
  warn: "WARN ",
  info: "INFO ",
  debug: "DEBUG",
  trace: "TRACE",
};

/** SGR colours of the level word on a terminal, as env_logger has them. */
const LEVEL_COLOR: Readonly<Record<LineLevel, number>> = {
  error: 31,
  warn: 33,
  info: 32,
  debug: 34,
  trace: 36,
};

/** One line in the form that launchers read, without a line break. */
export function formatLine(level: LineLevel, text: string, timestamp: Date, color = false): string {
  const time = timestamp.toISOString().slice(0, 19) + "Z";
  const word = LEVEL_WORD[level];
  const shown = color ? `\x1b[${LEVEL_COLOR[level]}m${word}\x1b[0m` : word;
  return `[${time} ${shown} ${LOG_CATEGORY}] ${text}`;
}

/** Lines on stderr; plain unless it is a terminal that may have colours. */
export function stderrSink(color = Deno.stderr.isTerminal() && !Deno.noColor): LineSink {
  const encoder = new TextEncoder();
  return {
    write(level, text, timestamp) {
      const bytes = encoder.encode(formatLine(level, text, timestamp, color) + "\n");
      try {
        let written = 0;
        while (written < bytes.length) written += Deno.stderr.writeSync(bytes.subarray(written));
      } catch {
        // The reader has gone (kata reads one line and may leave): a daemon does not die of that.
      }
    },
  };
}

/** Lines in the system log, which adds the time by itself; `pid` is the daemon's, for whoever reads it. */
export function syslogSink(pid: number): LineSink {
  const syslog = new Syslog("virtiofsd-ts", pid);
  const severities: Readonly<Record<LineLevel, number>> = {
    error: SYSLOG_SEVERITY.ERR,
    warn: SYSLOG_SEVERITY.WARNING,
    info: SYSLOG_SEVERITY.INFO,
    debug: SYSLOG_SEVERITY.DEBUG,
    trace: SYSLOG_SEVERITY.DEBUG,
  };
  return { write: (level, text) => syslog.write(severities[level], text) };
}

/** Sets logging up for this process and returns the log of the daemon. */
export function openLog(level: LogLevel, sink: LineSink): Log {
  const loggers = level === "off" ? [] : [{
    category: LOG_CATEGORY,
    lowestLevel: level === "warn" ? "warning" as const : level,
    sinks: ["lines" as const],
  }];
  configureSync({
    reset: true,
    sinks: { lines: (record: LogRecord) => writeRecord(sink, record) },
    loggers: [...loggers, { category: ["logtape", "meta"], lowestLevel: "error", sinks: [] }],
  });
  const logger = getLogger([LOG_CATEGORY]);
  // Tagged templates: a brace in a file name must not be taken for a placeholder.
  return {
    debug: (message) => logger.debug`${message}`,
    info: (message) => logger.info`${message}`,
    warn: (message) => logger.warn`${message}`,
    error: (message) => logger.error`${message}`,
  };
}

/** The level that `RUST_LOG` hints at, or null where it says nothing we understand. */
export function levelFromRustLog(value: string | undefined): LogLevel | null {
  if (value === undefined) return null;
  let level: LogLevel | null = null;
  // A directive is LEVEL, or TARGET=LEVEL; one for virtiofsd says more about us than one for everything.
  for (const directive of value.split(",")) {
    const [first = "", second] = directive.trim().split("=", 2);
    if (second !== undefined && !/^virtiofsd(_ts)?$/.test(first)) continue;
    const word = (second ?? first).toLowerCase();
    const known = LOG_LEVELS.find((candidate) => candidate === word);
    if (known === undefined) continue;
    if (second !== undefined) return known;
    level = known;
  }
  return level;
}

function writeRecord(sink: LineSink, record: LogRecord): void {
  const text = record.message.map((part) => String(part)).join("");
  const level = record.level === "warning"
    ? "warn"
    : record.level === "fatal"
    ? "error"
    : record.level;
  // One event is one line, whatever a file name holds.
  sink.write(level, text.replaceAll("\n", "\\n"), new Date(record.timestamp));
}
