import assert from "node:assert/strict";
import fc from "fast-check";
import { isRustPeer } from "../support/daemon.ts";
import { type FuseClient, readBody, ROOT, writeBody } from "../support/fuse_client.ts";
import { initBody, LINUX_INIT_FLAGS, O, OP, readEntry } from "../support/fuse_wire.ts";
import { name, viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

const served = new ServedTree();
const size = { queueSize: 512 };

/** Lengths of the pieces a request is cut into; the rest after them is one more piece. */
const cuts = fc.array(fc.integer({ min: 1, max: 64 }), { maxLength: 40 });

served.test("virtio 2.7.4.2: a request may be cut anywhere (property)", ({ guest, tree }) => {
  const content = crypto.getRandomValues(new Uint8Array(3000));
  tree.file("file", content);
  tree.file("other");
  const fuse = guest.fuse;
  const { nodeid } = fuse.lookup(ROOT, "file");
  const fh = fuse.open(nodeid);
  const other = fuse.lookup(ROOT, "other").nodeid;
  const otherFh = fuse.open(other, O.RDWR);
  const attr = fuse.getattr(nodeid);
  fc.assert(
    fc.property(
      fc.constantFrom("LOOKUP", "GETATTR", "READ", "WRITE", "READDIRPLUS"),
      cuts,
      cuts,
      fc.boolean(),
      fc.integer({ min: 1, max: 2000 }),
      (operation, readableCuts, writableCuts, indirect, length) => {
        const layout = { readableCuts, writableCuts, indirect };
        if (operation === "LOOKUP") {
          const body = fuse.ok(OP.LOOKUP, ROOT, name("file"), { ...layout, room: 128 });
          assert.equal(readEntry(body).nodeid, nodeid);
        } else if (operation === "GETATTR") {
          const body = fuse.ok(OP.GETATTR, nodeid, words(0, 0, 0n), { ...layout, room: 104 });
          assert.equal(viewOf(body).getBigUint64(16, true), attr.ino);
        } else if (operation === "READ") {
          const read = fuse.ok(OP.READ, nodeid, readBody(fh, 500n, length), {
            ...layout,
            room: length,
          });
          assert.deepEqual(read, content.slice(500, 500 + length));
        } else if (operation === "WRITE") {
          const data = content.subarray(0, length);
          const body = fuse.ok(OP.WRITE, other, writeBody(otherFh, 9n, data), {
            ...layout,
            room: 8,
          });
          assert.equal(viewOf(body).getUint32(0, true), length);
          assert.deepEqual(Deno.readFileSync(tree.path("other")).slice(9, 9 + length), data);
        } else {
          const dir = fuse.opendir(ROOT);
          const body = fuse.ok(OP.READDIRPLUS, ROOT, readBody(dir, 0n, 2048), {
            ...layout,
            room: 2048,
          });
          assert.ok(body.length >= 2 * 152);
          fuse.release(ROOT, dir, OP.RELEASEDIR);
        }
      },
    ),
    { numRuns: 300 },
  );
}, size);

for (const indirect of [false, true]) {
  const kind = indirect ? "indirect" : "direct";
  served.test(`virtio 2.7.4: one byte per descriptor, ${kind}`, ({ guest, tree }) => {
    tree.file("name", "four");
    const one = new Array(400).fill(1);
    const fuse = guest.fuse;
    const layout = { readableCuts: one, writableCuts: one, indirect };
    const entry = readEntry(fuse.ok(OP.LOOKUP, ROOT, name("name"), { ...layout, room: 128 }));
    assert.equal(entry.attr.size, 4n);
    const fh = fuse.open(entry.nodeid, O.RDWR);
    fuse.ok(OP.WRITE, entry.nodeid, writeBody(fh, 0n, new Uint8Array(100).fill(7)), {
      ...layout,
      room: 8,
    });
    assert.deepEqual(
      fuse.ok(OP.READ, entry.nodeid, readBody(fh, 0n, 200), { ...layout, room: 200 }),
      new Uint8Array(100).fill(7),
    );
  }, size);
}

served.test("virtio 2.7.8: the used length equals out_header.len for every kind of reply", ({ guest, tree }) => {
  // `call` compares them; here are the replies of every shape: none, fixed, short, error.
  tree.file("f", "0123456789");
  const fuse = guest.fuse;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid);
  assert.equal(fuse.read(nodeid, fh, 0n, 65536).length, 10, "short read");
  assert.equal(fuse.read(nodeid, fh, 10n, 65536).length, 0, "read at the end");
  assert.equal(fuse.read(nodeid, fh, 0n, 0).length, 0, "read of nothing");
  fuse.fails(OP.LOOKUP, ROOT, name("missing"), { room: 128 });
  fuse.fails(OP.RMDIR, ROOT, name("f"));
  fuse.fails(0x7777, ROOT);
  fuse.release(nodeid, fh);
});

served.test("virtio 2.7.8: FORGET comes back with used length 0 from both kinds of queue", ({ guest, tree }) => {
  tree.file("f");
  const { nodeid } = guest.fuse.lookup(ROOT, "f");
  guest.fuse.lookup(ROOT, "f");
  guest.forget(nodeid); // asserts the length
  guest.fuse.send(OP.FORGET, nodeid, words(1n));
});

served.test("virtio 2.7.4: more room than the reply needs stays untouched", ({ guest }) => {
  const body = guest.fuse.ok(OP.GETATTR, ROOT, words(0, 0, 0n), { room: 100_000 });
  assert.equal(body.length, 104);
});

served.test("virtio 2.7.4: request and reply in one descriptor each", ({ guest, tree }) => {
  tree.file("f", "abc");
  const layout = { readableCuts: [1 << 20], writableCuts: [1 << 20], room: 128 };
  assert.equal(readEntry(guest.fuse.ok(OP.LOOKUP, ROOT, name("f"), layout)).attr.size, 3n);
});

served.test(
  "virtio 2.7.13: many requests outstanding, completed in any order",
  ({ guest, tree }) => {
    const fuse = guest.fuse;
    for (let index = 0; index < 50; index += 1) tree.file(`f${index}`, "x".repeat(index));
    const pending = Array.from(
      { length: 50 },
      (_, index) => fuse.add(OP.LOOKUP, ROOT, name(`f${index}`), { room: 128 }),
    );
    guest.queues[1]!.publish();
    for (const index of [...pending.keys()].reverse()) {
      const reply = fuse.wait(pending[index]!);
      assert.equal(readEntry(reply.body).attr.size, BigInt(index));
    }
  },
  size,
);

for (const indirect of [false, true]) {
  const kind = indirect ? "indirect" : "direct";
  served.test(
    `virtio 2.7.4: more pieces than one preadv takes (IOV_MAX), ${kind}`,
    ({ guest, tree }) => {
      const content = crypto.getRandomValues(new Uint8Array(3000));
      tree.file("f", content);
      const fuse = guest.fuse;
      const { nodeid } = fuse.lookup(ROOT, "f");
      const fh = fuse.open(nodeid, O.RDWR);
      const one = new Array(3000).fill(1);
      const writableCuts = [16, ...one];
      const read = fuse.ok(OP.READ, nodeid, readBody(fh, 0n, 3000), {
        writableCuts,
        indirect,
        room: 3000,
      });
      // A short read would be the end of the file to the guest.
      assert.deepEqual(read, content);
      const data = crypto.getRandomValues(new Uint8Array(3000));
      const written = fuse.ok(OP.WRITE, nodeid, writeBody(fh, 0n, data), {
        readableCuts: [40, 40, ...one],
        indirect,
        room: 8,
      });
      // A short write would be an error to the guest's page cache.
      assert.equal(viewOf(written).getUint32(0, true), 3000);
      assert.deepEqual(Deno.readFileSync(tree.path("f")), data);
    },
    { queueSize: 4096, notOnRust: true },
  );
}

served.test(
  "virtio 2.7.4: READ and WRITE of 1 MiB in pages, as Linux sends them",
  ({ guest, tree }) => {
    tree.file("f");
    const fuse = guest.fuse;
    const { nodeid } = fuse.lookup(ROOT, "f");
    const fh = fuse.open(nodeid, O.RDWR);
    const data = new Uint8Array(1 << 20);
    for (let at = 0; at < data.length; at += 65_536) {
      crypto.getRandomValues(data.subarray(at, at + 65_536));
    }
    const pages = new Array(256).fill(4096);
    const layout = { indirect: true };
    const written = fuse.ok(OP.WRITE, nodeid, writeBody(fh, 0n, data), {
      ...layout,
      readableCuts: [40, 40, ...pages],
      room: 8,
    });
    assert.equal(viewOf(written).getUint32(0, true), data.length);
    assert.deepEqual(Deno.readFileSync(tree.path("f")), data);
    const read = fuse.ok(OP.READ, nodeid, readBody(fh, 0n, data.length), {
      ...layout,
      writableCuts: [16, ...pages],
      room: data.length,
    });
    assert.deepEqual(read, data);
  },
  { queueSize: 1024 },
);

served.test("virtio 2.7: the smallest ring of two descriptors", ({ guest }) => {
  const fuse: FuseClient = guest.fuse;
  const whole = { readableCuts: [], writableCuts: [] };
  fuse.ok(OP.INIT, 0n, initBody(7, 45, LINUX_INIT_FLAGS), { ...whole, room: 64 });
  for (let count = 0; count < 50; count += 1) {
    fuse.ok(OP.GETATTR, ROOT, words(0, 0, 0n), { ...whole, room: 104 });
  }
}, { queueSize: 2, init: false });

served.test("virtio 2.7: the largest ring, 32768 descriptors", ({ guest }) => {
  assert.equal(guest.fuse.getattr(ROOT).mode & 0o170000, 0o040000);
}, { queueSize: isRustPeer ? 1024 : 32768 });
