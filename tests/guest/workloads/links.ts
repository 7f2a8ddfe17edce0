/**
 * Hard links and symbolic links.
 *
 * @module
 */
import assert from "node:assert/strict";
import { must, mustFail } from "./expect.ts";
import * as libc from "./libc.ts";
import type { Workload } from "./workload.ts";

/** Hard links: one inode under several names. */
export const hardLinks: Workload = {
  name: "hard-links",
  core: true,
  run({ dir }) {
    const path = (name: string) => `${dir}/${name}`;
    Deno.writeTextFileSync(path("a"), "first");
    Deno.mkdirSync(path("sub"));
    for (let i = 0; i < 20; i++) must(libc.link(path("a"), path(`sub/l${i}`)), "link");
    const first = must(libc.statx(path("a")), "statx");
    assert.equal(first.links, 21);
    assert.equal(must(libc.statx(path("sub/l7")), "statx").inode, first.inode);
    Deno.writeTextFileSync(path("sub/l3"), "changed through another name");
    assert.equal(Deno.readTextFileSync(path("a")), "changed through another name");
    must(libc.unlink(path("a")), "unlink");
    for (let i = 0; i < 10; i++) must(libc.unlink(path(`sub/l${i}`)), "unlink");
    assert.equal(must(libc.statx(path("sub/l15")), "statx").links, 10);
    assert.equal(Deno.readTextFileSync(path("sub/l15")), "changed through another name");
    mustFail(libc.link(path("sub/l15"), path("sub/l16")), "EEXIST", "link over a name");
    mustFail(libc.link(path("sub"), path("dir-link")), "EPERM", "link of a directory");
    must(libc.rename(path("sub/l15"), path("sub/l16")), "rename onto the same inode");
    assert.ok(Deno.statSync(path("sub/l15")).isFile, "both names stay");
  },
  verify({ dir }) {
    assert.equal([...Deno.readDirSync(`${dir}/sub`)].length, 10);
    assert.equal(Deno.statSync(`${dir}/sub/l10`).nlink, 10);
  },
};

/** Symbolic links of every length; what they say is never interpreted by the host. */
export const symbolicLinks: Workload = {
  name: "symbolic-links",
  core: true,
  run({ dir }) {
    const path = (name: string) => `${dir}/${name}`;
    const targets = ["x", "file", "../symbolic-links/file", "/etc/passwd", "a".repeat(255) + "/b"];
    targets.push("p/".repeat(2047) + "q"); // 4095 bytes: the longest there is
    Deno.writeTextFileSync(path("file"), "content");
    for (const [i, target] of targets.entries()) {
      must(libc.symlink(target, path(`s${i}`)), `symlink of ${target.length} bytes`);
      const read = must(libc.readlink(path(`s${i}`)), "readlink") as Uint8Array;
      assert.equal(new TextDecoder().decode(read), target);
      assert.equal(must(libc.statx(path(`s${i}`)), "lstat").size, target.length);
    }
    assert.equal(Deno.readTextFileSync(path("s1")), "content");
    assert.equal(Deno.readTextFileSync(path("s2")), "content");
    mustFail(libc.open(path("s0"), libc.O.RDONLY), "ENOENT", "dangling");
    const raw = new Uint8Array([0xff, 0xfe, 0x2f, 0x80]);
    must(libc.symlink(raw, path("raw")), "symlink of bytes");
    assert.deepEqual(must(libc.readlink(path("raw")), "readlink"), raw);
    must(libc.symlink("loop", path("loop")), "symlink");
    assert.ok((libc.open(path("loop"), libc.O.RDONLY)) === -40, "ELOOP");
    return { targets };
  },
  verify({ dir }, { targets }) {
    for (const [i, target] of (targets as string[]).entries()) {
      assert.equal(Deno.readLinkSync(`${dir}/s${i}`), target);
    }
    assert.deepEqual(libc.readlink(`${dir}/raw`), new Uint8Array([0xff, 0xfe, 0x2f, 0x80]));
  },
};
