/**
 * mmap: shared mappings and the read and write calls are one view of the file.
 *
 * @module
 */

import type { Add } from "../check.ts";
import { newFile, pattern, readExactly, same } from "../content.ts";
import { MAP, O } from "../linux_constants.ts";
import type { Scope } from "../scope.ts";
import { type Mapping, sys } from "../system_calls.ts";

function mapped(t: Scope, result: Mapping | number): Mapping {
  return t.value(result, "mmap");
}

/** Adds the family. */
export function mappingsChecks(add: Add): void {
  const both = MAP.PROT_READ | MAP.PROT_WRITE;
  add("mmap: shared, writes through the mapping are read", (t) => {
    const fd = newFile(t);
    t.ok(sys.ftruncate(fd, 8192), "ftruncate");
    const map = mapped(t, sys.mmap(fd, 8192, both, MAP.SHARED));
    map.bytes.set(pattern(100), 4090);
    t.that(same(readExactly(t, fd, 100, 4090), pattern(100)), "content differs");
    t.ok(sys.munmap(map), "munmap");
    t.that(same(readExactly(t, fd, 100, 4090), pattern(100)), "content differs after munmap");
  }, "shared-mmap");
  add("mmap: shared, writes through an fd show in the mapping", (t) => {
    const fd = newFile(t);
    t.ok(sys.ftruncate(fd, 8192), "ftruncate");
    const map = mapped(t, sys.mmap(fd, 8192, both, MAP.SHARED));
    for (let i = 0; i < 50; i++) {
      t.ok(sys.pwrite(fd, pattern(50, i), i * 100), "pwrite");
      t.that(same(map.bytes.subarray(i * 100, i * 100 + 50), pattern(50, i)), `piece ${i}`);
    }
    t.ok(sys.munmap(map), "munmap");
  }, "shared-mmap");
  add("mmap: msync and a new open see the bytes", (t) => {
    const fd = newFile(t);
    t.ok(sys.ftruncate(fd, 4096), "ftruncate");
    const map = mapped(t, sys.mmap(fd, 4096, both, MAP.SHARED));
    map.bytes[17] = 42;
    t.ok(sys.msync(map, MAP.MS_SYNC), "msync");
    const seen = readExactly(t, t.open(t.path("x"), O.RDONLY), 1, 17);
    t.equal(seen[0], 42, "byte");
    t.ok(sys.munmap(map), "munmap");
  }, "shared-mmap");
  add("mmap: private, writes stay private", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    const map = mapped(t, sys.mmap(fd, 7, both, MAP.PRIVATE));
    map.bytes[0] = 0x43;
    t.equal(t.content(t.path("x")), "content", "the file");
    t.ok(sys.munmap(map), "munmap");
  });
  add("mmap: the page behind the end of the file is zero and is not written", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    const map = mapped(t, sys.mmap(fd, 4096, both, MAP.SHARED));
    t.that(map.bytes.subarray(7).every((byte) => byte === 0), "the tail is not zero");
    map.bytes[7] = 1;
    t.ok(sys.munmap(map), "munmap");
    t.equal(t.fstat(fd).size, 7, "size");
  }, "shared-mmap");
  add("mmap: of an unlinked file", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.ok(sys.unlink(t.path("x")), "unlink");
    const map = mapped(t, sys.mmap(fd, 7, both, MAP.SHARED));
    map.bytes[0] = 0x43;
    t.equal(t.text(sys.pread(fd, 9, 0)), "Content", "content");
    t.ok(sys.munmap(map), "munmap");
  }, "shared-mmap");
  add("mmap: EACCES for a shared writable mapping of a reader's fd", (t) => {
    const fd = t.open(t.file("x"), O.RDONLY);
    t.errno(sys.mmap(fd, 7, both, MAP.SHARED), "EACCES", "mmap");
  });
  add("mmap: ENODEV for a directory", (t) => {
    const fd = t.open(t.directory("d"), O.RDONLY);
    t.errno(sys.mmap(fd, 4096, MAP.PROT_READ, MAP.PRIVATE), "ENODEV", "mmap");
  });
}
