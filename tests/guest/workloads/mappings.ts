/**
 * Memory-mapped files.
 *
 * @module
 */
import assert from "node:assert/strict";
import { must, mustFail } from "./expect.ts";
import * as libc from "./libc.ts";
import { isDirectIo, type Workload } from "./workload.ts";

const LENGTH = 300_000;
const { PROT_READ, PROT_WRITE, SHARED, PRIVATE } = libc.MAP;

function map(fd: number, protection: number, flags: number): libc.Mapping {
  return must(libc.mmap(fd, LENGTH, protection, flags), "mmap") as libc.Mapping;
}

/** Private mappings always; shared ones where the guest has a page cache. */
export const memoryMaps: Workload = {
  name: "mmap",
  core: true,
  run({ dir, configuration, isVirtiofs }) {
    const content = new Uint8Array(LENGTH).map((_, i) => i % 251);
    Deno.writeFileSync(`${dir}/m`, content);
    const fd = must(libc.open(`${dir}/m`, libc.O.RDWR), "open");
    const priv = map(fd, PROT_READ | PROT_WRITE, PRIVATE);
    assert.deepEqual(priv.bytes, content);
    priv.bytes[5] = 255;
    must(priv.unmap(), "munmap");
    const byte = new Uint8Array(1);
    libc.pread(fd, byte, 5);
    assert.equal(byte[0], 5, "a private mapping's write stays private");
    if (isVirtiofs && isDirectIo(configuration)) {
      const refused = libc.mmap(fd, LENGTH, PROT_READ | PROT_WRITE, SHARED);
      mustFail(refused, "ENODEV", "a shared mapping without a page cache");
      libc.close(fd);
      return { isWritten: false };
    }
    const shared = map(fd, PROT_READ | PROT_WRITE, SHARED);
    shared.bytes.fill(200, 100_000, 100_100);
    libc.pread(fd, byte, 100_050);
    assert.equal(byte[0], 200, "read(2) sees the mapping's write");
    assert.equal(libc.pwrite(fd, new Uint8Array([201]), 200_000), 1);
    assert.equal(shared.bytes[200_000], 201, "the mapping sees write(2)");
    must(shared.sync(), "msync");
    must(shared.unmap(), "munmap");
    libc.close(fd);
    return { isWritten: true };
  },
  verify({ dir }, { isWritten }) {
    const expected = new Uint8Array(LENGTH).map((_, i) => i % 251);
    if (isWritten === true) {
      expected.fill(200, 100_000, 100_100);
      expected[200_000] = 201;
    }
    assert.deepEqual(new Uint8Array(Deno.readFileSync(`${dir}/m`)), expected);
  },
};
