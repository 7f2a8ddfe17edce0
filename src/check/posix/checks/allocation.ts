/**
 * fallocate and copy_file_range.
 *
 * @module
 */

import type { Add } from "../check.ts";
import { newFile, pattern, readExactly, same } from "../content.ts";
import { FALLOC, O } from "../linux_constants.ts";
import { sys } from "../system_calls.ts";

/** Adds the family. */
export function allocationChecks(add: Add): void {
  add("fallocate: grows a file and leaves its content", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.ok(sys.fallocate(fd, 0, 0, 100_000), "fallocate");
    t.equal(t.fstat(fd).size, 100_000, "size");
    t.that(t.fstat(fd).blocks * 512 >= 100_000, "no space was taken");
    t.equal(t.text(sys.pread(fd, 9, 0)), "content\0\0", "content");
  });
  add("fallocate: within the size changes nothing to be seen", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.ok(sys.fallocate(fd, 0, 0, 3), "fallocate");
    t.equal(t.fstat(fd).size, 7, "size");
    t.equal(t.content(t.path("x")), "content", "content");
  });
  add("fallocate: KEEP_SIZE leaves the size", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.ok(sys.fallocate(fd, FALLOC.KEEP_SIZE, 0, 100_000), "fallocate");
    t.equal(t.fstat(fd).size, 7, "size");
  });
  add("fallocate: PUNCH_HOLE makes zeros and gives space back", (t) => {
    const fd = newFile(t);
    const data = pattern(65536 * 3);
    t.ok(sys.write(fd, data), "write");
    t.ok(sys.fsync(fd), "fsync");
    t.ok(sys.fallocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 65536, 65536), "fallocate");
    data.fill(0, 65536, 131072);
    t.that(same(readExactly(t, fd, data.length, 0), data), "content differs");
    t.equal(t.fstat(fd).size, data.length, "size");
    t.that(t.fstat(fd).blocks * 512 < data.length, "no space came back");
  });
  add("fallocate: PUNCH_HOLE of an odd range makes just that zero", (t) => {
    const fd = newFile(t);
    const data = pattern(20_000);
    t.ok(sys.write(fd, data), "write");
    t.ok(sys.fallocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 1000, 9001), "fallocate");
    data.fill(0, 1000, 10_001);
    t.that(same(readExactly(t, fd, data.length, 0), data), "content differs");
  });
  add("fallocate: ZERO_RANGE makes zeros and may grow", (t) => {
    const fd = newFile(t);
    const data = pattern(20_000);
    t.ok(sys.write(fd, data), "write");
    t.ok(sys.fallocate(fd, FALLOC.ZERO_RANGE, 5000, 30_000), "fallocate");
    t.equal(t.fstat(fd).size, 35_000, "size");
    const expected = new Uint8Array(35_000);
    expected.set(data.subarray(0, 5000));
    t.that(same(readExactly(t, fd, 35_000, 0), expected), "content differs");
  }, "zero-range");
  add("fallocate: EINVAL for nothing or a negative offset, EBADF for a reader", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.errno(sys.fallocate(fd, 0, 0, 0), "EINVAL", "length 0");
    t.errno(sys.fallocate(fd, 0, -1, 5), "EINVAL", "offset -1");
    t.errno(sys.fallocate(t.open(t.path("x"), O.RDONLY), 0, 0, 5), "EBADF", "for reading");
  });
  const copies = [[0, 0, 7], [3, 0, 4], [0, 100, 7], [2, 5000, 3], [7, 0, 10]] as const;
  for (const [from, to, size] of copies) {
    add(`copy_file_range: ${size} bytes from ${from} to ${to}`, (t) => {
      const source = t.open(t.file("s"), O.RDONLY), target = newFile(t);
      const copied = t.ok(sys.copyFileRange(source, from, target, to, size), "copy");
      const expected = "content".slice(from, from + size);
      t.equal(copied, expected.length, "copied");
      t.equal(t.fstat(target).size, expected.length === 0 ? 0 : to + expected.length, "size");
      t.equal(t.text(sys.pread(target, 20, to)), expected, "content");
    });
  }
  add("copy_file_range: a megabyte", (t) => {
    const source = newFile(t), target = t.open(t.path("y"), O.CREAT | O.RDWR);
    const data = pattern(1 << 20);
    t.ok(sys.write(source, data), "write");
    let done = 0;
    while (done < data.length) {
      const n = t.ok(sys.copyFileRange(source, done, target, done, data.length - done), "copy");
      t.that(n > 0, "nothing was copied");
      done += n;
    }
    t.that(same(readExactly(t, target, data.length, 0), data), "content differs");
  });
  add("copy_file_range: within one file, EINVAL where the ranges overlap", (t) => {
    const fd = newFile(t);
    t.ok(sys.write(fd, "0123456789"), "write");
    t.errno(sys.copyFileRange(fd, 0, fd, 3, 5), "EINVAL", "overlap");
    t.equal(t.ok(sys.copyFileRange(fd, 0, fd, 5, 5), "copy"), 5, "copied");
    t.equal(t.content(t.path("x")), "0123401234", "content");
  });
  add("copy_file_range: EBADF with the directions wrong, or onto an appender", (t) => {
    t.file("s");
    const reader = t.open(t.path("s"), O.RDONLY), writer = newFile(t);
    t.errno(sys.copyFileRange(reader, 0, reader, 0, 3), "EBADF", "onto a reader");
    t.errno(sys.copyFileRange(t.open(t.path("s"), O.WRONLY), 0, writer, 0, 3), "EBADF", "from");
    const appender = t.open(t.path("x"), O.WRONLY | O.APPEND);
    t.errno(sys.copyFileRange(reader, 0, appender, 0, 3), "EBADF", "onto an appender");
  });
}
