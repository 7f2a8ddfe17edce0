/**
 * The check of coherence with real daemons, small. More of it: VIRTIOFSD_TS_COHERENCE_SECONDS=600 deno test -A tests/check/coherence_test.ts
 */

import { equal, match } from "node:assert/strict";
import { type Outcome, RunningProgram } from "../cli/program.ts";

const SECONDS = Number(Deno.env.get("VIRTIOFSD_TS_COHERENCE_SECONDS") ?? 3);

/** What `--json` prints, as far as it is looked at. */
interface Report {
  readonly operations: readonly number[];
  readonly rounds: number;
  readonly violations: number;
  readonly undecided: number;
  readonly seed: number;
  readonly violation: null | {
    readonly stale: boolean;
    readonly history: readonly { readonly offending: boolean }[];
  };
}

async function check(...args: readonly string[]): Promise<Outcome> {
  const deadlineMs = SECONDS * 1000 + 180_000;
  return await new RunningProgram(["check", "coherence", ...args]).outcome(deadlineMs);
}

function reportOf(outcome: Outcome): Report {
  equal(outcome.stderr, "");
  return JSON.parse(outcome.stdout);
}

const SETUPS = [
  { mode: "none", guests: 2, daemons: 2 },
  { mode: "none", guests: 3, daemons: 2 },
  { mode: "shared", guests: 2, daemons: 2 },
  { mode: "shared", guests: 3, daemons: 2 },
] as const;

for (const { mode, guests, daemons } of SETUPS) {
  Deno.test(`check coherence finds nothing with --cache ${mode}: ${guests} guests, ${daemons} daemons`, async () => {
    const outcome = await check(
      ...["--cache", mode, "--seconds", String(SECONDS), "--json"],
      ...["--guests", String(guests), "--daemons", String(daemons)],
    );
    equal(outcome.code, 0, outcome.stdout + outcome.stderr);
    const report = reportOf(outcome);
    equal(report.violations + report.undecided, 0, outcome.stdout);
    equal(report.operations.length, guests);
    for (const count of report.operations) equal(count >= 100, true, outcome.stdout);
  });
}

Deno.test("check coherence finds the staleness of --cache auto within seconds, and shows it", async () => {
  const args = ["--cache", "auto", "--seconds", "60", "--round", "100"];
  const outcome = await check(...args, "--violations", "1", "--json");
  equal(outcome.code, 1, outcome.stdout + outcome.stderr);
  const { violation, violations, seed, rounds } = reportOf(outcome);
  equal(violations, 1);
  equal(violation?.stale, true, outcome.stdout);
  equal(violation?.history.filter(({ offending }) => offending).length, 1);
  equal(rounds < 100, true, `found in round ${rounds} only`);
  // For people, with how to do it again.
  const shown = await check(...args, "--seed", String(seed), "--violations", "2");
  equal(shown.code, 1, shown.stdout + shown.stderr);
  match(shown.stdout, /^guest [12]: .* gave .*, which was right before, and is not any more\.$/m);
  match(shown.stdout, /^ {2}order +who +operation +result$/m);
  match(shown.stdout, /<- can only be /);
  match(
    shown.stdout,
    /^\d+ operations \(\d+ \+ \d+, \d+ requests\) in \d+ rounds, 2 violations \(/m,
  );
  match(
    shown.stdout,
    new RegExp(`^Again: virtiofsd-ts check coherence --cache auto .*--seed ${seed}`, "m"),
  );
});

Deno.test("check coherence: what cannot be done is said in one line", async () => {
  const cases: readonly (readonly [string[], number, RegExp])[] = [
    [["--cache", "frob"], 2, /frob/],
    [["--guests", "1", "--daemons", "2"], 2, /2 daemons for 1 guests/],
    [["--shared-dir", "/nowhere", "--cache", "none"], 1, /Cannot make a directory in "\/nowhere"/],
    [["--command", "false {socket} {dir}", "--cache", "none"], 1, /ended with exit code 1/],
  ];
  for (const [args, code, message] of cases) {
    const outcome = await check(...args);
    equal(outcome.code, code, outcome.stderr);
    match(outcome.stderr, message);
  }
  const help = await check("--help");
  equal(help.code, 0);
  match(help.stdout, /Usage: virtiofsd-ts check coherence .*\n/);
  match(help.stdout, /\n {2}virtiofsd-ts check coherence --cache shared/);
});
