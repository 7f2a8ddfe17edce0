import { equal, match, ok } from "node:assert/strict";
import { VersionTable } from "../../src/guest/client/version_table.ts";
import { ShmemRegion } from "../../src/guest/frontend/shmem_region.ts";
import { libc, status } from "../../src/sys/libc.ts";

const PAGE = 4096;
const EBUSY = -16;
/** "ShredVer", layout 1, and the number of slots, as the RFC's table and ours begin. */
function header(slots: number, magic = "ShredVer", layout = 1n): Uint8Array {
  const view = new DataView(new ArrayBuffer(64));
  new Uint8Array(view.buffer).set(new TextEncoder().encode(magic));
  view.setBigUint64(8, layout, true);
  view.setBigUint64(16, BigInt(slots), true);
  return new Uint8Array(view.buffer);
}

/** A file of `size` bytes that begins so, and its descriptor while `act` runs. */
function withFile<T>(bytes: Uint8Array, size: number, act: (fd: number) => T): T {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(path, bytes);
    Deno.truncateSync(path, size);
    const fd = status(libc.open(new TextEncoder().encode(path + "\0"), 2, 0));
    try {
      return act(fd);
    } finally {
      libc.close(fd);
    }
  } finally {
    Deno.removeSync(path);
  }
}

/** What a guest makes of a region of `size` bytes in which the daemon has mapped such a file. */
function opened(bytes: Uint8Array, fileSize: number, size = fileSize, mapped = size) {
  return withFile(bytes, fileSize, (fd) => {
    using region = new ShmemRegion(size);
    equal(region.map(0, mapped, fd, 0, false), 0);
    const table = VersionTable.open(region);
    return typeof table === "string" ? table : table.slotCount;
  });
}

Deno.test("a table with a sound header has its slots, and a low word with its high word", () => {
  withFile(header(1024), 2 * PAGE, (fd) => {
    using region = new ShmemRegion(2 * PAGE);
    equal(region.map(0, 2 * PAGE, fd, 0, true), 0);
    const table = VersionTable.open(region);
    ok(typeof table !== "string");
    equal(table.slotCount, 1024);
    const words = region.bytes.i32;
    words[2 * 9] = 0x5000;
    words[2 * 9 + 1] = -2;
    ok(table.holds(9, 0x5000, -2));
    equal(table.holds(9, 0x5000, -1), false);
    equal(table.holds(9, 0x6000, -2), false);
    table.read(9);
    equal(table.low, 0x5000);
    equal(table.high, -2);
    words[2 * 9] = 0x5001;
    equal(table.holds(9, 0x5000, -2), false, "a change in progress is seen at once");
    for (const [index, isIn] of [[8, true], [1023, true]] as const) {
      equal(table.isInRange(index), isIn);
    }
    for (const index of [0, 1, 7, 1024, 2 ** 31, 2 ** 53, -1, 8.5, NaN, Infinity]) {
      equal(table.isInRange(index), false, String(index));
    }
    table.close();
    equal(table.holds(9, 0x5001, -2), false, "what is closed is not looked at");
    equal(table.isInRange(9), false);
  });
});

Deno.test("a region whose table is settled stays as it is", () => {
  withFile(header(512), PAGE, (fd) => {
    using region = new ShmemRegion(PAGE);
    equal(region.map(0, PAGE, fd, 0, false), 0);
    ok(typeof VersionTable.open(region) !== "string");
    equal(region.unmap(0, PAGE), EBUSY);
    equal(region.map(0, PAGE, fd, 0, false), EBUSY);
  });
});

Deno.test("what is no table is told apart, and never touched", () => {
  equal(opened(header(512), PAGE), 512);
  match(String(opened(header(512, "SharedVe"), PAGE)), /something else is mapped/);
  match(String(opened(new Uint8Array(64), PAGE)), /something else is mapped/);
  match(String(opened(header(512, "ShredVer", 2n), PAGE)), /layout is 2/);
  equal(opened(header(511), PAGE), 511);
  match(String(opened(header(513), PAGE)), /513 slots in 4096 bytes/);
  match(String(opened(header(512), 2 * PAGE, 2 * PAGE)), /512 slots in 8192 bytes/);
  match(String(opened(header(8), PAGE)), /8 slots in 4096 bytes/);
  match(String(opened(header(2 ** 40), PAGE)), /slots in 4096 bytes/);
  match(String(opened(header(512), 0, PAGE)), /shorter than its region/);
  match(String(opened(header(1024), PAGE, 2 * PAGE)), /shorter than its region/);
  match(String(opened(header(1024), 2 * PAGE, 2 * PAGE, PAGE)), /has not mapped it/);
  match(String(VersionTable.open(undefined)), /no region/);
  using empty = new ShmemRegion(PAGE);
  match(String(VersionTable.open(empty)), /has not mapped it/);
  using odd = new ShmemRegion(PAGE + 4);
  match(String(VersionTable.open(odd)), /cannot have 4100 bytes/);
  using small = new ShmemRegion(8);
  match(String(VersionTable.open(small)), /cannot have 8 bytes/);
});
