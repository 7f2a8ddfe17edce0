/**
 * What a view is written for: how much room there is, and what it is compared with.
 *
 * @module
 */

import { countText } from "./units.ts";

/** Where the text goes. */
export interface TextLayout {
  /** Columns of the terminal; null where there is none: then nothing is cut. */
  readonly width: number | null;
  readonly colour: boolean;
  /** The window's cells are coloured by this. */
  readonly by: "file" | "age";
  /** Most rows of a long table; null for all. */
  readonly limit: number | null;
  /** Milliseconds since 1970: ages are counted to this moment. */
  readonly now: number;
}

/** The same view some time before, for what happens per second. */
export interface Before<V> {
  readonly view: V;
  /** How long ago. */
  readonly seconds: number;
}

/** How often something has happened per second; "" without a view before. */
export function rateText<V>(
  now: number,
  before: Before<V> | null,
  count: (view: V) => number | undefined,
): string {
  if (before === null || before.seconds <= 0) return "";
  const change = Math.max(0, now - (count(before.view) ?? 0));
  const rate = change / before.seconds;
  return rate > 0 && rate < 10 ? rate.toFixed(1) : countText(Math.round(rate));
}

/** The line below figures that are per second; none without them. */
export function rateNote(before: Before<unknown> | null): string[] {
  if (before === null) return [];
  return ["", `Per second: over the last ${Math.round(before.seconds * 1000)} ms.`];
}
