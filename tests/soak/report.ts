/**
 * The end of a soak, as a table and as JSON.
 *
 * @module
 */

import type { SoakOptions } from "./options.ts";
import { type Sample, total } from "./sample.ts";
import type { Trend, Verdict } from "./verdict.ts";

/** Everything there is to tell. */
export interface SoakReport {
  readonly options: SoakOptions;
  readonly ok: boolean;
  readonly faults: readonly string[];
  readonly seconds: number;
  readonly sessions: number;
  /** Sessions by how they ended. */
  readonly ends: Readonly<Record<string, number>>;
  readonly operations: number;
  /** As the daemons count them, where they are ours; else as the guests do that have ended in order. */
  readonly requests: number;
  readonly bytes: number;
  readonly warmUp: number;
  readonly trends: readonly Trend[];
  /** At which nobody was connected. */
  readonly quiet: readonly Sample[];
  /** In between. */
  readonly busy: readonly Sample[];
}

/** What a run adds up. */
export type Totals = Pick<SoakReport, "sessions" | "ends" | "operations" | "requests" | "bytes">;

/** Puts it together. */
export function soakReport(
  options: SoakOptions,
  totals: Totals,
  { verdict, faults, quiet, busy }: {
    readonly verdict: Verdict;
    readonly faults: readonly string[];
    readonly quiet: readonly Sample[];
    readonly busy: readonly Sample[];
  },
): SoakReport {
  const all = [...faults, ...verdict.faults];
  const { trends, warmUp } = verdict;
  const last = quiet.at(-1);
  return {
    options,
    ok: all.length === 0,
    faults: all,
    seconds: last?.seconds ?? 0,
    ...totals,
    requests: last?.state?.requests ?? totals.requests,
    bytes: last?.state?.bytes ?? totals.bytes,
    warmUp,
    trends,
    quiet,
    busy,
  };
}

/** For people. */
export function reportText(report: SoakReport): string {
  const { seconds, sessions, ends, requests, bytes, quiet, warmUp } = report;
  const endings = Object.entries(ends).map(([end, count]) => `${count} ${end}`).join(", ");
  const lines = [
    `${
      (seconds / 60).toFixed(1)
    } minutes, seed ${report.options.seed}: ${sessions} sessions (${endings})`,
    `${requests} requests served, ${
      (bytes / 1e6).toFixed(0)
    } MB moved, ${report.operations} operations of guests that ended in order`,
    `${quiet.length} quiet points, ${warmUp} of them to warm up`,
    "",
    ...table(report),
    "",
    ...report.faults.map((fault) => `FAILED: ${fault}`),
    ...(report.ok ? ["ok: flat"] : []),
  ];
  return lines.join("\n");
}

function table({ trends, quiet, busy, warmUp }: SoakReport): string[] {
  const [base, last] = [quiet[Math.min(warmUp, quiet.length) - 1], quiet.at(-1)];
  if (base === undefined || last === undefined) return [];
  const rows = [["process", "fds", "threads", "PSS", "own memory", "most", "MB/h", "MB in 24 h"]];
  for (const first of base.processes) {
    const end = last.processes.find(({ name }) => name === first.name);
    if (end === undefined) continue;
    const most = Math.max(
      ...busy.concat(quiet).flatMap(({ processes }) =>
        processes.filter(({ name }) => name === first.name).map(({ own }) => own)
      ),
    );
    const trend = trends.find(({ name }) => name === first.name);
    rows.push([
      first.name,
      `${total(first.descriptors)} → ${total(end.descriptors)}`,
      `${total(first.threads)} → ${total(end.threads)}`,
      `${mib(first.pss)} → ${mib(end.pss)}`,
      trend === undefined
        ? `${mib(first.own)} → ${mib(end.own)}`
        : `${trend.first.toFixed(1)} → ${trend.last.toFixed(1)}`,
      mib(most),
      trend === undefined ? "-" : megabytes(trend.perHour),
      trend === undefined ? "-" : megabytes(trend.perDay),
    ]);
  }
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return [
    ...rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i]!)).join("  ").trimEnd()),
    "(MiB; fds, threads and PSS after the warm-up and at the end; own memory: median of the first and of the last quarter)",
  ];
}

function mib(kib: number): string {
  return (kib / 1024).toFixed(1);
}

function megabytes(mib: number): string {
  return (mib * 1.048576).toFixed(1);
}
