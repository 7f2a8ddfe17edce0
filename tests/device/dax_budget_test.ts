import assert from "node:assert/strict";
import { Daemon, isRustPeer, until } from "../support/daemon.ts";
import { ROOT } from "../support/fuse_client.ts";
import { Frontend } from "../support/frontend.ts";
import { O, OP } from "../support/fuse_wire.ts";
import { words } from "../support/little_endian.ts";
import { ignoreWithoutViews } from "../support/privilege.ts";
import { DaxGuest } from "../support/shmem_frontend.ts";
import { TempTree } from "../support/temp_tree.ts";

const ENOMEM = 12;
const ENFILE = 23;
const PAGE = 4096;

function daxBudgetTest(
  what: string,
  args: readonly string[],
  body: (dax: DaxGuest, tree: TempTree, daemon: Daemon) => void | Promise<void>,
): void {
  const ignore = isRustPeer || ignoreWithoutViews();
  Deno.test({ name: what, ignore, sanitizeOps: false, sanitizeResources: false }, async () => {
    using tree = new TempTree();
    await using daemon = await Daemon.start({
      sharedDir: tree.root,
      keepListening: true,
      args: ["--dax", "always", "--dax-window", "16M", ...args],
    });
    try {
      using dax = DaxGuest.connect(daemon.socketPath);
      await body(dax, tree, daemon);
      assert.ok(await daemon.isRunning(), daemon.stderr());
    } finally {
      Frontend.closeAll();
    }
  });
}

daxBudgetTest("budget: --max-mappings is ENOMEM beyond it, also by cutting one in two", [
  ...["--max-mappings", "3"],
], (dax, tree) => {
  tree.file("f", new Uint8Array(64 * PAGE));
  const { nodeid } = dax.fuse.lookup(ROOT, "f");
  const map = (page: number, pages = 1) =>
    -dax.setup(nodeid, { fileOffset: 0, length: pages * PAGE, offset: page * PAGE }).error || 0;
  assert.equal(map(0), 0);
  assert.equal(map(10, 5), 0);
  assert.equal(map(20), 0);
  assert.equal(map(30), ENOMEM);
  const mapped = dax.window.record();
  // What is there may be mapped again, and be replaced.
  assert.equal(map(20), 0);
  const middle = dax.remove([12 * PAGE, PAGE]);
  assert.equal(middle.error, -ENOMEM);
  assert.deepEqual(dax.window.record(), mapped);
  assert.equal(dax.remove([0, PAGE]).error, 0);
  assert.equal(map(30), 0);
});

daxBudgetTest("budget: files that are mapped hold descriptors, which end with the mapping", [
  ...["--rlimit-nofile", "600", "--inode-file-handles", "mandatory"],
], async (dax, tree, daemon) => {
  const count = 700;
  const nodeids: bigint[] = [];
  for (let i = 0; i < count; i++) {
    tree.file(`f${i}`, "x".repeat(PAGE));
    nodeids.push(dax.fuse.lookup(ROOT, `f${i}`).nodeid);
  }
  const errors = new Set<number>();
  let mapped = 0;
  for (const [i, nodeid] of nodeids.entries()) {
    const { error } = dax.setup(nodeid, { fileOffset: 0, length: PAGE, offset: i * PAGE });
    if (error === 0) mapped++;
    else errors.add(-error);
  }
  assert.deepEqual([...errors], [ENFILE]);
  // Of 600 a quarter is the daemon's own; the root and its mount are the guest's.
  assert.equal(mapped, 448);
  assert.equal(dax.fuse.fails(OP.OPEN, nodeids[0]!, words(O.RDONLY, 0)), ENFILE);
  assert.equal(dax.remove([0, PAGE]).error, 0);
  dax.fuse.release(nodeids[0]!, dax.fuse.open(nodeids[0]!));
  assert.equal(dax.remove([0, mapped * PAGE]).error, 0);
  await until("the descriptors are closed", () => {
    const place = `/proc/${daemon.pid}/fd`;
    return [...Deno.readDirSync(place)].length < 200;
  }, 20_000);
});
