/**
 * `virtiofsd-ts check coherence`: whether guests of several daemons see one file system.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
import { lineBreak, message } from "@optique/core/message";
import { flag, option } from "@optique/core/primitives";
import { choice, integer, string } from "@optique/core/valueparser";
import { violationJson, violationText } from "../check/coherence/report.ts";
import {
  checkCoherence,
  type CoherenceOptions,
  type CoherenceResult,
} from "../check/coherence/run.ts";
import { DaemonError } from "../guest/daemon_error.ts";
import { SetupError } from "../setup_error.ts";
import { PROGRAM_NAME } from "../version.ts";
import { auditTable, auditText, inodesWithTwoSlots } from "./coherence_audit.ts";
import { CoherenceDaemons } from "./coherence_daemons.ts";
import { EXIT, printError, printOut, UsageError } from "./exit.ts";
import { anyOf, type CommandText, lastOf, parseCommand, usageLine } from "./parse.ts";
import { Progress } from "./progress.ts";
import { endingSignals } from "./signals.ts";
import type { SubjectSource } from "./subject.ts";

const MODES = ["none", "auto", "always", "shared"] as const;
type Mode = typeof MODES[number];

/** Daemons that wait for another one's death: to start one takes longer than a round. */
const SPARE_COUNT = 2;
/** Of the table with --kill, which is looked through often. */
const SLOT_COUNT = 1024;

const parser = object({
  cache: lastOf(option("--cache", choice(MODES, { metavar: "MODE" }), {
    description:
      message`How daemons and guests cache: none, auto, always or shared (the default). auto and always promise no coherence: they are found out.`,
  })),
  guests: lastOf(option("--guests", integer({ min: 1, max: 16, metavar: "N" }), {
    description:
      message`Guests, each a thread of its own (default 2). A daemon serves one at a time: where there are more guests than daemons, those of one daemon share a connection and take turns, as processes of one machine do.`,
  })),
  daemons: lastOf(option("--daemons", integer({ min: 1, max: 16, metavar: "M" }), {
    description: message`Daemons of the one directory (default: as many as guests).`,
  })),
  seconds: lastOf(option("--seconds", integer({ min: 1, max: 1_000_000, metavar: "S" }), {
    description: message`How long (default 10).`,
  })),
  seed: lastOf(option("--seed", integer({ min: 0, max: 0xffffffff, metavar: "X" }), {
    description:
      message`Where the random choice of operations starts; who is faster it does not say (default: another one each time).`,
  })),
  directory: lastOf(option("--shared-dir", string({ metavar: "DIR" }), {
    description:
      message`Work below this directory, to check its file system, too (default: the directory for temporary files).`,
  })),
  command: lastOf(option("--command", string({ metavar: "CMD" }), {
    description:
      message`Check another daemon; {socket} and {dir} in the command stand for its socket and the directory.`,
  })),
  round: lastOf(option("--round", integer({ min: 1, max: 10_000, metavar: "COUNT" }), {
    description:
      message`Operations of each guest between two pauses, in which the host looks (default 250).`,
  })),
  violations: lastOf(option("--violations", integer({ min: 1, max: 1000, metavar: "COUNT" }), {
    description:
      message`End after so many; the shortest is shown (default 3; other daemons may end with their first guest, so there it is 1).`,
  })),
  kill: anyOf(flag("--kill", {
    description:
      message`In each round, kill one of the daemons with SIGKILL at a random moment; its guests go on with another one. What they had under way may have been done or not. At the end the version table must be as if nobody had ever used it. For our own daemons, with none or shared.`,
  })),
  withoutXattrs: anyOf(flag("--without-xattr", {
    description: message`For daemons that have no extended attributes.`,
  })),
  json: anyOf(flag("--json", { description: message`One JSON object.` })),
});

const TEXT: CommandText = {
  name: "check coherence",
  synopsis: "[--cache MODE] [--guests N] [--daemons M] [OPTION]...",
  brief:
    message`Let guests work on the same few files through several daemons, and look for an order of all their operations that explains every result.`,
  examples:
    message`virtiofsd-ts check coherence --cache shared --guests 3 --seconds 60${lineBreak()}virtiofsd-ts check coherence --kill --guests 3 --seconds 300${lineBreak()}virtiofsd-ts check coherence --cache none --shared-dir /srv${lineBreak()}virtiofsd-ts check coherence --cache auto --command '/usr/libexec/virtiofsd --sandbox none --xattr --socket-path {socket} --shared-dir {dir}'`,
  footer:
    message`After an operation has returned in one guest, no guest may see the state from before; operations at the same time may come in either order. For a violation the shortest history that shows it is printed. Exit code 0 if there is none (and nothing is left in the table, with --kill), 1 if there is. The check works in a directory of its own, and removes it.`,
};

/** Runs the check; 0 if no violation was found, else 1. */
export async function runCheckCoherence(args: readonly string[]): Promise<number> {
  const options = parseCommand(parser, TEXT, args);
  const mode = options.cache ?? "shared";
  const guestCount = options.guests ?? 2;
  const daemonCount = options.daemons ?? guestCount;
  if (daemonCount > guestCount) {
    const what = `There are ${daemonCount} daemons for ${guestCount} guests: one each is enough`;
    throw new UsageError(what, usageLine(TEXT));
  }
  if (options.kill && (options.command !== undefined || mode === "auto" || mode === "always")) {
    const what = "--kill is for our own daemons, with --cache none or shared";
    throw new UsageError(what, usageLine(TEXT));
  }
  const seconds = options.seconds ?? 10;
  const seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!;
  const plan = {
    cache: mode,
    guestCount,
    seconds,
    seed,
    roundSize: options.round ?? 250,
    violationCountMax: options.violations ?? (options.command === undefined ? 3 : 1),
    withoutXattrs: options.withoutXattrs,
  };
  const again = `${PROGRAM_NAME} check coherence --cache ${mode} --guests ${guestCount} ` +
    `--daemons ${daemonCount} --seconds ${seconds} --seed ${seed}` +
    (options.kill ? " --kill" : "");
  const report: Report = { json: options.json, again };
  try {
    using place = new WorkPlace(options.directory);
    const source = sourceOf(mode, place, options.command, options.kill);
    const daemons = new CoherenceDaemons(source, options.kill ? SPARE_COUNT : 0);
    try {
      await daemons.start(daemonCount);
      const table = options.kill && mode === "shared" ? place.versionTable() : null;
      return await run(plan, place.directory, daemons, { kills: options.kill, table }, report);
    } finally {
      await daemons.close();
    }
  } catch (error) {
    if (!(error instanceof DaemonError) && !(error instanceof SetupError)) throw error;
    printError(`error: ${error.message}`);
    return EXIT.FAILED;
  }
}

/** Whether daemons are killed, and the table that is to be looked at, or null. */
interface Storm {
  readonly kills: boolean;
  readonly table: string | null;
}

interface Report {
  readonly json: boolean;
  /** The command that makes the same choices once more. */
  readonly again: string;
}

async function run(
  plan: Omit<CoherenceOptions, "socketPaths" | "directory">,
  directory: string,
  daemons: CoherenceDaemons,
  { kills, table }: Storm,
  { json, again }: Report,
): Promise<number> {
  using line = new Progress();
  const start = performance.now();
  const ending = endingSignals();
  const doubled = new Set<string>();
  const result = await checkCoherence({
    ...plan,
    signal: ending.signal,
    socketPaths: daemons.socketPaths,
    ...(kills ? { kills: daemons } : {}),
    directory,
    progress: (so) => {
      line.show(countsText(so, performance.now() - start));
      // No guest is at work.
      if (table !== null) { for (const each of inodesWithTwoSlots(table)) doubled.add(each); }
    },
  });
  ending.release();
  line.clear();
  const { shortest, ...counts } = result;
  const milliseconds = performance.now() - start;
  await daemons.close();
  const audit = table === null ? null : auditTable(table, [...doubled]);
  if (json) {
    const violation = shortest === null ? null : violationJson(shortest);
    const figures = { ...counts, seconds: Math.round(milliseconds / 100) / 10, seed: plan.seed };
    printOut(JSON.stringify({ ...figures, violation, audit, again }));
  } else {
    if (shortest !== null) printOut(violationText(shortest) + "\n");
    printOut(countsText(result, milliseconds));
    if (audit !== null) printOut(auditText(audit));
    printOut(`Again: ${again}`);
  }
  const isClean = audit === null || audit.found.length === 0;
  return result.violations === 0 && result.rounds > 0 && isClean ? EXIT.OK : EXIT.FAILED;
}

function countsText(result: CoherenceResult, milliseconds: number): string {
  const { operations, requests, rounds, kills, unanswered, violations, undecided } = result;
  const total = operations.reduce((sum, count) => sum + count, 0);
  const storm = kills === 0 ? "" : `${kills} daemons killed (${unanswered} without answer), `;
  const open = undecided === 0 ? "" : `, ${undecided} rounds undecided`;
  return `${total} operations (${
    operations.join(" + ")
  }, ${requests} requests) in ${rounds} rounds, ` + storm +
    `${violations} violation${violations === 1 ? "" : "s"}${open} ` +
    `(${Math.round(milliseconds / 100) / 10} s)`;
}

function sourceOf(
  mode: Mode,
  place: WorkPlace,
  command: string | undefined,
  isSwept: boolean,
): SubjectSource {
  const { directory } = place;
  if (command !== undefined) return { kind: "command", command, directory };
  const cache = ["--cache", mode === "none" ? "never" : mode];
  const table = mode === "shared" ? ["--version-table", place.versionTable()] : [];
  const size = isSwept && mode === "shared" ? ["--version-slots", String(SLOT_COUNT)] : [];
  return { kind: "directory", directory, args: ["--xattr", ...cache, ...table, ...size] };
}

/** The shared directory, and where the version table is. */
class WorkPlace implements Disposable {
  readonly directory: string;
  #tableDirectory: string | null = null;

  constructor(parent: string | undefined) {
    const dir = parent === undefined ? {} : { dir: parent };
    try {
      this.directory = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-coherence-", ...dir });
    } catch {
      throw new SetupError(`Cannot make a directory in "${parent ?? "the temporary directory"}"`);
    }
  }

  /** The path of a table that only this check uses. */
  versionTable(): string {
    this.#tableDirectory ??= Deno.makeTempDirSync({
      dir: "/dev/shm",
      prefix: "virtiofsd-ts-coherence-",
    });
    return `${this.#tableDirectory}/versions`;
  }

  [Symbol.dispose](): void {
    for (const directory of [this.directory, this.#tableDirectory]) {
      if (directory !== null) Deno.removeSync(directory, { recursive: true });
    }
  }
}
