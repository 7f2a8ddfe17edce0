/**
 * A hostile guest that forgets what it has open: what it then writes counts all the same. (It did not: other guests served the old data for ever.)
 *
 * @module
 */

import assert from "node:assert/strict";
import { writeBody } from "../support/fuse_client.ts";
import { OP } from "../support/fuse_wire.ts";
import { text } from "../support/little_endian.ts";
import { SharedShare } from "../support/shared_share.ts";
import { CHANGE } from "../support/version_table.ts";
import { VersionedGuest } from "../support/versioned_guest.ts";
const share = new SharedShare(2, ["--dax", "never"]);
share.test("shared versions: WRITE through a handle whose nodeid was forgotten counts", ({ tree, daemons }) => {
  tree.file("f", "old");
  using a = VersionedGuest.connect(daemons[0]!.socketPath);
  using b = VersionedGuest.connect(daemons[1]!.socketPath);
  const seen = b.walk("f");
  const before = b.versions.slot(seen.index);
  const { entry } = a.walk("f");
  const fh = a.fuse.open(entry.nodeid, 2);
  a.guest.forget(entry.nodeid);
  const { error } = a.fuse.call(OP.WRITE, entry.nodeid, writeBody(fh, 0n, text("new")));
  assert.equal(error, 0);
  assert.equal(Deno.readTextFileSync(tree.path("f")), "new");
  assert.equal(b.versions.slot(seen.index), before + CHANGE);
});
