/**
 * What came of the attacks, as a table.
 *
 * @module
 */

import type { Outcome } from "./run.ts";

/** One line of the table, and others for what is wrong. */
export function outcomeText(outcome: Outcome): string {
  const { name, rounds, refused, violations, remarks, race, neighbour, nextGuestMs } = outcome;
  const line = `${outcome.outcome.padEnd(10)} ${name.padEnd(24)} ${refused} of ${rounds} refused`;
  const happened = race === null ? [] : [`${race.done} ${race.what} in ${race.served} requests`];
  const { visits, worstMs } = neighbour;
  const times = visits === 1 ? "once" : `${visits} times`;
  const others = [`neighbour served ${times}, worst ${worstMs} ms`]
    .concat(nextGuestMs === null ? [] : [`next guest in ${nextGuestMs} ms`]);
  const known = [...happened, ...remarks, ...others].join("; ");
  return [`${line}; ${known}`, ...violations.map((violation) => `           ${violation}`)]
    .join("\n");
}

/** The last line. */
export function summaryText(outcomes: readonly Outcome[], seconds: number): string {
  const count = (kind: Outcome["outcome"]) =>
    outcomes.filter(({ outcome }) => outcome === kind).length;
  const rounds = outcomes.reduce((sum, outcome) => sum + outcome.rounds, 0);
  const violations = count("VIOLATION");
  const untried = count("UNTRIED") === 0 ? "" : `${count("UNTRIED")} did not take place, `;
  return `${outcomes.length} attacks, ${rounds} attempts: ${count("refused")} refused, ` +
    `${count("contained")} contained, ${untried}${count("ENDED")} ended the daemon, ` +
    `${violations} violation${violations === 1 ? "" : "s"} ` +
    `(${Math.round(seconds * 10) / 10} s)`;
}
