/**
 * The options of `virtiofsd-ts inspect`.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
import { lineBreak, message } from "@optique/core/message";
import { optional } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument, flag, option } from "@optique/core/primitives";
import { choice, float, integer, string } from "@optique/core/valueparser";
import { UsageError } from "./exit.ts";
import { anyOf, type CommandText, lastOf, parseCommand, usageLine } from "./parse.ts";

const VIEW_NAMES = ["list", "summary", "ops", "inodes", "window", "versions", "queues"] as const;

const parser = object({
  view: optional(argument(choice(VIEW_NAMES, { metavar: "VIEW" }), {
    description:
      message`list, summary, ops, inodes, window, versions or queues. By default the one daemon's summary, or the list of several.`,
  })),
  pid: lastOf(option("--pid", integer({ min: 1, metavar: "PID" }), {
    description: message`The daemon with this process id: either of its two.`,
  })),
  socketPath: lastOf(option("--socket-path", string({ metavar: "SOCK" }), {
    description: message`The daemon that listens there.`,
  })),
  stateFile: lastOf(option("--state-file", string({ metavar: "PATH" }), {
    description:
      message`What a daemon has left behind that was started with serve --state-file PATH.`,
  })),
  versionTable: lastOf(option("--version-table", string({ metavar: "PATH" }), {
    description:
      message`versions: this table; no daemon is needed. By default the daemons', or /dev/shm/virtiofsd-ts-versions.`,
  })),
  json: anyOf(flag("--json", { description: message`One JSON object on one line.` })),
  sort: lastOf(option("--sort", choice(["lookups", "opens"], { metavar: "WHAT" }), {
    description: message`inodes: those with most lookups, or most open files, first.`,
  })),
  path: lastOf(option("--path", string({ metavar: "GLOB" }), {
    description:
      message`inodes: only those below the shared directory whose path matches, as in '/src/**.c'; without a slash, whose name does.`,
  })),
  limit: lastOf(option("--limit", integer({ min: 0, metavar: "N" }), {
    description:
      message`inodes, window, versions: at most N rows, 0 for all (default 50; with --json all).`,
  })),
  by: lastOf(option("--by", choice(["file", "age"], { metavar: "WHAT" }), {
    description: message`window: colours by file (default) or by age.`,
  })),
  watch: lastOf(option("--watch", float({ min: 0.05, max: 86_400, metavar: "SECONDS" }), {
    description:
      message`Show the view again and again, every second if no number follows; q or Ctrl-C ends. With --json, a line each time.`,
  })),
  html: lastOf(option("--html", string({ metavar: "FILE" }), {
    description:
      message`Write everything as one HTML page that needs nothing else; - is the standard output.`,
  })),
  prometheus: anyOf(flag("--prometheus", {
    description:
      message`Print the metrics of all daemons, or of the chosen one, as OpenMetrics text.`,
  })),
  follow: anyOf(flag("--follow", {
    description: message`versions: print changes as they are counted, until Ctrl-C.`,
  })),
});

/** What was asked for. */
export type InspectOptions = InferValue<typeof parser>;

/** What the command says about itself. */
export const INSPECT_TEXT: CommandText = {
  name: "inspect",
  synopsis: "[VIEW] [--pid PID | --socket-path SOCK | --state-file PATH] [OPTION]...",
  brief:
    message`See what running daemons are doing: requests, latencies, inodes, the DAX window, queues, shared versions. The daemons do nothing for it.`,
  examples:
    message`virtiofsd-ts inspect${lineBreak()}virtiofsd-ts inspect ops --socket-path /run/share.sock --watch${lineBreak()}virtiofsd-ts inspect inodes --sort opens --path '*.log'${lineBreak()}virtiofsd-ts inspect versions --follow${lineBreak()}virtiofsd-ts inspect --html /tmp/share.html${lineBreak()}virtiofsd-ts inspect queues --state-file /var/lib/share.state --json`,
  footer:
    message`Only the daemon's user and root can look. Exit code 1 if there is nothing to be seen. docs/inspect.md describes the JSON objects.`,
};

/** Parses the arguments. Throws {@linkcode UsageError}. */
export function parseInspectOptions(args: readonly string[]): InspectOptions {
  const options = parseCommand(parser, INSPECT_TEXT, withInterval(args));
  const chosen = [options.pid, options.socketPath, options.stateFile]
    .filter((value) => value !== undefined);
  if (chosen.length > 1) throw misused("--pid, --socket-path and --state-file exclude each other");
  const needs = (given: boolean, name: string, ...views: readonly string[]) => {
    if (!given || views.includes(options.view ?? "")) return;
    throw misused(`${name} needs the view ${views.join(" or ")}`);
  };
  needs(options.sort !== undefined, "--sort", "inodes");
  needs(options.path !== undefined, "--path", "inodes");
  needs(options.follow, "--follow", "versions");
  const ways = [
    ...(options.watch === undefined ? [] : ["--watch"]),
    ...(options.html === undefined ? [] : ["--html"]),
    ...(options.prometheus ? ["--prometheus"] : []),
    ...(options.follow ? ["--follow"] : []),
  ];
  if (ways.length > 1) throw misused(`${ways.join(" and ")} exclude each other`);
  if (options.html !== undefined || options.prometheus) {
    if (options.view !== undefined) throw misused(`${ways[0]} shows all views: name none`);
    if (options.json) throw misused(`${ways[0]} and --json exclude each other`);
  }
  if (options.html === "") throw misused("--html is empty: which file?");
  return options;
}

/** `--watch` alone means every second: the parser knows options with a value and those without. */
function withInterval(args: readonly string[]): string[] {
  return args.map((word, i) =>
    word === "--watch" && !/^[0-9.]/.test(args[i + 1] ?? "") ? "--watch=1" : word
  );
}

/** The error for options that do not go together. */
export function misused(what: string): UsageError {
  return new UsageError(what, usageLine(INSPECT_TEXT));
}
