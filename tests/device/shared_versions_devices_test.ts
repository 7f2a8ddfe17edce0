/** `--cache shared`: slots go by device and inode number, not by number alone. */
import assert from "node:assert/strict";
import { LINUX_INIT_FLAGS } from "../support/fuse_wire.ts";
import { SharedShare } from "../support/shared_share.ts";
import { SHARED_VERSIONS } from "../support/version_table.ts";
import { VersionedGuest } from "../support/versioned_guest.ts";

const SUBMOUNTS = 1n << 27n;

const share = new SharedShare(2, ["--dax", "never"]);

async function run(command: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, stdin: "null" }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

for (const announce of [true, false]) {
  const how = announce ? "announced" : "not announced";
  share.test(`shared versions: two file systems in a share, ${how}`, async ({ tree, daemons }) => {
    const mounts = [tree.directory("one"), tree.directory("two")];
    for (const mount of mounts) await run("mount", "-t", "tmpfs", "-o", "size=1m", "none", mount);
    try {
      for (const mount of mounts) Deno.writeTextFileSync(`${mount}/f`, "x");
      const flags = announce ? LINUX_INIT_FLAGS : LINUX_INIT_FLAGS & ~SUBMOUNTS;
      const initFlags = flags | SHARED_VERSIONS;
      using guest = VersionedGuest.connect(daemons[0]!.socketPath, { initFlags });
      using other = VersionedGuest.connect(daemons[1]!.socketPath, { initFlags });
      const [one, two] = [guest.walk("one", "f"), guest.walk("two", "f")];
      assert.equal(one.entry.attr.ino, two.entry.attr.ino, "two with one number");
      const roots = [guest.walk("one"), guest.walk("two")];
      assert.equal(new Set([one, two, ...roots].map(({ index }) => index)).size, 4);
      assert.deepEqual(
        [other.walk("one", "f").index, other.walk("two", "f").index],
        [one.index, two.index],
      );
      other.fuse.setattr(other.walk("two", "f").entry.nodeid, { valid: 1, mode: 0o600 });
      assert.equal(guest.versions.slot(one.index), one.version);
      assert.notEqual(guest.versions.slot(two.index), two.version);
      other.create(other.walk("one").entry.nodeid, "new");
      assert.notEqual(guest.versions.slot(roots[0]!.index), roots[0]!.version);
      assert.equal(guest.versions.slot(roots[1]!.index), roots[1]!.version);
    } finally {
      for (const mount of mounts) await run("umount", "-l", mount);
    }
  });
}
