import { equal } from "node:assert/strict";
import { libc } from "../../src/sys/libc.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { preadv, pwritev } from "../../src/sys/vector_io.ts";

const IOVEC = 0;
const DATA = 64;
const memory = NativeMemory.allocate(4096);

function vector(size: number): Deno.PointerObject {
  memory.setU64(IOVEC, memory.address + DATA);
  memory.setU64(IOVEC + 8, size);
  return memory.pointerAt(IOVEC);
}

Deno.test("preadv() and pwritev() reach every offset, on both sides of 2^31 and 2^32", () => {
  const name = NativeMemory.allocate(4096);
  name.setCString(0, "vector-io-test");
  // A sparse file in memory.
  const fd = libc.memfd_create(name.pointerAt(0), 1);
  const offsets = [0, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 5];
  for (const [i, offset] of offsets.entries()) {
    memory.u8[DATA] = i + 1;
    equal(pwritev(fd, vector(1), 1, offset), 1);
  }
  for (const [i, offset] of offsets.entries()) {
    memory.u8[DATA] = 0;
    equal(preadv(fd, vector(1), 1, offset), 1);
    equal(memory.u8[DATA], i + 1, `offset ${offset}`);
  }
  equal(preadv(fd, vector(1), 1, 2 ** 53 - 1), 0);
  equal(preadv(-1, vector(1), 1, 0), -9);
  equal(pwritev(-1, vector(1), 1, 2 ** 33), -9);
  libc.close(fd);
});
