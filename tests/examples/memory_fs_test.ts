/**
 * The example's file system, asked request by request: `serve()`, its Worker and the contract's helpers on the
 * way. The client is the tests' own and shares nothing with `src/`.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Guest } from "../support/guest.ts";
import { FATTR, O, OP } from "../support/fuse_wire.ts";
import { ROOT } from "../support/fuse_client.ts";
import { concat, name, words } from "../support/little_endian.ts";
import { TempTree } from "../support/temp_tree.ts";
import { waitUntil } from "../guest/process.ts";
import { MemoryDaemon } from "./memory_daemon.ts";

const ENOENT = 2;
const EINVAL = 22;
const ENOSPC = 28;
const ENOTEMPTY = 39;
const ESTALE = 116;
const RENAME2_EXCHANGE = 2;
const MIB = 1024 * 1024;

/** Bytes that a shifted or repeated piece would not match. */
function pattern(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => (index * 31 + (index >>> 8) * 7) & 0xff);
}

/** Compares large data without printing it. */
function assertSame(actual: Uint8Array, expected: Uint8Array): void {
  assert.equal(actual.length, expected.length);
  const different = actual.findIndex((byte, index) => byte !== expected[index]);
  assert.equal(different, -1, "the first byte that is different");
}

async function withDaemon(body: (daemon: MemoryDaemon) => void | Promise<void>): Promise<void> {
  using tree = new TempTree("vfsm-");
  await using daemon = await MemoryDaemon.start(tree.root);
  await body(daemon);
  assert.equal(await daemon.terminate(), 0, daemon.process.output);
  assert.deepEqual([...Deno.readDirSync(tree.root)], [], "nothing is left of the daemon");
}

function test(title: string, body: (guest: Guest) => void): void {
  // The daemon is another process, which the sanitizers would take for a leak.
  Deno.test({ name: title, sanitizeOps: false, sanitizeResources: false }, async () => {
    await withDaemon((daemon) => {
      using guest = Guest.connect(daemon.socketPath);
      body(guest);
    });
  });
}

function rename(guest: Guest, from: string, to: string, flags = 0, newParent = ROOT): void {
  guest.fuse.ok(OP.RENAME2, ROOT, concat(words(newParent, flags, 0), name(from), name(to)), {
    room: 0,
  });
}

test("memory_fs: a file that was there from the start can be read", ({ fuse }) => {
  const entry = fuse.lookup(ROOT, "hello.txt");
  assert.equal(entry.attr.mode, 0o100644);
  const fh = fuse.open(entry.nodeid);
  const text = new TextDecoder().decode(fuse.read(entry.nodeid, fh, 0n, 4096));
  assert.equal(text, "Hello from memory.\n");
  assert.equal(entry.attr.size, BigInt(text.length));
});

test("memory_fs: the largest WRITE comes back unchanged, in pieces of any size", ({ fuse }) => {
  const data = pattern(MIB);
  const { entry, fh } = fuse.create(ROOT, "big");
  assert.equal(fuse.write(entry.nodeid, fh, 0n, data), MIB);
  assert.equal(fuse.write(entry.nodeid, fh, BigInt(MIB - 10), data.subarray(0, 1000)), 1000);
  assert.equal(fuse.getattr(entry.nodeid).size, BigInt(MIB + 990));
  assertSame(fuse.read(entry.nodeid, fh, 0n, MIB - 10), data.subarray(0, MIB - 10));
  assert.deepEqual(
    fuse.read(entry.nodeid, fh, BigInt(MIB - 10), MIB),
    data.subarray(0, 1000),
    "a read past the end is short",
  );
  assert.equal(fuse.read(entry.nodeid, fh, BigInt(2 * MIB), 4096).length, 0);
});

test("memory_fs: what was cut off is zero when the file grows again", ({ fuse }) => {
  const { entry, fh } = fuse.create(ROOT, "cut");
  fuse.write(entry.nodeid, fh, 0n, pattern(5000));
  assert.equal(fuse.setattr(entry.nodeid, { valid: FATTR.SIZE, size: 100n }).size, 100n);
  assert.equal(fuse.setattr(entry.nodeid, { valid: FATTR.SIZE, size: 300n }).size, 300n);
  const expected = new Uint8Array(300);
  expected.set(pattern(100));
  assert.deepEqual(fuse.read(entry.nodeid, fh, 0n, 4096), expected);
});

test("memory_fs: a WRITE that announces more data than it has is refused", ({ fuse }) => {
  const { entry, fh } = fuse.create(ROOT, "short");
  const body = concat(words(fh, 0n, 4096, 0, 0n, 0, 0), pattern(100));
  assert.equal(fuse.fails(OP.WRITE, entry.nodeid, body, { room: 8 }), EINVAL);
  assert.equal(fuse.getattr(entry.nodeid).size, 0n);
});

test("memory_fs: there is an end to its room", ({ fuse }) => {
  const { entry, fh } = fuse.create(ROOT, "huge");
  const far = concat(words(fh, 2n ** 40n, 4, 0, 0n, 0, 0), pattern(4));
  assert.equal(fuse.fails(OP.WRITE, entry.nodeid, far, { room: 8 }), ENOSPC);
});

test("memory_fs: times before 1970 survive SETATTR and GETATTR", ({ fuse }) => {
  const { entry } = fuse.create(ROOT, "old");
  const set = { valid: FATTR.MTIME, mtime: -86_400n, mtimensec: 500_000_000 };
  for (const attr of [fuse.setattr(entry.nodeid, set), fuse.getattr(entry.nodeid)]) {
    assert.equal(BigInt.asIntN(64, attr.mtime), -86_400n);
    assert.equal(attr.mtimensec, 500_000_000);
  }
});

for (const plus of [false, true]) {
  test(`memory_fs: ${plus ? "READDIRPLUS" : "READDIR"} gives each name once while names go`, ({ fuse }) => {
    const directory = fuse.mkdir(ROOT, "many").nodeid;
    const expected = Array.from({ length: 200 }, (_, index) => `file-${index}-é`);
    for (const each of expected) fuse.release(1n, fuse.create(directory, each).fh);
    const fh = fuse.opendir(directory);
    const seen: string[] = [];
    let offset = 0n;
    for (;;) {
      const part = fuse.readdir(directory, fh, offset, { size: 1024, plus });
      if (part.length === 0) break;
      seen.push(...part.map((entry) => entry.name));
      offset = part.at(-1)!.off;
      // A name that was listed already is removed: the rest must not move.
      const gone = part.find((entry) => entry.name.startsWith("file-"))!.name;
      fuse.ok(OP.UNLINK, directory, name(gone), { room: 0 });
    }
    assert.deepEqual(seen.slice(0, 2), [".", ".."]);
    assert.deepEqual(seen.slice(2), expected);
  });
}

test("memory_fs: rename replaces, exchanges and refuses what cannot be", (guest) => {
  const { fuse } = guest;
  const a = fuse.create(ROOT, "a").entry.nodeid;
  const b = fuse.create(ROOT, "b").entry.nodeid;
  rename(guest, "a", "b", RENAME2_EXCHANGE);
  assert.equal(fuse.lookup(ROOT, "a").nodeid, b);
  assert.equal(fuse.lookup(ROOT, "b").nodeid, a);
  assert.equal(fuse.getattr(a).nlink, 1);
  rename(guest, "a", "b");
  assert.equal(fuse.lookup(ROOT, "b").nodeid, b);
  assert.equal(fuse.fails(OP.LOOKUP, ROOT, name("a"), { room: 128 }), ENOENT);
  const directory = fuse.mkdir(ROOT, "d").nodeid;
  fuse.mkdir(directory, "inner");
  const into = concat(words(directory, 0, 0), name("d"), name("loop"));
  assert.equal(fuse.fails(OP.RENAME2, ROOT, into, { room: 0 }), EINVAL);
  assert.equal(fuse.fails(OP.RMDIR, ROOT, name("d"), { room: 0 }), ENOTEMPTY);
});

test("memory_fs: an unlinked file lives until it is forgotten", (guest) => {
  const { fuse } = guest;
  const { entry, fh } = fuse.create(ROOT, "ghost");
  fuse.write(entry.nodeid, fh, 0n, pattern(10));
  fuse.ok(OP.UNLINK, ROOT, name("ghost"), { room: 0 });
  assert.deepEqual(fuse.read(entry.nodeid, fh, 0n, 100), pattern(10));
  assert.equal(fuse.getattr(entry.nodeid).nlink, 0);
  fuse.release(entry.nodeid, fh);
  guest.forget(entry.nodeid);
  assert.equal(fuse.fails(OP.GETATTR, entry.nodeid, words(0, 0, 0n), { room: 104 }), ESTALE);
});

test("memory_fs: a symlink's target and a hard link's inode are kept", ({ fuse }) => {
  const made = fuse.ok(OP.SYMLINK, ROOT, concat(name("s"), name("some/where")), { room: 128 });
  assert.equal(made.length, 128);
  const symlink = fuse.lookup(ROOT, "s");
  assert.equal(symlink.attr.mode, 0o120777);
  const target = fuse.ok(OP.READLINK, symlink.nodeid, new Uint8Array(0), { room: 4096 });
  assert.equal(new TextDecoder().decode(target), "some/where");
  const file = fuse.create(ROOT, "one").entry.nodeid;
  fuse.ok(OP.LINK, ROOT, concat(words(file), name("two")), { room: 128 });
  assert.equal(fuse.lookup(ROOT, "two").nodeid, file);
  assert.equal(fuse.getattr(file).nlink, 2);
});

Deno.test({
  name: "memory_fs: files outlive the guest, unlinked ones and its lookups do not",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: () =>
    withDaemon(async (daemon) => {
      let ghost: bigint;
      {
        using guest = Guest.connect(daemon.socketPath);
        const { entry, fh } = guest.fuse.create(ROOT, "kept");
        guest.fuse.write(entry.nodeid, fh, 0n, pattern(10));
        ghost = guest.fuse.create(ROOT, "ghost").entry.nodeid;
        guest.fuse.ok(OP.UNLINK, ROOT, name("ghost"), { room: 0 });
      }
      assert.ok(await waitUntil(() => daemon.connectionsAwaited() === 2, 10_000));
      using guest = Guest.connect(daemon.socketPath);
      const { nodeid } = guest.fuse.lookup(ROOT, "kept");
      const fh = guest.fuse.open(nodeid, O.RDONLY);
      assert.deepEqual(guest.fuse.read(nodeid, fh, 0n, 100), pattern(10));
      assert.equal(guest.fuse.fails(OP.GETATTR, ghost, words(0, 0, 0n), { room: 104 }), ESTALE);
    }),
});
