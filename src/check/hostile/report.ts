/**
 * What came of the attacks, as a table.
 *
 * @module
 */

import type { Outcome } from "./run.ts";

/** One line of the table, and others for what is wrong. */
export function outcomeText(outcome: Outcome): string {
  const { name, rounds, refused, violations, remarks } = outcome;
  const counts = `${refused} of ${rounds} refused`;
  const line = `${outcome.outcome.padEnd(10)} ${name.padEnd(24)} ${counts}`;
  const known = remarks.length === 0 ? "" : `; ${remarks.join("; ")}`;
  return [line + known, ...violations.map((violation) => `           ${violation}`)].join("\n");
}

/** The last line. */
export function summaryText(outcomes: readonly Outcome[], seconds: number): string {
  const count = (kind: Outcome["outcome"]) =>
    outcomes.filter(({ outcome }) => outcome === kind).length;
  const rounds = outcomes.reduce((sum, outcome) => sum + outcome.rounds, 0);
  const violations = count("VIOLATION");
  return `${outcomes.length} attacks, ${rounds} attempts: ${count("refused")} refused, ` +
    `${count("contained")} contained, ${count("ENDED")} ended the daemon, ` +
    `${violations} violation${violations === 1 ? "" : "s"} ` +
    `(${Math.round(seconds * 10) / 10} s)`;
}
