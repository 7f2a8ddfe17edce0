/**
 * Names and targets: mostly of a small set, so that they meet, and sometimes of those that must not pass.
 *
 * @module
 */

import type { Random } from "./random.ts";

const ENCODER = new TextEncoder();
const KNOWN = [
  ..."abcdefgh",
  "file",
  "dir",
  "link-out",
  "link-in",
  "fifo",
  "large",
  "sub",
].map((name) => ENCODER.encode(name));

/** None of them is the path of anything that a machine has: whoever fuzzes a broken daemon wants to keep it. */
const HOSTILE = [
  "",
  ".",
  "..",
  "../canary",
  "../canary/secret",
  "dir/../../canary",
  "a/b",
  "/virtiofsd-ts-fuzz-nowhere",
  "...",
  "x".repeat(254),
  "x".repeat(255),
  "x".repeat(256),
  "x".repeat(4095),
].map((name) => ENCODER.encode(name)).concat([
  // No UTF-8, a NUL inside, control characters.
  Uint8Array.of(0xff, 0xfe, 0x80),
  Uint8Array.of(0x61, 0, 0x62),
  Uint8Array.of(1, 10, 13, 27),
]);

const TARGETS = ["file", "../canary/secret", "../canary", "dir/sub", "", "a\n"]
  .map((name) => ENCODER.encode(name));

const XATTRS = [
  "user.a",
  "user.b",
  "trusted.x",
  "security.selinux",
  "security.capability",
  "system.posix_acl_access",
  "system.posix_acl_default",
  "user.",
  "",
  "none",
  "user." + "n".repeat(250),
  "user." + "n".repeat(251),
].map((name) => ENCODER.encode(name));

export function someName(random: Random): Uint8Array {
  return random.oneIn(14) ? random.pick(HOSTILE) : random.pick(KNOWN);
}

export function someTarget(random: Random): Uint8Array {
  return random.oneIn(10) ? random.pick(HOSTILE) : random.pick(TARGETS);
}

export function someXattr(random: Random): Uint8Array {
  return random.oneIn(20) ? random.pick(HOSTILE) : random.pick(XATTRS);
}
