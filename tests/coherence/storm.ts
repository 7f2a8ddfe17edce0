/**
 * Starting the processes of a storm, and what they say.
 *
 * @module
 */

import type { StormProcess, StormReport } from "./storm_process.ts";

/** A process of a storm. */
export interface Started {
  readonly pid: number;
  /** Its report; null if it was killed. */
  readonly report: Promise<StormReport | null>;
  kill(): void;
}

/** Starts a process. */
export function start(told: StormProcess): Started {
  const program = new URL("./storm_process.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", program, JSON.stringify(told)],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const report = child.output().then(({ signal, success, stdout, stderr }) => {
    const text = new TextDecoder();
    const complaint = text.decode(stderr);
    if (complaint !== "") throw new Error(complaint);
    if (signal === "SIGKILL") return null;
    if (!success) throw new Error("a process failed");
    return JSON.parse(text.decode(stdout)) as StormReport;
  });
  // It is looked at in the end, and may fail before that.
  report.catch(() => {});
  return {
    pid: child.pid,
    report,
    kill: () => {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has come to its own end.
      }
    },
  };
}

/** What went wrong in the threads of a report. */
export function errorsOf(report: StormReport | null): string[] {
  if (report === null) return [];
  const errors = report.threads.flatMap(({ error }) => error ?? []);
  if (report.left.length > 0) errors.push(`slots ${report.left} are still held at the end`);
  return errors;
}

/** Ends a test of this seed that has failed. */
export function failed(seed: number, file: string, errors: readonly string[]): Error {
  return new Error(
    `seed ${seed}: ${errors.join("\n")}\n` +
      `again: VIRTIOFSD_TS_SEED=${seed} deno test -A tests/coherence/${file}`,
  );
}
