import { equal } from "node:assert/strict";
import fc from "fast-check";
import { checkName, isDot, isDotDot } from "../../src/fuse/names.ts";
import { property } from "../virtqueue/property.ts";

const EINVAL = 22;
const ENAMETOOLONG = 36;

function check(text: string): number {
  const bytes = new TextEncoder().encode(`##${text}##`);
  return checkName(bytes, 2, bytes.length - 4);
}

Deno.test("names that are one component pass", () => {
  for (
    const name of ["a", "...", ".a", "a.", "..a", " ", "\n", "ü", "-", "a\\b", "x".repeat(255)]
  ) {
    equal(check(name), 0, JSON.stringify(name));
  }
});

Deno.test("names that could lead elsewhere do not", () => {
  for (const name of ["", ".", "..", "/", "a/", "/a", "a/b", "../a", "a/.."]) {
    equal(check(name), -EINVAL, JSON.stringify(name));
  }
  equal(check("x".repeat(256)), -ENAMETOOLONG);
  // Bytes count, not characters.
  equal(check("ü".repeat(128)), -ENAMETOOLONG);
});

property(
  "no bytes with a slash, and no dots alone, pass",
  import.meta.url,
  fc.uint8Array({ maxLength: 12, min: 0x2d, max: 0x31 }),
  (bytes) => {
    const dots = bytes.length <= 2 && bytes.every((byte) => byte === 0x2e);
    equal(checkName(bytes, 0, bytes.length) === 0, !bytes.includes(0x2f) && !dots);
  },
);

Deno.test("isDot() and isDotDot() look at exactly the bytes given", () => {
  const bytes = new TextEncoder().encode("...");
  equal(isDot(bytes, 1, 1), true);
  equal(isDot(bytes, 0, 2), false);
  equal(isDotDot(bytes, 1, 2), true);
  equal(isDotDot(bytes, 0, 3), false);
});
