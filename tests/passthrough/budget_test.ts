import { deepEqual, equal, ok } from "node:assert/strict";
import { Budget, type BudgetTables } from "../../src/passthrough/budget.ts";
import { PASSTHROUGH_DEFAULTS } from "../../src/config.ts";
import { INIT, LINUX_INIT_FLAGS, O, OP } from "../support/fuse_wire.ts";
import { concat, name, words } from "../support/little_endian.ts";
import { DescriptorLimit } from "./descriptor_limit.ts";
import { descriptorCount, ShareClient } from "./share_client.ts";

const ROOT = 1n;
const EAGAIN = 11;
const ENFILE = 23;
const ENOLCK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;
const UNBOUNDED = PASSTHROUGH_DEFAULTS.budget;
const OFFSET_END = 2n ** 63n - 1n;

const create = (entry: string) => concat(words(O.RDWR, 0o644, 0, 0), name(entry));

/** struct fuse_lk_in */
function lock(fh: bigint, owner: bigint, start: bigint, end: bigint, type = F_WRLCK): Uint8Array {
  return words(fh, owner, start, end, type, 0, 0, 0);
}

function namesIn(share: ShareClient): string[] {
  return [...Deno.readDirSync(share.tree.root)].map((entry) => entry.name).sort();
}

Deno.test("--max-inodes: ENFILE beyond it, known ones are found, nothing half made stays", async () => {
  await using share = await ShareClient.start({ budget: { ...UNBOUNDED, inodes: 4 } });
  for (const entry of ["a", "b", "c", "d"]) share.tree.file(entry);
  const a = await share.lookup(ROOT, "a");
  await share.lookup(ROOT, "b");
  const c = await share.lookup(ROOT, "c");
  equal(share.inodes.count, 4);
  const before = descriptorCount();
  equal((await share.call(OP.LOOKUP, ROOT, name("d"))).error, ENFILE);
  equal((await share.lookup(ROOT, "a")).nodeid, a.nodeid);
  equal((await share.call(OP.CREATE, ROOT, create("new"))).error, ENFILE);
  equal((await share.call(OP.MKDIR, ROOT, concat(words(0o755, 0), name("new")))).error, ENFILE);
  equal((await share.call(OP.SYMLINK, ROOT, concat(name("new"), name("t")))).error, ENFILE);
  const tmpfile = concat(words(O.RDWR, 0o644, 0, 0), name("/"));
  equal((await share.call(OP.TMPFILE, ROOT, tmpfile)).error, ENFILE);
  deepEqual(namesIn(share), ["a", "b", "c", "d"]);
  equal(descriptorCount(), before);
  await share.forget(c.nodeid);
  await share.lookup(ROOT, "d");
});

Deno.test("--max-open-files: ENFILE beyond it, and nothing has happened to the file", async () => {
  await using share = await ShareClient.start({ budget: { ...UNBOUNDED, openFiles: 3 } });
  share.tree.file("f", "content");
  const { nodeid } = await share.lookup(ROOT, "f");
  const handles = [await share.open(nodeid), await share.open(nodeid)];
  const directory = await share.open(ROOT, 0, OP.OPENDIR);
  const before = descriptorCount();
  equal((await share.call(OP.OPEN, nodeid, words(O.RDWR | O.TRUNC, 0))).error, ENFILE);
  equal((await share.call(OP.OPENDIR, ROOT, words(0, 0))).error, ENFILE);
  equal((await share.call(OP.CREATE, ROOT, create("new"))).error, ENFILE);
  equal((await share.call(OP.CREATE, ROOT, create("f"))).error, ENFILE);
  deepEqual(namesIn(share), ["f"]);
  equal(Deno.readTextFileSync(share.tree.path("f")), "content");
  equal(descriptorCount(), before);
  // What is open works, and what is closed makes room.
  equal((await share.call(OP.READ, nodeid, words(handles[0]!, 0n, 9, 0, 0n, 0, 0))).body.length, 7);
  await share.release(ROOT, directory, OP.RELEASEDIR);
  handles.push(await share.open(nodeid));
  for (const fh of handles) await share.release(nodeid, fh);
});

const LOCKS = { flags: LINUX_INIT_FLAGS | 1n << INIT.POSIX_LOCKS };

Deno.test("--max-locks: owners beyond it get ENOLCK", async () => {
  await using share = await ShareClient.start(
    { posixLocks: true, budget: { ...UNBOUNDED, locks: 7 } },
    LOCKS,
  );
  share.tree.file("f");
  const { nodeid } = await share.lookup(ROOT, "f");
  const fh = await share.open(nodeid);
  // Lookers need a descriptor each, too.
  for (let owner = 1n; owner <= 7n; owner++) {
    equal((await share.call(OP.GETLK, nodeid, lock(fh, owner, owner, owner))).error, 0);
  }
  equal((await share.call(OP.SETLK, nodeid, lock(fh, 8n, 8n, 8n))).error, ENOLCK);
  equal((await share.call(OP.SETLK, nodeid, lock(fh, 1n, 1n, 1n))).error, 0);
  equal((await share.call(OP.FLUSH, nodeid, words(fh, 0, 0, 2n))).error, 0);
  equal((await share.call(OP.SETLK, nodeid, lock(fh, 8n, 8n, 8n))).error, 0);
});

Deno.test("--max-locks: ranges beyond it get ENOLCK, however they come to be", async () => {
  await using share = await ShareClient.start(
    { posixLocks: true, budget: { ...UNBOUNDED, locks: 20 } },
    LOCKS,
  );
  share.tree.file("f");
  const { nodeid } = await share.lookup(ROOT, "f");
  const fh = await share.open(nodeid);
  const set = async (start: number, end: bigint, type = F_WRLCK, owner = 1n) =>
    (await share.call(OP.SETLK, nodeid, lock(fh, owner, BigInt(start), end, type))).error;
  let held = 0;
  while (await set(held * 2, BigInt(held * 2)) === 0) held++;
  ok(held >= 18 && held <= 20, `${held} ranges`);
  equal(await set(1000, 1000n), ENOLCK);
  equal(await set(1000, 1000n, F_WRLCK, 2n), ENOLCK, "the budget is the guest's, not the owner's");
  // All can be given up, and had again any number of times: what is counted is what there is.
  equal(await set(0, OFFSET_END, F_UNLCK), 0);
  for (let i = 0; i < 200; i++) {
    equal(await set(7, 9n), 0);
    equal(await set(7, 9n, F_UNLCK), 0);
  }
  // One lock with holes, and one with pieces of another type.
  equal(await set(0, OFFSET_END), 0);
  let holes = 0;
  while (await set(holes * 2, BigInt(holes * 2), F_UNLCK) === 0) holes++;
  ok(holes >= 16 && holes <= 20, `${holes} holes`);
  equal(await set(0, OFFSET_END, F_UNLCK), 0);
  equal(await set(0, OFFSET_END), 0);
  let pieces = 0;
  while (await set(1 + pieces * 2, BigInt(1 + pieces * 2), F_RDLCK) === 0) pieces++;
  ok(pieces >= 7 && pieces <= 10, `${pieces} pieces`);
});

Deno.test("--max-locks: an owner that asks often and holds little takes nothing from others", async () => {
  await using share = await ShareClient.start(
    { posixLocks: true, budget: { ...UNBOUNDED, locks: 64 } },
    LOCKS,
  );
  share.tree.file("f");
  share.tree.file("g");
  const { nodeid: f } = await share.lookup(ROOT, "f");
  const { nodeid: g } = await share.lookup(ROOT, "g");
  const fhs = new Map([[f, await share.open(f)], [g, await share.open(g)]]);
  const set = async (nodeid: bigint, owner: bigint, start: bigint, type = F_WRLCK) =>
    (await share.call(OP.SETLK, nodeid, lock(fhs.get(nodeid)!, owner, start, start, type))).error;
  // Up to the bound, and no further: so nothing has made the daemon count.
  for (let i = 0; i < 16; i++) {
    equal(await set(f, 1n, 5n), 0);
    equal(await set(f, 1n, 5n, F_UNLCK), 0);
  }
  equal(await set(g, 2n, 5n), 0);
  // Two of them between each other's calls.
  for (let i = 0; i < 100; i++) {
    const owner = 3n + BigInt(i % 2);
    equal(await set(f, owner, 9n), 0, `round ${i}`);
    equal(await set(f, owner, 9n, F_UNLCK), 0, `round ${i}`);
    equal(await set(g, 2n, 7n + BigInt(i % 3)), 0, `round ${i}`);
  }
});

Deno.test("--max-locks: waiting for a lock for long uses up nothing", async () => {
  await using share = await ShareClient.start(
    { posixLocks: true, budget: { ...UNBOUNDED, locks: 10 } },
    LOCKS,
  );
  share.tree.file("f");
  const { nodeid } = await share.lookup(ROOT, "f");
  const fh = await share.open(nodeid);
  equal((await share.call(OP.SETLK, nodeid, lock(fh, 1n, 0n, 9n))).error, 0);
  for (let i = 0; i < 100; i++) {
    equal(await share.first.tryCall(OP.SETLKW, nodeid, lock(fh, 2n, 5n, 5n)), null);
    equal((await share.call(OP.SETLK, nodeid, lock(fh, 3n, 5n, 5n))).error, EAGAIN);
  }
  equal((await share.call(OP.SETLK, nodeid, lock(fh, 1n, 0n, 9n, F_UNLCK))).error, 0);
  equal((await share.call(OP.SETLKW, nodeid, lock(fh, 2n, 5n, 5n))).error, 0);
});

Deno.test("a guest that opens all it can leaves descriptors to the daemon, and can go on", async () => {
  // As in scarcity_test.ts: what other tests have left open must not be all.
  const limit = descriptorCount() + 400;
  const share = await (async () => {
    using _limit = new DescriptorLimit(limit);
    return await ShareClient.start({ inodeFileHandles: "never" });
  })();
  await using _ = share;
  share.tree.file("f");
  const { nodeid } = await share.lookup(ROOT, "f");
  const handles: bigint[] = [];
  for (;;) {
    const { error, body } = await share.call(OP.OPEN, nodeid, words(0, 0));
    if (error !== 0) {
      equal(error, ENFILE);
      break;
    }
    handles.push(new DataView(body.buffer, body.byteOffset).getBigUint64(0, true));
  }
  // A quarter, or 256, is not the guest's; neither are the root, its mount and the file.
  equal(handles.length, limit - Math.min(256, Math.ceil(limit / 4)) - 3);
  share.tree.file("g");
  equal((await share.call(OP.LOOKUP, ROOT, name("g"))).error, ENFILE);
  equal((await share.call(OP.GETATTR, nodeid, words(0, 0, 0n))).error, 0);
  equal((await share.call(OP.SYNCFS, ROOT, words(0, 0))).error, 0);
  await share.release(nodeid, handles.pop()!);
  await share.lookup(ROOT, "g");
  for (const fh of handles) await share.release(nodeid, fh);
});

/** Tables of which so much is used. */
function tables(used: { inodes?: number; fds?: number; open?: number }): BudgetTables {
  const { inodes = 1, fds = 1, open = 0 } = used;
  return {
    inodes: { count: inodes, fdCount: fds },
    handles: { count: open },
    locks: { count: 0 },
    mounts: { count: 1 },
    daxInodes: { fdCount: 0 },
  } as unknown as BudgetTables;
}

Deno.test("Budget: what follows from the limit of descriptors", () => {
  const cases: [limit: number, own: number, inodes: number][] = [
    [100, 25, 2 ** 20],
    [1024, 256, 2 ** 20],
    [200_000, 256, 3_200_000],
    [1_000_000, 256, 16_000_000],
    [2 ** 21, 256, 2 ** 24 - 1],
  ];
  for (const [limit, own, inodes] of cases) {
    const max = limit - own;
    equal(new Budget(UNBOUNDED, limit, tables({})).descriptorMax, max);
    ok(new Budget(UNBOUNDED, limit, tables({ inodes: inodes - 1 })).allowsInode(true));
    ok(!new Budget(UNBOUNDED, limit, tables({ inodes })).allowsInode(true), `${limit}: inodes`);
    const share = Math.floor(max * 0.9);
    ok(new Budget(UNBOUNDED, limit, tables({ fds: share - 1 })).allowsInode(false));
    ok(!new Budget(UNBOUNDED, limit, tables({ fds: share })).allowsInode(false));
    const openMax = Math.min(max - 2, 2 ** 20 - 1);
    ok(new Budget(UNBOUNDED, limit, tables({ open: openMax - 1 })).allowsOpen);
    ok(!new Budget(UNBOUNDED, limit, tables({ open: openMax })).allowsOpen);
  }
});
