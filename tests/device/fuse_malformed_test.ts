import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeRequest, ROOT } from "../support/fuse_client.ts";
import { O, OP } from "../support/fuse_wire.ts";
import type { Guest } from "../support/guest.ts";
import { viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

// Locks are on, so that their opcodes reach their handlers; SETLKW is left out where it might wait.
const served = new ServedTree(["--xattr", "-o", "posix_lock,flock"]);
const on = { notOnRust: true };
const opcodes = Object.values(OP).filter((opcode) =>
  ![OP.FORGET, OP.BATCH_FORGET, OP.INIT, OP.DESTROY, OP.SETLKW].includes(opcode as never)
);

/** Sends bytes as they are; the reply, when there is one, must be well formed. */
function sendBytes(guest: Guest, bytes: Uint8Array, room = 4096): number | null {
  const queue = guest.queues[1]!;
  queue.add([bytes], [16 + room]);
  queue.publish();
  const used = queue.waitTake();
  if (used.length === 0) return null;
  assert.ok(used.length >= 16, `used length ${used.length}`);
  const view = viewOf(used.written);
  assert.equal(view.getUint32(0, true), used.length);
  const error = view.getInt32(4, true);
  assert.ok(error <= 0 && error > -512, `error ${error}`);
  return error;
}

function outside(tree: { root: string }): string[] {
  return [...Deno.readDirSync(`${tree.root}`)].map((entry) => entry.name).sort();
}

served.test("FUSE: a request shorter than its header is given back", ({ guest }) => {
  for (const length of [1, 3, 4, 8, 16, 39]) {
    const error = sendBytes(guest, new Uint8Array(length));
    assert.notEqual(error, 0, `${length} bytes`);
  }
  guest.fuse.getattr(ROOT);
}, on);

served.test("FUSE: header.len that disagrees with the chain", ({ guest }) => {
  const body = words(0, 0, 0n);
  for (const headerLength of [0, 1, 39, 40, 55, 57, 4096, 0x7fff_ffff, 0xffff_ffff]) {
    const request = encodeRequest(OP.GETATTR, ROOT, body, { headerLength }, 2n);
    const error = sendBytes(guest, request);
    if (headerLength > 56) {
      assert.notEqual(error, 0, `len ${headerLength} claims more than there is`);
    }
  }
  guest.fuse.getattr(ROOT);
}, on);

served.test("FUSE: total_extlen beyond the request", ({ guest }) => {
  for (const extensionWords of [1, 100, 0xffff]) {
    const request = encodeRequest(OP.GETATTR, ROOT, words(0, 0, 0n), { extensionWords }, 2n);
    sendBytes(guest, request);
    const mkdir = encodeRequest(OP.MKDIR, ROOT, words(0o755, 0, 0x61), { extensionWords }, 2n);
    assert.notEqual(sendBytes(guest, mkdir), 0, `MKDIR with ${extensionWords} words`);
  }
  guest.fuse.getattr(ROOT);
}, on);

for (const opcode of opcodes) {
  const label = Object.entries(OP).find(([, value]) => value === opcode)![0];
  served.test(`FUSE ${label}: a body of every length from 0 to 128`, ({ guest, tree }) => {
    tree.file("f", "abc");
    const { fuse } = guest;
    const { nodeid } = fuse.lookup(ROOT, "f");
    const fh = fuse.open(nodeid, O.RDWR);
    for (let length = 0; length <= 128; length += 1) {
      const body = new Uint8Array(length);
      // A plausible handle first, so that the request gets past the first check.
      if (length >= 8) viewOf(body).setBigUint64(0, fh, true);
      const unique = BigInt(2 * length + 2);
      sendBytes(guest, encodeRequest(opcode, length % 2 === 0 ? nodeid : ROOT, body, {}, unique));
    }
    fuse.getattr(ROOT);
    assert.ok(outside(tree).includes("f") || opcode === OP.UNLINK);
  }, on);
}

served.test("FUSE: random requests (property)", ({ guest, tree }) => {
  tree.file("f", "abc");
  tree.directory("d");
  guest.fuse.lookup(ROOT, "f");
  guest.fuse.lookup(ROOT, "d");
  fc.assert(
    fc.property(
      fc.oneof(fc.constantFrom(...opcodes), fc.integer({ min: 0, max: 70 })),
      fc.constantFrom(0n, 1n, 2n, 3n, 4n, 0xffff_ffff_ffff_ffffn),
      fc.uint8Array({ maxLength: 300 }),
      fc.integer({ min: 0, max: 5000 }),
      (opcode, nodeid, bytes, room) => {
        if (opcode === OP.SETLKW || opcode === OP.INIT || opcode === OP.DESTROY) return;
        sendBytes(guest, encodeRequest(opcode, nodeid, bytes, {}, 42n), room);
      },
    ),
    { numRuns: 2000 },
  );
  guest.fuse.getattr(ROOT);
}, on);

served.test("FUSE: a request of 1 MiB for an opcode that takes eight bytes", ({ guest }) => {
  const request = encodeRequest(OP.STATFS, ROOT, new Uint8Array(1 << 20), {}, 2n);
  const error = sendBytes(guest, request);
  assert.ok(error === 0 || error === null || [-22, -5, -12, -7, -90].includes(error), `${error}`);
  guest.fuse.getattr(ROOT);
}, on);
