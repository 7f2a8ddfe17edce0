/**
 * The check of coherence with daemons that are killed. More of it:
 * VIRTIOFSD_TS_KILL_SECONDS=600 deno test -A tests/check/killed_daemon_test.ts
 */

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { checkHistory } from "../../src/check/coherence/linearizability.ts";
import type { Call, Operation, Result } from "../../src/check/coherence/operations.ts";
import { auditTable, auditText, inodesWithTwoSlots } from "../../src/cli/coherence_audit.ts";
import { BUCKET, slotWord } from "../../src/coherence/registry_layout.ts";
import { ENOENT } from "../../src/sys/errno.ts";
import { RunningProgram } from "../cli/program.ts";
import { TableFiles } from "../coherence/table_files.ts";
import { A, B, call, EMPTY, OPTIONS, value } from "./histories.ts";

const SECONDS = Number(Deno.env.get("VIRTIOFSD_TS_KILL_SECONDS") ?? 3);

function verdictOf(history: readonly Call[]): string {
  return checkHistory(OPTIONS, [EMPTY], history).kind;
}

/** Guest 0 has a daemon that is killed in the midst of `operation`, from 11 to 20; guest 1 looks before and after that. */
function around(operation: Operation, looks: readonly (readonly [number, Operation, Result])[]) {
  return verdictOf([
    call(0, [1, 2], { kind: "create", place: A }),
    call(0, [3, 4], { kind: "write", place: A, value: value("old") }),
    { ...call(0, [11, 20], operation), result: null },
    ...looks.map(([at, look, result]) => call(1, [at, at + 0.5], look, result)),
  ]);
}

const read: Operation = { kind: "read", place: A };
const stat: Operation = { kind: "stat", place: B };

Deno.test("what a killed daemon was asked for was done, or not, or later", () => {
  const write: Operation = { kind: "write", place: A, value: value("new") };
  const [old, neu] = [value("old"), value("new")];
  equal(around(write, [[12, read, old], [21, read, old]]), "linearizable");
  equal(around(write, [[12, read, neu], [21, read, neu]]), "linearizable");
  equal(around(write, [[12, read, old], [14, read, neu], [21, read, neu]]), "linearizable");
  const file = "file 644, 1 links, 16 bytes";
  const rename: Operation = { kind: "rename", place: A, target: B };
  equal(
    around(rename, [[12, stat, -ENOENT], [13, stat, file], [21, read, -ENOENT]]),
    "linearizable",
  );
  equal(around(rename, [[21, stat, -ENOENT], [22, read, old]]), "linearizable");
});

Deno.test("it is not undone, not done before it was asked for nor after the daemon was gone, and not done in halves", () => {
  const write: Operation = { kind: "write", place: A, value: value("new") };
  const [old, neu] = [value("old"), value("new")];
  equal(around(write, [[12, read, neu], [14, read, old]]), "violation");
  equal(around(write, [[9, read, neu]]), "violation");
  equal(around(write, [[21, read, old], [22, read, neu]]), "violation");
  equal(around(write, [[12, read, ""]]), "violation");
  const rename: Operation = { kind: "rename", place: A, target: B };
  equal(around(rename, [[21, stat, -ENOENT], [22, read, -ENOENT]]), "violation");
});

Deno.test("of what has several steps the first may be all", () => {
  const rewrite: Operation = { kind: "rewrite", place: A, value: value("new") };
  for (const content of ["", value("old"), value("new")]) {
    equal(around(rewrite, [[21, read, content]]), "linearizable");
  }
  equal(around(rewrite, [[21, read, ""], [22, read, value("new")]]), "violation");
});

Deno.test("the audit of a table finds what is left in it", () => {
  using files = new TableFiles(64);
  {
    using one = files.daemon();
    const two = files.daemon();
    const first = one.thread.registry.acquire(0, 0, 1, 0);
    const second = two.thread.registry.acquire(0, 0, 2, 0);
    deepEqual(inodesWithTwoSlots(files.path), []);
    one.registry.u32[slotWord(second, BUCKET.INO_LO)] = 1;
    equal(inodesWithTwoSlots(files.path).length, 1);
    // A change that nobody has written down is nobody's to end.
    one.thread.slots.begin(first);
    two.kill();
  }
  const audit = auditTable(files.path, []);
  equal(audit.found.length, 1, audit.found.join("\n"));
  match(audit.found[0]!, /^slot \d+ has changes in progress/);
  equal(audit.sweptByDaemons + audit.sweptAtEnd, 1);
  match(auditText(audit), /^The table of 64 slots at the end: 1 faults .*\n {2}slot \d+/);
});

Deno.test(`check coherence --kill: survivors stay coherent, and nothing is left in the table`, async () => {
  const args = ["--kill", "--guests", "3", "--seconds", String(SECONDS), "--round", "100"];
  const program = new RunningProgram(["check", "coherence", ...args, "--json"]);
  const { code, stdout, stderr } = await program.outcome(SECONDS * 1000 + 240_000);
  equal(code, 0, stdout + stderr);
  const { kills, rounds, violations, undecided, audit } = JSON.parse(stdout);
  equal(violations + undecided, 0, stdout);
  ok(kills > 0 && kills <= rounds, stdout);
  deepEqual(audit.found, []);
  equal(audit.sweptByDaemons + audit.sweptAtEnd >= kills, true, stdout);
});

Deno.test("check coherence --kill is for our own daemons", async () => {
  for (const args of [["--cache", "auto"], ["--command", "false {socket} {dir}"]]) {
    const program = new RunningProgram(["check", "coherence", "--kill", ...args]);
    const { code, stderr } = await program.outcome();
    equal(code, 2, stderr);
    match(stderr, /--kill is for our own daemons/);
  }
});
