/**
 * Which directory is shared: the one named, wherever the daemon was started.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Daemon } from "../support/daemon.ts";
import { ROOT } from "../support/fuse_client.ts";
import { Guest } from "../support/guest.ts";
import { TempTree } from "../support/temp_tree.ts";

for (const [what, sharedDir] of [["itself", "."], ["below", "share"], ["above", "../share"]]) {
  Deno.test(`--shared-dir: relative to the working directory (${what})`, async () => {
    using tree = new TempTree();
    const share = tree.directory("share");
    Deno.writeTextFileSync(`${share}/here`, "it is");
    const cwd = { itself: share, below: tree.root, above: tree.directory("other") }[what!]!;
    await using daemon = await Daemon.start({ sharedDir: sharedDir!, cwd });
    using guest = Guest.connect(daemon.socketPath);
    const file = guest.fuse.lookup(ROOT, "here");
    assert.equal(file.attr.size, 5n);
    assert.equal(guest.fuse.getattr(ROOT).ino, BigInt(Deno.statSync(share).ino!));
  });
}
