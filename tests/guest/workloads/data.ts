/**
 * File contents: big, sparse, preallocated, truncated, copied, past the page cache.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { must, mustFail } from "./expect.ts";
import * as libc from "./libc.ts";
import { type GuestSide, kernelAtLeast, type Workload } from "./workload.ts";

const MIB = 1024 * 1024;

/** A megabyte that no other megabyte of the file equals. */
function fillChunk(chunk: Uint8Array<ArrayBuffer>, number: number): void {
  const words = new Uint32Array(chunk.buffer);
  let state = (number + 1) * 0x9e3779b1 >>> 0;
  // Every 64th word is enough to make a misplaced page show; filling all would cost more than the I/O.
  for (let i = 0; i < words.length; i += 64) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = state;
  }
  // No page may stay untouched: it would be the kernel's page of zeros, which User Mode Linux keeps outside the
  // memory that it shares with devices, and a write past the page cache would send its address.
  words[words.length - 1] = state;
}

function dropCaches(): void {
  try {
    Deno.writeTextFileSync("/proc/sys/vm/drop_caches", "3");
  } catch {
    // Without it the second read may come from the page cache: less is tested, nothing wrongly passes.
  }
}

function checksum(path: string): string {
  const hash = createHash("sha256");
  const chunk = new Uint8Array(MIB);
  using file = Deno.openSync(path);
  for (;;) {
    const length = file.readSync(chunk);
    if (length === null) return hash.digest("hex");
    hash.update(chunk.subarray(0, length));
  }
}

/** One big file written through, read back, and read by the host: the same bytes each time. */
export const bigFile: Workload = {
  name: "big-file",
  core: true,
  run({ dir, bigFileBytes }) {
    const hash = createHash("sha256");
    const chunk = new Uint8Array(MIB);
    {
      using file = Deno.createSync(`${dir}/big`);
      for (let number = 0; number < bigFileBytes / MIB; number++) {
        fillChunk(chunk, number);
        hash.update(chunk);
        for (let at = 0; at < MIB;) at += file.writeSync(chunk.subarray(at));
      }
      file.syncSync();
    }
    const written = hash.digest("hex");
    dropCaches();
    assert.equal(Deno.statSync(`${dir}/big`).size, bigFileBytes);
    assert.equal(checksum(`${dir}/big`), written);
    return { written, bigFileBytes };
  },
  verify({ dir }, { written, bigFileBytes }) {
    assert.equal(Deno.statSync(`${dir}/big`).size, bigFileBytes);
    assert.equal(checksum(`${dir}/big`), written);
  },
};

/** The data ranges of a file as SEEK_DATA and SEEK_HOLE tell them. */
function dataRanges(path: string): [number, number][] {
  const fd = must(libc.open(path, libc.O.RDONLY), "open");
  const ranges: [number, number][] = [];
  for (let at = 0;;) {
    const start = libc.lseek(fd, at, libc.SEEK.DATA);
    if (start === -libc.ERRNO.ENXIO) break;
    at = must(libc.lseek(fd, must(start, "SEEK_DATA"), libc.SEEK.HOLE), "SEEK_HOLE");
    ranges.push([start, at]);
  }
  libc.close(fd);
  return ranges;
}

/** Holes stay holes, are told by SEEK_HOLE, and read as zeros. */
export const sparse: Workload = {
  name: "sparse",
  core: true,
  run({ dir, isVirtiofs, configuration }) {
    const path = `${dir}/sparse`;
    const fd = must(libc.open(path, libc.O.RDWR | libc.O.CREAT, 0o644), "create");
    const data = new Uint8Array(65536).fill(7);
    for (const at of [MIB, 10 * MIB]) assert.equal(libc.pwrite(fd, data, at), data.length);
    must(libc.ftruncate(fd, 64 * MIB), "ftruncate");
    must(libc.fsync(fd), "fsync");
    const zeros = new Uint8Array(4096).fill(1);
    assert.equal(libc.pread(fd, zeros, 5 * MIB), 4096);
    assert.ok(zeros.every((byte) => byte === 0), "a hole reads as zeros");
    libc.close(fd);
    const found = must(libc.statx(path), "statx");
    assert.equal(found.size, 64 * MIB);
    assert.ok(found.blocks * 512 < 2 * MIB, `${found.blocks} blocks for 128 KiB`);
    if (!isVirtiofs) return {};
    const ranges = dataRanges(path);
    if (configuration.writeback) {
      // What is a hole nobody can say who does not have the data held back.
      assert.deepEqual(ranges, [[0, 64 * MIB]]);
      return {};
    }
    assert.deepEqual(ranges, [[MIB, MIB + 65536], [10 * MIB, 10 * MIB + 65536]]);
    return { ranges };
  },
  verify({ dir }, { ranges }) {
    const found = must(libc.statx(`${dir}/sparse`), "statx");
    assert.equal(found.size, 64 * MIB);
    assert.ok(found.blocks * 512 < 2 * MIB, `${found.blocks} blocks on the host`);
    if (ranges !== undefined) assert.deepEqual(dataRanges(`${dir}/sparse`), ranges);
  },
};

/** Data that was just written is data for SEEK_DATA too, wherever it is held: cp and tar believe it. */
export const freshData: Workload = {
  name: "fresh-data",
  core: true,
  run({ dir }) {
    const fd = must(libc.open(`${dir}/fresh`, libc.O.RDWR | libc.O.CREAT, 0o644), "create");
    const data = new Uint8Array(65536).fill(7);
    for (const at of [0, MIB]) {
      assert.equal(libc.pwrite(fd, data, at), data.length);
      assert.equal(libc.lseek(fd, at + 100, libc.SEEK.DATA), at + 100);
    }
    libc.close(fd);
  },
};

/** fallocate(2) in its modes. */
export const preallocate: Workload = {
  name: "fallocate",
  core: true,
  notFor: () => null,
  run({ dir, isVirtiofs }) {
    if (!isVirtiofs) return;
    const fd = must(libc.open(`${dir}/f`, libc.O.RDWR | libc.O.CREAT, 0o644), "create");
    const size = () => must(libc.fstatx(fd), "fstat").size;
    must(libc.fallocate(fd, 0, 0, MIB), "mode 0");
    assert.equal(size(), MIB);
    must(libc.fallocate(fd, libc.FALLOC.KEEP_SIZE, MIB, MIB), "KEEP_SIZE");
    assert.equal(size(), MIB);
    assert.equal(libc.pwrite(fd, new Uint8Array(MIB).fill(5), 0), MIB);
    const punch = libc.FALLOC.PUNCH_HOLE | libc.FALLOC.KEEP_SIZE;
    must(libc.fallocate(fd, punch, 8192, 65536), "PUNCH_HOLE");
    must(libc.fallocate(fd, libc.FALLOC.ZERO_RANGE, 200_000, 1000), "ZERO_RANGE");
    const bytes = new Uint8Array(MIB);
    assert.equal(libc.pread(fd, bytes, 0), MIB);
    assert.deepEqual(zeroRanges(bytes), [[8192, 8192 + 65536], [200_000, 201_000]]);
    mustFail(
      libc.fallocate(fd, libc.FALLOC.COLLAPSE_RANGE, 0, 4096),
      "EOPNOTSUPP",
      "COLLAPSE_RANGE",
    );
    mustFail(libc.fallocate(fd, 0, 0, 0), "EINVAL", "length 0");
    assert.equal(size(), MIB);
    libc.close(fd);
  },
  verify({ dir }) {
    assert.deepEqual(zeroRanges(Deno.readFileSync(`${dir}/f`)), [[8192, 73728], [
      200_000,
      201_000,
    ]]);
  },
};

function zeroRanges(bytes: Uint8Array): [number, number][] {
  const ranges: [number, number][] = [];
  for (let at = bytes.indexOf(0); at >= 0; at = bytes.indexOf(0, at)) {
    const start = at;
    while (at < bytes.length && bytes[at] === 0) at++;
    ranges.push([start, at]);
  }
  return ranges;
}

/** Truncation, extension, O_TRUNC, and overwriting in the middle of pages. */
export const truncate: Workload = {
  name: "truncate",
  core: true,
  run({ dir }) {
    const path = `${dir}/t`;
    const fd = must(libc.open(path, libc.O.RDWR | libc.O.CREAT, 0o644), "create");
    const model = new Uint8Array(40_000);
    const write = (at: number, length: number, value: number) => {
      model.fill(value, at, at + length);
      assert.equal(libc.pwrite(fd, new Uint8Array(length).fill(value), at), length);
    };
    write(0, 10_000, 1);
    write(4090, 12, 2);
    must(libc.ftruncate(fd, 5000), "shrink");
    model.fill(0, 5000);
    must(libc.ftruncate(fd, 30_000), "extend");
    write(29_999, 10_001, 3);
    const bytes = new Uint8Array(50_000);
    assert.equal(libc.pread(fd, bytes, 0), 40_000);
    assert.deepEqual(bytes.subarray(0, 40_000), model);
    libc.close(fd);
    Deno.writeTextFileSync(`${dir}/again`, "long content");
    Deno.writeTextFileSync(`${dir}/again`, "short");
    assert.equal(Deno.readTextFileSync(`${dir}/again`), "short");
    // A file opened for writing only is written in the middle of a page all the same.
    const writer = must(libc.open(`${dir}/again`, libc.O.WRONLY), "open");
    assert.equal(libc.pwrite(writer, new TextEncoder().encode("ORE"), 2), 3);
    libc.close(writer);
    assert.equal(Deno.readTextFileSync(`${dir}/again`), "shORE");
    return { sum: [...model].reduce((sum, byte, at) => (sum + byte * (at + 1)) % 1_000_003, 0) };
  },
  verify({ dir }, { sum }) {
    const bytes = Deno.readFileSync(`${dir}/t`);
    assert.equal(bytes.length, 40_000);
    assert.equal(
      [...bytes].reduce((total, byte, at) => (total + byte * (at + 1)) % 1_000_003, 0),
      sum,
    );
    assert.equal(Deno.readTextFileSync(`${dir}/again`), "shORE");
  },
};

/** copy_file_range(2), within a file and between files. */
export const copyRange: Workload = {
  name: "copy-range",
  core: false,
  run({ dir }) {
    const source = new Uint8Array(3 * MIB).map((_, i) => (i >> 8) & 0xff);
    Deno.writeFileSync(`${dir}/source`, source);
    const from = must(libc.open(`${dir}/source`, libc.O.RDONLY), "open");
    const to = must(libc.open(`${dir}/target`, libc.O.RDWR | libc.O.CREAT, 0o644), "create");
    for (let done = 0; done < 2 * MIB;) {
      const length = libc.copyFileRange(from, 1000 + done, to, 500 + done, 2 * MIB - done);
      done += must(length, "copy_file_range");
      assert.ok(length > 0, "copy_file_range came to a stop");
    }
    const copied = Deno.readFileSync(`${dir}/target`);
    assert.equal(copied.length, 2 * MIB + 500);
    assert.deepEqual(copied.subarray(500), source.subarray(1000, 1000 + 2 * MIB));
    libc.close(from);
    libc.close(to);
  },
  verify({ dir }) {
    const source = Deno.readFileSync(`${dir}/source`);
    const target = Deno.readFileSync(`${dir}/target`);
    assert.deepEqual(target.subarray(500), source.subarray(1000, 1000 + 2 * MIB));
  },
};

/** O_DIRECT in the guest: aligned reads and writes past its page cache. */
export const directIo: Workload = {
  name: "direct-io",
  core: false,
  run(guest: GuestSide) {
    if (!guest.isVirtiofs) return;
    const path = `${guest.dir}/direct`;
    const fd = must(libc.open(path, libc.O.RDWR | libc.O.CREAT | libc.O.DIRECT, 0o644), "O_DIRECT");
    const block = alignedBytes(65536);
    block.fill(9);
    assert.equal(libc.pwrite(fd, block, 0), 65536);
    block.fill(0);
    assert.equal(libc.pread(fd, block, 0), 65536);
    assert.ok(block.every((byte) => byte === 9));
    assert.equal(libc.pread(fd, block, 65536), 0);
    libc.close(fd);
    assert.equal(kernelAtLeast(guest, 5, 0), true);
  },
  verify({ dir }) {
    assert.ok(Deno.readFileSync(`${dir}/direct`).every((byte) => byte === 9));
  },
};

function alignedBytes(length: number): Uint8Array<ArrayBuffer> {
  const buffer = new ArrayBuffer(length + 4096);
  const address = Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer)));
  return new Uint8Array(buffer, (4096 - address % 4096) % 4096, length);
}
