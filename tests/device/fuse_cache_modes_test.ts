import assert from "node:assert/strict";
import { isRustPeer } from "../support/daemon.ts";
import { createBody, ROOT } from "../support/fuse_client.ts";
import { INIT, O, OP, readEntry } from "../support/fuse_wire.ts";
import { name, viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

const DAY = 86_400n;
const FOPEN = { DIRECT_IO: 1, KEEP_CACHE: 2, CACHE_DIR: 8 } as const;
/** The FOPEN bits that the cache mode decides; others are the server's own business. */
const CACHE_BITS = FOPEN.DIRECT_IO | FOPEN.KEEP_CACHE | FOPEN.CACHE_DIR;

const modes = [
  { cache: "never", seconds: 0n, file: FOPEN.DIRECT_IO, directory: 0 },
  {
    cache: "metadata",
    seconds: DAY,
    file: FOPEN.DIRECT_IO,
    directory: FOPEN.CACHE_DIR | FOPEN.KEEP_CACHE,
  },
  { cache: "auto", seconds: 1n, file: 0, directory: 0 },
  {
    cache: "always",
    seconds: DAY,
    file: FOPEN.KEEP_CACHE,
    directory: FOPEN.CACHE_DIR | FOPEN.KEEP_CACHE,
  },
];

for (const { cache, seconds, file, directory } of modes) {
  const served = new ServedTree([], cache);

  served.test(`--cache ${cache}: how long entries and attributes hold`, ({ guest, tree }) => {
    tree.file("f");
    const entry = guest.fuse.lookup(ROOT, "f");
    assert.deepEqual([entry.entryValid, entry.attrValid], [seconds, seconds], "LOOKUP");
    const attr = guest.fuse.ok(OP.GETATTR, ROOT, words(0, 0, 0n), { room: 104 });
    assert.equal(viewOf(attr).getBigUint64(0, true), seconds, "GETATTR");
    const made = guest.fuse.mkdir(ROOT, "d");
    assert.deepEqual([made.entryValid, made.attrValid], [seconds, seconds], "MKDIR");
    const created = readEntry(guest.fuse.ok(OP.CREATE, ROOT, createBody("c"), { room: 144 }));
    assert.deepEqual([created.entryValid, created.attrValid], [seconds, seconds], "CREATE");
  });

  served.test(`--cache ${cache}: what OPEN, OPENDIR and CREATE say`, ({ guest, tree }) => {
    tree.file("f");
    const { fuse } = guest;
    const { nodeid } = fuse.lookup(ROOT, "f");
    const flags = (bytes: Uint8Array, at: number) => viewOf(bytes).getUint32(at, true) & CACHE_BITS;
    assert.equal(flags(fuse.ok(OP.OPEN, nodeid, words(O.RDWR, 0), { room: 16 }), 8), file);
    assert.equal(flags(fuse.ok(OP.OPENDIR, ROOT, words(0, 0), { room: 16 }), 8), directory);
    const created = fuse.ok(OP.CREATE, ROOT, createBody("new"), { room: 144 });
    assert.equal(flags(created, 136), file, "CREATE");
  });
}

const writeback = new ServedTree(["--writeback"], "always");

writeback.test("--writeback: agreed on, and O_WRONLY handles can be read", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  assert.ok((fuse.init().flags >> INIT.WRITEBACK_CACHE) & 1n);
  const { nodeid } = fuse.lookup(ROOT, "f");
  // The guest fills a page before it writes a part of it back.
  const fh = fuse.open(nodeid, O.WRONLY);
  assert.equal(fuse.read(nodeid, fh, 0n, 10).length, 3);
  const append = fuse.open(nodeid, O.WRONLY | O.APPEND);
  fuse.write(nodeid, append, 0n, new TextEncoder().encode("X"));
  assert.equal(Deno.readTextFileSync(tree.path("f")), "Xbc", "the offset counts, not O_APPEND");
});

const plain = new ServedTree(["--no-readdirplus"]);

plain.test("--no-readdirplus: is not agreed on", ({ guest }) => {
  const { flags } = guest.fuse.init();
  assert.equal((flags >> INIT.DO_READDIRPLUS) & 1n, 0n);
});

const timed = new ServedTree(isRustPeer ? [] : ["--timeout", "42"]);

timed.test("--timeout: instead of what the mode says", ({ guest, tree }) => {
  tree.file("f");
  const { entryValid, attrValid } = guest.fuse.lookup(ROOT, "f");
  assert.deepEqual([entryValid, attrValid], [42n, 42n]);
}, { notOnRust: true });

timed.test("FUSE ACCESS: ENOSYS, or the host's answer for the caller", ({ guest, tree }) => {
  Deno.chmodSync(tree.file("f"), 0o600);
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const root = fuse.call(OP.ACCESS, nodeid, words(6, 0));
  assert.ok([0, -38].includes(root.error), `root: ${root.error}`);
  const user = fuse.call(OP.ACCESS, nodeid, words(6, 0), { uid: 1000, gid: 1000 });
  assert.ok([-13, -38].includes(user.error), `user 1000: ${user.error}`);
});

timed.test("FUSE SETUPMAPPING, REMOVEMAPPING: refused without a window", ({ guest, tree }) => {
  tree.file("f", "abc");
  const { fuse } = guest;
  const { nodeid } = fuse.lookup(ROOT, "f");
  const setup = words(0xffff_ffff_ffff_ffffn, 0n, 1n << 21n, 3n, 0n);
  assert.ok([38, 22, 95].includes(fuse.fails(OP.SETUPMAPPING, nodeid, setup)));
  const remove = words(1, 0, 0, 1 << 21, 0);
  const removed = fuse.call(OP.REMOVEMAPPING, nodeid, remove);
  assert.ok([0, -38, -22, -95].includes(removed.error), `${removed.error}`);
});

timed.test("FUSE LOOKUP: a name that comes, goes and comes again on the host", ({ guest, tree }) => {
  const { fuse } = guest;
  for (let round = 0; round < 20; round += 1) {
    const missing = fuse.call(OP.LOOKUP, ROOT, name("f"), { room: 128 });
    assert.ok(missing.error === -2 || readEntry(missing.body).nodeid === 0n);
    tree.file("f", "x".repeat(round));
    const entry = fuse.lookup(ROOT, "f");
    assert.equal(entry.attr.size, BigInt(round));
    assert.equal(fuse.getattr(entry.nodeid).size, BigInt(round));
    Deno.removeSync(tree.path("f"));
  }
});

const submounts = new ServedTree(["--announce-submounts"]);

submounts.test("--announce-submounts: a mount point is marked, and stays one node", async ({ guest, tree }) => {
  const mountPoint = tree.directory("mount");
  const run = (command: string, ...args: string[]) => new Deno.Command(command, { args }).output();
  const mounted = await run("mount", "-t", "tmpfs", "none", mountPoint);
  assert.ok(mounted.success, new TextDecoder().decode(mounted.stderr));
  try {
    Deno.writeTextFileSync(`${mountPoint}/inside`, "abc");
    const { fuse } = guest;
    const entry = fuse.lookup(ROOT, "mount");
    assert.equal(entry.attr.flags & 1, 1, "FUSE_ATTR_SUBMOUNT");
    assert.equal(fuse.lookup(entry.nodeid, "inside").attr.size, 3n);
    assert.equal(fuse.lookup(entry.nodeid, "inside").attr.flags & 1, 0);
    fuse.ok(OP.SYNCFS, entry.nodeid, words(0n), { room: 0 });
  } finally {
    await run("umount", "-l", mountPoint);
  }
});
