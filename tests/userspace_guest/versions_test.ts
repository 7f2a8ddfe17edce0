import { equal, ok } from "node:assert/strict";
import type { FuseClient } from "../../src/guest/client/fuse_client.ts";
import { EntryReply } from "../../src/guest/client/replies.ts";
import { VersionTable } from "../../src/guest/client/version_table.ts";
import { Inode } from "../../src/guest/vfs/inode.ts";
import { Versions } from "../../src/guest/vfs/versions.ts";

const DONE = 0x1000;
const SLOT = 20;

/** An inode in slot 20 of a table that the test moves. */
function setUp(low = DONE, high = 0) {
  const words = new Int32Array(2 * 512);
  words[2 * SLOT] = low;
  words[2 * SLOT + 1] = high;
  const forgotten: Inode[] = [];
  const warnings: string[] = [];
  // Replies that are on their way come when they are waited for.
  const arriving: (() => void)[] = [];
  const client = {
    driver: { publish() {} },
    progress: () => arriving.shift()!(),
  } as unknown as FuseClient;
  const versions = new Versions(
    client,
    new VersionTable(words),
    (inode) => void forgotten.push(inode),
    (message) => void warnings.push(message),
  );
  const inode = new Inode(2, 0, 0o100644);
  const move = (by: number) => {
    const sum = (words[2 * SLOT]! >>> 0) + by;
    words[2 * SLOT] = sum;
    words[2 * SLOT + 1]! += Math.floor(sum / 2 ** 32);
  };
  const told = (index = SLOT) => {
    const entry = new EntryReply();
    entry.versionIndex = index;
    entry.versionLow = words[2 * SLOT]!;
    entry.versionHigh = words[2 * SLOT + 1]!;
    return entry;
  };
  return { versions, inode, move, told, forgotten, warnings, arriving };
}

Deno.test("what was told under a version holds until the slot moves, and is forgotten then", () => {
  const { versions, inode, move, told, forgotten } = setUp();
  ok(versions.adopt(inode, told(), false));
  forgotten.length = 0;
  ok(versions.holds(inode));
  ok(versions.observe(inode));
  equal(forgotten.length, 0);
  move(1);
  equal(versions.holds(inode), false);
  equal(versions.observe(inode), false, "a change is in progress: good for one answer");
  equal(forgotten.length, 1);
  move(DONE - 1);
  equal(versions.holds(inode), false);
  ok(versions.observe(inode));
  ok(versions.holds(inode));
});

Deno.test("a reply from amid a change is good for itself only", () => {
  const { versions, inode, move, told } = setUp();
  move(1);
  equal(versions.adopt(inode, told(), false), false);
  move(DONE - 1);
  equal(versions.holds(inode), false);
});

Deno.test("own changes alone: what is known stays, over the carry into the high word as well", () => {
  const { versions, inode, move, told, forgotten } = setUp(-DONE, 7);
  ok(versions.adopt(inode, told(), false));
  forgotten.length = 0;
  for (let i = 0; i < 3; i++) versions.changing(inode);
  for (let i = 0; i < 3; i++) {
    move(DONE);
    versions.changed(inode, true);
  }
  ok(versions.holds(inode));
  equal(forgotten.length, 0);
});

for (
  const [what, moves, ok1] of [
    ["somebody else's change in between", 2 * DONE, true],
    ["somebody else's change in progress", DONE + 1, true],
    ["a change that the daemon has not counted", 0, true],
    ["a failure that has counted, or somebody else has", DONE, false],
  ] as const
) {
  Deno.test(`own change, and ${what}: nothing is known any more`, () => {
    const { versions, inode, move, told, forgotten } = setUp();
    versions.adopt(inode, told(), false);
    forgotten.length = 0;
    versions.changing(inode);
    move(moves);
    versions.changed(inode, ok1);
    equal(versions.holds(inode), false);
    equal(forgotten.length, 0, "not in the midst of things");
    versions.observe(inode);
    equal(forgotten.length, 1);
  });
}

Deno.test("a failure that has moved nothing changes nothing", () => {
  const { versions, inode, told } = setUp();
  versions.adopt(inode, told(), false);
  versions.changing(inode);
  versions.changed(inode, false);
  ok(versions.holds(inode));
});

Deno.test("who looks while own changes are on their way waits for them", () => {
  const { versions, inode, move, told, forgotten, arriving } = setUp();
  versions.adopt(inode, told(), false);
  forgotten.length = 0;
  for (let i = 0; i < 2; i++) {
    versions.changing(inode);
    arriving.push(() => {
      move(DONE);
      versions.changed(inode, true);
    });
  }
  ok(versions.observe(inode));
  equal(arriving.length, 0);
  equal(forgotten.length, 0);
});

Deno.test("a reply to an own change holds under the version after it, another's reply does not", () => {
  const { versions, inode, move, told } = setUp();
  versions.adopt(inode, told(), false);
  const before = told();
  versions.changing(inode);
  move(DONE);
  versions.changed(inode, true);
  ok(versions.adopt(inode, before, true));
  equal(versions.adopt(inode, before, false), false);
  ok(versions.holds(inode), "and what is known already still holds");
});

Deno.test("another slot, or none: what was known is forgotten; one warning for all that cannot be", () => {
  const { versions, inode, told, forgotten, warnings } = setUp();
  versions.adopt(inode, told(), false);
  forgotten.length = 0;
  for (const index of [0, 7, 512, 2 ** 40]) {
    equal(versions.adopt(inode, told(index), false), false);
    equal(versions.holds(inode), false);
    equal(versions.observe(inode), false);
  }
  equal(forgotten.length, 8);
  equal(warnings.length, 1);
  ok(versions.adopt(inode, told(), false));
  versions.close();
  equal(versions.holds(inode), false);
  equal(versions.observe(inode), false);
});
