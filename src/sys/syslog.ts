/**
 * syslog(3) of libc: one line at a time to whoever listens on /dev/log.
 *
 * @module
 */

import { libc } from "./libc.ts";

/** syslog.h: LOG_NDELAY (connect at once, before any sandbox), LOG_DAEMON. */
const LOG_NDELAY = 0x08;
const LOG_DAEMON = 3 << 3;

/** syslog.h: LOG_ERR … LOG_DEBUG. */
export const SYSLOG_SEVERITY = { ERR: 3, WARNING: 4, INFO: 6, DEBUG: 7 } as const;

/** The system log, opened under one name. */
export class Syslog {
  /** openlog(3) keeps the pointer, so the bytes live as long as this object. */
  readonly #identity: Uint8Array<ArrayBuffer>;
  readonly #format: Uint8Array<ArrayBuffer>;
  readonly #encoder = new TextEncoder();

  /**
   * Opens the log; `identity` and `pid` are what each line is attributed to. (libc's LOG_PID would take the number that this process has
   * in its own pid namespace.)
   */
  constructor(identity: string, pid: number) {
    this.#identity = this.#encoder.encode(`${identity}[${pid}]\0`);
    this.#format = this.#encoder.encode("%s\0");
    libc.openlog(
      Deno.UnsafePointer.of(this.#identity),
      LOG_NDELAY,
      LOG_DAEMON,
    );
  }

  /** Sends one line; a log daemon that has gone away is not an error of ours. */
  write(severity: number, line: string): void {
    // A NUL would cut the line short: it is replaced, not trusted.
    const text = this.#encoder.encode(line.replaceAll("\0", "\\0") + "\0");
    libc.syslog(severity, this.#format, text);
  }
}
