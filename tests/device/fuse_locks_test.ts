import assert from "node:assert/strict";
import { isRustPeer, pause } from "../support/daemon.ts";
import { type FuseClient, ROOT } from "../support/fuse_client.ts";
import { INIT, O, OP } from "../support/fuse_wire.ts";
import { close, open, setPosixLock, tryFlock } from "../support/libc.ts";
import { viewOf, words } from "../support/little_endian.ts";
import { type Scene, ServedTree } from "../support/served_tree.ts";

const served = new ServedTree(isRustPeer ? [] : ["-o", "posix_lock,flock"]);
const F = { RDLCK: 0, WRLCK: 1, UNLCK: 2 } as const;
const LOCK = { SH: 1, EX: 2, UN: 8 } as const;
const TO_END = (1n << 63n) - 1n;
const on = { notOnRust: true };

interface Range {
  readonly start?: bigint;
  readonly end?: bigint;
  /** fuse_lk_in.lk_flags: 1 = flock. */
  readonly flags?: number;
}

const lockBody = (fh: bigint, owner: bigint, type: number, range: Range = {}) =>
  words(fh, owner, range.start ?? 0n, range.end ?? TO_END, type, 77, range.flags ?? 0, 0);
const setlk = (fuse: FuseClient, nodeid: bigint, body: Uint8Array) =>
  fuse.call(OP.SETLK, nodeid, body, { room: 0 }).error;

function getlk(fuse: FuseClient, nodeid: bigint, body: Uint8Array) {
  const reply = fuse.ok(OP.GETLK, nodeid, body, { room: 24 });
  assert.equal(reply.length, 24);
  const view = viewOf(reply);
  return {
    start: view.getBigUint64(0, true),
    end: view.getBigUint64(8, true),
    type: view.getUint32(16, true),
  };
}

function openFile(fuse: FuseClient): { nodeid: bigint; fh: bigint } {
  const { nodeid } = fuse.lookup(ROOT, "f");
  return { nodeid, fh: fuse.open(nodeid, O.RDWR) };
}

served.test("FUSE INIT: -o posix_lock,flock agrees on both", ({ guest }) => {
  const { flags } = guest.fuse.init();
  assert.ok((flags >> INIT.POSIX_LOCKS) & 1n);
  assert.ok((flags >> INIT.FLOCK_LOCKS) & 1n);
}, on);

served.test("FUSE SETLK: owners of one guest exclude each other", ({ guest, tree }) => {
  tree.file("f", "x".repeat(100));
  const { fuse } = guest;
  const { nodeid, fh } = openFile(fuse);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 1n, F.WRLCK, { start: 0n, end: 9n })), 0);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 2n, F.WRLCK, { start: 5n, end: 20n })), -11);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 2n, F.RDLCK, { start: 9n, end: 9n })), -11);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 2n, F.WRLCK, { start: 10n, end: 20n })), 0);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 1n, F.UNLCK)), 0);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 2n, F.WRLCK)), 0, "1 has let go");
}, on);

served.test("FUSE GETLK: names the lock in the way, or UNLCK", ({ guest, tree }) => {
  tree.file("f", "x".repeat(100));
  const { fuse } = guest;
  const { nodeid, fh } = openFile(fuse);
  assert.equal(getlk(fuse, nodeid, lockBody(fh, 2n, F.WRLCK)).type, F.UNLCK);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 1n, F.RDLCK, { start: 10n, end: 19n })), 0);
  const lock = getlk(fuse, nodeid, lockBody(fh, 2n, F.WRLCK));
  assert.deepEqual(lock, { start: 10n, end: 19n, type: F.RDLCK });
  assert.equal(getlk(fuse, nodeid, lockBody(fh, 2n, F.RDLCK)).type, F.UNLCK, "readers agree");
  assert.equal(getlk(fuse, nodeid, lockBody(fh, 1n, F.WRLCK)).type, F.UNLCK, "one's own lock");
}, on);

served.test("FUSE SETLK: a process of the host is excluded, and excludes", ({ guest, tree }) => {
  const path = tree.file("f", "x".repeat(100));
  const { fuse } = guest;
  const { nodeid, fh } = openFile(fuse);
  const host = open(path, O.RDWR);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 1n, F.WRLCK, { start: 0n, end: 49n })), 0);
  assert.equal(setPosixLock(host, 1, 40, 20), -11, "the host waits for the guest");
  assert.equal(setPosixLock(host, 1, 50, 50), 0);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 1n, F.WRLCK, { start: 60n, end: 60n })), -11);
  const lock = getlk(fuse, nodeid, lockBody(fh, 1n, F.RDLCK, { start: 50n, end: 70n }));
  assert.equal(lock.type, F.WRLCK);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 1n, F.UNLCK)), 0);
  assert.equal(setPosixLock(host, 1, 0, 0), 0, "the guest has let go");
  close(host);
}, on);

served.test("FUSE FLUSH: drops the locks of its owner, and of nobody else", ({ guest, tree }) => {
  tree.file("f", "x".repeat(100));
  const { fuse } = guest;
  const { nodeid, fh } = openFile(fuse);
  setlk(fuse, nodeid, lockBody(fh, 1n, F.WRLCK, { start: 0n, end: 9n }));
  setlk(fuse, nodeid, lockBody(fh, 2n, F.WRLCK, { start: 10n, end: 19n }));
  fuse.ok(OP.FLUSH, nodeid, words(fh, 0, 0, 1n), { room: 0 });
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 3n, F.WRLCK, { start: 0n, end: 9n })), 0);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 3n, F.WRLCK, { start: 10n, end: 19n })), -11);
}, on);

served.test(
  "FUSE SETLK: another handle's RELEASE keeps the locks of this one's owner",
  ({ guest, tree }) => {
    tree.file("f", "x".repeat(100));
    const { fuse } = guest;
    const { nodeid, fh } = openFile(fuse);
    const other = fuse.open(nodeid, O.RDWR);
    setlk(fuse, nodeid, lockBody(fh, 1n, F.WRLCK));
    fuse.ok(OP.FLUSH, nodeid, words(other, 0, 0, 2n), { room: 0 });
    fuse.release(nodeid, other);
    assert.equal(
      setlk(fuse, nodeid, lockBody(fh, 2n, F.WRLCK)),
      -11,
      "the lock of 1 is still there",
    );
  },
  on,
);

served.test(
  "FUSE SETLKW: a blocked one does not stall its queue, and ends when the lock is free",
  async ({ guest, tree }) => {
    const path = tree.file("f", "x".repeat(100));
    const { fuse } = guest;
    const { nodeid, fh } = openFile(fuse);
    const host = open(path, O.RDWR);
    assert.equal(setPosixLock(host, 1, 0, 0), 0);
    const blocked = fuse.submit(OP.SETLKW, nodeid, lockBody(fh, 1n, F.WRLCK), { room: 0 });
    for (let count = 0; count < 200; count += 1) fuse.getattr(ROOT);
    assert.equal(fuse.poll(blocked, 100), false, "still waiting for the lock");
    assert.equal(setPosixLock(host, 2, 0, 0), 0);
    await pause(0);
    assert.equal(fuse.wait(blocked).error, 0);
    assert.equal(setPosixLock(host, 1, 0, 0), -11, "the guest has it now");
    close(host);
  },
  on,
);

served.test("FUSE SETLKW: between two owners of one guest", ({ guest, tree }) => {
  tree.file("f", "x".repeat(100));
  const { fuse } = guest;
  const { nodeid, fh } = openFile(fuse);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 1n, F.WRLCK)), 0);
  const blocked = fuse.submit(OP.SETLKW, nodeid, lockBody(fh, 2n, F.WRLCK), { room: 0 });
  assert.equal(fuse.poll(blocked, 100), false);
  assert.equal(setlk(fuse, nodeid, lockBody(fh, 1n, F.UNLCK)), 0);
  assert.equal(fuse.wait(blocked).error, 0);
}, on);

served.test(
  "FUSE SETLKW: many blocked at once, then a hang-up",
  async ({ guest, tree, daemon }) => {
    const path = tree.file("f", "x".repeat(100));
    const { fuse } = guest;
    const { nodeid, fh } = openFile(fuse);
    const host = open(path, O.RDWR);
    setPosixLock(host, 1, 0, 0);
    const blocked = Array.from({ length: 8 }, (_, index) => {
      const range = { start: BigInt(index), end: BigInt(index) };
      return fuse.submit(OP.SETLKW, nodeid, lockBody(fh, BigInt(index), F.WRLCK, range), {
        room: 0,
      });
    });
    fuse.getattr(ROOT);
    assert.equal(fuse.poll(blocked[0]!, 50), false);
    guest[Symbol.dispose]();
    close(host);
    assert.ok(await daemon.isRunning());
  },
  on,
);

served.test("FUSE SETLK with flock: between handles and with the host", ({ guest, tree }) => {
  const path = tree.file("f");
  const { fuse } = guest;
  const { nodeid, fh } = openFile(fuse);
  const other = fuse.open(nodeid, O.RDWR);
  const flock = (handle: bigint, owner: bigint, type: number) =>
    setlk(fuse, nodeid, lockBody(handle, owner, type, { flags: 1 }));
  assert.equal(flock(fh, 1n, F.WRLCK), 0);
  assert.equal(flock(other, 2n, F.RDLCK), -11);
  const host = open(path, O.RDWR);
  assert.equal(tryFlock(host, LOCK.SH), -11);
  assert.equal(flock(fh, 1n, F.RDLCK), 0, "downgrade");
  assert.equal(tryFlock(host, LOCK.SH), 0);
  assert.equal(flock(other, 2n, F.RDLCK), 0);
  assert.equal(flock(other, 2n, F.WRLCK), -11);
  // FLOCK_UNLOCK at RELEASE.
  fuse.ok(OP.RELEASE, nodeid, words(fh, 0, 2, 1n), { room: 0 });
  assert.equal(tryFlock(host, LOCK.UN), 0);
  assert.equal(flock(other, 2n, F.WRLCK), 0);
  close(host);
}, on);

served.test("FUSE SETLK: nonsense is EINVAL or EBADF", ({ guest, tree }) => {
  tree.file("f");
  const { fuse } = guest;
  const { nodeid, fh } = openFile(fuse);
  assert.ok([-22].includes(setlk(fuse, nodeid, lockBody(fh, 1n, 99))));
  assert.ok([-9, -22, -116].includes(setlk(fuse, nodeid, lockBody(fh + 1000n, 1n, F.WRLCK))));
  const backwards = setlk(fuse, nodeid, lockBody(fh, 1n, F.WRLCK, { start: 10n, end: 5n }));
  assert.equal(backwards, -22);
  const beyond = { start: 1n << 63n, end: 0xffff_ffff_ffff_ffffn };
  assert.ok([-22, -75].includes(setlk(fuse, nodeid, lockBody(fh, 1n, F.WRLCK, beyond))));
  assert.ok([22, 5].includes(fuse.fails(OP.SETLK, nodeid, words(fh, 1n))));
}, on);

const without = new ServedTree();

without.test("FUSE GETLK, SETLK, SETLKW: ENOSYS when locks were not agreed on", ({ guest, tree }) => {
  tree.file("f");
  const { fuse } = guest;
  const { nodeid, fh } = openFile(fuse);
  for (const opcode of [OP.GETLK, OP.SETLK, OP.SETLKW]) {
    assert.equal(fuse.fails(opcode, nodeid, lockBody(fh, 1n, F.WRLCK)), 38);
  }
});

served.test(
  "FUSE SETLK: a program that runs on the host can be read-locked",
  async ({ guest, tree }) => {
    const path = tree.path("f");
    Deno.copyFileSync("/bin/sleep", path);
    Deno.chmodSync(path, 0o755);
    const program = new Deno.Command(path, { args: ["60"] }).spawn();
    try {
      const { fuse } = guest;
      const { nodeid } = fuse.lookup(ROOT, "f");
      const fh = fuse.open(nodeid, O.RDONLY);
      assert.equal(setlk(fuse, nodeid, lockBody(fh, 1n, F.RDLCK)), 0);
      assert.equal(setlk(fuse, nodeid, lockBody(fh, 1n, F.UNLCK)), 0);
    } finally {
      program.kill("SIGKILL");
      await program.status;
    }
  },
  on,
);

// What the host knows of locks is read in /proc, of which a sandbox leaves little.
const name = "FUSE SETLKW: owners that would wait for each other get EDEADLK";
served.test(name, waitInCircles, on);
const sandboxed = new ServedTree(["-o", "posix_lock,flock", "--sandbox", "namespace"]);
sandboxed.test(`${name}, in a sandbox`, waitInCircles, on);

function waitInCircles({ guest, tree }: Scene): void {
  tree.file("f", "x".repeat(100));
  tree.file("g", "x".repeat(100));
  const { fuse } = guest;
  const f = openFile(fuse);
  const nodeid = fuse.lookup(ROOT, "g").nodeid;
  const g = { nodeid, fh: fuse.open(nodeid, O.RDWR) };
  const wait = (file: typeof f, owner: bigint, range: Range) =>
    fuse.submit(OP.SETLKW, file.nodeid, lockBody(file.fh, owner, F.WRLCK, range), { room: 0 });
  const [low, high] = [{ start: 0n, end: 9n }, { start: 10n, end: 19n }];
  assert.equal(setlk(fuse, f.nodeid, lockBody(f.fh, 1n, F.WRLCK, low)), 0);
  assert.equal(setlk(fuse, f.nodeid, lockBody(f.fh, 2n, F.WRLCK, high)), 0);
  assert.equal(setlk(fuse, g.nodeid, lockBody(g.fh, 3n, F.WRLCK, low)), 0);
  // 1 waits for 2, 2 waits for 3 on another file; 3 must not wait for 1, which 4 may.
  const first = wait(f, 1n, high);
  const second = wait(g, 2n, low);
  assert.equal(fuse.poll(first, 20), false);
  assert.equal(fuse.poll(second, 20), false);
  const fourth = wait(f, 4n, low);
  assert.equal(fuse.wait(wait(f, 3n, low)).error, -35, "EDEADLK");
  assert.equal(fuse.poll(fourth, 20), false, "a long wait is no deadlock");
  // One way out of it: 3 lets go, and the others go on one after another.
  assert.equal(setlk(fuse, g.nodeid, lockBody(g.fh, 3n, F.UNLCK)), 0);
  assert.equal(fuse.wait(second).error, 0);
  assert.equal(setlk(fuse, f.nodeid, lockBody(f.fh, 2n, F.UNLCK)), 0);
  assert.equal(fuse.wait(first).error, 0);
  assert.equal(setlk(fuse, f.nodeid, lockBody(f.fh, 1n, F.UNLCK)), 0);
  assert.equal(fuse.wait(fourth).error, 0);
}
