/**
 * Mistakes of the host half of DAX that were made once.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ServedTree } from "../support/served_tree.ts";
import { ROOT } from "../support/fuse_client.ts";
import { OP } from "../support/fuse_wire.ts";
import { ATTR_DAX, DAX_INIT, DaxGuest, MAP_FLAG, setupBody } from "../support/shmem_frontend.ts";
const PAGE = 4096;
const RANGE = 2 * 1024 * 1024;
const A = ["--dax-window", "16M"];
const readonly = new ServedTree(["--dax", "always", ...A, "--readonly"]);
const always = new ServedTree(["--dax", "always", ...A]);
const automatic = new ServedTree(["--dax", "auto", ...A]);
const two = new ServedTree(["--dax", "always", ...A, "--num-request-queues", "2"]);

readonly.testWithoutGuest("DAX: INIT ends although each trial is disturbed", ({ daemon, tree }) => {
  tree.file("f", new Uint8Array(RANGE));
  using dax = DaxGuest.connect(daemon.socketPath);
  dax.window.rules.mapsReadOnly = true;
  dax.window.rules.before = () => {
    dax.guest.frontend.setMemTable(dax.guest.regions);
    return true;
  };
  dax.fuse.init(DAX_INIT);
});

for (const fileOffset of [1n << 52n, (1n << 52n) - 4096n, 1n << 44n, 1n << 50n]) {
  always.testWithoutGuest(
    `DAX: file offset ${fileOffset} over a mapping leaves the mapping`,
    ({ daemon, tree }) => {
      tree.file("f", new Uint8Array(RANGE));
      using dax = DaxGuest.connect(daemon.socketPath);
      const { nodeid } = dax.fuse.lookup(ROOT, "f");
      dax.map(nodeid, 0, 0, RANGE);
      const before = dax.window.record();
      const { error } = dax.setup(nodeid, { fileOffset, length: 2 * PAGE });
      if (error < 0) assert.deepEqual(dax.window.record(), before);
      assert.equal(dax.fuse.getattr(nodeid).flags & ATTR_DAX, ATTR_DAX, "still marked");
    },
  );
}

automatic.testWithoutGuest("DAX: upgrades in place are no thrashing", ({ daemon, tree }) => {
  tree.file("f", new Uint8Array(8 * RANGE));
  using dax = DaxGuest.connect(daemon.socketPath);
  const { nodeid } = dax.fuse.lookup(ROOT, "f");
  for (let i = 0; i < 200; i += 1) {
    const at = { offset: 0, fileOffset: (i % 8) * RANGE };
    assert.equal(dax.setup(nodeid, { ...at, flags: MAP_FLAG.READ }).error, 0);
    assert.equal(dax.setup(nodeid, at).error, 0);
  }
  assert.equal(dax.fuse.getattr(nodeid).flags & ATTR_DAX, ATTR_DAX, "demoted");
});

always.testWithoutGuest("DAX: a program that runs on the host", ({ daemon, tree }) => {
  Deno.copyFileSync("/bin/sleep", tree.path("p"));
  const child = new Deno.Command(tree.path("p"), { args: ["60"] }).spawn();
  try {
    using dax = DaxGuest.connect(daemon.socketPath);
    tree.file("f", new Uint8Array(RANGE));
    const f = dax.fuse.lookup(ROOT, "f").nodeid;
    dax.map(f, 0, 0, RANGE);
    const { nodeid } = dax.fuse.lookup(ROOT, "p");
    const before = dax.window.record();
    const w = dax.setup(nodeid, {}).error;
    assert.ok(w < 0);
    assert.deepEqual(dax.window.record(), before, `writable: ${w}`);
    const r = dax.setup(nodeid, { flags: MAP_FLAG.READ }).error;
    if (r < 0) assert.deepEqual(dax.window.record(), before, `read-only: ${r}`);
  } finally {
    child.kill("SIGKILL");
  }
});

always.testWithoutGuest("DAX: mapping while disturbed at every message", ({ daemon, tree }) => {
  tree.file("f", new Uint8Array(4 * RANGE));
  using dax = DaxGuest.connect(daemon.socketPath);
  const { nodeid } = dax.fuse.lookup(ROOT, "f");
  dax.window.rules.before = () => {
    dax.guest.frontend.setMemTable(dax.guest.regions);
    return true;
  };
  dax.map(nodeid, 0, 0, 3 * RANGE);
  dax.map(nodeid, RANGE, 0, RANGE);
  assert.equal(dax.window.mapped.size, 3);
  assert.equal(dax.remove([PAGE, 2 * RANGE]).error, 0);
  assert.equal(dax.window.mapped.size, 2);
  dax.fuse.ok(OP.DESTROY, 0n);
  dax.fuse.init(DAX_INIT);
  assert.deepEqual(dax.window.record(), []);
  assert.deepEqual(dax.window.refusals, []);
});

two.testWithoutGuest("DAX: two queues, disturbed at every message", ({ daemon, tree }) => {
  tree.file("f", new Uint8Array(4 * RANGE));
  using dax = DaxGuest.connect(daemon.socketPath, { requestQueues: 2 });
  const { nodeid } = dax.fuse.lookup(ROOT, "f");
  dax.window.rules.before = () => {
    dax.guest.frontend.setMemTable(dax.guest.regions);
    return true;
  };
  for (let round = 0; round < 5; round++) {
    const pending = dax.guest.clients.flatMap((client, q) =>
      [0, 1, 2].map((i) =>
        [
          client,
          client.add(
            OP.SETUPMAPPING,
            nodeid,
            setupBody({ offset: (i + q) * PAGE * 3, length: PAGE * 4 }),
            { room: 0 },
          ),
        ] as const
      )
    );
    for (const client of dax.guest.clients) client.queue.publish();
    for (const [client, one] of pending) assert.equal(client.wait(one).error, 0);
    assert.deepEqual(dax.window.refusals, []);
  }
});
