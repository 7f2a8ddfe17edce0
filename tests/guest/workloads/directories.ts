/**
 * Directories: very many names, names that come and go while they are listed, creators who compete.
 *
 * @module
 */
import assert from "node:assert/strict";
import { must } from "./expect.ts";
import * as libc from "./libc.ts";
import { mustPerl } from "./processes.ts";
import type { Workload } from "./workload.ts";

const MANY = 100_000;
const decoder = new TextDecoder();

function listNames(path: string, bufferSize?: number): string[] {
  const fd = must(libc.open(path, libc.O.RDONLY | libc.O.DIRECTORY), "open directory");
  const names = must(libc.readNames(fd, bufferSize), "getdents64");
  libc.close(fd);
  return names.map((name) => decoder.decode(name));
}

function assertSameNames(
  found: string[],
  expected: (index: number) => string,
  count: number,
): void {
  assert.equal(found.length, count, `${found.length} names, expected ${count}`);
  const set = new Set(found);
  assert.equal(set.size, count, "a name came twice");
  for (let i = 0; i < count; i++) {
    if (!set.has(expected(i))) throw new Error(`"${expected(i)}" was not listed`);
  }
}

/** 100,000 files that the host has put there, each listed once; and 2,000 of the guest's own. */
export const manyFiles: Workload = {
  name: "many-files",
  core: false,
  prepare({ dir }) {
    Deno.mkdirSync(`${dir}/many`);
    for (let i = 0; i < MANY; i++) {
      Deno.openSync(`${dir}/many/file-${i}`, { write: true, createNew: true }).close();
    }
  },
  run({ dir }) {
    const expected = (i: number) => `file-${i}`;
    assertSameNames(listNames(`${dir}/many`), expected, MANY);
    // The second listing may come from the guest's cache, with another buffer size in any case.
    assertSameNames(listNames(`${dir}/many`, 4000), expected, MANY);
    Deno.mkdirSync(`${dir}/own`);
    for (let i = 0; i < 2000; i++) {
      libc.close(must(libc.open(`${dir}/own/f${i}`, libc.O.CREAT | libc.O.EXCL, 0o644), "create"));
    }
    assertSameNames(listNames(`${dir}/own`), (i) => `f${i}`, 2000);
    for (let i = 0; i < 1000; i++) must(libc.unlink(`${dir}/own/f${i}`), "unlink");
    assertSameNames(listNames(`${dir}/own`), (i) => `f${i + 1000}`, 1000);
  },
  verify({ dir }) {
    const names = [...Deno.readDirSync(`${dir}/own`)].map((entry) => entry.name);
    assertSameNames(names, (i) => `f${i + 1000}`, 1000);
  },
};

/** readdir(3) while others create and remove: what was there all the time comes exactly once. */
export const readdirWhileModified: Workload = {
  name: "readdir-while-modified",
  core: true,
  prepare({ dir }) {
    for (let i = 0; i < 1500; i++) Deno.writeTextFileSync(`${dir}/stay-${i}`, "");
  },
  run({ dir }) {
    const fd = must(libc.open(dir, libc.O.RDONLY | libc.O.DIRECTORY), "open directory");
    const seen: string[] = [];
    for (let round = 0;; round++) {
      const batch = must(libc.readSomeNames(fd, 2048), "getdents64");
      if (batch.length === 0) break;
      seen.push(...batch.map((entry) => decoder.decode(entry.name)));
      const name = `${dir}/come-${round}`;
      libc.close(must(libc.open(name, libc.O.CREAT | libc.O.EXCL, 0o644), "create"));
      if (round % 2 === 0) must(libc.unlink(name), "unlink");
      if (round % 10 === 4) {
        must(libc.rename(`${dir}/come-${round - 1}`, `${name}-moved`), "rename");
      }
    }
    const stayed = seen.filter((name) => name.startsWith("stay-"));
    assertSameNames(stayed, (i) => `stay-${i}`, 1500);
    assert.deepEqual(seen.filter((name) => name === "." || name === "..").sort(), [".", ".."]);
    // Rewound, the same descriptor lists the directory as it is now.
    must(libc.lseek(fd, 0, libc.SEEK.SET), "rewind");
    const again = must(libc.readNames(fd), "getdents64").map((name) => decoder.decode(name));
    assert.deepEqual(again.sort(), listNames(dir).sort());
    // An offset that an entry came with leads to the entries after it.
    must(libc.lseek(fd, 0, libc.SEEK.SET), "rewind");
    const first = must(libc.readSomeNames(fd, 512), "getdents64");
    const rest = must(libc.readSomeNames(fd, 512), "getdents64");
    must(libc.lseek(fd, first.at(-1)!.nextOffset, libc.SEEK.SET), "seekdir");
    const sought = must(libc.readSomeNames(fd, 512), "getdents64");
    assert.deepEqual(
      sought.map((e) => decoder.decode(e.name)),
      rest.map((e) => decoder.decode(e.name)),
    );
    libc.close(fd);
    return { names: listNames(dir).sort() };
  },
  verify({ dir }, { names }) {
    assert.deepEqual([...Deno.readDirSync(dir)].map((entry) => entry.name).sort(), names);
  },
};

const CREATE = `
my ($dir, $me, $count) = @ARGV; my @won;
for my $i (1..$count) {
  sysopen(my $f, "$dir/own-$me-$i", O_CREAT|O_EXCL|O_WRONLY, 0644) or die "own-$me-$i: $!"; print $f "$me"; close $f or die;
  if (sysopen(my $g, "$dir/shared-$i", O_CREAT|O_EXCL|O_WRONLY, 0644)) { print $g "$me"; close $g or die; push @won, $i; }
  else { $!{EEXIST} or die "shared-$i: $!"; }
  mkdir("$dir/dir-$i") or $!{EEXIST} or die "dir-$i: $!";
}
print join(" ", @won), "\\n";
`;

/** Four creators: every O_EXCL name has exactly one winner, and nothing is lost. */
export const concurrentCreators: Workload = {
  name: "concurrent-creators",
  core: true,
  async run({ dir }) {
    const count = 60;
    const outputs = await Promise.all(
      [1, 2, 3, 4].map((me) => mustPerl(CREATE, [dir, `${me}`, `${count}`])),
    );
    const wins = outputs.map((text) => text.trim().split(" ").filter((x) => x !== "").map(Number));
    assert.deepEqual(
      wins.flat().sort((a, b) => a - b),
      Array.from({ length: count }, (_, i) => i + 1),
    );
    assert.equal(listNames(dir).length, count * 6);
    return { wins, count };
  },
  verify({ dir }, facts) {
    const { wins, count } = facts as { wins: number[][]; count: number };
    assert.equal([...Deno.readDirSync(dir)].length, count * 6);
    for (const [index, won] of wins.entries()) {
      for (const i of won) {
        assert.equal(Deno.readTextFileSync(`${dir}/shared-${i}`), `${index + 1}`);
      }
      for (let i = 1; i <= count; i++) {
        assert.equal(Deno.readTextFileSync(`${dir}/own-${index + 1}-${i}`), `${index + 1}`);
      }
    }
  },
};
