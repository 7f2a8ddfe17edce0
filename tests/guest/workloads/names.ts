/**
 * Names: as long as they may be, in any bytes, at the end of the longest paths.
 *
 * @module
 */
import assert from "node:assert/strict";
import { must, mustFail } from "./expect.ts";
import * as libc from "./libc.ts";
import type { Workload } from "./workload.ts";

/** 255 bytes are a name, 256 are not; paths may be PATH_MAX long; depth beyond that is reached step by step. */
export const longNames: Workload = {
  name: "long-names",
  core: true,
  run({ dir }) {
    const longest = "n".repeat(255);
    Deno.writeTextFileSync(`${dir}/${longest}`, "long");
    assert.equal(Deno.readTextFileSync(`${dir}/${longest}`), "long");
    mustFail(libc.open(`${dir}/${longest}n`, libc.O.CREAT, 0o644), "ENAMETOOLONG", "256 bytes");
    must(libc.rename(`${dir}/${longest}`, `${dir}/${"m".repeat(255)}`), "rename");
    must(libc.link(`${dir}/${"m".repeat(255)}`, `${dir}/${"k".repeat(255)}`), "link");
    // A path of exactly 4095 bytes (PATH_MAX counts the terminating zero).
    let path = dir;
    while (path.length + 201 < 4095 - 210) {
      path += "/" + "d".repeat(200);
      must(libc.mkdir(path, 0o755), `mkdir at ${path.length} bytes`);
    }
    path += "/" + "e".repeat((4095 - path.length - 2) >> 1);
    must(libc.mkdir(path, 0o755), "mkdir");
    path += "/" + "f".repeat(4095 - path.length - 1);
    assert.equal(path.length, 4095);
    Deno.writeTextFileSync(path, "deep");
    assert.equal(Deno.readTextFileSync(path), "deep");
    mustFail(libc.open(path + "x", libc.O.RDONLY), "ENAMETOOLONG", "4096 bytes");
    return { relative: path.slice(dir.length + 1), depth: deepTree(`${dir}/deep`) };
  },
  verify({ dir }, { relative, depth }) {
    const names = [...Deno.readDirSync(dir)].map((entry) => entry.name);
    assert.deepEqual(
      names.filter((name) => name.length === 255).sort(),
      ["k".repeat(255), "m".repeat(255)],
    );
    let fd = must(libc.open(dir, libc.O.RDONLY | libc.O.DIRECTORY), "open");
    for (const name of String(relative).split("/").slice(0, -1)) fd = step(fd, name);
    const last = String(relative).split("/").at(-1)!;
    const file = must(libc.openat(fd, last, libc.O.RDONLY), "open");
    const bytes = new Uint8Array(10);
    assert.equal(new TextDecoder().decode(bytes.subarray(0, libc.pread(file, bytes, 0))), "deep");
    libc.close(file);
    libc.close(fd);
    fd = must(libc.open(`${dir}/deep`, libc.O.RDONLY | libc.O.DIRECTORY), "open");
    for (let i = 0; i < Number(depth); i++) fd = step(fd, "level");
    libc.close(fd);
  },
};

/** 1,200 directories, one in the other: 7,200 bytes of path. */
function deepTree(root: string): number {
  const depth = 1200;
  must(libc.mkdir(root, 0o755), "mkdir");
  let fd = must(libc.open(root, libc.O.RDONLY | libc.O.DIRECTORY), "open");
  for (let i = 0; i < depth; i++) {
    must(libc.mkdirat(fd, "level", 0o755), `mkdir at depth ${i}`);
    fd = step(fd, "level");
  }
  libc.close(fd);
  return depth;
}

function step(fd: number, name: string): number {
  const next = must(libc.openat(fd, name, libc.O.RDONLY | libc.O.DIRECTORY), "open directory");
  libc.close(fd);
  return next;
}

const NAMES: readonly Uint8Array[] = [
  ...Array.from({ length: 255 }, (_, i) => new Uint8Array([0x78, i + 1])).filter((n) =>
    n[1] !== 47
  ),
  new Uint8Array([0xff]),
  new Uint8Array([0xc3, 0x28]), // a broken UTF-8 sequence
  new Uint8Array([0xed, 0xa0, 0x80]), // a surrogate
  new Uint8Array([0xf4, 0x90, 0x80, 0x80]), // beyond Unicode
  new Uint8Array([0xe2, 0x82]), // cut off
  new Uint8Array([0xef, 0xbb, 0xbf, 0x61]), // begins with a byte-order mark
  new TextEncoder().encode("größe-漢字-🦕"),
  new TextEncoder().encode("..."),
  new TextEncoder().encode(" "),
  new TextEncoder().encode("-rf *"),
  new Uint8Array(255).fill(0x80),
];

const hex = (name: Uint8Array) => [...name].map((b) => b.toString(16).padStart(2, "0")).join("");
const EXPECTED = NAMES.map(hex).sort();

function listed(dir: string): string[] {
  const fd = must(libc.open(dir, libc.O.RDONLY | libc.O.DIRECTORY), "open");
  const names = must(libc.readNames(fd), "getdents64").map(hex).sort();
  libc.close(fd);
  return names;
}

/** Names are bytes: all but `/` and zero, valid UTF-8 or not. */
export const rawNames: Workload = {
  name: "raw-names",
  core: true,
  run({ dir }) {
    Deno.mkdirSync(`${dir}/a`);
    for (const name of NAMES) {
      const path = libc.joinBytes(`${dir}/a`, name);
      const fd = must(
        libc.open(path, libc.O.CREAT | libc.O.EXCL | libc.O.WRONLY, 0o644),
        hex(name),
      );
      assert.equal(libc.write(fd, new Uint8Array(name)), name.length);
      libc.close(fd);
    }
    assert.deepEqual(listed(`${dir}/a`), EXPECTED);
    Deno.mkdirSync(`${dir}/b`);
    for (const name of NAMES) {
      const [from, to] = [libc.joinBytes(`${dir}/a`, name), libc.joinBytes(`${dir}/b`, name)];
      must(libc.rename(from, to), `rename ${hex(name)}`);
      assert.equal(must(libc.statx(to), `statx ${hex(name)}`).size, name.length);
    }
    assert.deepEqual(listed(`${dir}/b`), EXPECTED);
    assert.deepEqual(listed(`${dir}/a`), []);
  },
  verify({ dir }) {
    assert.deepEqual(listed(`${dir}/b`), EXPECTED);
    for (const name of NAMES) {
      const fd = must(libc.open(libc.joinBytes(`${dir}/b`, name), libc.O.RDONLY), hex(name));
      const bytes = new Uint8Array(512);
      const length = libc.pread(fd, bytes, 0);
      libc.close(fd);
      assert.equal(hex(bytes.subarray(0, length)), hex(name));
    }
  },
};
