import { equal, ok, rejects } from "node:assert/strict";
import { DaemonError } from "../../mod.ts";
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, O_RDWR } from "../../src/wire/linux.ts";
import { pattern, requests, same, ServedWindow } from "./served_window.ts";

const MIB = 1024 * 1024;
const ALWAYS = ["--dax", "always", "--dax-window", "16M"];

Deno.test("DAX: a file four times the window comes out whole, twice", async () => {
  await using share = new ServedWindow("--dax", "always", "--dax-window", "8M");
  const bytes = pattern(32 * MIB);
  Deno.writeFileSync(share.at("big"), bytes);
  const guest = await share.guest();
  for (let i = 0; i < 2; i++) ok(same(guest.readFileSync("/big"), bytes));
  equal(requests(guest, "READ"), 0);
  ok(guest.dax!.maps > 20);
  equal(guest.dax!.ranges, 4);
  equal(guest.dax!.fallbacks, 0);
});

Deno.test("DAX: files of all sizes are read and written as they are", async () => {
  await using share = new ServedWindow(...ALWAYS);
  const guest = await share.guest();
  for (
    const size of [1, 4095, 4096, 4097, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 5_000_000]
  ) {
    const bytes = pattern(size);
    const name = `x${size}`;
    Deno.writeFileSync(share.at(name), bytes);
    ok(same(guest.readFileSync(name), bytes), `${size} read`);
    using file = guest.openSync(name, { read: true, write: true });
    const other = pattern(size, 99);
    const before = requests(guest, "WRITE");
    file.writeAllSync(other);
    equal(requests(guest, "WRITE"), before, "nothing goes over the ring");
    ok(same(Deno.readFileSync(share.at(name)), other), `${size} written`);
    const end = new Uint8Array(10);
    equal(file.readAtSync(end, size), null, "nothing behind the end");
    equal(file.readAtSync(end, size - 1), 1);
    guest.writeFileSync("/y", bytes);
    ok(same(Deno.readFileSync(share.at("y")), bytes), `${size} made`);
    ok(same(guest.readFileSync("/y"), bytes), `${size} made and read`);
    guest.removeSync("/y");
  }
});

Deno.test("DAX: what two guests and the host write is there at once for the others", async () => {
  await using share = new ServedWindow(...ALWAYS);
  Deno.writeFileSync(share.at("f"), pattern(3 * MIB));
  const [one, two] = [await share.guest(), await share.guest()];
  using a = one.openSync("/f", { read: true, write: true });
  using b = two.openSync("/f", { read: true, write: true });
  using va = a.viewSync(2 * MIB, 8192, { write: true });
  using vb = b.viewSync(2 * MIB, 8192, { write: true });
  const byte = new Uint8Array(1);
  for (let i = 0; i < 500; i++) {
    const at = (i * 97) % 8192;
    va.bytes[at] = i;
    equal(vb.bytes[at], i & 255);
    vb.bytes[at] = i + 1;
    equal(va.bytes[at], (i + 1) & 255);
    equal(b.writeAtSync(new Uint8Array([i + 2]), 2 * MIB + at), 1);
    equal(va.bytes[at], (i + 2) & 255);
    equal(a.readAtSync(byte, 2 * MIB + at), 1);
    equal(byte[0], (i + 2) & 255);
  }
  using host = Deno.openSync(share.at("f"), { read: true, write: true });
  host.seekSync(2 * MIB + 5, Deno.SeekMode.Start);
  host.writeSync(new Uint8Array([201]));
  equal(va.bytes[5], 201);
  vb.bytes[6] = 202;
  host.seekSync(2 * MIB + 6, Deno.SeekMode.Start);
  host.readSync(byte);
  equal(byte[0], 202);
  // A process of the host that maps the file, too.
  const script = `
    import { libc } from ${JSON.stringify(import.meta.resolve("../../src/sys/libc.ts"))};
    import { Mapping } from ${JSON.stringify(import.meta.resolve("../../src/sys/mapping.ts"))};
    const path = new TextEncoder().encode(${JSON.stringify(share.at("f") + "\0")});
    const memory = new Mapping(libc.open(path, 2, 0), 0, ${3 * MIB}).memory;
    while (memory.u8[${
    2 * MIB + 7
  }] !== 203) await new Promise((resolve) => setTimeout(resolve, 1));
    memory.u8[${2 * MIB + 8}] = 204;`;
  const other = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `data:application/typescript,${encodeURIComponent(script)}`],
  }).spawn();
  va.bytes[7] = 203;
  equal((await other.status).success, true);
  equal(va.bytes[8], 204);
  equal(vb.bytes[8], 204);
});

Deno.test("DAX: appending, truncating and holes do what they do in a local file", async () => {
  await using share = new ServedWindow(...ALWAYS);
  Deno.writeFileSync(share.at("f"), pattern(3 * MIB));
  const model = new Uint8Array(8 * MIB);
  model.set(pattern(3 * MIB));
  let size = 3 * MIB;
  const calls = await share.calls({ dax: "always" });
  const fd = calls.open("f", O_RDWR);
  const agrees = (what: string) => {
    const into = new Uint8Array(size + 100);
    equal(calls.pread(fd, into, 0), size, what);
    ok(same(into.subarray(0, size), model.subarray(0, size)), what);
    ok(same(Deno.readFileSync(share.at("f")), model.subarray(0, size)), `${what}: on the host`);
  };
  agrees("at first");
  // Over the end: it goes as WRITE.
  const tail = pattern(10_000, 5);
  equal(calls.pwrite(fd, tail, size - 5000), 10_000);
  model.set(tail, size - 5000);
  size += 5000;
  agrees("written over the end");
  equal(calls.ftruncate(fd, MIB + 77), 0);
  model.fill(0, MIB + 77);
  size = MIB + 77;
  agrees("shorter");
  equal(calls.ftruncate(fd, 4 * MIB), 0);
  size = 4 * MIB;
  agrees("longer");
  const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  equal(calls.pwrite(fd, pattern(size, 3), 0), size);
  model.set(pattern(size, 3));
  equal(calls.fallocate(fd, mode, 100_000, 2_500_000), 0);
  model.fill(0, 100_000, 2_600_000);
  agrees("with a hole");
  equal(calls.fallocate(fd, 0, 4 * MIB, 1000), 0);
  size += 1000;
  agrees("allocated");
  Deno.writeFileSync(share.at("g"), new Uint8Array(3 * MIB));
  const to = calls.open("g", O_RDWR);
  const into = new Uint8Array(3 * MIB);
  equal(calls.pread(to, into, 0), 3 * MIB);
  equal(calls.copyFileRange(fd, 3 * MIB, to, 4097, 1_000_000), 1_000_000);
  equal(calls.pread(to, into, 0), 3 * MIB);
  ok(same(into.subarray(4097, 1_004_097), model.subarray(3 * MIB, 3 * MIB + 1_000_000)));
  equal(into[4096], 0);
  equal(into[1_004_097], 0);
  equal(calls.volume.dax!.fallbacks, 0);
});

Deno.test("DAX: times follow what is written, and another guest's size is not overwritten", async () => {
  await using share = new ServedWindow(...ALWAYS);
  Deno.writeFileSync(share.at("f"), pattern(MIB));
  Deno.utimeSync(share.at("f"), 1000, 1000);
  const [one, two] = [await share.guest({ cache: "none" }), await share.guest({ cache: "none" })];
  using a = one.openSync("/f", { read: true, write: true });
  const start = Date.now();
  for (let i = 0; i < 3; i++) {
    a.writeAtSync(pattern(10), 0);
    ok(a.statSync().mtime!.getTime() >= start, `after ${i + 1} writes`);
  }
  two.writeFileSync("/f", new Uint8Array(5), { append: true });
  equal(a.statSync().size, MIB + 5);
  a.syncSync();
  equal(Deno.statSync(share.at("f")).size, MIB + 5);
  a.writeAtSync(pattern(10), 0);
  a.close();
  equal(Deno.statSync(share.at("f")).size, MIB + 5);
  ok(Deno.statSync(share.at("f")).mtime!.getTime() >= start);
});

Deno.test("DAX: files that the host cuts short and lengthens are read without a crash or a foreign byte", async () => {
  await using share = new ServedWindow(...ALWAYS);
  const full = pattern(5 * MIB);
  Deno.writeFileSync(share.at("f"), full);
  const guest = await share.guest({ cache: "none" });
  using file = guest.openSync("/f", { read: true, write: true });
  const into = new Uint8Array(5 * MIB);
  equal(file.readAtSync(into, 0), 5 * MIB);
  Deno.truncateSync(share.at("f"), 2 * MIB + 10);
  equal(file.readAtSync(into, 0), 2 * MIB + 10);
  equal(file.readAtSync(into, 3 * MIB), null);
  Deno.writeFileSync(share.at("f"), full);
  equal(file.readAtSync(into, 0), 5 * MIB);
  ok(same(into, full));
  // By another process, while it is read and written.
  const script = `const full = Deno.readFileSync(${JSON.stringify(share.at("full"))});
    const file = Deno.openSync(${JSON.stringify(share.at("f"))}, { read: true, write: true });
    console.log("here");
    for (let i = 0; i < 120; i++) {
      file.truncateSync((i * 700_001) % ${5 * MIB});
      file.seekSync(0, 0);
      for (let done = 0; done < full.length;) done += file.writeSync(full.subarray(done));
    }`;
  Deno.writeFileSync(share.at("full"), full);
  const other = new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = other.stdout.getReader();
  await reader.read();
  let ended = false;
  const status = other.status.then((result) => {
    ended = true;
    return result;
  });
  let short = 0;
  for (let i = 0; !ended; i++) {
    const count = file.readAtSync(into, 0) ?? 0;
    if (count < full.length) short++;
    // Between truncating and writing a page is zeros; nothing else is ever there.
    for (let k = 0; k < count; k += 511) {
      if (into[k] !== full[k] && into[k] !== 0) throw new Error(`a foreign byte at ${k}`);
    }
    const at = (i * 65_537) % (5 * MIB - 4096);
    file.writeAtSync(full.subarray(at, at + 4096), at);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  equal((await status).success, true);
  await reader.cancel();
  ok(short > 0, "it was met while short");
  ok(same(guest.readFileSync("/f"), full));
});

Deno.test("DAX: inode maps what the daemon marks, never nothing, always needs a window", async () => {
  await using share = new ServedWindow("--dax", "auto", "--dax-window", "8M");
  Deno.writeFileSync(share.at("large"), pattern(4 * MIB));
  Deno.writeFileSync(share.at("small"), pattern(1000));
  const inode = await share.guest();
  ok(same(inode.readFileSync("/large"), pattern(4 * MIB)));
  const { maps } = inode.dax!;
  ok(maps > 0);
  ok(same(inode.readFileSync("/small"), pattern(1000)));
  equal(inode.dax!.maps, maps, "auto leaves small files out");
  const never = await share.guest({ dax: "never" });
  ok(same(never.readFileSync("/large"), pattern(4 * MIB)));
  equal(never.dax, null);
  await using none = new ServedWindow("--dax", "never");
  const guest = await none.guest();
  equal(guest.dax, null);
  await rejects(none.guest({ dax: "always" }), (error) => {
    return error instanceof DaemonError && error.message.includes("no window");
  });
});

Deno.test("DAX: files that are read at random in a small window are demoted while they are open", async () => {
  await using share = new ServedWindow("--dax", "auto", "--dax-window", "8M");
  const contents = [1, 2, 3, 4, 5, 6].map((seed) => pattern(8 * MIB, seed));
  contents.forEach((bytes, i) => Deno.writeFileSync(share.at(`f${i}`), bytes));
  const guest = await share.guest();
  const files = contents.map((_, i) => guest.openSync(`/f${i}`));
  const into = new Uint8Array(4096);
  let seed = 7;
  for (let i = 0; i < 8000; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const which = (seed >>> 4) % files.length;
    const at = (seed >>> 8) % (8 * MIB - 4096);
    equal(files[which]!.readAtSync(into, at), 4096);
    ok(same(into, contents[which]!.subarray(at, at + 4096)));
  }
  const { maps } = guest.dax!;
  ok(maps > 100, "they were mapped at first");
  ok(maps < 2000, `${maps} mappings for 8000 reads`);
  for (const file of files) file.close();
});

Deno.test("DAX: auto leaves a file out that is larger than the window", async () => {
  await using share = new ServedWindow("--dax", "auto", "--dax-window", "8M");
  const bytes = pattern(32 * MIB);
  Deno.writeFileSync(share.at("f"), bytes);
  const guest = await share.guest();
  for (let i = 0; i < 2; i++) ok(same(guest.readFileSync("/f"), bytes));
  equal(guest.dax!.maps, 0);
});

Deno.test("DAX: mappings of evicted inodes are removed", async () => {
  await using share = new ServedWindow("--dax", "always", "--dax-window", "64M");
  for (let i = 0; i < 30; i++) Deno.writeFileSync(share.at(`f${i}`), pattern(100, i));
  const guest = await share.guest({ inodeCountMax: 10 });
  for (let i = 0; i < 30; i++) ok(same(guest.readFileSync(`/f${i}`), pattern(100, i)));
  ok(guest.dax!.busy <= 11, `${guest.dax!.busy} of 30 files are mapped`);
});
