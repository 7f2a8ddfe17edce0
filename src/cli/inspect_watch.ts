/**
 * `inspect --watch`: a view again and again.
 *
 * @module
 */

import { BusyError, InspectError } from "../inspect/inspect_error.ts";
import type { DaemonSummary } from "../inspect/snapshot.ts";
import { readSummary } from "../inspect/summary.ts";
import { rateText, type TextLayout } from "../inspect/text_layout.ts";
import { printable, shortened } from "../inspect/display_width.ts";
import { PROGRAM_NAME } from "../version.ts";
import { InspectSource, type SourceOptions } from "./inspect_source.ts";
import {
  defaultView,
  INSPECT_VIEWS,
  type RowChoice,
  viewJson,
  type ViewName,
  type Views,
} from "./inspect_views.ts";
import { type ScreenSize, watchLive } from "./live_screen.ts";

/** What is watched, and how it is shown. */
export interface WatchOptions {
  readonly source: SourceOptions;
  readonly view: ViewName | undefined;
  readonly intervalSeconds: number;
  readonly choice: RowChoice;
  readonly layout: TextLayout;
  readonly json: boolean;
}

/** Shows the view until the user has seen enough. Throws `InspectError` if the daemon ends. */
export async function watchView(options: WatchOptions): Promise<void> {
  const source = new InspectSource(options.source);
  using watch = new Watch(options.view ?? defaultView(source), source, options);
  await watchLive({
    intervalSeconds: options.intervalSeconds,
    draw: (size) => watch.draw(size),
    isData: options.json,
  });
}

/** What has been seen last, for what happens per second. */
class Watch<N extends ViewName> implements Disposable {
  readonly #options: WatchOptions;
  readonly #name: N;
  #source: InspectSource;
  #before: { view: Views[N]; totals: Totals; at: number } | null = null;

  constructor(name: N, source: InspectSource, options: WatchOptions) {
    this.#name = name;
    this.#source = source;
    this.#options = options;
  }

  draw({ columns }: ScreenSize): readonly string[] {
    const { choice, json } = this.#options;
    this.#lookForDaemons();
    const { read, text } = INSPECT_VIEWS[this.#name];
    const at = performance.now();
    try {
      const view = read(this.#source, choice);
      if (json) return [viewJson(this.#name, view, this.#source)];
      const totals = this.#totals();
      const seconds = this.#before === null ? 0 : (at - this.#before.at) / 1000;
      const before = this.#before === null ? null : { view: this.#before.view, seconds };
      const header = this.#header(totals, seconds, columns);
      this.#before = { view, totals, at };
      const { layout } = this.#options;
      const width = layout.width === null ? null : columns;
      return [header, "", ...text(view, { ...layout, width, now: Date.now() }, before)];
    } catch (error) {
      // The next drawing may have better luck.
      if (error instanceof BusyError && !json) {
        return [this.#header(null, 0, columns), "", error.message];
      }
      throw error;
    }
  }

  /** Daemons come and go: what is shown of all of them is looked for each time. Of one, it is said that it has ended. */
  #lookForDaemons(): void {
    const { daemon } = this.#source;
    if (daemon === null || this.#name === "list" || this.#name === "versions") {
      const source = new InspectSource(this.#options.source);
      this.#source[Symbol.dispose]();
      this.#source = source;
    } else if (daemon.running && !exists(`/proc/${daemon.pid}`)) {
      throw new InspectError(`The daemon ${daemon.pid} has ended`);
    }
  }

  /** The only daemon's, or those of all. */
  #totals(): Totals {
    const summaries = this.#source.listed.map(readSummary);
    return {
      requests: sum(summaries, ({ requests }) => requests),
      errors: sum(summaries, ({ errors }) => errors),
    };
  }

  #header(totals: Totals | null, seconds: number, columns: number): string {
    const { daemon, listed } = this.#source;
    const clock = new Date().toTimeString().slice(0, 8);
    const last = this.#before?.totals ?? null;
    const before = last === null ? null : { view: last, seconds };
    const rates = totals === null || before === null
      ? ""
      : `  ${rateText(totals.requests, before, ({ requests }) => requests)} requests/s, ${
        rateText(totals.errors, before, ({ errors }) => errors)
      } errors/s`;
    const head = `${PROGRAM_NAME} inspect ${this.#name}  ${clock}${rates}  `;
    if (daemon === null) return `${head}${listed.length} daemons`;
    const who = `${head}pid ${daemon.pid}  `;
    const path = printable(daemon.reader.description.sharedDir);
    return who + shortened(path, Math.max(0, columns - who.length), "middle");
  }

  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

interface Totals {
  readonly requests: number;
  readonly errors: number;
}

function sum(summaries: readonly DaemonSummary[], of: (summary: DaemonSummary) => number): number {
  return summaries.reduce((total, summary) => total + of(summary), 0);
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
