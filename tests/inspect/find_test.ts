import assert from "node:assert/strict";
import { findDaemons } from "../../src/inspect/find_daemons.ts";
import { ARCHITECTURE } from "../../src/sys/architecture.ts";
import { libc } from "../../src/sys/libc.ts";
import { run } from "../cli/program.ts";
import { Daemon, isRustPeer } from "../support/daemon.ts";
import { ROOT } from "../support/fuse_client.ts";
import { Frontend } from "../support/frontend.ts";
import { Guest } from "../support/guest.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { TempTree } from "../support/temp_tree.ts";
import { look, refusal } from "./look.ts";

const ignore = ignoreWithoutRoot() || isRustPeer;

function test(name: string, body: () => Promise<void>): void {
  Deno.test({ name, ignore, sanitizeOps: false, sanitizeResources: false }, async () => {
    try {
      await body();
    } finally {
      Frontend.closeAll();
    }
  });
}

// deno-lint-ignore no-explicit-any
const rowOf = (view: any, { pid }: Daemon) => view.daemons.find((row: any) => row.pid === pid);

test("inspect list: two daemons, one with its state in a file", async () => {
  using tree = new TempTree();
  using other = new TempTree();
  const stateFile = other.path("state of it");
  await using first = await Daemon.start({ sharedDir: tree.root, keepListening: true });
  await using second = await Daemon.start({
    sharedDir: other.root,
    cache: "never",
    args: ["--state-file", stateFile],
  });
  const view = await look("list");
  assert.deepEqual(
    [first, second].map((daemon) => {
      const { socket, sharedDir, cache, connected } = rowOf(view, daemon);
      return [socket, sharedDir, cache, connected];
    }),
    [[first.socketPath, tree.root, "auto", false], [second.socketPath, other.root, "never", false]],
  );
  const { code, stdout } = await run(["inspect", "list"]);
  assert.equal(code, 0);
  assert.match(stdout, /^ *PID +SOCKET +DIRECTORY +CACHE +UP +STATE +QUEUES +REQUESTS +REQ\/S\n/);
  const line = stdout.split("\n").find((text) => text.includes(second.socketPath))!;
  assert.match(line, new RegExp(`^ *${second.pid} .* never +\\d+ s +waiting +1 +0 +0$`));
  assert.match(await refusal("ops"), /daemons run: which one\? --pid \d+ or \d+/);
});

test("inspect --state-file: what a killed daemon has left behind", async () => {
  using tree = new TempTree();
  using place = new TempTree();
  tree.file("f", "content");
  const stateFile = place.path("state");
  await using daemon = await Daemon.start({
    sharedDir: tree.root,
    args: ["--state-file", stateFile],
  });
  const guest = Guest.connect(daemon.socketPath);
  const { nodeid } = guest.fuse.lookup(ROOT, "f");
  guest.fuse.open(nodeid);
  const alive = await look("inodes", "--state-file", stateFile);
  assert.deepEqual([alive.daemon.pid, alive.daemon.running], [daemon.pid, true]);
  assert.equal(alive.rows[1].path, "/f");
  daemon.signal("SIGKILL");
  await daemon.finished;
  guest[Symbol.dispose]();
  const summary = await look("summary", "--state-file", stateFile);
  assert.deepEqual([summary.pid, summary.running, summary.connected], [daemon.pid, false, true]);
  assert.equal(summary.requests, 3, "INIT, LOOKUP, OPEN");
  const ops = await look("ops", "--state-file", stateFile);
  // deno-lint-ignore no-explicit-any
  assert.deepEqual(ops.rows.map((row: any) => row.name), ["LOOKUP", "OPEN", "INIT"]);
  const inodes = await look("inodes", "--state-file", stateFile);
  assert.deepEqual(
    [inodes.rows[1].path, inodes.rows[1].openHandles, inodes.total],
    [null, 1, 2],
  );
  const { stdout } = await run(["inspect", "--state-file", stateFile]);
  assert.match(stdout, /\(has ended\)/);
  assert.doesNotMatch(stdout, /Per second/);
});

test("inspect: only the daemon's user and root can look", async () => {
  using tree = new TempTree();
  await using daemon = await Daemon.start({ sharedDir: tree.root });
  const pids = () => {
    using found = findDaemons();
    return { seen: found.daemons.some(({ pid }) => pid === daemon.pid), count: found.unreadable };
  };
  const before = pids();
  assert.equal(before.seen, true);
  const setEffectiveUser = (uid: number) =>
    assert.equal(libc.syscall3(ARCHITECTURE.syscalls.setresuid, -1, uid, -1), 0);
  setEffectiveUser(65534);
  let other;
  try {
    other = pids();
  } finally {
    setEffectiveUser(0);
  }
  assert.equal(other.seen, false);
  assert.ok(other.count > before.count, "processes that could not be looked into are counted");
});

test("inspect: no daemon at all", async () => {
  // A pid namespace of its own, with a /proc of its own.
  const through = 'exec unshare --fork --pid --mount-proc "$@"';
  const { code, stderr, stdout } = await run(["inspect"], { through });
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, /^error: No daemon runs on this host/);
  const { code: listCode } = await run(["inspect", "list", "--json"], { through });
  assert.equal(listCode, 1);
});
