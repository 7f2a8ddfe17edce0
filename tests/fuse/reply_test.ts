import { deepEqual, equal } from "node:assert/strict";
import { Reply } from "../../src/fuse/reply.ts";
import { readAttr, readEntry } from "../support/fuse_wire.ts";
import { FakeBuffers } from "./fake_buffers.ts";

const buffers = new FakeBuffers();

function fresh(room: number): Reply {
  buffers.load(new Uint8Array(40), room);
  const reply = new Reply();
  reply.clear(buffers);
  return reply;
}

function body(reply: Reply, size: number): Uint8Array {
  return reply.bytes.u8.slice(16, 16 + size);
}

Deno.test("Reply.clear() knows the room for a body, which may be none", () => {
  equal(fresh(100).sizeMax, 84);
  equal(fresh(16).sizeMax, 0);
  equal(fresh(3).sizeMax, 0);
});

Deno.test("Reply.setEntry() and setAttributes() are read as fuse.h has them", () => {
  const reply = fresh(4096);
  reply.zero(0, 128);
  reply.setEntry(0, 2 ** 33 + 1, 7, 86400, 5);
  reply.setAttributes(40, {
    ino: 2 ** 40,
    size: 1025,
    mode: 0o100644,
    uid: 3,
    gid: 4,
    mtime: 12.5,
    nlink: 2,
  });
  const entry = readEntry(body(reply, 128));
  deepEqual(
    [entry.nodeid, entry.generation, entry.entryValid, entry.attrValid],
    [2n ** 33n + 1n, 7n, 86400n, 86400n],
  );
  const { ino, size, blocks, mode, uid, gid, nlink, mtime, mtimensec } = entry.attr;
  deepEqual([ino, size, blocks, mtime], [2n ** 40n, 1025n, 3n, 12n]);
  deepEqual([mode, uid, gid, nlink, mtimensec], [0o100644, 3, 4, 2, 500_000_000]);
});

Deno.test("Reply.setAttributes() takes times before 1970", () => {
  const reply = fresh(4096);
  reply.setAttributes(0, { ino: 1, size: 0, mode: 0o100644, mtime: -1.5 });
  const { mtime, mtimensec } = readAttr(body(reply, 88));
  // Seconds are signed: -2 and half a second.
  deepEqual([BigInt.asIntN(64, mtime), mtimensec], [-2n, 500_000_000]);
});

Deno.test("Reply.append() stops where the room ends", () => {
  const reply = fresh(16 + 10);
  equal(reply.append(new Uint8Array(8)), true);
  equal(reply.append(new Uint8Array(3)), false);
  equal(reply.size, 8);
  equal(reply.append(new Uint8Array(2)), true);
});
