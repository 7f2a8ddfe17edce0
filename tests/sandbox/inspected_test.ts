/** A daemon of two processes is one to those who look on. */

import { deepEqual, equal, match } from "node:assert/strict";
import { Guest } from "../../src/guest/guest.ts";
import { look, refusal } from "../inspect/look.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { IsolatedDaemon } from "./isolated_daemon.ts";

const ignore = ignoreWithoutRoot();

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `sandbox: ${name}`, ignore, fn });
}

test("inspect list shows one daemon, by the path that was given, and either process names it", async () => {
  await using daemon = await IsolatedDaemon.start();
  const list = await look("list");
  // deno-lint-ignore no-explicit-any
  const rows = list.daemons.filter((row: any) => row.socket === daemon.socketPath);
  equal(rows.length, 1);
  deepEqual([rows[0].pid, rows[0].sharedDir], [daemon.serverPid, daemon.share]);
  for (const pid of [daemon.pid, daemon.serverPid]) {
    const view = await look("summary", "--pid", `${pid}`);
    equal(JSON.stringify(view).includes(daemon.socketPath), true, `by ${pid}`);
  }
  // Who starts daemons is none. (Not asked of this process, which may have state memories of other tests.)
  const other = new Deno.Command("sleep", { args: ["600"] }).spawn();
  try {
    match(await refusal("summary", "--pid", `${other.pid}`), /is no daemon of this program/);
  } finally {
    other.kill("SIGKILL");
    await other.status;
  }
});

test("--state-file is written to, from the directory it was given in, and outlives the daemon", async () => {
  await using daemon = await IsolatedDaemon.start({ args: ["--state-file", "state"] });
  const path = daemon.tree.path("state");
  {
    await using guest = await Guest.connect({ socketPath: daemon.socketPath });
    guest.writeTextFileSync("/f", "content");
    const { rows } = await operations(path);
    equal(rows.get("WRITE"), 1);
  }
  equal((await daemon.status).code, 0, daemon.stderr());
  const { rows, running } = await operations(path);
  deepEqual([rows.get("WRITE"), rows.get("CREATE"), running], [1, 1, false]);
});

test("a relative --version-table is where the daemon was started", async () => {
  const args = ["--cache", "shared", "--version-table", "table", "--version-slots", "1024"];
  await using daemon = await IsolatedDaemon.start({ args });
  equal(Deno.statSync(daemon.tree.path("table")).isFile, true, daemon.stderr());
});

/** How often each request was answered, by what the file says. */
async function operations(
  stateFile: string,
): Promise<{ rows: Map<string, number>; running: boolean }> {
  const view = await look("ops", "--state-file", stateFile);
  const rows = new Map<string, number>();
  for (const { name, requests } of view.rows) rows.set(name, requests);
  return { rows, running: view.daemon.running };
}
