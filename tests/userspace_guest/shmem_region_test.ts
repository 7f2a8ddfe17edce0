import { deepEqual, equal } from "node:assert/strict";
import { ShmemRegion } from "../../src/guest/frontend/shmem_region.ts";
import { EEXIST, EINVAL, ENOENT } from "../../src/sys/errno.ts";
import { libc, status } from "../../src/sys/libc.ts";

const PAGE = 4096;

function openFile(path: string): number {
  return status(libc.open(new TextEncoder().encode(path + "\0"), 2, 0));
}

Deno.test("vhost-user: SHMEM_MAP shows the file's own bytes; SHMEM_UNMAP takes them away", () => {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, new Uint8Array(4 * PAGE).map((_, i) => i / PAGE + 1));
  const fd = openFile(path);
  using region = new ShmemRegion(16 * PAGE);
  equal(region.map(4 * PAGE, 2 * PAGE, fd, PAGE, true), 0);
  const { u8 } = region.bytes;
  equal(u8[4 * PAGE], 2);
  equal(u8[5 * PAGE], 3);
  u8[4 * PAGE] = 77;
  equal(Deno.readFileSync(path)[PAGE], 77);
  deepEqual([...region.mappings], [[4 * PAGE, 2 * PAGE]]);
  // A mapping may not lie over another, and is removed as a whole.
  equal(region.map(5 * PAGE, PAGE, fd, 0, true), -EEXIST);
  equal(region.map(3 * PAGE, 2 * PAGE, fd, 0, true), -EEXIST);
  equal(region.unmap(4 * PAGE, PAGE), -ENOENT);
  equal(region.unmap(5 * PAGE, PAGE), -ENOENT);
  equal(region.map(6 * PAGE, PAGE, fd, 0, true), 0, "beside it is free");
  equal(region.unmap(4 * PAGE, 2 * PAGE), 0);
  equal(region.unmap(4 * PAGE, 2 * PAGE), -ENOENT);
  equal(region.map(4 * PAGE, PAGE, fd, 0, false), 0);
  equal(u8[4 * PAGE], 1);
  region.unmapAll();
  equal(region.mappings.size, 0);
  libc.close(fd);
  Deno.removeSync(path);
});

Deno.test("vhost-user: SHMEM_MAP outside the region, of nothing or of half pages is refused", () => {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, new Uint8Array(PAGE));
  const fd = openFile(path);
  using region = new ShmemRegion(4 * PAGE);
  for (
    const [offset, length, fdOffset] of [
      [0, 0, 0],
      [0, 5 * PAGE, 0],
      [4 * PAGE, PAGE, 0],
      [100, PAGE, 0],
      [0, 100, 0],
      [0, PAGE, 100],
    ] as const
  ) equal(region.map(offset, length, fd, fdOffset, true), -EINVAL);
  equal(region.mappings.size, 0);
  libc.close(fd);
  Deno.removeSync(path);
});

Deno.test("a region knows what is covered, however many mappings there are", () => {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, new Uint8Array(PAGE));
  const fd = openFile(path);
  using region = new ShmemRegion(2048 * PAGE);
  for (let i = 0; i < 1500; i++) equal(region.map(i * PAGE, PAGE, fd, 0, i !== 700), 0);
  equal(region.mappings.size, 1500);
  equal(region.covers(0, 1500 * PAGE, false), true);
  equal(region.covers(0, 1501 * PAGE, false), false);
  equal(region.covers(0, 701 * PAGE, true), false);
  equal(region.covers(701 * PAGE, 10 * PAGE, true), true);
  equal(region.unmap(900 * PAGE, PAGE), 0);
  equal(region.covers(899 * PAGE, 3 * PAGE, false), false);
  equal(region.covers(1600 * PAGE, PAGE, false), false);
  for (let i = 0; i < 1500; i += 2) {
    equal(region.unmap(i * PAGE, PAGE), i === 900 ? -ENOENT : 0);
    equal(region.map(i * PAGE, PAGE, fd, 0, true), 0);
  }
  region.unmapAll();
  equal(region.mappings.size, 0);
  libc.close(fd);
  Deno.removeSync(path);
});
