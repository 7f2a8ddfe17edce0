import assert from "node:assert/strict";
import { isRustPeer } from "../support/daemon.ts";
import { encodeRequest, ROOT, writeBody } from "../support/fuse_client.ts";
import { FATTR, INIT, initBody, LINUX_INIT_FLAGS, O, OP, readInit } from "../support/fuse_wire.ts";
import { name, viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

const served = new ServedTree();
const noInit = { init: false };
const getattrBody = words(0, 0, 0n);

served.test("FUSE INIT: a Linux 7.2 guest gets a usable answer", ({ guest }) => {
  const reply = guest.fuse.init();
  assert.equal(reply.major, 7);
  assert.ok(reply.minor >= 27 && reply.minor <= 45, `minor ${reply.minor}`);
  assert.equal(reply.flags & ~LINUX_INIT_FLAGS, 0n, "nothing that was not offered");
  assert.ok(reply.maxWrite >= 4096, `max_write ${reply.maxWrite}`);
  assert.ok(reply.maxPages * 4096 >= reply.maxWrite, "max_pages covers max_write");
  assert.ok(reply.timeGran >= 1 && reply.timeGran <= 1e9);
}, noInit);

served.test("FUSE INIT: what a virtiofs guest counts on is agreed", ({ guest }) => {
  const { flags } = guest.fuse.init();
  for (
    const bit of [
      "ASYNC_READ",
      "BIG_WRITES",
      "ATOMIC_O_TRUNC",
      "AUTO_INVAL_DATA",
      "ASYNC_DIO",
      "PARALLEL_DIROPS",
      "DO_READDIRPLUS",
      "READDIRPLUS_AUTO",
      "MAX_PAGES",
      "SUBMOUNTS",
      "INIT_EXT",
      "CREATE_SUPP_GROUP",
    ] as const
  ) {
    assert.ok((flags >> INIT[bit]) & 1n, bit);
  }
}, noInit);

served.test("FUSE INIT: options that nobody asked for stay off", ({ guest }) => {
  const { flags } = guest.fuse.init();
  for (
    const bit of [
      "POSIX_LOCKS",
      "FLOCK_LOCKS",
      "WRITEBACK_CACHE",
      "POSIX_ACL",
      "SECURITY_CTX",
      "HAS_INODE_DAX",
    ] as const
  ) {
    assert.equal((flags >> INIT[bit]) & 1n, 0n, bit);
  }
}, noInit);

served.test(
  "FUSE INIT: with ALLOW_IDMAP, requests without a caller work and creations have one",
  ({ guest, tree }) => {
    Deno.chmodSync(tree.root, 0o777);
    tree.file("f", "abc");
    const { fuse } = guest;
    const agreed = ((fuse.init().flags >> INIT.ALLOW_IDMAP) & 1n) === 1n;
    // Linux then sends 0xffffffff for both ids in everything that creates nothing.
    const nobody = agreed ? { uid: 0xffff_ffff, gid: 0xffff_ffff } : {};
    const { nodeid } = fuse.lookup(ROOT, "f");
    fuse.ok(OP.GETATTR, nodeid, getattrBody, nobody);
    fuse.ok(OP.LOOKUP, ROOT, name("f"), nobody);
    const fh = fuse.open(nodeid, O.RDWR, nobody);
    fuse.ok(OP.WRITE, nodeid, writeBody(fh, 0n, new Uint8Array(3)), nobody);
    const { entry } = fuse.create(ROOT, "new", {}, { uid: 1000, gid: 1001 });
    assert.deepEqual([entry.attr.uid, entry.attr.gid], [1000, 1001]);
    const mode = { valid: FATTR.MODE, mode: 0o100600 };
    assert.equal(fuse.setattr(entry.nodeid, mode, nobody).mode, 0o100600);
    fuse.ok(OP.UNLINK, ROOT, name("new"), nobody);
    // And the thread is itself again afterwards.
    assert.equal(fuse.mkdir(ROOT, "by-root").attr.uid, 0);
  },
  noInit,
);

served.test("FUSE INIT: every bit offered, reserved ones too", ({ guest }) => {
  const { flags } = guest.fuse.init(0xffff_ffff_ffff_ffffn);
  assert.equal((flags >> 63n) & 1n, 0n, "the highest bit means nothing");
  assert.equal((flags >> 31n) & 1n, 0n, "bit 31 is reserved");
  guest.fuse.getattr(ROOT);
}, noInit);

for (const minor of [27, 28, 31, 35, 36, 38, 39, 43, 45, 46, 99]) {
  served.test(`FUSE INIT: a guest of 7.${minor}`, ({ guest }) => {
    // INIT_EXT announces the second flag word, which came with 7.36.
    const flags = minor < 36 ? LINUX_INIT_FLAGS & 0x3fff_ffffn : LINUX_INIT_FLAGS;
    const reply = guest.fuse.init(flags, minor);
    assert.equal(reply.major, 7);
    assert.ok(reply.minor <= 45, `minor ${reply.minor} exists`);
    if (minor < 36) assert.equal(reply.flags >> 32n, 0n, "no second flag word");
    guest.fuse.getattr(ROOT);
  }, noInit);
}

for (const minor of [8, 12, 22, 26]) {
  served.test(
    `FUSE INIT: an old guest of 7.${minor} is served or refused with EPROTO`,
    ({ guest }) => {
      const low = LINUX_INIT_FLAGS & ((1n << 30n) - 1n);
      const reply = guest.fuse.call(OP.INIT, 0n, initBody(7, minor, low), { room: 64 });
      assert.ok(reply.error === 0 || reply.error === -71, `error ${reply.error}`);
    },
    noInit,
  );
}

served.test("FUSE INIT: a major above 7 is answered with 7 and negotiated again", ({ guest }) => {
  const first = readInit(guest.fuse.ok(OP.INIT, 0n, initBody(8, 0, 0n), { room: 64 }));
  assert.equal(first.major, 7);
  assert.equal(guest.fuse.init().major, 7);
  guest.fuse.getattr(ROOT);
}, noInit);

served.test("FUSE INIT: a major below 7 is refused", ({ guest }) => {
  assert.equal(guest.fuse.fails(OP.INIT, 0n, initBody(6, 45, 0n)), 71);
  guest.fuse.init();
  guest.fuse.getattr(ROOT);
}, noInit);

served.test("FUSE INIT: a short body is an error", ({ guest }) => {
  const error = guest.fuse.fails(OP.INIT, 0n, words(7, 45));
  assert.ok([5, 22, 71].includes(error), `errno ${error}`);
  guest.fuse.init();
}, { ...noInit, notOnRust: true });

served.test("FUSE INIT: INIT_EXT without the second flag word is no reason to die", ({ guest }) => {
  const reply = guest.fuse.call(OP.INIT, 0n, initBody(7, 35, LINUX_INIT_FLAGS), { room: 64 });
  if (reply.error !== 0) assert.ok([-5, -22, -71].includes(reply.error), `error ${reply.error}`);
  guest.fuse.init();
  guest.fuse.getattr(ROOT);
}, { ...noInit, notOnRust: true });

served.test("FUSE INIT: a second one ends the session of the first", ({ guest, tree }) => {
  tree.file("d/f", "x");
  const { fuse } = guest;
  const nodeid = fuse.walk("d", "f");
  const fh = fuse.open(nodeid, O.RDONLY);
  fuse.init();
  assert.ok([22, 9, 116, 2].includes(fuse.fails(OP.GETATTR, nodeid, getattrBody)));
  const read = words(fh, 0n, 16, 0, 0n, 0, 0);
  assert.ok([22, 9, 116, 2].includes(fuse.fails(OP.READ, nodeid, read)));
  assert.equal(fuse.getattr(fuse.walk("d", "f")).size, 1n);
});

served.test(
  "FUSE DESTROY: drops all nodes and handles, a new INIT starts over",
  ({ guest, tree }) => {
    tree.file("f", "x");
    const { fuse } = guest;
    const { nodeid } = fuse.lookup(ROOT, "f");
    fuse.open(nodeid);
    fuse.ok(OP.DESTROY, 0n);
    assert.ok(fuse.fails(OP.GETATTR, nodeid, getattrBody) > 0);
    fuse.init();
    assert.ok(fuse.fails(OP.GETATTR, nodeid, getattrBody) > 0);
    fuse.lookup(ROOT, "f");
  },
  { notOnRust: true },
);

served.test("FUSE: requests before INIT are refused", ({ guest, tree }) => {
  tree.file("f");
  for (
    const [opcode, body] of [
      [OP.GETATTR, getattrBody],
      [OP.LOOKUP, name("f")],
      [OP.OPENDIR, words(0, 0)],
      [OP.STATFS, new Uint8Array(0)],
    ] as const
  ) {
    assert.ok(guest.fuse.fails(opcode, ROOT, body) > 0, `opcode ${opcode}`);
  }
  guest.forget(2n);
  guest.fuse.init();
  guest.fuse.getattr(ROOT);
}, { ...noInit, notOnRust: true });

served.test("FUSE: unknown opcodes are ENOSYS", ({ guest }) => {
  for (const opcode of [0, 7, 19, 54, 60, 100, 4095, 4096, 0x7fff_ffff, 0xffff_ffff]) {
    assert.equal(guest.fuse.fails(opcode, ROOT, new Uint8Array(64)), 38, `opcode ${opcode}`);
  }
});

served.test("FUSE: opcodes without a meaning here are ENOSYS", ({ guest, tree }) => {
  tree.file("f");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const fh = fuse.open(nodeid);
  assert.equal(fuse.fails(OP.POLL, nodeid, words(fh, 1n, 0, 1)), 38, "POLL");
  assert.equal(fuse.fails(OP.BMAP, nodeid, words(0n, 512, 0)), 38, "BMAP");
  const ioctl = fuse.fails(OP.IOCTL, nodeid, words(fh, 0, 0x5401, 0n, 0, 0));
  assert.ok([38, 25].includes(ioctl), `IOCTL: ENOSYS or ENOTTY, not ${ioctl}`);
}, { notOnRust: isRustPeer });

served.test(
  "FUSE INTERRUPT: taken on hiprio and on a request queue, whatever it names",
  ({ guest }) => {
    for (const client of [guest.hiprio, guest.fuse]) {
      // No reply is due; a server may still say EAGAIN or ENOSYS where there is room for it.
      client.send(OP.INTERRUPT, 0n, words(424242n));
      const request = encodeRequest(OP.INTERRUPT, 0n, words(424242n), {}, 2n);
      client.queue.add([request], [16]);
      client.queue.publish();
      const used = client.queue.waitTake();
      if (used.length === 0) continue;
      assert.equal(used.length, 16);
      assert.ok([0, -11, -38].includes(viewOf(used.written).getInt32(4, true)));
    }
    guest.fuse.getattr(ROOT);
  },
  { notOnRust: true },
);

served.test("FUSE STATFS: figures of the host's file system", ({ guest, tree }) => {
  const reply = guest.fuse.ok(OP.STATFS, ROOT, new Uint8Array(0), { room: 80 });
  assert.equal(reply.length, 80);
  const view = new DataView(reply.buffer, reply.byteOffset, 80);
  assert.ok(view.getBigUint64(0, true) > 0n, "blocks");
  assert.ok(view.getBigUint64(8, true) <= view.getBigUint64(0, true), "bfree");
  assert.equal(view.getUint32(44, true), 255, "namelen");
  assert.ok(view.getUint32(40, true) >= 512, "bsize");
  assert.ok(tree.root.length > 0);
});

served.test("FUSE SYNCFS: succeeds on the root", ({ guest }) => {
  guest.fuse.ok(OP.SYNCFS, ROOT, words(0n), { room: 0 });
});
