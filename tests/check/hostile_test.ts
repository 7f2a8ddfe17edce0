/**
 * The hostile guest, small. More of it: VIRTIOFSD_TS_HOSTILE_SCALE=1 deno test -A tests/check/hostile_test.ts
 */

import { equal, match } from "node:assert/strict";
import { Auditor } from "../../src/check/hostile/auditor.ts";
import { ATTACKS } from "../../src/check/hostile/run.ts";
import { Secrets } from "../../src/check/hostile/secrets.ts";
import { RunningProgram } from "../cli/program.ts";
import { concat, words } from "../support/little_endian.ts";
import { TempTree } from "../support/temp_tree.ts";

const SCALE = Deno.env.get("VIRTIOFSD_TS_HOSTILE_SCALE") ?? "0.01";
const DEADLINE_MS = 600_000;

interface Report {
  readonly name: string;
  readonly outcome: string;
  readonly rounds: number;
  readonly violations: readonly string[];
}

async function check(...args: readonly string[]): Promise<{ code: number; reports: Report[] }> {
  const program = new RunningProgram(["check", "hostile", "--json", "--scale", SCALE, ...args]);
  const { code, stdout, stderr } = await program.outcome(DEADLINE_MS);
  equal(stderr, "");
  return { code, reports: stdout.trim().split("\n").map((line) => JSON.parse(line)) };
}

Deno.test("a hostile guest gets nowhere, with no sandbox", async () => {
  const { code, reports } = await check("--sandbox", "none");
  const complaints = reports.flatMap(({ name, violations }) =>
    violations.map((v) => `${name}: ${v}`)
  );
  equal(complaints.join("\n"), "");
  equal(code, 0);
  equal(reports.map(({ name }) => name).join(" "), ATTACKS.map(({ name }) => name).join(" "));
  for (const { name, rounds } of reports) {
    equal(name === "mounts" || rounds > 0, true, `${name} was tried`);
  }
});

Deno.test("attacks that are not there are named", async () => {
  const outcome = await new RunningProgram(["check", "hostile", "--attacks", "nonsense"])
    .outcome(DEADLINE_MS);
  equal(outcome.code, 2);
  match(outcome.stderr, /There is no attack "nonsense"; expected some of names, /);
});

Deno.test("the auditor sees what is read, written, renamed and removed outside", () => {
  const deeds: Record<string, (canary: string) => void> = {
    "opened": (canary) => Deno.openSync(`${canary}/secret`).close(),
    "opened in a directory": (canary) => void [...Deno.readDirSync(`${canary}/inner`)],
    "written": (canary) => Deno.writeTextFileSync(`${canary}/inner/secret`, "HOSTILE"),
    "attributes": (canary) => Deno.chmodSync(`${canary}/script`, 0o600),
    "made": (canary) => Deno.mkdirSync(`${canary}/made`),
    "linked": (canary) => Deno.linkSync(`${canary}/secret`, `${canary}/../linked`),
    "renamed": (canary) => Deno.renameSync(canary, `${canary}-2`),
    "removed": (canary) => Deno.removeSync(`${canary}/secret`),
  };
  for (const [name, deed] of Object.entries(deeds)) {
    using tree = new TempTree();
    const auditor = new Auditor(tree.root);
    auditor.begin();
    deed(auditor.path);
    equal(auditor.end().length > 0, true, `${name} is seen`);
  }
  using tree = new TempTree();
  const auditor = new Auditor(tree.root);
  auditor.begin();
  equal(auditor.end().join(), "", "nothing is seen where nothing was done");
});

Deno.test("replies are looked through for what lies outside", () => {
  const seen = (opcode: number, bytes: Uint8Array): number => {
    const secrets = new Secrets("token", new Set([77n]));
    secrets.look(opcode, new DataView(bytes.slice().buffer as ArrayBuffer));
    return secrets.seen.size;
  };
  equal(seen(15, new TextEncoder().encode("a ttoken b")), 1);
  equal(seen(15, new TextEncoder().encode("a toke")), 0);
  const entry = (nodeid: bigint, ino: bigint) =>
    concat(words(nodeid, 0n, 0n, 0n, 0n), words(ino), new Uint8Array(80));
  equal(seen(1, entry(5n, 77n)), 1);
  equal(seen(1, entry(5n, 78n)), 0);
  equal(seen(3, concat(words(0n, 0n, 77n), new Uint8Array(80))), 1);
  const named = concat(new Uint8Array(16), words(1, 4), new Uint8Array(8));
  equal(seen(44, concat(entry(5n, 1n), named, entry(6n, 77n), named)), 1);
  // What getdents(2) says of "..": nothing was looked at for it.
  equal(seen(44, concat(entry(0n, 77n), named)), 0);
});
