/**
 * Under full load nothing that is shown is torn. `VIRTIOFSD_TS_INSPECT_SECONDS` says for how long; a few seconds by default.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { DaemonState } from "../../src/inspect/daemon_state.ts";
import { findDaemons } from "../../src/inspect/find_daemons.ts";
import { readInodes } from "../../src/inspect/inodes.ts";
import { readOps } from "../../src/inspect/ops.ts";
import { readQueues } from "../../src/inspect/queues.ts";
import type { OpcodeRow, VersionsView } from "../../src/inspect/snapshot.ts";
import { readSummary } from "../../src/inspect/summary.ts";
import { VersionTableReader } from "../../src/inspect/version_table.ts";
import { readVersions } from "../../src/inspect/versions.ts";
import { isRustPeer, pause } from "../support/daemon.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { startSharing, TablePath } from "../support/shared_share.ts";
import { TempTree } from "../support/temp_tree.ts";
import type { Asked, Load } from "./load_worker.ts";

const SECONDS = Number(Deno.env.get("VIRTIOFSD_TS_INSPECT_SECONDS") ?? 4);
const NAMES = Array.from({ length: 24 }, (_, i) => `file${i}`);

/** What is true of each opcode's row at any moment. */
function checkRow(row: OpcodeRow, earlier: OpcodeRow | undefined): void {
  const timed = row.histogram.reduce((sum, [, count]) => sum + count, 0);
  assert.equal(timed, row.requests, `${row.name}: the histogram`);
  const errors = Object.values(row.errnos).reduce((sum, count) => sum + count, 0);
  assert.equal(errors, row.errors, `${row.name}: errors`);
  assert.ok(row.medianNs <= row.p99Ns && row.p99Ns <= row.maxNs, `${row.name}: times`);
  // The four counters are written one after the other: at most the request that is just being counted is in some and not in others.
  assert.ok(row.bytesIn >= 40 * (row.requests - 1), `${row.name}: ${row.bytesIn} bytes in`);
  assert.ok(row.totalNs >= row.maxNs, `${row.name}: ${row.totalNs} ns`);
  if (earlier === undefined) return;
  for (const field of ["requests", "errors", "bytesIn", "bytesOut", "totalNs", "maxNs"] as const) {
    assert.ok(row[field] >= earlier[field], `${row.name}: ${field} went back`);
  }
}

Deno.test({
  name: `inspect under full load for ${SECONDS} s: no torn value, no wrong row`,
  ignore: ignoreWithoutRoot() || isRustPeer,
  sanitizeOps: false,
  sanitizeResources: false,
}, async () => {
  using tree = new TempTree();
  using tablePath = new TablePath();
  for (const name of NAMES) tree.file(name, "content");
  const inos = new Map(NAMES.map((name) => [`${Deno.statSync(tree.path(name)).ino}`, name]));
  const daemon = await startSharing(tree, tablePath, undefined, 4096);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL("./load_worker.ts", import.meta.url), { type: "module" });
  const finished = new Promise<Asked>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
  });
  finished.catch(() => {});
  worker.postMessage({ socketPath: daemon.socketPath, names: NAMES, stop } satisfies Load);
  try {
    using found = findDaemons();
    const state = found.daemons.find(({ pid }) => pid === daemon.pid)!;
    using table = new VersionTableReader(tablePath.path);
    const seen = await lookAgainAndAgain(state, table, tree.root, inos);
    Atomics.store(stop, 0, 1);
    const asked = await finished;
    await pause(50);
    for (const [opcode, count] of asked) {
      const row = readOps(state).rows.find((row) => row.opcode === opcode)!;
      assert.equal(row.requests, count, row.name);
    }
    assert.equal(
      readOps(state).rows.find(({ name }) => name === "LOOKUP")!.errnos.ENOENT! > 0,
      true,
    );
    assert.ok(seen.looks > 10 && seen.inodes > 20, JSON.stringify(seen));
    console.log(`${seen.looks} looks, ${seen.inodes} inodes, ${seen.paths} with paths`);
  } finally {
    Atomics.store(stop, 0, 1);
    worker.terminate();
    await daemon.kill();
  }
});

async function lookAgainAndAgain(
  state: DaemonState,
  table: VersionTableReader,
  root: string,
  inos: ReadonlyMap<string, string>,
) {
  const seen = { looks: 0, inodes: 0, paths: 0, missing: 0 };
  let earlier = new Map<number, OpcodeRow>();
  let versions: VersionsView | null = null;
  const end = performance.now() + SECONDS * 1000;
  // On a slow machine it takes longer until enough has been looked at.
  const late = end + 60_000;
  const isEnough = () => seen.looks > 10 && seen.paths > 20 && seen.missing > 0;
  while (performance.now() < end || (!isEnough() && performance.now() < late)) {
    seen.looks += 1;
    const { rows } = readOps(state);
    for (const row of rows) checkRow(row, earlier.get(row.queue * 256 + row.opcode));
    earlier = new Map(rows.map((row) => [row.queue * 256 + row.opcode, row]));
    seen.missing = rows.find(({ name }) => name === "LOOKUP")?.errnos.ENOENT ?? 0;
    for (const row of readInodes(state).rows) {
      seen.inodes += 1;
      if (row.nodeid === 1) continue;
      const name = inos.get(row.ino);
      assert.ok(name !== undefined, `inode ${row.ino} is none of the share`);
      assert.ok(row.lookups <= 64, `${row.lookups} lookups`);
      if (row.path === null) continue;
      seen.paths += 1;
      assert.equal(row.path, `/${name}`, "the path is that of the inode");
    }
    for (const { outstanding, nextAvail, state: queueState } of readQueues(state).rows) {
      for (const request of outstanding) {
        assert.notEqual(request.name, "unknown");
        assert.ok(Math.abs(Date.now() - request.since) < 60_000, `since ${request.since}`);
      }
      assert.ok(nextAvail < 65536);
      assert.notEqual(queueState, "broken");
    }
    assert.ok(readSummary(state).inodes <= inos.size + 1);
    versions = checkVersions(readVersions(table, [state], {}), versions, root, inos);
    // Lets the guest's thread have a processor.
    await pause(1);
  }
  return seen;
}

function checkVersions(
  view: VersionsView,
  earlier: VersionsView | null,
  root: string,
  inos: ReadonlyMap<string, string>,
): VersionsView {
  const before = new Map(earlier?.rows.map((row) => [`${row.slot} ${row.ino}`, row]));
  for (const row of view.rows) {
    assert.ok(row.inProgress <= 4, `${row.inProgress} changes in progress`);
    assert.ok(BigInt(row.value) >= BigInt(before.get(`${row.slot} ${row.ino}`)?.value ?? 0));
    const name = inos.get(row.ino);
    if (row.path === null) continue;
    assert.equal(row.path, name === undefined ? root : `${root}/${name}`);
  }
  assert.deepEqual(view.owners.map(({ alive }) => alive), [true]);
  return view;
}
