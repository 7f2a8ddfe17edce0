/**
 * A violation for people to read.
 *
 * @module
 */

import { type Call, HOST, operationText, resultText } from "./operations.ts";
import type { Violation } from "./shrink.ts";

/** The history as a table in real-time order, with what was there before and why it cannot be. */
export function violationText({ initial, history, call, possible, isStale }: Violation): string {
  const rows = history.map((each) => [
    `${each.invoked}-${each.returned === Infinity ? "" : each.returned}`,
    guestText(each),
    operationText(each.operation),
    (each.returned === Infinity ? "later: " : "") + resultText(each.result),
    each === call ? `<- can only be ${possible.map(resultText).join(" or ") || "an error"}` : "",
  ]);
  const when = isStale ? "which was right before, and is not any more" : "which it never was";
  const others = initial.length > 1 ? ` (or another of ${initial.length} states)` : "";
  return [
    `${guestText(call)}: ${operationText(call.operation)} gave ${
      resultText(call.result)
    }, ${when}.`,
    `At the start${others}: ${initial[0]!.snapshot()}`,
    ...table([["order", "who", "operation", "result", ""], ...rows]),
  ].join("\n");
}

/** The same for programs. */
export function violationJson({ initial, history, call, possible, isStale }: Violation): unknown {
  return {
    stale: isStale,
    possible,
    initial: initial.map((state) => state.snapshot()),
    history: history.map((each) => ({
      ...each,
      returned: each.returned === Infinity ? null : each.returned,
      offending: each === call,
    })),
  };
}

function guestText({ guest }: Call): string {
  return guest === HOST ? "host" : `guest ${guest + 1}`;
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => {
    return `  ${row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ")}`.trimEnd();
  });
}
