/**
 * `--readonly`: everything can be read, nothing changed.
 *
 * @module
 */
import assert from "node:assert/strict";
import { must, mustFail } from "./expect.ts";
import * as libc from "./libc.ts";
import type { Workload } from "./workload.ts";

/** Every way of changing something is refused with EROFS, root or not. */
export const readOnly: Workload = {
  name: "read-only",
  core: true,
  notFor: ({ readonly }) => readonly ? null : "the share is writable",
  prepare({ dir }) {
    Deno.writeTextFileSync(`${dir}/file`, "content");
    Deno.chmodSync(`${dir}/file`, 0o644);
    Deno.mkdirSync(`${dir}/sub`);
    Deno.symlinkSync("file", `${dir}/link`);
  },
  run({ dir, isVirtiofs }) {
    const path = (name: string) => `${dir}/${name}`;
    assert.equal(Deno.readTextFileSync(path("file")), "content");
    assert.equal(Deno.readTextFileSync(path("link")), "content");
    assert.deepEqual([...Deno.readDirSync(dir)].map((e) => e.name).sort(), ["file", "link", "sub"]);
    if (!isVirtiofs) return;
    const { WRONLY, RDWR, RDONLY, CREAT, TRUNC } = libc.O;
    mustFail(libc.open(path("file"), WRONLY), "EROFS", "open for writing");
    mustFail(libc.open(path("file"), RDWR), "EROFS", "open for both");
    mustFail(libc.open(path("file"), RDONLY | TRUNC), ["EROFS", "EINVAL"], "O_TRUNC");
    mustFail(libc.open(path("new"), RDWR | CREAT, 0o644), "EROFS", "create");
    mustFail(libc.mkdir(path("newdir"), 0o755), "EROFS", "mkdir");
    mustFail(libc.mknod(path("fifo"), libc.S.IFIFO | 0o644), "EROFS", "mkfifo");
    mustFail(libc.symlink("x", path("newlink")), "EROFS", "symlink");
    mustFail(libc.link(path("file"), path("hard")), "EROFS", "link");
    mustFail(libc.rename(path("file"), path("other")), "EROFS", "rename");
    mustFail(libc.unlink(path("file")), "EROFS", "unlink");
    mustFail(libc.rmdir(path("sub")), "EROFS", "rmdir");
    mustFail(libc.utimens(path("file"), 1n, 1n), "EROFS", "utimensat");
    const fd = must(libc.open(path("file"), RDONLY), "open for reading");
    mustFail(libc.fchmod(fd, 0o777), "EROFS", "fchmod");
    mustFail(libc.fallocate(fd, 0, 0, 10), ["EROFS", "EBADF"], "fallocate");
    libc.close(fd);
    mustFail(
      libc.open(path("missing"), RDONLY),
      "ENOENT",
      "a missing file is missing all the same",
    );
  },
  verify({ dir }) {
    assert.equal(Deno.readTextFileSync(`${dir}/file`), "content");
    assert.equal(Deno.statSync(`${dir}/file`).mode! & 0o777, 0o644);
    assert.deepEqual([...Deno.readDirSync(dir)].map((e) => e.name).sort(), ["file", "link", "sub"]);
  },
};
