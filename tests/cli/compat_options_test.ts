import assert from "node:assert/strict";
import { rewriteCompatOptions, splitList } from "../../src/cli/compat_options.ts";

function rewritten(...args: string[]): readonly string[] {
  const result = rewriteCompatOptions(args);
  assert.equal(result.error, null);
  return result.args;
}

Deno.test("rewriteCompatOptions() leaves today's options alone", () => {
  const args = ["--shared-dir", "/srv", "--cache=auto", "--fd", "3", "-f"];
  const result = rewriteCompatOptions(args);
  assert.deepEqual(result, { args, deprecated: false, error: null });
});

Deno.test("rewriteCompatOptions() expands a list", () => {
  assert.deepEqual(rewritten("-o", "source=/srv,cache=none,xattr,timeout=2.5"), [
    "--shared-dir=/srv",
    "--cache=none",
    "--xattr",
    "--timeout=2.5",
  ]);
});

Deno.test("rewriteCompatOptions() takes the list in one word and in two", () => {
  assert.deepEqual(rewritten("-oxattr"), ["--xattr"]);
  assert.deepEqual(rewritten("-o", "xattr"), ["--xattr"]);
  assert.deepEqual(rewritten("-o=xattr"), ["--xattr"]);
});

Deno.test("rewriteCompatOptions() reads a doubled comma as one of the value's", () => {
  assert.deepEqual(rewritten("-o", "source=/a,,b,,,,c,xattr"), ["--shared-dir=/a,b,,c", "--xattr"]);
});

Deno.test("splitList() keeps an odd comma as a separator", () => {
  assert.deepEqual(splitList("a,,,b"), ["a,", "b"]);
  assert.deepEqual(splitList("a,"), ["a"]);
  assert.deepEqual(splitList(""), []);
});

Deno.test("rewriteCompatOptions() lets the last word win, over long options too", () => {
  assert.deepEqual(rewritten("-o", "xattr,no_xattr"), []);
  assert.deepEqual(rewritten("-o", "no_xattr,xattr"), ["--xattr"]);
  assert.deepEqual(rewritten("--xattr", "-o", "no_xattr"), []);
  assert.deepEqual(rewritten("-o", "readdirplus", "--no-readdirplus"), ["--no-readdirplus"]);
  assert.deepEqual(rewritten("--no-readdirplus", "-o", "readdirplus"), []);
  // Values are kept in order: the parser takes the last.
  assert.deepEqual(rewritten("-o", "cache=always", "--cache", "auto"), [
    "--cache",
    "auto",
    "--cache=always",
  ]);
});

const WORDS: readonly [string, readonly string[]][] = [
  ["source=/s", ["--shared-dir=/s"]],
  ["cache=always", ["--cache=always"]],
  ["sandbox=chroot", ["--sandbox=chroot"]],
  ["xattr", ["--xattr"]],
  ["no_xattr", []],
  ["flock", ["--flock"]],
  ["no_flock", []],
  ["posix_lock", ["--posix-lock"]],
  ["no_posix_lock", []],
  ["writeback", ["--writeback"]],
  ["no_writeback", []],
  ["readdirplus", []],
  ["no_readdirplus", ["--no-readdirplus"]],
  ["announce_submounts", ["--announce-submounts"]],
  ["allow_direct_io", ["--allow-direct-io"]],
  ["no_allow_direct_io", []],
  ["killpriv_v2", ["--killpriv-v2"]],
  ["no_killpriv_v2", ["--no-killpriv-v2"]],
  ["posix_acl", ["--posix-acl=auto"]],
  ["no_posix_acl", ["--posix-acl=never"]],
  ["security_label", ["--security-label=auto"]],
  ["no_security_label", ["--security-label=never"]],
  ["modcaps=+sys_admin", ["--modcaps=+sys_admin"]],
  ["timeout=3", ["--timeout=3"]],
  ["log_level=debug", ["--log-level=debug"]],
  ["debug", ["--log-level=debug"]],
  ["xattrmap=:map::x.:", ["--xattrmap=:map::x.:"]],
  ["allow_root", []],
  ["max_idle_threads=4", ["--thread-pool-size=4"]],
];

for (const [word, expected] of WORDS) {
  Deno.test(`rewriteCompatOptions() knows -o ${word}`, () => {
    const result = rewriteCompatOptions(["-o", word]);
    assert.deepEqual(result, { args: expected, deprecated: true, error: null });
  });
}

Deno.test("rewriteCompatOptions() names what it does not know", () => {
  assert.match(rewriteCompatOptions(["-o", "xattr,bogus"]).error ?? "", /"bogus"/);
  assert.match(rewriteCompatOptions(["-o", "toString"]).error ?? "", /"toString"/);
  assert.match(rewriteCompatOptions(["-o", "xattr=1"]).error ?? "", /xattr takes no value/);
  assert.match(rewriteCompatOptions(["-o", "cache"]).error ?? "", /cache needs a value/);
  assert.match(rewriteCompatOptions(["-o"]).error ?? "", /needs a list/);
});

Deno.test("rewriteCompatOptions() gives options with an optional value their value", () => {
  assert.deepEqual(rewritten("--posix-acl", "--security-label"), [
    "--posix-acl=auto",
    "--security-label=auto",
  ]);
  assert.deepEqual(rewritten("--posix-acl=never"), ["--posix-acl=never"]);
});

Deno.test("rewriteCompatOptions() stops at --", () => {
  assert.deepEqual(rewritten("-d", "--", "-d", "-o", "x"), [
    "--log-level=debug",
    "--",
    "-d",
    "-o",
    "x",
  ]);
});
