/** The commands that start daemons: they start them as users do, in their sandbox. */

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { Subject } from "../../src/cli/subject.ts";
import { RunningProgram } from "../cli/program.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { TempTree } from "../support/temp_tree.ts";
import { isAlive, IsolatedDaemon } from "./isolated_daemon.ts";

const DEADLINE_MS = 300_000;
const ignore = ignoreWithoutRoot();

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `sandbox: ${name}`, ignore, fn });
}

function childrenOf(pid: number): number[] {
  return Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim().split(" ").map(Number);
}

test("a command's daemon is killed with its serving process, and neither is there when it is closed", async () => {
  using tree = new TempTree();
  for (let i = 0; i < 3; i++) {
    const subject = await Subject.open({ kind: "directory", directory: tree.root });
    const servers = childrenOf(subject.pid!);
    equal(servers.length, 1);
    equal(Deno.readTextFileSync(`/proc/${servers[0]}/status`).includes("NoNewPrivs:\t1"), true);
    subject.kill();
    await subject.close();
    deepEqual(servers.map(isAlive), [false]);
  }
});

async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new RunningProgram(args).outcome(DEADLINE_MS);
  equal(code, 0, stdout + stderr);
  return stdout;
}

test("bench measures daemons as they are by default", async () => {
  using tree = new TempTree();
  const quick = ["--rounds", "1", "--row-ms", "10"];
  const { subjects, rows } = JSON.parse(
    await run("bench", "--shared-dir", tree.root, ...quick, "--json"),
  );
  ok((subjects ?? rows).length > 0);
});

test("check posix finds the same in a sandbox", async () => {
  using tree = new TempTree();
  const checks = "^(rename|lsetxattr|mknod|lchown|fcntl)";
  await run("check", "posix", "--shared-dir", tree.root, "--filter", checks);
});

test("check coherence", async () => {
  const result = JSON.parse(await run("check", "coherence", "--seconds", "5", "--json"));
  deepEqual([result.violations, result.undecided, result.rounds > 0], [0, 0, true]);
});

test("mount shows what is served, until it is unmounted", async () => {
  using tree = new TempTree();
  const mountPoint = tree.directory("mnt");
  await using daemon = await IsolatedDaemon.start();
  Deno.writeTextFileSync(`${daemon.share}/f`, "served");
  const program = new RunningProgram(["mount", "--socket-path", daemon.socketPath, mountPoint]);
  await program.stderrHolds("Mounted ");
  try {
    equal(await Deno.readTextFile(`${mountPoint}/f`), "served");
    await Deno.writeTextFile(`${mountPoint}/g`, "written");
    equal(Deno.readTextFileSync(`${daemon.share}/g`), "written");
  } finally {
    await new Deno.Command("umount", { args: [mountPoint] }).output();
  }
  const { code, stderr } = await program.outcome();
  equal(code, 0, stderr);
  equal((await daemon.status).code, 0, daemon.stderr());
  match(stderr, /Unmounted/);
});
