/**
 * Files without a name: removed while open, replaced while open, never named.
 *
 * @module
 */
import assert from "node:assert/strict";
import { must, mustFail } from "./expect.ts";
import * as libc from "./libc.ts";
import { kernelAtLeast, type Workload } from "./workload.ts";

/** An open file outlives its name. */
export const openUnlinked: Workload = {
  name: "open-unlinked",
  core: true,
  run({ dir }) {
    const path = `${dir}/gone`;
    const fd = must(libc.open(path, libc.O.RDWR | libc.O.CREAT, 0o644), "create");
    assert.equal(libc.pwrite(fd, new Uint8Array(10_000).fill(1), 0), 10_000);
    must(libc.unlink(path), "unlink");
    assert.equal(must(libc.fstatx(fd), "fstat").links, 0);
    assert.equal(libc.pwrite(fd, new Uint8Array(10_000).fill(2), 10_000), 10_000);
    must(libc.ftruncate(fd, 15_000), "ftruncate");
    must(libc.fchmod(fd, 0o600), "fchmod");
    must(libc.fsync(fd), "fsync");
    const after = must(libc.fstatx(fd), "fstat");
    assert.equal(after.size, 15_000);
    assert.equal(after.mode & 0o777, 0o600);
    // The name is free for another file, which is not this one.
    Deno.writeTextFileSync(path, "new");
    const bytes = new Uint8Array(20_000);
    assert.equal(libc.pread(fd, bytes, 0), 15_000);
    assert.ok(bytes.subarray(0, 10_000).every((byte) => byte === 1));
    assert.ok(bytes.subarray(10_000, 15_000).every((byte) => byte === 2));
    libc.close(fd);
    assert.equal(Deno.readTextFileSync(path), "new");
    // A file that is renamed over lives on for who has it open.
    const old = must(libc.open(path, libc.O.RDONLY), "open");
    Deno.writeTextFileSync(`${dir}/next`, "next");
    must(libc.rename(`${dir}/next`, path), "rename");
    assert.equal(libc.pread(old, bytes, 0), 3);
    assert.equal(new TextDecoder().decode(bytes.subarray(0, 3)), "new");
    libc.close(old);
    // A removed directory that is open is empty and takes no new names.
    Deno.mkdirSync(`${dir}/d`);
    const directory = must(libc.open(`${dir}/d`, libc.O.RDONLY | libc.O.DIRECTORY), "open");
    must(libc.rmdir(`${dir}/d`), "rmdir");
    mustFail(
      libc.openat(directory, "x", libc.O.CREAT | libc.O.RDWR, 0o644),
      "ENOENT",
      "create in it",
    );
    libc.close(directory);
  },
  verify({ dir }) {
    assert.deepEqual([...Deno.readDirSync(dir)].map((entry) => entry.name), ["gone"]);
    assert.equal(Deno.readTextFileSync(`${dir}/gone`), "next");
  },
};

/** O_TMPFILE, and the name given to it later. */
export const temporaryFile: Workload = {
  name: "tmpfile",
  core: true,
  run(guest) {
    if (!guest.isVirtiofs) return { isLinked: false };
    const { dir } = guest;
    const fd = libc.open(dir, libc.O.TMPFILE | libc.O.RDWR, 0o640);
    // FUSE_TMPFILE is sent from 6.1 on.
    if (!kernelAtLeast(guest, 6, 1)) {
      mustFail(fd, "EOPNOTSUPP", "O_TMPFILE on an old kernel");
      return { isLinked: false };
    }
    must(fd, "O_TMPFILE");
    assert.equal(libc.pwrite(fd, new TextEncoder().encode("nameless"), 0), 8);
    assert.deepEqual([...Deno.readDirSync(dir)], []);
    must(libc.linkDescriptor(fd, `${dir}/named`), "linkat");
    libc.close(fd);
    assert.equal(Deno.readTextFileSync(`${dir}/named`), "nameless");
    const sealed = must(
      libc.open(dir, libc.O.TMPFILE | libc.O.RDWR | libc.O.EXCL, 0o600),
      "O_EXCL",
    );
    mustFail(libc.linkDescriptor(sealed, `${dir}/never`), "ENOENT", "linkat after O_EXCL");
    libc.close(sealed);
    return { isLinked: true };
  },
  verify({ dir }, { isLinked }) {
    const names = [...Deno.readDirSync(dir)].map((entry) => entry.name);
    assert.deepEqual(names, isLinked === true ? ["named"] : []);
    if (isLinked !== true) return;
    assert.equal(Deno.readTextFileSync(`${dir}/named`), "nameless");
    assert.equal(Deno.statSync(`${dir}/named`).mode! & 0o777, 0o640);
  },
};
