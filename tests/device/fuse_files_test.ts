import assert from "node:assert/strict";
import { isRustPeer } from "../support/daemon.ts";
import { readBody, ROOT, writeBody } from "../support/fuse_client.ts";
import { O, OP, S } from "../support/fuse_wire.ts";
import { text, viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

const served = new ServedTree();
const random = (size: number) => {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, Math.min(size, at + 65536)));
  }
  return bytes;
};
const lseekBody = (fh: bigint, offset: bigint, whence: number) => words(fh, offset, whence, 0);
const fallocateBody = (fh: bigint, offset: bigint, length: bigint, mode: number) =>
  words(fh, offset, length, mode, 0);

served.test("FUSE READ: whole, parts, past the end", ({ guest, tree }) => {
  const content = random(300_000);
  tree.file("f", content);
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid);
  assert.deepEqual(fuse.read(nodeid, fh, 0n, 1 << 20), content);
  assert.deepEqual(fuse.read(nodeid, fh, 4097n, 8191), content.slice(4097, 4097 + 8191));
  assert.equal(fuse.read(nodeid, fh, 300_000n, 10).length, 0);
  assert.equal(fuse.read(nodeid, fh, 1n << 40n, 10).length, 0);
  assert.deepEqual(fuse.read(nodeid, fh, 299_999n, 10), content.slice(299_999));
});

served.test("FUSE READ: a size beyond the room given is cut to it", ({ guest, tree }) => {
  tree.file("f", random(10_000));
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid);
  for (const size of [8192, 0xffff_ffff]) {
    const reply = fuse.call(OP.READ, nodeid, readBody(fh, 0n, size), { room: 4096 });
    assert.ok(reply.error < 0 || reply.body.length <= 4096);
  }
  fuse.getattr(nodeid);
}, { notOnRust: true });

served.test("FUSE READ: offsets beyond 2^63 are errors", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid, O.RDWR);
  for (const offset of [1n << 63n, 0xffff_ffff_ffff_ffffn, (1n << 63n) - 1n]) {
    const read = fuse.call(OP.READ, nodeid, readBody(fh, offset, 16), { room: 16 });
    assert.ok(read.error === -22 || read.error === -75 || read.body.length === 0, `${read.error}`);
    const write = fuse.call(OP.WRITE, nodeid, writeBody(fh, offset, text("x")), { room: 8 });
    assert.ok([-22, -27, -75].includes(write.error), `WRITE at ${offset}: ${write.error}`);
  }
  assert.equal(Deno.lstatSync(tree.path("f")).size, 3);
}, { notOnRust: true });

served.test("FUSE WRITE: extends, leaves a hole, answers the size", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid, O.WRONLY);
  const data = random(1 << 20);
  assert.equal(fuse.write(nodeid, fh, 1n << 20n, data), 1 << 20);
  const content = Deno.readFileSync(tree.path("f"));
  assert.equal(content.length, 2 << 20);
  assert.deepEqual(content.subarray(1 << 20), data);
  assert.equal(content[3], 0);
  assert.equal(fuse.write(nodeid, fh, 0n, new Uint8Array(0)), 0);
});

served.test("FUSE WRITE: a size field that disagrees with the data", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid, O.RDWR);
  const more = fuse.call(OP.WRITE, nodeid, writeBody(fh, 0n, text("12"), 1000), { room: 8 });
  assert.ok(more.error < 0 || viewOf(more.body).getUint32(0, true) <= 2, "more than there is");
  const less = fuse.call(OP.WRITE, nodeid, writeBody(fh, 0n, text("123456"), 4), { room: 8 });
  if (less.error === 0) assert.equal(viewOf(less.body).getUint32(0, true), 4);
  assert.ok(Deno.lstatSync(tree.path("f")).size <= 4);
}, { notOnRust: true });

served.test("FUSE OPEN: the access mode holds for READ and WRITE", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const readable = fuse.open(nodeid, O.RDONLY);
  assert.equal(fuse.fails(OP.WRITE, nodeid, writeBody(readable, 0n, text("x"))), 9);
  const writable = fuse.open(nodeid, O.WRONLY);
  assert.equal(fuse.fails(OP.READ, nodeid, readBody(writable, 0n, 1), { room: 1 }), 9);
});

served.test("FUSE OPEN: O_TRUNC empties, O_APPEND leaves offsets to the host", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid, O.RDWR | O.APPEND);
  fuse.write(nodeid, fh, 3n, text("d"));
  assert.equal(Deno.readTextFileSync(tree.path("f")), "abcd");
  fuse.open(nodeid, O.RDWR | O.TRUNC);
  assert.equal(fuse.getattr(nodeid).size, 0n);
});

served.test("FUSE OPEN: O_CREAT and O_EXCL do nothing", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const reply = fuse.call(OP.OPEN, nodeid, words(O.RDWR | O.CREAT | O.EXCL, 0), { room: 16 });
  assert.ok([0, -22, -17].includes(reply.error), `${reply.error}`);
  assert.equal(Deno.readTextFileSync(tree.path("f")), "abc");
});

served.test("FUSE OPEN: of a directory, OPENDIR of a file", ({ guest, tree }) => {
  tree.file("f");
  tree.directory("d");
  const { fuse } = guest;
  assert.equal(fuse.fails(OP.OPENDIR, fuse.walk("f"), words(0, 0)), 20);
  // open(2) of a directory read-only succeeds on the host; for writing it does not.
  assert.ok([21, 9, 22].includes(fuse.fails(OP.OPEN, fuse.walk("d"), words(O.RDWR, 0))));
});

served.test("FUSE RELEASE: the handle is gone, others live", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const first = fuse.open(nodeid);
  const second = fuse.open(nodeid);
  assert.notEqual(first, second);
  fuse.ok(OP.FLUSH, nodeid, words(first, 0, 0, 1n), { room: 0 });
  fuse.release(nodeid, first);
  assert.equal(fuse.fails(OP.READ, nodeid, readBody(first, 0n, 3), { room: 3 }), 9);
  assert.equal(fuse.read(nodeid, second, 0n, 3).length, 3);
  const again = fuse.call(OP.RELEASE, nodeid, words(first, 0, 0, 0n), { room: 0 });
  assert.ok([0, -9].includes(again.error), `second RELEASE: ${again.error}`);
});

served.test("FUSE: every opcode with a forged handle is EBADF", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const good = fuse.open(nodeid, O.RDWR);
  for (const fh of [good + 1n, 0xdead_beefn, 0x1_0000_0000n + good, 0xffff_ffff_ffff_ffffn]) {
    const cases: [number, Uint8Array][] = [
      [OP.READ, readBody(fh, 0n, 3)],
      [OP.WRITE, writeBody(fh, 0n, text("xyz"))],
      [OP.FSYNC, words(fh, 0, 0)],
      [OP.LSEEK, lseekBody(fh, 0n, 3)],
      [OP.FALLOCATE, fallocateBody(fh, 0n, 10n, 0)],
    ];
    for (const [opcode, body] of cases) {
      const error = fuse.fails(opcode, nodeid, body, { room: 8 });
      assert.ok([9, 22, 116].includes(error), `opcode ${opcode}, handle ${fh}: errno ${error}`);
    }
    for (const opcode of [OP.READDIR, OP.READDIRPLUS, OP.FSYNCDIR]) {
      const body = opcode === OP.FSYNCDIR ? words(fh, 0, 0) : readBody(fh, 0n, 512);
      assert.ok([9, 22, 116].includes(fuse.fails(opcode, ROOT, body, { room: 512 })));
    }
  }
  assert.equal(Deno.readTextFileSync(tree.path("f")), "abc");
});

served.test("FUSE: a file's handle is no directory's, and the other way round", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const file = fuse.open(nodeid);
  const dir = fuse.opendir(ROOT);
  assert.ok(
    [9, 20, 22].includes(fuse.fails(OP.READDIR, nodeid, readBody(file, 0n, 512), { room: 512 })),
  );
  assert.ok([9, 21, 22].includes(fuse.fails(OP.READ, ROOT, readBody(dir, 0n, 16), { room: 16 })));
  const foreign = fuse.call(OP.READ, ROOT, readBody(file, 0n, 16), { room: 16 });
  assert.ok(foreign.error === 0 || [9, 21, 22].includes(-foreign.error), "handle of another node");
});

served.test("FUSE FSYNC, FSYNCDIR, FLUSH: succeed, with and without DATASYNC", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid, O.RDWR);
  const dir = fuse.opendir(ROOT);
  for (const flags of [0, 1]) {
    fuse.ok(OP.FSYNC, nodeid, words(fh, flags, 0), { room: 0 });
    fuse.ok(OP.FSYNCDIR, ROOT, words(dir, flags, 0), { room: 0 });
  }
  fuse.ok(OP.FLUSH, nodeid, words(fh, 0, 0, 7n), { room: 0 });
});

served.test("FUSE LSEEK: data and holes", ({ guest, tree }) => {
  tree.file("f");
  Deno.truncateSync(tree.path("f"), 4 << 20);
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid, O.RDWR);
  fuse.write(nodeid, fh, 2n << 20n, random(4096));
  const seek = (offset: bigint, whence: number) =>
    viewOf(fuse.ok(OP.LSEEK, nodeid, lseekBody(fh, offset, whence), { room: 8 })).getBigUint64(
      0,
      true,
    );
  assert.equal(seek(0n, 3), 2n << 20n, "SEEK_DATA");
  assert.equal(seek(0n, 4), 0n, "SEEK_HOLE");
  assert.equal(seek(2n << 20n, 4), (2n << 20n) + 4096n, "SEEK_HOLE after the data");
  assert.equal(fuse.fails(OP.LSEEK, nodeid, lseekBody(fh, 3n << 20n, 3)), 6, "no more data: ENXIO");
  assert.equal(fuse.fails(OP.LSEEK, nodeid, lseekBody(fh, 0n, 99)), 22);
});

served.test("FUSE FALLOCATE: grow, keep the size, punch, zero", ({ guest, tree }) => {
  tree.file("f", "x".repeat(8192));
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid, O.RDWR);
  const allocate = (offset: bigint, length: bigint, mode: number) =>
    fuse.ok(OP.FALLOCATE, nodeid, fallocateBody(fh, offset, length, mode), { room: 0 });
  allocate(0n, 100_000n, 0);
  assert.equal(fuse.getattr(nodeid).size, 100_000n);
  allocate(0n, 1_000_000n, 1);
  assert.equal(fuse.getattr(nodeid).size, 100_000n, "KEEP_SIZE");
  allocate(0n, 4096n, 3);
  allocate(4096n, 100n, 0x10);
  const content = Deno.readFileSync(tree.path("f"));
  assert.deepEqual([content[0], content[4095], content[4096], content[4196]], [0, 0, 0, 120]);
  const unknown = fuse.fails(OP.FALLOCATE, nodeid, fallocateBody(fh, 0n, 4096n, 0x4000));
  assert.ok([95, 22].includes(unknown), `errno ${unknown}`);
  assert.equal(fuse.fails(OP.FALLOCATE, nodeid, fallocateBody(fh, 0n, 0n, 0)), 22);
  const negative = fuse.fails(OP.FALLOCATE, nodeid, fallocateBody(fh, 1n << 63n, 10n, 0));
  assert.ok([22, 27].includes(negative), `errno ${negative}`);
});

for (const [opcode, what] of [[OP.COPY_FILE_RANGE, ""], [OP.COPY_FILE_RANGE_64, "_64"]] as const) {
  served.test(`FUSE COPY_FILE_RANGE${what}: copies and answers how much`, ({ guest, tree }) => {
    const content = random(50_000);
    tree.file("a", content);
    tree.file("b");
    const { fuse } = guest;
    const a = fuse.lookup(ROOT, "a").nodeid;
    const b = fuse.lookup(ROOT, "b").nodeid;
    const from = fuse.open(a);
    const to = fuse.open(b, O.RDWR);
    const copy = (length: bigint, flags = 0n) => words(from, 1000n, b, to, 5n, length, flags);
    const reply = fuse.ok(opcode, a, copy(20_000n), { room: 8 });
    assert.equal(reply.length, 8);
    // size u32 and padding, or a u64: the same bytes on a little-endian wire.
    assert.equal(viewOf(reply).getBigUint64(0, true), 20_000n);
    assert.deepEqual(Deno.readFileSync(tree.path("b")).slice(5), content.slice(1000, 21_000));
    assert.equal(fuse.fails(opcode, a, copy(10n, 1n), { room: 8 }), 22, "flags must be 0");
    const forged = words(from, 0n, b, 0xdead_beefn, 0n, 10n, 0n);
    assert.ok([9, 22].includes(fuse.fails(opcode, a, forged, { room: 8 })));
    const rest = fuse.ok(opcode, a, copy(1n << 31n), { room: 8 });
    assert.equal(viewOf(rest).getBigUint64(0, true), 49_000n, "to the end of the source");
  }, { notOnRust: opcode === OP.COPY_FILE_RANGE_64 });
}

served.test("FUSE READ, WRITE: an unlinked file lives as long as its handle", ({ guest, tree }) => {
  const { fuse } = guest;
  const { entry, fh } = fuse.create(ROOT, "f");
  Deno.removeSync(tree.path("f"));
  fuse.write(entry.nodeid, fh, 0n, text("still here"));
  assert.deepEqual(fuse.read(entry.nodeid, fh, 0n, 100), text("still here"));
  const second = fuse.open(entry.nodeid, O.RDWR);
  assert.deepEqual(fuse.read(entry.nodeid, second, 6n, 100), text("here"));
});

const killpriv = new ServedTree(["--killpriv-v2"]);

killpriv.test("FUSE WRITE: KILL_SUIDGID clears what it should", ({ guest, tree }) => {
  tree.file("f", "abc");
  Deno.chmodSync(tree.path("f"), 0o6777);
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid, O.RDWR);
  fuse.ok(OP.WRITE, nodeid, writeBody(fh, 0n, text("x"), 1, 4), { room: 8, uid: 1000, gid: 1000 });
  assert.equal(fuse.getattr(nodeid).mode, S.IFREG | 0o777);
});

const readonly = new ServedTree(["--readonly"]);

readonly.test("--readonly: nothing can be changed, everything can be read", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid);
  assert.equal(fuse.read(nodeid, fh, 0n, 9).length, 3);
  assert.equal(fuse.fails(OP.OPEN, nodeid, words(O.RDWR, 0)), 30);
  assert.equal(fuse.fails(OP.OPEN, nodeid, words(O.RDONLY | O.TRUNC, 0)), isRustPeer ? 22 : 30);
  assert.equal(fuse.fails(OP.UNLINK, ROOT, text("f\0")), 30);
  const mkdir = new Uint8Array([...words(0o755, 0), ...text("d\0")]);
  assert.equal(fuse.fails(OP.MKDIR, ROOT, mkdir), 30);
  const setattr = new Uint8Array(88).with(0, 1);
  assert.equal(fuse.fails(OP.SETATTR, nodeid, setattr), 30);
  assert.equal(Deno.readTextFileSync(tree.path("f")), "abc");
});
