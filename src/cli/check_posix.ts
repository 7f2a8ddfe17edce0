/**
 * `virtiofsd-ts check posix`: holds a daemon to what POSIX and Linux say, through the guest in userspace.
 *
 * @module
 */

import { merge, object } from "@optique/core/constructs";
import { lineBreak, message } from "@optique/core/message";
import { flag, option } from "@optique/core/primitives";
import { string } from "@optique/core/valueparser";
import { type Need, NEEDS } from "../check/posix/check.ts";
import { guestCalls } from "../check/posix/guest_calls.ts";
import { hostCalls } from "../check/posix/host_calls.ts";
import { checkNames, type CheckResult, CheckRun } from "../check/posix/run_checks.ts";
import type { SystemCalls } from "../check/posix/system_calls.ts";
import { DaemonError } from "../guest/daemon_error.ts";
import { closeSession, openSession } from "../guest/session.ts";
import { SetupError } from "../setup_error.ts";
import { EXIT, printError, printOut, UsageError } from "./exit.ts";
import { guestOptions, type GuestOptionValues, sessionOptions } from "./guest_options.ts";
import { anyOf, type CommandText, lastOf, parseCommand, usageLine } from "./parse.ts";
import { Progress } from "./progress.ts";
import { Subject } from "./subject.ts";
import { subjectOptions, subjectSources } from "./subject_options.ts";

const parser = merge(
  object({
    directory: lastOf(option("--directory", string({ metavar: "DIR" }), {
      description: message`Check a directory of this host instead, with the host's own calls.`,
    })),
    filter: lastOf(option("--filter", string({ metavar: "REGEX" }), {
      description: message`Only the checks whose names match.`,
    })),
    without: lastOf(option("--without", string({ metavar: "NEED,..." }), {
      description:
        message`Leave out the checks that need these. posix: root, xattr, trusted-xattr, locks, mknod, whiteout, exchange, tmpfile, zero-range, seek-data, old-times, ...`,
    })),
    json: anyOf(flag("--json", { description: message`One JSON object per check, then one.` })),
  }),
  subjectOptions,
  guestOptions,
);

/** What all checks of this program's own daemon take: trusted.* attributes need a capability that it does not keep by itself. */
const OWN_OPTIONS = ["--xattr", "--posix-lock", "--flock", "--modcaps=+sys_admin"];

const TEXT: CommandText = {
  name: "check posix",
  synopsis: "(--socket-path SOCK | --shared-dir DIR | --command CMD) [OPTION]...",
  brief:
    message`Hold a daemon to 3,233 checks of what POSIX and Linux say of file systems, with no virtual machine.`,
  examples:
    message`virtiofsd-ts check posix --shared-dir /srv/data${lineBreak()}virtiofsd-ts check posix --command '/usr/libexec/virtiofsd --sandbox none --socket-path {socket} --shared-dir {dir}' --without tmpfile${lineBreak()}virtiofsd-ts check posix --socket-path /run/share.sock --filter rename --json`,
  footer:
    message`One line per failed check with what was expected; exit code 0 if all hold, 1 if not. The suite works in a directory of its own in the share, and removes it. With --shared-dir the daemon is started with ${
      OWN_OPTIONS.join(" ")
    }.`,
};

/** What a guest that is a program cannot have: memory that a page fault fills, execve(2), /proc, FIFOs. */
const NOT_IN_A_PROGRAM: readonly Need[] = ["shared-mmap", "execve", "procfs", "fifo-io"];

/** Runs the suite; 0 if every check holds, else 1. */
export async function runCheckPosix(args: readonly string[]): Promise<number> {
  const options = parseCommand(parser, TEXT, args);
  const sources = subjectSources(options);
  const places = sources.length + (options.directory === undefined ? 0 : 1);
  if (places !== 1) {
    const what = "Expected one of --socket-path, --shared-dir, --command and --directory";
    throw new UsageError(what, usageLine(TEXT));
  }
  const without = needsOf(options.without);
  const filter = filterOf(options.filter);
  const report = { json: options.json, filter };
  try {
    if (options.directory !== undefined) {
      return await runPosix(hostCalls, realPath(options.directory), without, report);
    }
    const source = sources[0]!;
    const isOwn = source.kind === "directory";
    const subject = await Subject.open(isOwn ? { ...source, args: OWN_OPTIONS } : source);
    try {
      return await runThroughGuest(subject, options, without, report);
    } finally {
      await subject.close();
    }
  } catch (error) {
    if (!(error instanceof DaemonError) && !(error instanceof SetupError)) throw error;
    printError(`error: ${error.message}`);
    return EXIT.FAILED;
  }
}

interface Report {
  readonly json: boolean;
  readonly filter: RegExp | undefined;
}

async function runThroughGuest(
  subject: Subject,
  options: GuestOptionValues,
  without: ReadonlySet<Need>,
  report: Report,
): Promise<number> {
  const { socketPath } = subject;
  const identity = { uid: Deno.uid() ?? 0, gid: Deno.gid() ?? 0, groups: [], umask: 0o022 };
  const caller = { ...identity, pid: Deno.pid };
  const session = await openSession({ socketPath, ...sessionOptions(options) }, caller);
  try {
    const missing = new Set([...without, ...NOT_IN_A_PROGRAM]);
    const calls = guestCalls(session.volume, caller);
    const code = await runPosix(calls, "/", missing, report, () => session.driver.dead);
    return code;
  } finally {
    await closeSession(session);
  }
}

async function runPosix(
  calls: SystemCalls,
  directory: string,
  without: ReadonlySet<Need>,
  { json, filter }: Report,
  died: () => string | null = () => null,
): Promise<number> {
  const names = checkNames(filter);
  const skipped: Partial<Record<Need, number>> = {};
  let passed = 0;
  let failed = 0;
  const start = performance.now();
  using progress = new Progress();
  const run = beginRun(calls, directory, without);
  try {
    for (const name of names) {
      progress.show(`${passed + failed} of ${names.length}, ${failed} failed: ${name}`);
      const result = await run.run(name);
      const dead = died();
      if (dead !== null) throw new DaemonError(`${dead} (while checking "${name}")`);
      if (json) printOut(JSON.stringify(result));
      if (result.skipped !== undefined) {
        skipped[result.skipped] = (skipped[result.skipped] ?? 0) + 1;
      } else if (result.ok) passed++;
      else {
        failed++;
        progress.clear();
        if (!json) printOut(failureText(result));
      }
    }
  } finally {
    if (died() === null) run[Symbol.dispose]();
  }
  progress.clear();
  const seconds = Math.round((performance.now() - start) / 100) / 10;
  printOut(
    json
      ? JSON.stringify({ summary: { passed, failed, skipped, seconds } })
      : summaryText(passed, failed, skipped, seconds),
  );
  return failed === 0 && passed > 0 ? EXIT.OK : EXIT.FAILED;
}

function beginRun(calls: SystemCalls, directory: string, without: ReadonlySet<Need>): CheckRun {
  try {
    return new CheckRun(calls, directory, without);
  } catch (error) {
    throw new SetupError(error instanceof Error ? error.message : String(error));
  }
}

function failureText({ name, detail }: CheckResult): string {
  return `FAILED  ${name}: ${detail.split("\n")[0]}`;
}

function summaryText(
  passed: number,
  failed: number,
  skipped: Partial<Record<Need, number>>,
  seconds: number,
): string {
  const left = Object.entries(skipped).map(([need, count]) => `${count} need ${need}`).join(", ");
  return `${passed} passed, ${failed} failed${left && `, skipped: ${left}`} (${seconds} s)`;
}

function needsOf(text: string | undefined): Set<Need> {
  const needs = new Set<Need>();
  for (const name of text?.split(",") ?? []) {
    const need = NEEDS.find((known) => known === name);
    if (need === undefined) {
      throw new UsageError(
        `There is no need "${name}"; expected some of ${NEEDS.join(", ")}`,
        usageLine(TEXT),
      );
    }
    needs.add(need);
  }
  return needs;
}

function filterOf(text: string | undefined): RegExp | undefined {
  try {
    return text === undefined ? undefined : new RegExp(text);
  } catch {
    throw new UsageError(`"${text}" is no regular expression`, usageLine(TEXT));
  }
}

function realPath(directory: string): string {
  try {
    return Deno.realPathSync(directory);
  } catch {
    throw new SetupError(`There is no directory "${directory}"`);
  }
}
