/**
 * The guest suite: a real Linux kernel mounts the served directory in every configuration and works on it.
 *
 * Needs User Mode Linux and root. Where they are missing the suite is ignored and says why; with
 * `VIRTIOFSD_TS_REQUIRE_GUEST=1` it fails instead. `VIRTIOFSD_TS_QUICK=1` makes the big file small.
 *
 * @module
 */
import assert from "node:assert/strict";
import { CONFIGURATIONS, type GuestConfiguration } from "./configurations.ts";
import { Daemon } from "./daemon.ts";
import { runPosixOnHost } from "./posix_reference.ts";
import { type PosixOutcome, runSession, type SessionReport } from "./session.ts";
import { exists, isGuestRequired, umlObstacle } from "./tools.ts";

const obstacle = umlObstacle();
if (obstacle !== null) console.log(`guest suite: left out, because ${obstacle}`);

/** Leaves the suite out where it cannot run, unless it has to run. */
const ignore = obstacle !== null && !isGuestRequired;

const isQuick = Deno.env.get("VIRTIOFSD_TS_QUICK") === "1";
const POSIX_SUITE = `${import.meta.dirname}/../posix/run.ts`;

/** The configurations whose guest runs the POSIX suite too. */
const POSIX_CONFIGURATIONS = new Set(["cache=never", "cache=auto", "cache=always writeback"]);

// The guest and the daemon are other processes, and one report serves many steps.
const OPTIONS = { ignore, sanitizeOps: false, sanitizeResources: false, sanitizeExit: false };

let posixOnHost: Promise<PosixOutcome[]> | null = null;

async function testConfiguration(t: Deno.TestContext, configuration: GuestConfiguration) {
  assert.equal(obstacle, null, `the guest suite is required, but ${obstacle}`);
  const hasPosix = POSIX_CONFIGURATIONS.has(configuration.name) && exists(POSIX_SUITE);
  const report = await runSession({
    configuration,
    isQuick,
    posixSuite: hasPosix ? POSIX_SUITE : null,
  });
  for (const { name, ok, detail, ms } of report.outcomes) {
    await t.step(`${name} (${ms} ms)`, () => assert.ok(ok, detail));
  }
  if (hasPosix) {
    posixOnHost ??= runPosixOnHost(POSIX_SUITE);
    await testPosix(t, report.posix, await posixOnHost);
  }
  await t.step("the session ends in order", () => assertOrderlyEnd(report));
}

/** The mount must answer each POSIX check as a plain directory of the host does. */
async function testPosix(
  t: Deno.TestContext,
  guest: readonly PosixOutcome[],
  host: readonly PosixOutcome[],
) {
  await t.step(`POSIX suite (${guest.length} checks)`, () => {
    assert.ok(host.length > 0, "the POSIX suite gave no results on the host");
    const onHost = new Map(host.map((outcome) => [outcome.name, outcome.ok]));
    const different = guest.filter(({ name, ok }) => onHost.get(name) !== ok)
      .map(({ name, ok, detail }) => `${name}: ${ok ? "passes" : "fails"} (${detail ?? ""})`);
    assert.deepEqual(different, [], "other results than on the host");
    assert.equal(guest.length, host.length, "some checks gave no result in the guest");
  });
}

function assertOrderlyEnd(report: SessionReport): void {
  const context = () => `\n${report.daemonOutput}\n${report.console}`;
  assert.ok(report.problem === null, `${report.problem}${context()}`);
  assert.ok(report.daemonEndProblem === null, `${report.daemonEndProblem}${context()}`);
}

for (const configuration of CONFIGURATIONS) {
  Deno.test({
    name: `guest: ${configuration.name}`,
    ...OPTIONS,
    fn: (t) => testConfiguration(t, configuration),
  });
}

Deno.test({
  name: "guest: SIGTERM ends the daemon, with the socket and the pid file removed",
  ...OPTIONS,
  fn: async () => {
    const dir = Deno.makeTempDirSync({ prefix: "virtiofsd-ts-guest-" });
    try {
      await using daemon = await Daemon.start({ socketPath: `${dir}/s`, sharedDir: dir });
      assert.equal(await daemon.terminate(), null, daemon.output);
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  },
});
