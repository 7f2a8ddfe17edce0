import assert from "node:assert/strict";
import { RunningProgram } from "../cli/program.ts";
import { pause } from "../support/daemon.ts";
import { ROOT } from "../support/fuse_client.ts";
import { Frontend } from "../support/frontend.ts";
import { SharedShare, startSharing, TablePath } from "../support/shared_share.ts";
import { TempTree } from "../support/temp_tree.ts";
import { VersionedGuest } from "../support/versioned_guest.ts";
import { look, refusal } from "./look.ts";

// deno-lint-ignore no-explicit-any
type Row = any;

const share = new SharedShare(2);

share.test("inspect versions: slots, paths and owners of two daemons, one of them killed", async (scene) => {
  const { tree, daemons } = scene;
  const table = share.table.path;
  const [first, second] = daemons.map(({ socketPath }) => VersionedGuest.connect(socketPath));
  const both = first!.create(ROOT, "both");
  const alone = first!.create(ROOT, "alone");
  second!.walk("both");
  for (let i = 0; i < 5; i += 1) {
    first!.fuse.write(both.entry.nodeid, both.fh, 0n, new Uint8Array(10));
  }
  const seen = await look("versions", "--version-table", table);
  assert.deepEqual([seen.path, seen.slotCount], [table, 4096 - 8]);
  assert.equal(seen.used + seen.free, seen.slotCount);
  assert.equal(seen.used, seen.rows.length);
  const ownerOf = new Map<number, Row>(seen.owners.map((row: Row) => [row.pid, row]));
  const [firstOwner, secondOwner] = daemons.map(({ pid }) => ownerOf.get(pid));
  assert.ok(firstOwner.alive && secondOwner.alive);
  const rows = new Map<string, Row>(seen.rows.map((row: Row) => [row.path, row]));
  const row = rows.get(tree.path("both"));
  assert.equal(row.slot, both.index);
  assert.equal(BigInt(row.value), first!.versions.slot(both.index));
  assert.equal(row.ino, `${Deno.statSync(tree.path("both")).ino}`);
  assert.deepEqual(row.owners, [firstOwner.owner, secondOwner.owner].sort());
  assert.deepEqual(rows.get(tree.path("alone")).owners, [firstOwner.owner]);
  assert.equal(rows.get(tree.path("alone")).slot, alone.index);
  assert.equal(firstOwner.slots - secondOwner.slots, 1);
  assert.ok(rows.has(tree.root), "the root");

  // Of the one and only table nobody has to be told the path, nor with a daemon that uses it.
  const byDaemon = await look("versions", "--pid", `${daemons[1]!.pid}`);
  assert.equal(byDaemon.path, table);
  first!.fuse.write(both.entry.nodeid, both.fh, 0n, new Uint8Array(10));
  const [moved] = (await look("versions", "--version-table", table, "--limit", "1")).rows;
  assert.deepEqual([moved.slot, moved.changes], [both.index, row.changes + 1]);
  for (const guest of [first!, second!]) guest[Symbol.dispose]();
});

Deno.test({
  name: "inspect versions: a dead daemon's slots, and a table that nobody uses",
  ignore: Deno.uid() !== 0,
  sanitizeOps: false,
  sanitizeResources: false,
}, async () => {
  using tree = new TempTree();
  using table = new TablePath();
  const args = ["versions", "--version-table", table.path];
  assert.match(await refusal(...args), /the registry of .* cannot be opened: ENOENT/);
  const daemon = await startSharing(tree, table, undefined, 4096);
  const { pid } = daemon;
  tree.file("f");
  const guest = VersionedGuest.connect(daemon.socketPath);
  const { index } = guest.walk("f");
  await daemon.kill();
  Frontend.closeAll();
  const { owners, rows } = await look(...args);
  assert.deepEqual(
    owners.map((owner: Row) => [owner.pid, owner.alive, owner.slots]),
    [[pid, false, rows.length]],
  );
  const row = rows.find(({ slot }: Row) => slot === index);
  assert.equal(row.ino, `${Deno.statSync(tree.path("f")).ino}`);
  assert.equal(row.path, null, "nobody is there who knows it");
  Deno.truncateSync(table.path, 4096);
  assert.match(await refusal(...args), /has been cut short: it has 4096 bytes, expected 32768/);
  Deno.truncateSync(table.registry, 100);
  assert.match(await refusal(...args), /the registry of .* it has 100 bytes/);
});

share.test("inspect versions --follow: each change, as it is counted", async ({ tree, daemons }) => {
  const guest = VersionedGuest.connect(daemons[0]!.socketPath);
  const { entry, fh, index } = guest.create(ROOT, "followed");
  const table = ["--version-table", share.table.path];
  const follower = new RunningProgram(["inspect", "versions", "--follow", "--json", ...table]);
  let written = 0;
  // Until it has been looking for a while, however slow the machine is.
  const lines = () => follower.stdoutSoFar.split("\n").length;
  for (
    const end = performance.now() + 60_000;
    performance.now() < end && lines() < 12;
    written += 1
  ) {
    guest.fuse.write(entry.nodeid, fh, 0n, new Uint8Array(1));
    await pause(20);
  }
  await pause(300);
  follower.kill("SIGINT");
  const { code, stdout, stderr } = await follower.outcome();
  assert.equal(code, 0, stderr);
  const changes = stdout.trimEnd().split("\n").map((line) => JSON.parse(line) as Row)
    .filter(({ slot }) => slot === index);
  assert.ok(changes.length > 5, `${changes.length} of ${written} were seen`);
  for (const change of changes) {
    assert.deepEqual([change.view, change.path], ["change", tree.path("followed")]);
  }
  const counted = changes.reduce((sum: number, change: Row) => sum + change.changes, 0);
  assert.ok(counted <= written && counted >= changes.length, `${counted} of ${written}`);
  guest[Symbol.dispose]();
});
