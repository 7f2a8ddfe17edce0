import assert from "node:assert/strict";
import { run } from "../cli/program.ts";
import { pause, until } from "../support/daemon.ts";
import { readBody, ROOT, writeBody } from "../support/fuse_client.ts";
import { O, OP } from "../support/fuse_wire.ts";
import { name, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";
import { CountingClient } from "./counting_client.ts";
import { look, refusal } from "./look.ts";

const served = new ServedTree(["-o", "posix_lock", "--num-request-queues", "2"]);
const on = { notOnRust: true, requestQueues: 2 };

// deno-lint-ignore no-explicit-any
type Row = any;

/** Daemons are shared by the tests of this file: what counts is the difference. */
async function counts(pid: number): Promise<Map<string, Row>> {
  const { rows } = await look("ops", "--pid", `${pid}`);
  return new Map(rows.map((row: Row) => [`${row.queue}/${row.opcode}`, row]));
}

served.test("inspect ops: counts, errors and bytes are what the client counted", async (scene) => {
  const { guest, tree, daemon } = scene;
  for (let i = 0; i < 5; i += 1) tree.file(`f${i}`, "x".repeat(10_000 * i));
  const before = await counts(daemon.pid);
  const clients = guest.clients.map((client) => new CountingClient(client));
  for (const [index, client] of clients.entries()) {
    for (let round = 0; round < 20 * (index + 1); round += 1) {
      for (let i = 0; i < 7; i += 1) client.call(OP.LOOKUP, ROOT, name(`f${i}`), { room: 128 });
    }
    client.call(OP.GETATTR, 1n << 40n, words(0, 0, 0n), { room: 104 });
    client.call(OP.GETATTR, ROOT, words(0, 0, 0n), { room: 104 });
    const { nodeid } = guest.clients[index]!.lookup(ROOT, "f4");
    const lookups = client.accounts.get(OP.LOOKUP)!;
    lookups.requests += 1;
    lookups.bytesIn += 40 + 3;
    lookups.bytesOut += 16 + 128;
    const { body } = client.call(OP.OPEN, nodeid, words(O.RDWR, 0), { room: 16 });
    const fh = new DataView(body.buffer, body.byteOffset).getBigUint64(0, true);
    for (let at = 0n; at < 60_000n; at += 1000n) {
      client.call(OP.READ, nodeid, readBody(fh, at, 1000), { room: 1000 });
      client.call(OP.WRITE, nodeid, writeBody(fh, at, new Uint8Array(777)), { room: 8 });
    }
    client.call(OP.READ, nodeid, readBody(fh + 1n, 0n, 10), { room: 10 });
    client.call(99, ROOT);
    client.call(OP.RELEASE, nodeid, words(fh, 0, 0, 0n), { room: 0 });
  }
  const after = await counts(daemon.pid);
  for (const [index, { accounts }] of clients.entries()) {
    for (const [opcode, account] of accounts) {
      // What the protocol does not have is counted together.
      const key = `${index + 1}/${opcode === 99 ? 0 : opcode}`;
      const [row, earlier] = [after.get(key), before.get(key)];
      const difference = (field: "requests" | "errors" | "bytesIn" | "bytesOut") =>
        row[field] - (earlier?.[field] ?? 0);
      const errnos = Object.entries(row.errnos as Record<string, number>)
        .map(([errno, count]) => [errno, count - (earlier?.errnos[errno] ?? 0)])
        .filter(([, count]) => count !== 0);
      assert.deepEqual(
        {
          requests: difference("requests"),
          errors: difference("errors"),
          bytesIn: difference("bytesIn"),
          bytesOut: difference("bytesOut"),
          errnos: Object.fromEntries(errnos),
        },
        account,
        `queue ${index + 1}, ${row.name}`,
      );
      const timed = row.histogram.reduce((sum: number, [, count]: number[]) => sum + count!, 0);
      assert.equal(timed, row.requests);
      assert.ok(row.medianNs <= row.p99Ns && row.p99Ns <= row.maxNs && row.maxNs <= row.totalNs);
    }
  }
  assert.equal(after.get("1/1").name, "LOOKUP");
}, on);

served.test("inspect inodes: paths, lookups, open handles, order and choice", async (scene) => {
  const { guest: { fuse }, tree, daemon } = scene;
  tree.file("sub/a.txt", "a");
  tree.file("sub/b.log", "b");
  tree.file("gone", "c");
  const sub = fuse.lookup(ROOT, "sub").nodeid;
  const a = fuse.lookup(sub, "a.txt").nodeid;
  const b = fuse.lookup(sub, "b.log").nodeid;
  const gone = fuse.lookup(ROOT, "gone").nodeid;
  for (let i = 0; i < 6; i += 1) fuse.lookup(sub, "a.txt");
  const handles = [fuse.open(b), fuse.open(b), fuse.open(a)];
  fuse.release(a, handles[2]!);
  tree.file("sub/name\u001b[31m\u202e", "e");
  const odd = fuse.lookup(sub, "name\u001b[31m\u202e").nodeid;
  Deno.removeSync(tree.path("gone"));
  Deno.renameSync(tree.path("sub/a.txt"), tree.path("a2.txt"));

  const pid = `${daemon.pid}`;
  const view = await look("inodes", "--pid", pid);
  const rows = new Map<number, Row>(view.rows.map((row: Row) => [row.nodeid, row]));
  const of = (nodeid: bigint) => rows.get(Number(nodeid));
  assert.equal(of(ROOT).path, "/");
  assert.equal(of(sub).path, "/sub");
  assert.deepEqual([of(a).path, of(a).lookups, of(a).openHandles], ["/a2.txt", 7, 0]);
  assert.deepEqual([of(b).path, of(b).lookups, of(b).openHandles], ["/sub/b.log", 1, 2]);
  assert.equal(of(gone).path, "/gone (deleted)");
  const info = Deno.statSync(tree.path("sub/b.log"));
  assert.equal(of(b).ino, `${info.ino}`);
  assert.equal(of(b).mode & 0o170000, 0o100000);
  assert.deepEqual([of(b).heldBy, typeof of(b).descriptor], ["descriptor", "number"]);
  assert.deepEqual([view.total, view.rows.length], [6, 6]);
  assert.deepEqual([view.descriptors, view.openHandles], [6, 2]);

  const nodes = async (...args: string[]) =>
    (await look("inodes", "--pid", pid, ...args)).rows.map((row: Row) => BigInt(row.nodeid));
  assert.deepEqual(await nodes("--sort", "opens", "--limit", "1"), [b]);
  assert.deepEqual(await nodes("--sort", "lookups", "--limit", "2"), [a, ROOT].sort(byLookups(of)));
  assert.deepEqual((await nodes("--path", "/sub/*")).sort(), [b, odd].sort());
  assert.deepEqual(await nodes("--path", "*.log"), [b]);
  assert.deepEqual(await nodes("--path", "/**t"), [a]);

  const text = await run(["inspect", "inodes", "--pid", pid]);
  assert.equal(text.code, 0, text.stderr);
  assert.ok(text.stdout.includes("/sub/name\\x1b[31m\\u{202e}"), text.stdout);
  assert.ok(!text.stdout.includes("\u001b"), "no name reaches the terminal as it is");
}, on);

const byLookups = (of: (nodeid: bigint) => Row) => (x: bigint, y: bigint) =>
  of(y).lookups - of(x).lookups;

served.test("inspect queues: a request that waits for a lock is to be seen", async (scene) => {
  const { guest, tree, daemon } = scene;
  tree.file("f", "x");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid, O.RDWR);
  const lock = (owner: bigint, type: number) =>
    words(fh, owner, 0n, (1n << 63n) - 1n, type, 77, 0, 0);
  assert.equal(fuse.call(OP.SETLK, nodeid, lock(1n, 1), { room: 0 }).error, 0);
  const begun = Date.now();
  const { batches } = (await look("queues", "--pid", `${daemon.pid}`)).rows[1];
  const stuck = fuse.submit(OP.SETLKW, nodeid, lock(2n, 1), { room: 0 });
  await pause(300);
  const pid = `${daemon.pid}`;
  const view = await look("queues", "--pid", pid);
  const [hiprio, first] = view.rows;
  assert.deepEqual([hiprio.kind, first.kind, first.state, first.size], [
    "hiprio",
    "request",
    "running",
    128,
  ]);
  // A retry may be under way, too.
  const waiting = first.outstanding.filter((request: Row) => request.state === "waiting");
  assert.equal(waiting.length, 1);
  assert.deepEqual([waiting[0].name, waiting[0].nodeid], ["SETLKW", Number(nodeid)]);
  assert.ok(waiting[0].since >= begun - 50 && waiting[0].since <= begun + 5000, "its age");
  assert.equal(first.waiting, 1);
  assert.equal(first.batches, batches, "trying again is no batch");
  assert.deepEqual(view.features, ["INDIRECT_DESC", "EVENT_IDX", "PROTOCOL_FEATURES", "VERSION_1"]);
  assert.ok(view.protocolFeatures.includes("REPLY_ACK"));
  assert.ok(view.fuseFlags.includes("POSIX_LOCKS"));
  assert.equal(view.regions.length, guest.regions.length);
  assert.equal(view.regions[0].size, guest.regions[0]!.size);
  const { stdout } = await run(["inspect", "queues", "--pid", pid]);
  assert.match(stdout, /1 +SETLKW +\d+ +waiting +[\d.]+ (ms|s)/);

  assert.equal(fuse.call(OP.SETLK, nodeid, lock(1n, 2), { room: 0 }).error, 0);
  assert.equal(fuse.wait(stuck).error, 0);
  const free = await look("queues", "--pid", pid);
  assert.deepEqual(free.rows[1].outstanding, []);
  assert.equal(free.rows[1].requests - first.requests, 2);
  assert.equal(free.rows[1].nextAvail, free.rows[1].nextUsed);
}, on);

served.test("inspect: the summary, by pid and by socket", async ({ guest, tree, daemon }) => {
  const view = await look("summary", "--socket-path", daemon.socketPath);
  assert.equal(view.pid, daemon.pid);
  assert.deepEqual(
    [view.socket, view.sharedDir, view.tag, view.cache, view.requestQueues],
    [daemon.socketPath, tree.root, "tests", "auto", 2],
  );
  assert.deepEqual([view.connected, view.sessionActive, view.fuseMinor], [true, true, 45]);
  const before = view.requests;
  for (let i = 0; i < 10; i += 1) guest.fuse.getattr(ROOT);
  const after = await look("--pid", `${daemon.pid}`);
  assert.equal(after.view, "summary");
  assert.equal(after.requests, before + 10);
  guest[Symbol.dispose]();
  await until("the daemon waits again", () => /Waiting[^]*Waiting/.test(daemon.stderr()));
  const alone = await look("--pid", `${daemon.pid}`);
  assert.deepEqual([alone.connected, alone.sessionActive], [false, false]);
  const text = await run(["inspect", "--pid", `${daemon.pid}`]);
  assert.match(text.stdout, /^Process +\d+, version/);
  assert.match(text.stdout, /Front end +waiting since/);
}, on);

served.testWithoutGuest(
  "inspect: clear words for daemons that are not there",
  async ({ daemon }) => {
    // Not this process: other tests may have left state memories in it.
    const other = new Deno.Command("sleep", { args: ["600"] }).spawn();
    try {
      assert.match(await refusal("--pid", `${other.pid}`), /is no daemon of this program/);
    } finally {
      other.kill();
      await other.status;
    }
    assert.match(await refusal("--pid", "4194303"), /There is no process 4194303/);
    assert.match(await refusal("--socket-path", "/nowhere"), /No daemon was started with/);
    assert.match(await refusal("versions", "--pid", `${daemon.pid}`), /shares no versions/);
    for (
      const args of [
        ["--pid", "1", "--socket-path", "/x"],
        ["ops", "--sort", "lookups"],
        ["inodes", "--follow"],
        ["everything"],
        ["--pid", "zero"],
      ]
    ) {
      const { code, stderr } = await run(["inspect", ...args]);
      assert.equal(code, 2, args.join(" "));
      assert.match(stderr, /Usage: virtiofsd-ts inspect/);
    }
  },
);
