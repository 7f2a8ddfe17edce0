import { equal, throws } from "node:assert/strict";
import fc from "fast-check";
import { OwnedFd } from "../../src/sys/fd.ts";
import { errnoName } from "../../src/sys/errno.ts";
import { libc, status } from "../../src/sys/libc.ts";
import { Mapping } from "../../src/sys/mapping.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { property } from "../virtqueue/property.ts";

const memory = NativeMemory.allocate(8192);

property(
  "NativeMemory keeps 64-bit numbers exactly, in little-endian order",
  import.meta.url,
  fc.tuple(fc.maxSafeNat(), fc.nat(1000)),
  ([value, offset]) => {
    memory.setU64(offset, value);
    equal(memory.u64(offset), value);
    equal(memory.view.getBigUint64(offset, true), BigInt(value));
  },
);

Deno.test("NativeMemory.u64() above 2^53 is larger than any offset, if not exact", () => {
  memory.u8.fill(0xff, 0, 8);
  equal(memory.u64(0) > Number.MAX_SAFE_INTEGER, true);
});

Deno.test("NativeMemory.pointerAt() is made once, and only inside", () => {
  equal(memory.pointerAt(5), memory.pointerAt(5));
  equal(Number(Deno.UnsafePointer.value(memory.pointerAt(5))), memory.address + 5);
  throws(() => memory.pointerAt(8192), /offset/);
  throws(() => memory.pointerAt(-1), /offset/);
});

Deno.test("status() is the errno of this thread's last failing call", () => {
  equal(errnoName(status(libc.close(-1))), "EBADF");
  equal(errnoName(status(libc.fsync(1_000_000))), "EBADF");
  equal(status(7), 7);
  equal(errnoName(-95), "EOPNOTSUPP");
  equal(errnoName(9999), "errno 9999");
});

Deno.test("OwnedFd closes once, and its number is not to be had afterwards", () => {
  const fd = new OwnedFd(libc.eventfd(0, 0));
  const { number } = fd;
  fd.close();
  // The same number, somebody else's now: a second close must leave it alone.
  const other = libc.eventfd(0, 0);
  equal(other, number);
  fd.close();
  fd[Symbol.dispose]();
  equal(libc.fcntl(other, 1, null) >= 0, true);
  equal(fd.closed, true);
  throws(() => fd.number, /before it is closed/);
  const released = new OwnedFd(other);
  equal(released.release(), other);
  released.close();
  equal(libc.close(other), 0);
});

Deno.test("Mapping: two mappings of one file see each other; none outlives its memory", () => {
  const name = NativeMemory.allocate(4096);
  name.setCString(0, "mapping-test");
  const fd = libc.memfd_create(name.pointerAt(0), 1);
  equal(libc.ftruncate(fd, 8192n), 0);
  const first = new Mapping(fd, 0, 8192);
  const second = new Mapping(fd, 4096, 4096);
  first.memory.u8[4097] = 9;
  equal(second.memory.u8[1], 9);
  second.unmap();
  second.unmap();
  equal(second.mapped, false);
  throws(() => second.memory, /while mapped/);
  first.unmap();
  libc.close(fd);
  throws(() => new Mapping(fd, 0, 4096), /mmap failed with EBADF/);
});
