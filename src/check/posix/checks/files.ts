/**
 * The bytes of files: read, write, append, seek, sparse and large files, open files without a
 * name, fsync.
 *
 * @module
 */

import type { Add } from "../check.ts";
import { newFile, pattern, readExactly, same } from "../content.ts";
import { O, SEEK } from "../linux_constants.ts";
import { KINDS } from "../scope.ts";
import { sys } from "../system_calls.ts";

function readWrite(add: Add): void {
  const sizes = [1, 7, 511, 4095, 4096, 4097, 65536, 131072, 131073, 1048576, 1048577, 5000000];
  for (const size of sizes) {
    add(`write: ${size} bytes read back`, (t) => {
      const fd = newFile(t);
      const data = pattern(size, size);
      t.equal(t.ok(sys.write(fd, data), "write"), size, "written");
      t.equal(t.fstat(fd).size, size, "size");
      t.that(same(readExactly(t, fd, size, 0), data), "content differs");
      t.close(fd);
      const again = t.open(t.path("x"), O.RDONLY);
      t.that(same(readExactly(t, again, size, 0), data), "content differs after open");
      t.equal(t.text(sys.pread(again, 10, size)), "", "read at the end");
      t.equal(t.text(sys.pread(again, 10, size + 4096)), "", "read past the end");
      const tail = sys.pread(again, 100, size - 1);
      t.equal(typeof tail === "number" ? tail : tail.length, 1, "read across the end");
    });
  }
  for (const offset of [1, 4095, 4096, 4097, 1 << 20, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 40]) {
    add(`pwrite: at ${offset}, with zeros before`, (t) => {
      const fd = newFile(t);
      t.ok(sys.pwrite(fd, "data", offset), "pwrite");
      t.equal(t.fstat(fd).size, offset + 4, "size");
      t.equal(t.text(sys.pread(fd, 9, offset)), "data", "data");
      t.equal(t.text(sys.pread(fd, 1, offset - 1)), "\0", "the byte before");
      t.equal(t.text(sys.pread(fd, 1, 0)), "\0", "the first byte");
      t.equal(t.ok(Number(sys.lseek(fd, 0, SEEK.CUR)), "lseek"), 0, "position");
    });
  }
  add("write: moves the position, pwrite does not", (t) => {
    const fd = newFile(t);
    t.ok(sys.write(fd, "abc"), "write");
    t.ok(sys.pwrite(fd, "Z", 0), "pwrite");
    t.ok(sys.write(fd, "def"), "write");
    t.equal(t.content(t.path("x")), "Zbcdef", "content");
  });
  add("write: two descriptors see each other at once", (t) => {
    const a = newFile(t), b = t.open(t.path("x"), O.RDWR);
    for (let i = 0; i < 100; i++) {
      t.ok(sys.pwrite(a, String.fromCharCode(65 + i % 26), i), "pwrite");
      t.equal(t.text(sys.pread(b, 1, i)), String.fromCharCode(65 + i % 26), "other fd");
      t.equal(t.fstat(b).size, i + 1, "size");
    }
  });
  add("write: dup shares the position", (t) => {
    const a = newFile(t), b = t.adopt(sys.dup(a), "dup");
    t.ok(sys.write(a, "abc"), "write");
    t.ok(sys.write(b, "def"), "write");
    t.equal(t.content(t.path("x")), "abcdef", "content");
  });
  add("write: random pieces over each other", (t) => {
    const fd = newFile(t);
    const model = new Uint8Array(300_000);
    let end = 0;
    for (let i = 0; i < 200; i++) {
      const offset = (i * 7919 * 31) % 290_000, size = 1 + (i * 104729) % 9000;
      const data = pattern(size, i + 1);
      t.equal(sys.pwrite(fd, data, offset), size, "pwrite");
      model.set(data, offset);
      end = Math.max(end, offset + size);
    }
    t.equal(t.fstat(fd).size, end, "size");
    t.that(same(readExactly(t, fd, end, 0), model.subarray(0, end)), "content differs");
  });
  add("read: EISDIR on a directory", (t) => {
    t.errno(sys.read(t.open(t.directory("d"), O.RDONLY), 10), "EISDIR", "read");
  });
  add("read: EBADF through an fd for writing, write: EBADF through one for reading", (t) => {
    t.file("x");
    t.errno(sys.read(t.open(t.path("x"), O.WRONLY), 10), "EBADF", "read");
    t.errno(sys.write(t.open(t.path("x"), O.RDONLY), "z"), "EBADF", "write");
    t.errno(sys.read(t.open(t.path("x"), O.PATH), 10), "EBADF", "read of O_PATH");
  });
  add("read and write: EINVAL at a negative offset", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.errno(sys.pread(fd, 1, -1), "EINVAL", "pread");
    t.errno(sys.pwrite(fd, "z", -1), "EINVAL", "pwrite");
  });
  add("append: every write goes to the end, from two descriptors", (t) => {
    const a = newFile(t, O.APPEND), b = t.open(t.path("x"), O.WRONLY | O.APPEND);
    let expected = "";
    for (let i = 0; i < 100; i++) {
      const text = `${i};`;
      t.ok(sys.write(i % 2 ? a : b, text), "write");
      expected += text;
    }
    t.equal(t.content(t.path("x")), expected, "content");
  });
  add("append: after a truncate the next write is at the new end", (t) => {
    const fd = newFile(t, O.APPEND);
    t.ok(sys.write(fd, "abcdef"), "write");
    t.ok(sys.truncate(t.path("x"), 2), "truncate");
    t.ok(sys.write(fd, "Z"), "write");
    t.equal(t.content(t.path("x")), "abZ", "content");
  });
  add("append: the position does not matter to writes but to reads", (t) => {
    const fd = newFile(t, O.APPEND);
    t.ok(sys.write(fd, "abcdef"), "write");
    t.ok(Number(sys.lseek(fd, 1, SEEK.SET)), "lseek");
    t.equal(t.text(sys.read(fd, 2)), "bc", "read");
    t.ok(sys.write(fd, "g"), "write");
    t.equal(t.content(t.path("x")), "abcdefg", "content");
  });
}

function seeking(add: Add): void {
  add("lseek: from the start, the position and the end", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.equal(sys.lseek(fd, 3, SEEK.SET), 3, "SEEK_SET");
    t.equal(sys.lseek(fd, 2, SEEK.CUR), 5, "SEEK_CUR");
    t.equal(sys.lseek(fd, -1, SEEK.END), 6, "SEEK_END");
    t.equal(sys.lseek(fd, 2 ** 40, SEEK.CUR), 2 ** 40 + 6, "past the end");
    t.equal(t.fstat(fd).size, 7, "size");
  });
  add("lseek: EINVAL before the start or with an unknown origin", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.errno(sys.lseek(fd, -1, SEEK.SET), "EINVAL", "SEEK_SET");
    t.errno(sys.lseek(fd, -8, SEEK.END), "EINVAL", "SEEK_END");
    t.errno(sys.lseek(fd, 0, 9), "EINVAL", "origin 9");
  });
  add("lseek: SEEK_END follows another writer", (t) => {
    const a = t.open(t.file("x"), O.RDWR), b = t.open(t.path("x"), O.RDWR);
    t.ok(sys.pwrite(b, "0123456789", 100), "pwrite");
    t.equal(sys.lseek(a, 0, SEEK.END), 110, "SEEK_END");
  });
  add("lseek: ENXIO for data or a hole at or past the end", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.errno(sys.lseek(fd, 8, SEEK.DATA), "ENXIO", "SEEK_DATA");
    t.errno(sys.lseek(fd, 7, SEEK.DATA), "ENXIO", "SEEK_DATA at the end");
    t.errno(sys.lseek(fd, 8, SEEK.HOLE), "ENXIO", "SEEK_HOLE");
  }, "seek-data");
  add("lseek: a file of data has its hole at the end", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.equal(sys.lseek(fd, 0, SEEK.DATA), 0, "SEEK_DATA");
    t.equal(sys.lseek(fd, 2, SEEK.DATA), 2, "SEEK_DATA in data");
    t.equal(sys.lseek(fd, 0, SEEK.HOLE), 7, "SEEK_HOLE");
  }, "seek-data");
  add("lseek: finds the data of a sparse file", (t) => {
    const fd = newFile(t);
    const far = 16 << 20;
    t.ok(sys.pwrite(fd, pattern(65536), far), "pwrite");
    t.ok(sys.ftruncate(fd, far * 3), "ftruncate");
    t.ok(sys.fsync(fd), "fsync");
    t.equal(sys.lseek(fd, 0, SEEK.HOLE), 0, "the first hole");
    t.equal(sys.lseek(fd, 0, SEEK.DATA), far, "the data");
    t.equal(sys.lseek(fd, far, SEEK.HOLE), far + 65536, "the hole behind it");
    t.errno(sys.lseek(fd, far + 65536, SEEK.DATA), "ENXIO", "no more data");
    t.that(t.fstat(fd).blocks * 512 < far, "the hole takes space");
  }, "seek-data");
}

function unlinked(add: Add): void {
  add("unlinked: an open file works on, with link count 0", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.ok(sys.unlink(t.path("x")), "unlink");
    t.equal(t.fstat(fd).nlink, 0, "link count");
    t.equal(t.text(sys.pread(fd, 9, 0)), "content", "read");
    t.ok(sys.pwrite(fd, pattern(100_000), 0), "write");
    t.equal(t.fstat(fd).size, 100_000, "size");
    t.ok(sys.ftruncate(fd, 50), "ftruncate");
    t.ok(sys.fsync(fd), "fsync");
    t.equal(t.fstat(fd).size, 50, "size");
  });
  add("unlinked: a new file of the same name is another", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    const { ino } = t.fstat(fd);
    t.ok(sys.unlink(t.path("x")), "unlink");
    t.file("x");
    t.that(t.lstat(t.path("x")).ino !== ino, "the inode number is used twice");
    t.ok(sys.pwrite(fd, "changed", 0), "write");
    t.equal(t.content(t.path("x")), "content", "the new file");
  });
  add("unlinked: can be opened again through /proc/self/fd", (t) => {
    const fd = t.open(t.file("x"), O.RDWR);
    t.ok(sys.unlink(t.path("x")), "unlink");
    t.equal(t.content(`/proc/self/fd/${fd}`), "content", "content");
  }, "procfs");
  add("unlinked: its directory may go too", (t) => {
    t.directory("d");
    const fd = t.open(t.file("d/x"), O.RDWR);
    t.ok(sys.unlink(t.path("d/x")), "unlink");
    t.ok(sys.rmdir(t.path("d")), "rmdir");
    t.ok(sys.pwrite(fd, "still", 0), "write");
    t.equal(t.text(sys.pread(fd, 5, 0)), "still", "read");
  });
  add("unlinked: 100 open files of one name at a time", (t) => {
    const fds: number[] = [];
    for (let i = 0; i < 100; i++) {
      const fd = newFile(t, O.EXCL);
      t.ok(sys.write(fd, `file ${i}`), "write");
      t.ok(sys.unlink(t.path("x")), "unlink");
      fds.push(fd);
    }
    fds.forEach((fd, i) => t.equal(t.text(sys.pread(fd, 20, 0)), `file ${i}`, "content"));
  });
}

function syncing(add: Add): void {
  for (const kind of KINDS.filter((k) => k === "regular" || k === "dir")) {
    add(`fsync: on a ${kind}`, (t) => {
      const fd = t.open(t.make(kind, t.path("x")), O.RDONLY);
      t.ok(sys.fsync(fd), "fsync");
      t.ok(sys.fdatasync(fd), "fdatasync");
    });
  }
  add("statvfs: says what can be", (t) => {
    const s = t.value(sys.statvfs(t.dir), "statvfs");
    t.that(s.bsize > 0 && s.frsize > 0, "block sizes");
    t.that(s.blocks >= s.bfree && s.bfree >= s.bavail, "blocks");
    t.that(s.files >= s.ffree, "files");
    t.equal(s.namemax, 255, "the longest name");
  });
  add("statvfs: is the same for a file and its directory", (t) => {
    const a = t.value(sys.statvfs(t.file("x")), "statvfs");
    const b = t.value(sys.statvfs(t.dir), "statvfs");
    t.equal(a.blocks, b.blocks, "blocks");
    t.equal(a.bsize, b.bsize, "block size");
  });
}

/** Adds the family. */
export function filesChecks(add: Add): void {
  readWrite(add);
  seeking(add);
  unlinked(add);
  syncing(add);
}
