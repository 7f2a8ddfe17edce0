import { equal, match, throws } from "node:assert/strict";
import { MappedRegion, regionConflict } from "../../src/memory/region.ts";
import { libc } from "../../src/sys/libc.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";

const MIB = 1024 * 1024;

function memfd(size: number): number {
  const name = NativeMemory.allocate(4096);
  name.setCString(0, "region-test");
  const fd = libc.memfd_create(name.pointerAt(0), 1);
  equal(libc.ftruncate(fd, BigInt(size)), 0);
  return fd;
}

Deno.test("MappedRegion.map() shows the file from an offset that is no page's", () => {
  const fd = memfd(MIB);
  const whole = MappedRegion.map(fd, { guestAddress: 0, userAddress: 0, size: MIB, mmapOffset: 0 });
  const part = MappedRegion.map(fd, {
    guestAddress: 0x1000,
    userAddress: 0x2000,
    size: 5000,
    mmapOffset: 70001,
  });
  const all = new NativeMemory(whole.addresses.hostAddress, MIB);
  all.u8[70001] = 42;
  all.u8[70001 + 4999] = 43;
  const bytes = new NativeMemory(part.addresses.hostAddress, 5000);
  equal(bytes.u8[0], 42);
  equal(bytes.u8[4999], 43);
  equal(part.addresses.guestAddress, 0x1000);
  equal(part.addresses.userAddress, 0x2000);
  part.unmap();
  part.unmap();
  whole.unmap();
  libc.close(fd);
});

Deno.test("MappedRegion.map() refuses a region beyond the end of its file", () => {
  const fd = memfd(8192);
  const description = { guestAddress: 0, userAddress: 0, size: 8192, mmapOffset: 1 };
  throws(() => MappedRegion.map(fd, description), /file of 8192 bytes ends before the region/);
  libc.close(fd);
});

Deno.test("MappedRegion.map() refuses what cannot be mapped", () => {
  const fd = libc.eventfd(0, 0);
  const description = { guestAddress: 0, userAddress: 0, size: 4096, mmapOffset: 0 };
  throws(() => MappedRegion.map(fd, description), /mmap failed with/);
  libc.close(fd);
  throws(() => MappedRegion.map(fd, description), /cannot be looked at: EBADF/);
});

Deno.test("regionConflict() names empty, too high and overlapping regions", () => {
  const region = { guestAddress: 0, size: 4096, userAddress: 0x10000, mmapOffset: 0 };
  const next = { ...region, guestAddress: 4096, userAddress: 0x20000 };
  equal(regionConflict([]), null);
  equal(regionConflict([next, region]), null);
  match(regionConflict([{ ...region, size: 0 }])!, /no bytes/);
  match(regionConflict([{ ...region, guestAddress: 2 ** 53 - 4096 }])!, /beyond 2\^53/);
  match(regionConflict([region, { ...next, guestAddress: 4095 }])!, /overlap at guest address/);
  match(
    regionConflict([next, { ...region, userAddress: 0x1ffff }])!,
    /overlap at front end address/,
  );
});
