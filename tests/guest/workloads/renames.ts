/**
 * Renames: storms by several processes, replacement of a name that others hold open, renameat2's flags.
 *
 * @module
 */
import assert from "node:assert/strict";
import { must, mustFail } from "./expect.ts";
import * as libc from "./libc.ts";
import { mustPerl } from "./processes.ts";
import type { Workload } from "./workload.ts";

const PROCESSES = 4;
const FILES = 15;

// Each process moves its own files among directories that all share, 20 rounds.
const STORM = `
my ($dir, $me, $files) = @ARGV; my %at; srand($me);
for my $i (1..$files) { my $p = "$dir/d0/$me-$i"; open(my $f, ">", $p) or die "$p: $!"; print $f "$me-$i"; close $f or die; $at{$i} = $p; }
for my $round (1..20) { for my $i (1..$files) {
  my $to = "$dir/d" . int(rand(4)) . "/$me-$i" . (int(rand(2)) ? "" : "-moved$round");
  rename($at{$i}, $to) or die "rename $at{$i} $to: $!"; $at{$i} = $to;
} }
for my $i (1..$files) { open(my $f, "<", $at{$i}) or die "$at{$i}: $!"; my $t = <$f>; $t eq "$me-$i" or die "content $t"; print "$at{$i}\\n"; }
`;

/** Several processes move files among the same directories. */
export const renameStorm: Workload = {
  name: "rename-storm",
  core: true,
  async run({ dir }) {
    for (let i = 0; i < 4; i++) Deno.mkdirSync(`${dir}/d${i}`);
    const outputs = await Promise.all(
      Array.from({ length: PROCESSES }, (_, me) => mustPerl(STORM, [dir, `${me}`, `${FILES}`])),
    );
    const paths = outputs.flatMap((text) => text.trim().split("\n"));
    const names = paths.map((path) => path.slice(dir.length + 1)).sort();
    assert.equal(new Set(names).size, PROCESSES * FILES);
    assert.deepEqual(listed(dir), names);
    return { names };
  },
  verify({ dir }, { names }) {
    assert.deepEqual(listed(dir), names);
    for (const name of names as string[]) {
      const content = Deno.readTextFileSync(`${dir}/${name}`);
      assert.equal(name.slice(3).replace(/-moved\d+$/, ""), content);
    }
  },
};

function listed(dir: string): string[] {
  return [0, 1, 2, 3].flatMap((i) =>
    [...Deno.readDirSync(`${dir}/d${i}`)].map((entry) => `d${i}/${entry.name}`)
  ).sort();
}

const REPLACE = `
my ($dir, $me) = @ARGV;
for my $i (1..100) { my $t = "$dir/new-$me"; open(my $f, ">", $t) or die "$t: $!"; print $f "$me:$i:" . ("x" x 500) . ":end"; close $f or die;
  rename($t, "$dir/current") or die "rename: $!"; }
`;
const READ_CURRENT = `
my ($dir, $staleOk) = @ARGV;
for my $i (1..300) { my $f; unless (open($f, "<", "$dir/current")) { next if $staleOk && $! == 116; die "open $i: $!"; }
  my $t = join "", <$f>; $t =~ /^\\d+:\\d+:x{500}:end$/ or die "torn: " . length($t) . " bytes"; }
`;

/** write-new-then-rename: a reader sees a complete file at every moment, and always one. */
export const atomicReplace: Workload = {
  name: "atomic-replace",
  core: true,
  async run({ dir, configuration }) {
    Deno.writeTextFileSync(`${dir}/current`, `0:0:${"x".repeat(500)}:end`);
    // The file handle of a file that was just replaced may be stale by the time it is opened, and the guest
    // retries only once. An open descriptor is never stale.
    const staleOk = configuration.fileHandles === "never" ? "" : "1";
    await Promise.all([
      mustPerl(REPLACE, [dir, "1"]),
      mustPerl(REPLACE, [dir, "2"]),
      mustPerl(READ_CURRENT, [dir, staleOk]),
    ]);
    assert.deepEqual([...Deno.readDirSync(dir)].map((entry) => entry.name), ["current"]);
  },
  verify({ dir }) {
    assert.match(Deno.readTextFileSync(`${dir}/current`), /^[12]:100:x{500}:end$/);
  },
};

/** RENAME_NOREPLACE, RENAME_EXCHANGE, and renames over what must not be replaced. */
export const renameFlags: Workload = {
  name: "rename-flags",
  core: true,
  run({ dir, isVirtiofs }) {
    const path = (name: string) => `${dir}/${name}`;
    Deno.writeTextFileSync(path("a"), "a");
    Deno.writeTextFileSync(path("b"), "b");
    Deno.mkdirSync(path("empty"));
    Deno.mkdirSync(path("full"));
    Deno.writeTextFileSync(path("full/x"), "x");
    if (isVirtiofs) {
      mustFail(libc.rename(path("a"), path("b"), libc.RENAME.NOREPLACE), "EEXIST", "NOREPLACE");
      must(libc.rename(path("a"), path("fresh"), libc.RENAME.NOREPLACE), "NOREPLACE, no target");
      must(libc.rename(path("fresh"), path("a"), libc.RENAME.NOREPLACE), "NOREPLACE back");
      must(libc.rename(path("a"), path("b"), libc.RENAME.EXCHANGE), "EXCHANGE");
      assert.equal(Deno.readTextFileSync(path("a")), "b");
      assert.equal(Deno.readTextFileSync(path("b")), "a");
      must(
        libc.rename(path("a"), path("full"), libc.RENAME.EXCHANGE),
        "EXCHANGE file and directory",
      );
      assert.equal(Deno.readTextFileSync(path("a/x")), "x");
      must(libc.rename(path("a"), path("full"), libc.RENAME.EXCHANGE), "EXCHANGE back");
      mustFail(libc.rename(path("a"), path("none"), libc.RENAME.EXCHANGE), "ENOENT", "EXCHANGE");
      mustFail(libc.rename(path("a"), path("b"), 3), "EINVAL", "NOREPLACE with EXCHANGE");
    } else {
      must(libc.rename(path("a"), path("t")), "rename");
      must(libc.rename(path("b"), path("a")), "rename");
      must(libc.rename(path("t"), path("b")), "rename");
    }
    mustFail(libc.rename(path("a"), path("empty")), "EISDIR", "file over directory");
    mustFail(libc.rename(path("empty"), path("a")), "ENOTDIR", "directory over file");
    mustFail(libc.rename(path("empty"), path("full")), ["ENOTEMPTY", "EEXIST"], "over a full one");
    mustFail(libc.rename(path("full"), path("full/sub")), "EINVAL", "directory into itself");
    must(libc.rename(path("full"), path("empty")), "directory over an empty one");
    assert.equal(Deno.readTextFileSync(path("empty/x")), "x");
  },
  verify({ dir }) {
    assert.equal(Deno.readTextFileSync(`${dir}/a`), "b");
    assert.equal(Deno.readTextFileSync(`${dir}/b`), "a");
    assert.deepEqual([...Deno.readDirSync(dir)].map((e) => e.name).sort(), ["a", "b", "empty"]);
  },
};
