import assert from "node:assert/strict";
import { Daemon, until } from "../support/daemon.ts";
import { type FuseClient, ROOT } from "../support/fuse_client.ts";
import { Frontend } from "../support/frontend.ts";
import { INIT, LINUX_INIT_FLAGS, O, OP } from "../support/fuse_wire.ts";
import { Guest } from "../support/guest.ts";
import { viewOf, words } from "../support/little_endian.ts";
import { ignoreWithoutRoot } from "../support/privilege.ts";
import { isRustPeer } from "../support/daemon.ts";
import { TempTree } from "../support/temp_tree.ts";
import { REQUEST } from "../support/vhost_messages.ts";

const ENFILE = 23;
const ENOLCK = 37;
const EAGAIN = 11;
/** Requests that are with the device at a time. */
const BATCH = 32;
const OPENS = 100_000;

/** A daemon of this test's own, and the tree that it serves. */
function budgetTest(
  what: string,
  args: readonly string[],
  body: (daemon: Daemon, tree: TempTree) => Promise<void>,
): void {
  const ignore = ignoreWithoutRoot() || isRustPeer;
  Deno.test({ name: what, ignore, sanitizeOps: false, sanitizeResources: false }, async () => {
    using tree = new TempTree();
    await using daemon = await Daemon.start({ sharedDir: tree.root, keepListening: true, args });
    try {
      await body(daemon, tree);
      assert.ok(await daemon.isRunning(), daemon.stderr());
    } finally {
      Frontend.closeAll();
    }
  });
}

/** Opens a file so many times; returns the handles, and how many opens failed with which errno. */
function openMany(fuse: FuseClient, nodeid: bigint, count: number) {
  const handles: bigint[] = [];
  const errors = new Map<number, number>();
  for (let done = 0; done < count; done += BATCH) {
    const size = Math.min(BATCH, count - done);
    const pending = Array.from(
      { length: size },
      () => fuse.submit(OP.OPEN, nodeid, words(O.RDONLY, 0), { room: 16 }),
    );
    for (const request of pending) {
      const { error, body } = fuse.wait(request);
      if (error === 0) handles.push(viewOf(body).getBigUint64(0, true));
      else errors.set(-error, (errors.get(-error) ?? 0) + 1);
    }
  }
  return { handles, errors };
}

/** Where the descriptors of a process lead. */
function descriptors(pid: number): string[] {
  const place = `/proc/${pid}/fd`;
  return [...Deno.readDirSync(place)].map(({ name }) => {
    try {
      return Deno.readLinkSync(`${place}/${name}`);
    } catch {
      return "";
    }
  });
}

/** The daemon's memory, in MiB. */
function residentMiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1]) / 1024;
}

/** The soft limit of a process. */
function limitOf(pid: number): number {
  const limits = Deno.readTextFileSync(`/proc/${pid}/limits`);
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1]);
}

for (
  const [what, args] of [
    ["a limit of 1000 descriptors", ["--rlimit-nofile", "1000"]],
    ["the default limit", []],
    ["--max-open-files 500", ["--max-open-files", "500"]],
  ] as const
) {
  budgetTest(`budget: 100,000 open files against ${what}`, args, async (daemon, tree) => {
    tree.file("f", "content");
    const limit = limitOf(daemon.pid);
    {
      using guest = Guest.connect(daemon.socketPath);
      const { fuse } = guest;
      const nodeid = fuse.walk("f");
      const { handles, errors } = openMany(fuse, nodeid, OPENS);
      assert.equal(handles.length + (errors.get(ENFILE) ?? 0), OPENS, "ENFILE and nothing else");
      if (what.startsWith("--max")) assert.equal(handles.length, 500);
      else if (limit - 256 < OPENS) {
        // Beside the files the guest holds the root, its mount and the one inode.
        const own = Math.min(256, Math.ceil(limit / 4));
        assert.equal(handles.length, limit - own - 3);
      }
      assert.ok(descriptors(daemon.pid).length < limit, "some are left to the daemon");
      assert.ok(residentMiB(daemon.pid) < 600, `${residentMiB(daemon.pid)} MiB`);
      // It takes the front end's commands, with descriptors in them, and serves what needs none for long.
      const queue = guest.queues[1]!;
      for (let i = 0; i < 50; i++) {
        guest.frontend.set(REQUEST.SET_VRING_CALL, words(1n), [queue.callFd]);
      }
      fuse.getattr(nodeid);
      assert.equal(fuse.read(nodeid, handles.at(-1)!, 0n, 99).length, 7);
      fuse.ok(OP.SYNCFS, ROOT, words(0, 0));
      for (const fh of handles.splice(0, 100)) fuse.release(nodeid, fh);
      assert.equal(openMany(fuse, nodeid, 100).handles.length, 100, "what is released is free");
    }
    await until(
      "all is closed when the guest has gone",
      () => descriptors(daemon.pid).filter((path) => path === tree.path("f")).length === 0,
      20_000,
    );
    using next = Guest.connect(daemon.socketPath);
    const nodeid = next.fuse.walk("f");
    next.fuse.release(nodeid, next.fuse.open(nodeid));
  });
}

budgetTest("budget: a guest at its limit and another daemon's guest", [
  ...["--rlimit-nofile", "600"],
], async (daemon, tree) => {
  tree.file("f");
  await using other = await Daemon.start({ sharedDir: tree.root, keepListening: true });
  using greedy = Guest.connect(daemon.socketPath);
  using modest = Guest.connect(other.socketPath);
  const file = greedy.fuse.walk("f");
  assert.ok((openMany(greedy.fuse, file, 2000).errors.get(ENFILE) ?? 0) > 1000);
  const same = modest.fuse.walk("f");
  assert.equal(openMany(modest.fuse, same, 2000).handles.length, 2000);
  modest.fuse.create(ROOT, "new");
  assert.equal(greedy.fuse.fails(OP.OPEN, file, words(O.RDONLY, 0)), ENFILE);
});

const LOCKING = { initFlags: LINUX_INIT_FLAGS | 1n << INIT.POSIX_LOCKS, queueSize: 64 };
const lock = (fh: bigint, owner: bigint, start: bigint, type: number) =>
  words(fh, owner, start, start, type, 0, 0, 0);

budgetTest("budget: lock owners hold descriptors, too, and have an end", [
  ...["--posix-lock", "--rlimit-nofile", "600"],
], (daemon, tree) => {
  tree.file("f", "x".repeat(5000));
  using guest = Guest.connect(daemon.socketPath, LOCKING);
  const { fuse } = guest;
  const nodeid = fuse.walk("f");
  const fh = fuse.open(nodeid, O.RDWR);
  let held = 0;
  const errors = new Set<number>();
  for (let owner = 1; owner <= 1000; owner++) {
    const body = lock(fh, BigInt(owner), BigInt(owner), 1);
    const { error } = fuse.call(OP.SETLK, nodeid, body, { room: 0 });
    if (error === 0) held++;
    else errors.add(-error);
  }
  assert.deepEqual([...errors], [ENOLCK]);
  assert.equal(held, 600 - 150 - 4);
  assert.equal(fuse.fails(OP.OPEN, nodeid, words(O.RDONLY, 0)), ENFILE);
  // FLUSH of an owner frees its descriptor.
  fuse.ok(OP.FLUSH, nodeid, words(fh, 0, 0, 1n), { room: 0 });
  fuse.release(nodeid, fuse.open(nodeid));
  return Promise.resolve();
});

budgetTest("budget: a driver that names a waiting request again and again", [
  ...["--posix-lock", "--num-request-queues", "2"],
], async (daemon, tree) => {
  tree.file("f", "x".repeat(100));
  using guest = Guest.connect(daemon.socketPath, { ...LOCKING, requestQueues: 2 });
  const { fuse } = guest;
  const nodeid = fuse.walk("f");
  const fh = fuse.open(nodeid, O.RDWR);
  fuse.ok(OP.SETLK, nodeid, lock(fh, 1n, 0n, 1), { room: 0 });
  assert.equal(fuse.fails(OP.SETLK, nodeid, lock(fh, 2n, 0n, 1)), EAGAIN);
  const blocked = fuse.submit(OP.SETLKW, nodeid, lock(fh, 2n, 0n, 1), { room: 0 });
  assert.equal(fuse.poll(blocked, 50), false);
  const queue = guest.queues[1]!;
  // 63 more are as many as the ring has descriptors; the next one cannot be true.
  for (let i = 0; i < 64; i++) {
    queue.pushHead(blocked.head);
    queue.publish();
    queue.kickAlways();
  }
  await until("the queue is broken", () => daemon.stderr().includes("more requests wait"), 20_000);
  // The guest's other queue, and the next guest, have their service.
  const other = guest.clients[1]!;
  other.getattr(nodeid);
});

// Also in a sandbox, where /proc is another matter: VIRTIOFSD_TEST_ISOLATION.
budgetTest("budget: ranges of locks are counted as the host has them", [
  ...["--posix-lock", "--max-locks", "20"],
], (daemon, tree) => {
  tree.file("f");
  using guest = Guest.connect(daemon.socketPath, LOCKING);
  const { fuse } = guest;
  const nodeid = fuse.walk("f");
  const fh = fuse.open(nodeid, O.RDWR);
  const set = (start: number, type: number) =>
    fuse.call(OP.SETLK, nodeid, lock(fh, 1n, BigInt(start), type), { room: 0 }).error;
  for (let i = 0; i < 100; i++) {
    assert.equal(set(5, 1), 0);
    assert.equal(set(5, 2), 0);
  }
  let held = 0;
  while (set(held * 2, 1) === 0) held++;
  assert.ok(held >= 18 && held <= 20, `${held} ranges`);
  return Promise.resolve();
});
