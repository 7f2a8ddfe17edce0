import assert from "node:assert/strict";
import {
  formatLine,
  levelFromRustLog,
  type LineLevel,
  type LineSink,
  LOG_LEVELS,
  openLog,
} from "../../src/log.ts";

class Lines implements LineSink {
  readonly seen: string[] = [];

  write(level: LineLevel, text: string): void {
    this.seen.push(`${level}: ${text}`);
  }
}

Deno.test("formatLine() has the form that launchers read", () => {
  const time = new Date("2026-11-22T10:00:00.123Z");
  assert.equal(
    formatLine("info", "Waiting for vhost-user socket connection...", time),
    "[2026-11-22T10:00:00Z INFO  virtiofsd_ts] Waiting for vhost-user socket connection...",
  );
  assert.equal(formatLine("error", "x", time), "[2026-11-22T10:00:00Z ERROR virtiofsd_ts] x");
});

Deno.test("formatLine() colours the level alone", () => {
  const time = new Date(0);
  assert.equal(
    formatLine("warn", "x", time, true),
    "[1970-01-01T00:00:00Z \x1b[33mWARN \x1b[0m virtiofsd_ts] x",
  );
});

Deno.test("openLog() lets through what the level allows", () => {
  const counts: Record<string, number> = {};
  for (const level of LOG_LEVELS) {
    const lines = new Lines();
    const log = openLog(level, lines);
    log.error("e");
    log.warn("w");
    log.info("i");
    log.debug("d");
    counts[level] = lines.seen.length;
  }
  assert.deepEqual(counts, { off: 0, error: 1, warn: 2, info: 3, debug: 4, trace: 4 });
});

Deno.test("openLog() passes messages as they are, on one line", () => {
  const lines = new Lines();
  openLog("info", lines).info("a {name} and\na line");
  assert.deepEqual(lines.seen, ["info: a {name} and\\na line"]);
});

Deno.test("levelFromRustLog() understands what launchers set", () => {
  const cases: readonly [string | undefined, string | null][] = [
    [undefined, null],
    ["", null],
    ["ERROR", "error"],
    ["debug", "debug"],
    ["off", "off"],
    ["virtiofsd=trace", "trace"],
    ["warn,virtiofsd=debug", "debug"],
    ["virtiofsd_ts=debug,warn", "debug"],
    ["vhost=debug", null],
    ["vhost=debug,error", "error"],
    ["nonsense", null],
  ];
  for (const [value, expected] of cases) assert.equal(levelFromRustLog(value), expected, value);
});
