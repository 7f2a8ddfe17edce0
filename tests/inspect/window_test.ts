import assert from "node:assert/strict";
import { run } from "../cli/program.ts";
import { isRustPeer } from "../support/daemon.ts";
import { ROOT } from "../support/fuse_client.ts";
import { O } from "../support/fuse_wire.ts";
import { ignoreWithoutViews } from "../support/privilege.ts";
import { ServedTree } from "../support/served_tree.ts";
import { DaxGuest, MAP_FLAG } from "../support/shmem_frontend.ts";
import { look } from "./look.ts";

const MIB = 1 << 20;
const RANGE = 2 * MIB;
const served = new ServedTree(["--dax", "always", "--dax-window", "16M"]);

// deno-lint-ignore no-explicit-any
type Row = any;

if (ignoreWithoutViews() || isRustPeer) Deno.test.ignore("inspect window", () => {});
else {
  served.testWithoutGuest(
    "inspect window: mappings are where the guest put them",
    async (scene) => {
      const { tree, daemon } = scene;
      const pid = `${daemon.pid}`;
      const before = await look("window", "--pid", pid);
      using dax = DaxGuest.connect(daemon.socketPath);
      tree.file("a", new Uint8Array(6 * MIB));
      tree.file("dir/b", new Uint8Array(RANGE));
      const a = dax.fuse.lookup(ROOT, "a").nodeid;
      const b = dax.fuse.walk("dir", "b");
      const begun = Date.now();
      dax.map(a, 0, 2 * MIB, RANGE);
      dax.map(a, 3 * RANGE, 0, RANGE);
      // Files are mapped writable from the start where they can be.
      const fh = dax.fuse.open(b, O.RDONLY);
      const fields = { fh, flags: MAP_FLAG.READ, offset: 7 * RANGE, length: RANGE };
      assert.equal(dax.setup(b, fields).error, 0);
      dax.map(b, 5 * RANGE, 0, RANGE);
      assert.equal(dax.remove([5 * RANGE, RANGE]).error, 0);

      const view = await look("window", "--pid", pid);
      assert.deepEqual([view.size, view.rangeSize], [16 * MIB, RANGE]);
      assert.deepEqual([view.rangesUsed, view.rangesFree], [3, 5]);
      const shown = view.mappings.map((row: Row) => [
        row.start,
        row.end,
        row.nodeid,
        row.path,
        row.fileOffset,
        row.writable,
        row.state,
      ]);
      assert.deepEqual(shown, [
        [0, RANGE, Number(a), "/a", 2 * MIB, true, "live"],
        [3 * RANGE, 4 * RANGE, Number(a), "/a", 0, true, "live"],
        [7 * RANGE, 8 * RANGE, Number(b), "/dir/b", 0, true, "live"],
      ]);
      for (const { since } of view.mappings) assert.ok(since >= begun - 5 && since <= Date.now());
      assert.deepEqual([view.maps - before.maps, view.unmaps - before.unmaps], [4, 1]);

      const inodes = await look("inodes", "--pid", pid);
      const mapped = inodes.rows.map(({ path, mappings }: Row) => [path, mappings])
        .filter(([, mappings]: [string, number]) => mappings > 0);
      assert.deepEqual(mapped.sort(), [["/a", 2], ["/dir/b", 1]]);

      const { stdout } = await run(["inspect", "window", "--pid", pid]);
      assert.match(stdout, /^16 MiB in ranges of 2 MiB: 3 used, 5 free; 3 mappings$/m);
      assert.match(stdout, /^ *6 MiB +2 MiB +\/a +0 B +rw +live +\d+ s$/m);
    },
  );

  served.testWithoutGuest("inspect window: no front end has asked for one", async ({ daemon }) => {
    const { stdout, code } = await run(["inspect", "window", "--pid", `${daemon.pid}`]);
    assert.equal(code, 0);
    assert.ok(stdout.length > 0);
  });
}
