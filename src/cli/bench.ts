/**
 * `virtiofsd-ts bench`: measures daemons, several turn about.
 *
 * @module
 */

import { merge, object } from "@optique/core/constructs";
import { lineBreak, message } from "@optique/core/message";
import { multiple } from "@optique/core/modifiers";
import { flag, option } from "@optique/core/primitives";
import { integer, string } from "@optique/core/valueparser";
import { bench, type BenchResult, type BenchSubject, ROWS } from "../bench/bench.ts";
import { benchChart } from "../bench/chart.ts";
import { benchTable } from "../bench/table.ts";
import { DaemonError } from "../guest/daemon_error.ts";
import { SetupError } from "../setup_error.ts";
import { VERSION } from "../version.ts";
import { EXIT, printError, printOut, UsageError } from "./exit.ts";
import { guestOptions, sessionOptions } from "./guest_options.ts";
import { anyOf, type CommandText, lastOf, parseCommand, usageLine } from "./parse.ts";
import { Progress } from "./progress.ts";
import { Subject } from "./subject.ts";
import { subjectOptions, subjectSources } from "./subject_options.ts";

const parser = merge(
  object({
    names: multiple(option("--name", string({ metavar: "NAME" }), {
      description:
        message`What to call a daemon in the table; once for each, in the table's order.`,
    })),
    rounds: lastOf(option("--rounds", integer({ min: 1, max: 1000, metavar: "N" }), {
      description: message`Turns of each daemon (default 7).`,
    })),
    milliseconds: lastOf(option("--row-ms", integer({ min: 1, max: 60_000, metavar: "MS" }), {
      description: message`How long a row runs in one turn (default 150).`,
    })),
    rows: lastOf(option("--rows", string({ metavar: "REGEX" }), {
      description: message`Only the rows whose names match: ${
        ROWS.map(({ name }) => name).join(", ")
      }.`,
    })),
    spread: anyOf(flag("--spread", {
      description:
        message`Do not keep guest and daemon on one processor where single requests are timed.`,
    })),
    json: anyOf(flag("--json", { description: message`The result as one JSON object.` })),
    svg: lastOf(option("--svg", string({ metavar: "FILE" }), {
      description: message`Draw a chart.`,
    })),
  }),
  subjectOptions,
  guestOptions,
);

const TEXT: CommandText = {
  name: "bench",
  synopsis: "(--socket-path SOCK | --shared-dir DIR | --command CMD)... [OPTION]...",
  brief: message`Measure daemons through a guest that is a program, several turn about in one run.`,
  examples:
    message`virtiofsd-ts bench --shared-dir /srv/data${lineBreak()}virtiofsd-ts bench --shared-dir /dev/shm --command '/usr/libexec/virtiofsd --sandbox none --socket-path {socket} --shared-dir {dir}' --svg chart.svg`,
  footer:
    message`Ratios compare with the first daemon, pair by pair of each round. The files are made in a directory of their own in each share, and removed.`,
};

/** Measures and prints; 0 unless something could not be measured. */
export async function runBench(args: readonly string[]): Promise<number> {
  const options = parseCommand(parser, TEXT, args);
  const sources = subjectSources(options);
  if (sources.length === 0) {
    const what = "Expected at least one of --socket-path, --shared-dir and --command";
    throw new UsageError(what, usageLine(TEXT));
  }
  const filter = options.rows === undefined ? null : new RegExp(options.rows);
  if (filter !== null && !ROWS.some(({ name }) => filter.test(name))) {
    throw new UsageError(`No row's name matches "${options.rows}"`, usageLine(TEXT));
  }
  const subjects: Subject[] = [];
  using progress = new Progress();
  try {
    const parent = options.directories[0];
    for (const source of sources) {
      progress.show("starting the daemons");
      // Shares of all daemons lie on the same file system.
      subjects.push(await Subject.open(source, parent));
    }
    const result = await bench(named(subjects, options.names), {
      session: sessionOptions(options),
      rounds: options.rounds ?? 7,
      milliseconds: options.milliseconds ?? 150,
      spread: options.spread,
      filter,
      progress: (text) => progress.show(text),
    });
    progress.clear();
    report(result, options.json, options.svg);
    return EXIT.OK;
  } catch (error) {
    if (!(error instanceof DaemonError) && !(error instanceof SetupError)) throw error;
    progress.clear();
    printError(`error: ${error.message}`);
    return EXIT.FAILED;
  } finally {
    for (const subject of subjects) await subject.close();
  }
}

function report(result: BenchResult, json: boolean, svg: string | undefined): void {
  const machine = {
    cpus: navigator.hardwareConcurrency,
    kernel: Deno.osRelease(),
    deno: Deno.version.deno,
    version: VERSION,
    load: Math.round(Deno.loadavg()[0]! * 100) / 100,
    date: new Date().toISOString().slice(0, 10),
  };
  if (json) printOut(JSON.stringify({ machine, ...result }));
  else {
    const { cpus, kernel, deno, load, date } = machine;
    printOut(`${date}, ${cpus} processors, Linux ${kernel}, Deno ${deno}, load ${load}\n`);
    printOut(benchTable(result));
  }
  if (svg === undefined) return;
  try {
    Deno.writeTextFileSync(svg, benchChart(result));
  } catch (error) {
    throw new SetupError(
      `Cannot write "${svg}": ${error instanceof Error ? error.message : error}`,
    );
  }
}

/** Names that differ: a second daemon of the same name gets a number. */
function named(subjects: readonly Subject[], names: readonly string[]): BenchSubject[] {
  const seen = new Map<string, number>();
  return subjects.map(({ name, socketPath }, i) => {
    const wanted = names[i] ?? name;
    const count = (seen.get(wanted) ?? 0) + 1;
    seen.set(wanted, count);
    return { name: count === 1 ? wanted : `${wanted} ${count}`, socketPath };
  });
}
