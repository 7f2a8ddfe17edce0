/** `--watch-host`: what somebody on the host changes is told to guests; without it, it is not. */
import assert from "node:assert/strict";
import { pause, until } from "../support/daemon.ts";
import { ROOT } from "../support/fuse_client.ts";
import { setXattr } from "../support/libc.ts";
import { text } from "../support/little_endian.ts";
import { SharedShare } from "../support/shared_share.ts";
import type { TempTree } from "../support/temp_tree.ts";
import { IN_PROGRESS } from "../support/version_table.ts";
import { VersionedGuest } from "../support/versioned_guest.ts";
import { makeScenery, Watcher } from "./change_scene.ts";

const watching = new SharedShare(1, ["--dax", "never", "--watch-host"]);
const two = new SharedShare(2, ["--dax", "never", "--watch-host"]);
const blind = new SharedShare(1, ["--dax", "never"]);

/** Waits until the daemon has heard of all that was done before: it hears in order. */
async function settle(tree: TempTree, guest: VersionedGuest): Promise<void> {
  tree.file("bystander/last");
  const { index, version } = guest.walk("bystander", "last");
  tree.file("bystander/last", "x");
  await until("the last change is told", () => guest.versions.slot(index) !== version);
}

/** What this process does to the tree, and what must have moved then. */
const HOST_CHANGES: Record<string, [(tree: TempTree) => void, string[]]> = {
  "write(2)": [(tree) => tree.file("d/a", "other"), ["d/a"]],
  "chmod(2)": [(tree) => Deno.chmodSync(tree.path("d/a"), 0o600), ["d/a"]],
  "chown(2)": [(tree) => Deno.chownSync(tree.path("d/a"), 7, 8), ["d/a"]],
  "truncate(2)": [(tree) => Deno.truncateSync(tree.path("d/a"), 2), ["d/a"]],
  "utimensat(2)": [(tree) => Deno.utimeSync(tree.path("d/a"), 1, 2), ["d/a"]],
  "setxattr(2)": [(tree) => void setXattr(tree.path("d/a"), "user.x", text("1")), ["d/a"]],
  "creat(2)": [(tree) => tree.file("d/new", "x"), ["d"]],
  "mkdir(2)": [(tree) => Deno.mkdirSync(tree.path("d/new")), ["d"]],
  "symlink(2)": [(tree) => Deno.symlinkSync("a", tree.path("d/new")), ["d"]],
  "unlink(2)": [(tree) => Deno.removeSync(tree.path("d/a")), ["d", "d/a"]],
  "unlink(2) of one of two names": [(tree) => Deno.removeSync(tree.path("d/hard")), ["d", "e/c"]],
  "rmdir(2)": [(tree) => Deno.removeSync(tree.path("e/empty")), ["e", "e/empty"]],
  "link(2)": [(tree) => Deno.linkSync(tree.path("d/a"), tree.path("e/new")), ["e", "d/a"]],
  "rename(2)": [
    (tree) => Deno.renameSync(tree.path("d/a"), tree.path("e/new")),
    ["d", "e", "d/a"],
  ],
  "rename(2) over a file": [
    (tree) => Deno.renameSync(tree.path("d/a"), tree.path("e/c")),
    ["d", "e", "d/a", "e/c"],
  ],
  "a change in the root": [(tree) => tree.file("new"), [""]],
};

for (const [what, [change, moves]] of Object.entries(HOST_CHANGES)) {
  watching.test(`--watch-host: ${what} of another process is told`, async ({ tree, daemons }) => {
    makeScenery(tree);
    using guest = VersionedGuest.connect(daemons[0]!.socketPath);
    const { slots } = new Watcher(guest);
    await settle(tree, guest);
    const before = guest.versions.snapshot();
    change(tree);
    const moved = (path: string) => {
      const index = slots.get(path)!;
      return guest.versions.slot(index) !== before[index];
    };
    await until(`${moves.join(", ")} move`, () => moves.every(moved));
    for (const path of ["bystander", "bystander/x", "other"]) assert.ok(!moved(path), path);
    for (const index of slots.values()) {
      await until(
        "nothing is in progress",
        () => (guest.versions.slot(index) & IN_PROGRESS) === 0n,
      );
    }
  });
}

watching.test("--watch-host: directories that come later, and what is in them", async ({ tree, daemons }) => {
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  tree.file("d/e/f/x", "1");
  const { index, version } = guest.walk("d", "e", "f", "x");
  const directory = guest.walk("d", "e", "f");
  tree.file("d/e/f/x", "22");
  await until("a write is told", () => guest.versions.slot(index) !== version);
  tree.file("d/e/f/y");
  await until(
    "a new name is told",
    () => guest.versions.slot(directory.index) !== directory.version,
  );
});

two.test("--watch-host: a guest's own change is told of before its reply, as ever", ({ tree, daemons }) => {
  tree.file("f");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  using other = VersionedGuest.connect(daemons[1]!.socketPath);
  const root = other.walk();
  const file = other.walk("f");
  const { nodeid } = guest.walk("f").entry;
  guest.fuse.setattr(nodeid, { valid: 1, mode: 0o600 });
  assert.notEqual(other.versions.slot(file.index), file.version);
  guest.mkdir(ROOT, "d");
  assert.notEqual(other.versions.slot(root.index), root.version);
});

blind.test("without --watch-host nobody tells of changes on the host", async ({ tree, daemons }) => {
  tree.file("f", "x");
  using guest = VersionedGuest.connect(daemons[0]!.socketPath);
  const [root, file] = [guest.walk(), guest.walk("f")];
  tree.file("f", "yy");
  tree.file("g");
  // Nothing can be waited for: it must not happen. With --watch-host it takes milliseconds.
  await pause(300);
  assert.equal(guest.versions.slot(root.index), root.version);
  assert.equal(guest.versions.slot(file.index), file.version);
});
