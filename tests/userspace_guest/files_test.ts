import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { DaemonError, Guest, GuestError } from "../../mod.ts";
import { ServedDirectory } from "./daemons.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Requests of an opcode so far. */
function requests(guest: Guest, opcode: string): number {
  return guest.traffic.find(({ name }) => name === opcode)?.requests ?? 0;
}

Deno.test("Guest: each call does on the host what it says", async () => {
  await using served = await ServedDirectory.ours("--xattr", "--cache", "auto");
  const { directory } = served;
  await using guest = await Guest.connect({ socketPath: served.socketPath });
  guest.mkdirSync("a/b/c", { recursive: true });
  ok(Deno.statSync(`${directory}/a/b/c`).isDirectory);
  guest.writeTextFileSync("/a/x", "one");
  guest.writeTextFileSync("/a/x", " two", { append: true });
  equal(Deno.readTextFileSync(`${directory}/a/x`), "one two");
  equal(guest.readTextFileSync("a/x"), "one two");
  guest.renameSync("a/x", "a/b/y");
  guest.linkSync("a/b/y", "hard");
  guest.symlinkSync("a/b/y", "soft");
  equal(guest.readLinkSync("soft"), "a/b/y");
  equal(Deno.readLinkSync(`${directory}/soft`), "a/b/y");
  equal(guest.statSync("soft").nlink, 2);
  ok(guest.lstatSync("soft").isSymlink);
  guest.truncateSync("hard", 3);
  equal(Deno.readTextFileSync(`${directory}/a/b/y`), "one");
  guest.chmodSync("hard", 0o640);
  equal(Deno.statSync(`${directory}/hard`).mode! & 0o7777, 0o640);
  guest.utimeSync("hard", 1000, new Date(2_000_500));
  equal(Deno.statSync(`${directory}/hard`).mtime!.getTime(), 2_000_500);
  guest.setXattrSync("hard", "user.colour", new TextEncoder().encode("blue"));
  deepEqual(guest.listXattrSync("hard"), ["user.colour"]);
  equal(text(guest.getXattrSync("hard", "user.colour")!), "blue");
  guest.removeXattrSync("hard", "user.colour");
  equal(guest.getXattrSync("hard", "user.colour"), null);
  deepEqual([...guest.readDirSync("/")].map(({ name }) => name).sort(), ["a", "hard", "soft"]);
  ok(guest.statFsSync().blocks > 0);
  guest.syncSync();
  guest.removeSync("a", { recursive: true });
  deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name).sort(), ["hard", "soft"]);
  ok(!guest.existsSync("soft"), "it dangles now");
});

Deno.test("GuestFile: reads, writes and seeks as a file does", async () => {
  await using served = await ServedDirectory.ours("--cache", "auto", "--flock");
  await using guest = await Guest.connect({ socketPath: served.socketPath });
  using file = guest.createSync("/f");
  equal(file.writeSync(new TextEncoder().encode("0123456789")), 10);
  equal(file.seekSync(-4, Deno.SeekMode.End), 6);
  const bytes = new Uint8Array(8);
  equal(file.readSync(bytes), 4);
  equal(text(bytes.subarray(0, 4)), "6789");
  equal(file.readSync(bytes), null);
  equal(file.writeAtSync(new TextEncoder().encode("xy"), 2), 2);
  equal(file.readAtSync(bytes, 0), 8);
  equal(text(bytes), "01xy4567");
  file.truncateSync(5);
  equal(file.statSync().size, 5);
  file.syncDataSync();
  file.syncSync();
  file.lockSync(true);
  using other = guest.openSync("/f", { write: true });
  file.unlockSync();
  other.lockSync(true);
  equal(Deno.readTextFileSync(`${served.directory}/f`), "01xy4");
});

Deno.test("errors carry the errno's name, the path and what was tried", async () => {
  await using served = await ServedDirectory.ours("--cache", "auto");
  await using guest = await Guest.connect({ socketPath: served.socketPath });
  guest.mkdirSync("/d");
  const caught = (act: () => unknown): GuestError => {
    try {
      act();
    } catch (error) {
      if (error instanceof GuestError) return error;
      throw error;
    }
    throw new Error("nothing was thrown");
  };
  const missing = caught(() => guest.openSync("/nope/x"));
  deepEqual([missing.code, missing.errno, missing.path, missing.operation], [
    "ENOENT",
    2,
    "/nope/x",
    "open",
  ]);
  equal(missing.message, 'ENOENT: No such file or directory, open "/nope/x"');
  equal(caught(() => guest.readFileSync("/d")).code, "EISDIR");
  equal(caught(() => guest.mkdirSync("/d")).code, "EEXIST");
  equal(
    caught(() => guest.openSync("/d/x", { write: true, createNew: true }) && guest.removeSync("/d"))
      .code,
    "ENOTEMPTY",
  );
  equal(caught(() => guest.readLinkSync("/d")).code, "EINVAL");
});

Deno.test("another process of the guest has another identity and the same caches", async () => {
  if (Deno.uid() !== 0) return;
  await using served = await ServedDirectory.ours("--cache", "auto");
  await using guest = await Guest.connect({ socketPath: served.socketPath });
  const alice = guest.as({ uid: 65534, gid: 65534 });
  guest.writeTextFileSync("/secret", "x", { mode: 0o600 });
  throws(() => alice.readTextFileSync("/secret"), { code: "EACCES" });
  throws(() => alice.writeTextFileSync("/new", "x"), { code: "EACCES" });
  guest.mkdirSync("/open");
  guest.chmodSync("/open", 0o777);
  alice.writeTextFileSync("/open/hers", "x");
  equal(Deno.statSync(`${served.directory}/open/hers`).uid, 65534);
});

Deno.test("names and attributes are believed as long as the daemon says", async () => {
  await using served = await ServedDirectory.ours("--cache", "always");
  Deno.writeTextFileSync(`${served.directory}/x`, "1");
  await using guest = await Guest.connect({ socketPath: served.socketPath });
  for (let i = 0; i < 10; i++) guest.statSync("/x");
  equal(requests(guest, "LOOKUP"), 1);
  equal(requests(guest, "GETATTR"), 0, "LOOKUP brought them");
  throws(() => guest.statSync("/absent"), { code: "ENOENT" });
  const before = requests(guest, "LOOKUP");
  throws(() => guest.statSync("/absent"), { code: "ENOENT" });
  equal(requests(guest, "LOOKUP"), before, "a missing name is remembered, too");
  guest.writeTextFileSync("/absent", "here");
  equal(guest.readTextFileSync("/absent"), "here");
});

Deno.test("a guest without caches asks every time and sees the host's changes at once", async () => {
  await using served = await ServedDirectory.ours("--cache", "always");
  const path = `${served.directory}/x`;
  Deno.writeTextFileSync(path, "old");
  await using guest = await Guest.connect({ socketPath: served.socketPath, cache: "none" });
  using file = guest.openSync("/x");
  equal(text(file.readAllSync()), "old");
  Deno.writeTextFileSync(path, "newer");
  equal(guest.statSync("/x").size, 5);
  file.seekSync(0, Deno.SeekMode.Start);
  equal(text(file.readAllSync()), "newer");
  Deno.removeSync(path);
  ok(!guest.existsSync("/x"));
});

Deno.test("close-to-open: what the host wrote before an open is read after it", async () => {
  await using served = await ServedDirectory.ours("--cache", "auto", "--timeout", "0");
  const path = `${served.directory}/x`;
  Deno.writeTextFileSync(path, "first");
  await using guest = await Guest.connect({ socketPath: served.socketPath });
  equal(guest.readTextFileSync("/x"), "first");
  // The same length: only the time differs.
  Deno.writeTextFileSync(path, "other");
  equal(guest.readTextFileSync("/x"), "other");
});

Deno.test("write-back: the host sees written data after close and after fsync", async () => {
  await using served = await ServedDirectory.ours("--cache", "auto", "--writeback");
  const path = `${served.directory}/x`;
  await using guest = await Guest.connect({ socketPath: served.socketPath });
  {
    using file = guest.createSync("/x");
    for (let i = 0; i < 100; i++) file.writeSync(new TextEncoder().encode("0123456789"));
    equal(requests(guest, "WRITE"), 0, "nothing was sent yet");
    equal(file.statSync().size, 1000);
    file.syncSync();
    equal(Deno.statSync(path).size, 1000);
    equal(requests(guest, "WRITE"), 1, "in one piece");
    file.writeSync(new TextEncoder().encode("tail"));
  }
  equal(Deno.readTextFileSync(path), "0123456789".repeat(100) + "tail");
});

Deno.test("the inode budget holds: forgotten inodes are given back to the daemon", async () => {
  await using served = await ServedDirectory.ours(
    "--cache",
    "always",
    "--inode-file-handles=never",
  );
  const count = 600;
  for (let i = 0; i < count; i++) Deno.writeTextFileSync(`${served.directory}/${i}`, "");
  const fdCount = () => [...Deno.readDirSync(`/proc/${served.pid}/fd`)].length;
  const before = fdCount();
  await using guest = await Guest.connect({ socketPath: served.socketPath, inodeCountMax: 100 });
  for (let i = 0; i < count; i++) guest.statSync(`/${i}`);
  // The last of them may be on their way: a request behind them on another queue says nothing of that, so look until it is so.
  const deadline = Date.now() + 10_000;
  while (fdCount() > before + 130 && Date.now() < deadline) guest.statFsSync();
  ok(fdCount() <= before + 130, `${fdCount() - before} descriptors for a budget of 100`);
  ok(requests(guest, "FORGET") >= count - 110);
  // And they can be used again.
  for (let i = 0; i < count; i++) equal(guest.statSync(`/${i}`).size, 0);
});

Deno.test("a directory that is open or stood in is not forgotten", async () => {
  await using served = await ServedDirectory.ours("--cache", "always");
  for (let i = 0; i < 300; i++) Deno.writeTextFileSync(`${served.directory}/${i}`, `${i}`);
  await using guest = await Guest.connect({ socketPath: served.socketPath, inodeCountMax: 20 });
  const files = [0, 1, 2, 3].map((i) => guest.openSync(`/${i}`));
  for (let i = 0; i < 300; i++) guest.statSync(`/${i}`);
  files.forEach((file, i) => {
    equal(text(file.readAllSync()), `${i}`);
    file.close();
  });
});

Deno.test("many small files, names that are not UTF-8, and a directory of thousands", async () => {
  await using served = await ServedDirectory.ours("--cache", "auto");
  await using guest = await Guest.connect({ socketPath: served.socketPath });
  for (let i = 0; i < 3000; i++) guest.writeTextFileSync(`/f${i}`, `${i}`);
  equal([...guest.readDirSync("/")].length, 3000);
  for (let i = 0; i < 3000; i += 100) {
    equal(Deno.readTextFileSync(`${served.directory}/f${i}`), `${i}`);
  }
});

Deno.test("connecting to nobody is one clear error", async () => {
  await rejects(Guest.connect({ socketPath: "/nowhere/daemon.sock" }), (error) => {
    return error instanceof DaemonError &&
      error.message.includes('"/nowhere/daemon.sock": there is no such socket');
  });
  await rejects(Guest.connect({ socketPath: `/tmp/${"x".repeat(200)}` }), /too long/);
});

Deno.test("a guest that comes and goes leaves nothing behind", async () => {
  await using served = await ServedDirectory.ours("--cache", "auto");
  const own = () => [...Deno.readDirSync("/proc/self/fd")].length;
  const mapped = () =>
    Deno.readTextFileSync("/proc/self/maps").split("\n")
      .filter((line) => line.includes("virtiofsd-ts-guest-memory")).length;
  const visit = async () => {
    await using guest = await Guest.connect({ socketPath: served.socketPath });
    guest.writeTextFileSync("/x", "x");
  };
  await visit();
  const before = own();
  for (let i = 0; i < 5; i++) await visit();
  equal(own(), before);
  equal(mapped(), 0);
});

Deno.test("several request queues carry one guest's requests", async () => {
  await using served = await ServedDirectory.ours(
    "--cache",
    "auto",
    "--tag",
    "four",
    "--num-request-queues",
    "4",
  );
  await using guest = await Guest.connect({
    socketPath: served.socketPath,
    queueCount: 4,
    cache: "none",
  });
  equal(guest.requestQueueCount, 4);
  equal(guest.tag, "four");
  const bytes = crypto.getRandomValues(new Uint8Array(50_000));
  const big = new Uint8Array(5_000_000);
  for (let at = 0; at < big.length; at += bytes.length) big.set(bytes, at);
  for (let i = 0; i < 20; i++) guest.writeFileSync(`/f${i}`, big.subarray(0, 1000 * i * i));
  guest.writeFileSync("/big", big);
  for (let i = 0; i < 20; i++) {
    deepEqual(guest.readFileSync(`/f${i}`), big.slice(0, 1000 * i * i));
  }
  deepEqual(guest.readFileSync("/big"), big);
  deepEqual(Deno.readFileSync(`${served.directory}/big`), big);
});

Deno.test("watching the rings before sleeping changes nothing but the waiting", async () => {
  await using served = await ServedDirectory.ours("--cache", "auto", "--poll-us", "20");
  await using guest = await Guest.connect({ socketPath: served.socketPath, pollMicroseconds: 20 });
  for (let i = 0; i < 200; i++) guest.writeTextFileSync(`/${i}`, `${i}`);
  for (let i = 0; i < 200; i++) equal(guest.readTextFileSync(`/${i}`), `${i}`);
});
