/**
 * `virtiofsd-ts inspect`: looks into running daemons from outside.
 *
 * @module
 */

import { printable } from "../inspect/display_width.ts";
import { InspectError } from "../inspect/inspect_error.ts";
import type { Before, TextLayout } from "../inspect/text_layout.ts";
import { EXIT, printError, printOut } from "./exit.ts";
import { printMetrics, writePage } from "./inspect_export.ts";
import { followVersions } from "./inspect_follow.ts";
import { type InspectOptions, parseInspectOptions } from "./inspect_options.ts";
import { InspectSource, unreadableText } from "./inspect_source.ts";
import { watchView } from "./inspect_watch.ts";
import {
  defaultView,
  INSPECT_VIEWS,
  type RowChoice,
  viewJson,
  type ViewName,
  type Views,
} from "./inspect_views.ts";

/** Between two looks, where a view is shown once: what happens per second is their difference. */
const RATE_MS = 200;
/** Rows of a long table, for people. */
const LIMIT_DEFAULT = 50;

/** Shows one view; 0, or 1 if there is nothing to be seen. */
export async function runInspect(args: readonly string[]): Promise<number> {
  const options = parseInspectOptions(args);
  try {
    if (options.html !== undefined) writePage(options.html, options, options.limit);
    else if (options.prometheus) printMetrics(options);
    else if (options.watch !== undefined) await watch(options, options.watch);
    else if (options.follow) await followVersions(options, options.json);
    else await showOnce(options);
    return EXIT.OK;
  } catch (error) {
    if (!(error instanceof InspectError)) throw error;
    // Paths in it may be what some process calls itself.
    printError(`error: ${error.message.split("\n").map(printable).join("\n")}`);
    return EXIT.FAILED;
  }
}

async function watch(options: InspectOptions, intervalSeconds: number): Promise<void> {
  const { view, json } = options;
  const [choice, layout] = [rowChoice(options), textLayout(options)];
  await watchView({ source: options, view, intervalSeconds, choice, layout, json });
}

async function showOnce(options: InspectOptions): Promise<void> {
  using source = new InspectSource(options);
  const name = options.view ?? defaultView(source);
  // Nobody at all is an error, also of the list.
  if (name === "list" && source.listed.length === 0) throw source.nobody();
  const choice = rowChoice(options);
  if (options.json) printOut(jsonOf(name, source, choice));
  else printOut((await textOf(name, source, choice, textLayout(options))).join("\n"));
  if (!options.json) noteUnreadable(name, source);
}

function jsonOf<N extends ViewName>(name: N, source: InspectSource, choice: RowChoice): string {
  return viewJson(name, INSPECT_VIEWS[name].read(source, choice), source);
}

async function textOf<N extends ViewName>(
  name: N,
  source: InspectSource,
  choice: RowChoice,
  layout: TextLayout,
): Promise<readonly string[]> {
  const { read, text, hasRates } = INSPECT_VIEWS[name];
  let view = read(source, choice);
  let before: Before<Views[N]> | null = null;
  // Nothing moves in what a dead daemon has left behind.
  if (hasRates && (source.daemon?.running ?? true)) {
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, RATE_MS));
    const first = view;
    view = read(source, choice);
    before = { view: first, seconds: (performance.now() - start) / 1000 };
  }
  return text(view, { ...layout, now: Date.now() }, before);
}

/** Which rows are read: all, for programs. */
export function rowChoice(options: InspectOptions): RowChoice {
  return { sort: options.sort ?? null, path: options.path ?? null, limit: limitOf(options) };
}

/** How text is written where stdout goes. */
export function textLayout(options: InspectOptions): TextLayout {
  const isTerminal = Deno.stdout.isTerminal();
  return {
    width: isTerminal ? columnCount() : null,
    colour: isTerminal && !Deno.noColor,
    by: options.by ?? "file",
    limit: limitOf(options),
    now: Date.now(),
  };
}

function limitOf({ limit, json }: InspectOptions): number | null {
  if (limit === 0 || (limit === undefined && json)) return null;
  return limit ?? LIMIT_DEFAULT;
}

function noteUnreadable(name: ViewName, { found: { unreadable } }: InspectSource): void {
  if (name !== "list" || unreadable === 0) return;
  printError(unreadableText(unreadable));
}

function columnCount(): number {
  try {
    return Deno.consoleSize().columns;
  } catch {
    // A terminal that does not say how wide it is.
    return 80;
  }
}
