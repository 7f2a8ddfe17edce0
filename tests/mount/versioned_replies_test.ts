import { deepEqual, equal } from "node:assert/strict";
import { takeVersions } from "../../src/mount/versioned_replies.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";

const AT = 64;

/** A record as the daemon writes it: 128 bytes of entry, 16 of version, 24 of dirent, the name, zeros up to 8. */
function record(name: string, fill: number): Uint8Array {
  const bytes = new Uint8Array(Math.ceil((168 + name.length) / 8) * 8);
  const view = new DataView(bytes.buffer);
  bytes.fill(fill, 0, 128);
  view.setBigUint64(128, BigInt(fill) + 100n, true);
  view.setBigUint64(136, (BigInt(fill) << 32n) + 4096n, true);
  view.setBigUint64(144, BigInt(fill), true);
  view.setBigUint64(152, BigInt(fill) + 7n, true);
  view.setUint32(160, name.length, true);
  view.setUint32(164, 8, true);
  bytes.set(new TextEncoder().encode(name), 168);
  return bytes;
}

/** The same as the kernel wants it. */
function plain(versioned: Uint8Array): Uint8Array {
  return new Uint8Array([...versioned.subarray(0, 128), ...versioned.subarray(144)]);
}

function place(records: readonly Uint8Array[]): { memory: NativeMemory; size: number } {
  const memory = NativeMemory.allocate(65536);
  let size = 0;
  for (const bytes of records) {
    memory.u8.set(bytes, AT + size);
    size += bytes.length;
  }
  return { memory, size };
}

Deno.test("READDIRPLUS: versioned records become the kernel's, in place, whatever their length", () => {
  const names = ["a", "12345678", "123456789", "x".repeat(255), ".", ".."];
  const records = names.map((name, i) => record(name, i + 1));
  const { memory, size } = place(records);
  const seen: string[] = [];
  const kept = takeVersions(memory, AT, size, (entry, index, low, high, nameAt, nameSize) => {
    const name = new TextDecoder().decode(memory.u8.slice(nameAt, nameAt + nameSize));
    seen.push(`${name} ${index} ${low} ${high} ${memory.u8[entry]}`);
  });
  deepEqual(seen, names.map((name, i) => `${name} ${i + 101} 4096 ${i + 1} ${i + 1}`));
  const expected = records.map(plain).flatMap((bytes) => [...bytes]);
  equal(kept, expected.length);
  deepEqual([...memory.u8.slice(AT, AT + kept)], expected);
});

Deno.test("READDIRPLUS: an empty reply stays one", () => {
  equal(takeVersions(NativeMemory.allocate(4096), AT, 0, () => {}), 0);
});

Deno.test("READDIRPLUS: records that are cut short, have no name or claim to be longer are none", () => {
  const whole = record("name", 1);
  for (const cut of [1, 100, 167, 168, whole.length - 1]) {
    const { memory } = place([whole]);
    equal(takeVersions(memory, AT, cut, () => {}), -1, `${cut} bytes`);
  }
  for (const length of [0, 9, 2 ** 31, 2 ** 32 - 1]) {
    const { memory, size } = place([whole]);
    memory.view.setUint32(AT + 160, length, true);
    equal(takeVersions(memory, AT, size, () => {}), -1, `a name of ${length}`);
  }
});
