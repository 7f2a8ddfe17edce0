import assert from "node:assert/strict";
import { ElfImage, EM, isElf64 } from "../../tools/elf.ts";

Deno.test("ElfImage adds a segment that lies behind all others and is page-aligned", () => {
  const image = new ElfImage(Deno.readFileSync(Deno.execPath()));
  const address = image.freeAddress();
  const content = new TextEncoder().encode("content of the segment");
  const bytes = image.withSegment(content, address, address + 4);
  const changed = new ElfImage(bytes);
  assert.equal(changed.entry, address + 4);
  assert.equal(changed.machine, image.machine);
  const before = image.segments();
  const after = changed.segments();
  assert.equal(after.length, before.length);
  const added = after.filter((segment, index) => segment.type !== before[index]?.type);
  assert.equal(added.length, 1);
  const [segment] = added;
  assert.ok(segment !== undefined);
  assert.equal(segment.address, address);
  assert.equal(segment.address % segment.alignment, segment.offset % segment.alignment);
  assert.deepEqual(bytes.subarray(segment.offset, segment.offset + content.length), content);
  for (const other of before.filter(({ type }) => type === 1)) {
    assert.ok(other.address + other.memorySize <= address);
  }
});

Deno.test("ElfImage.gotSlot() finds imported symbols only", () => {
  const image = new ElfImage(Deno.readFileSync(Deno.execPath()));
  assert.notEqual(image.gotSlot("environ"), image.gotSlot("setenv"));
  assert.equal(image.gotSlot("setenv") % 8, 0);
  assert.throws(() => image.gotSlot("no_such_symbol"), /no GOT slot for "no_such_symbol"/);
  assert.throws(() => image.gotSlot("setenv\0"), /no GOT slot/);
});

Deno.test("ElfImage refuses what is not a 64-bit little-endian ELF", () => {
  const script = new TextEncoder().encode("#!/bin/sh\n".padEnd(100));
  assert.equal(isElf64(script), false);
  assert.throws(() => new ElfImage(script), /Cannot read as ELF/);
  assert.equal(isElf64(new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 2, 1])), false);
  const bigEndian = new Uint8Array(64);
  bigEndian.set([0x7f, 0x45, 0x4c, 0x46, 2, 2]);
  assert.equal(isElf64(bigEndian), false);
});

Deno.test("the machines are the ones of elf.h", () => {
  assert.deepEqual(EM, { X86_64: 62, AARCH64: 183 });
});
