import { equal } from "node:assert/strict";
import fc from "fast-check";
import { copyBytes } from "../../src/memory/copy.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { property } from "../virtqueue/property.ts";

const source = NativeMemory.allocate(4096);
const target = NativeMemory.allocate(4096);
for (let i = 0; i < 4096; i++) source.u8[i] = (i * 31 + 7) & 0xff;

property(
  "copyBytes() copies the bytes asked for and touches no others",
  import.meta.url,
  // Both ways of copying, and their border at 384 bytes.
  fc.tuple(
    fc.nat(1000),
    fc.nat(1000),
    fc.oneof(fc.nat(20), fc.integer({ min: 370, max: 400 }), fc.nat(2000)),
  ),
  ([from, to, size]) => {
    target.u8.fill(0xee);
    copyBytes(source, from, target, to, size);
    for (let i = 0; i < 4096; i++) {
      const expected = i >= to && i < to + size ? source.u8[from + i - to] : 0xee;
      if (target.u8[i] !== expected) equal(target.u8[i], expected, `byte ${i}`);
    }
  },
);
