import { equal } from "node:assert/strict";
import fc from "fast-check";
import { GuestMemory } from "../../src/memory/guest_memory.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { property } from "../virtqueue/property.ts";

const backing = NativeMemory.allocate(65536);

/** Regions with gaps and without, at addresses above 2^32 too; in shuffled order. */
const layouts = fc.tuple(
  fc.array(fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 1000 })), { minLength: 1, maxLength: 8 }),
  fc.constantFrom(0, 0x1_0000_0000, 2 ** 45),
  fc.nat(7),
).map(([gapsAndSizes, base, turn]) => {
  let guest = base;
  const regions = gapsAndSizes.map(([gap, size], i) => {
    guest += gap * 500;
    const region = {
      guestAddress: guest,
      userAddress: 2 ** 46 - guest % 2 ** 32 - i * 4096,
      hostAddress: backing.address + i * 1024,
      size,
    };
    guest += size;
    return region;
  });
  const at = turn % regions.length;
  return [...regions.slice(at), ...regions.slice(0, at)];
});

property(
  "regionOf() finds the region of every byte and of none outside",
  import.meta.url,
  layouts,
  (regions) => {
    const memory = new GuestMemory(regions);
    // Twice and in both directions: the last region found is remembered.
    for (const list of [regions, [...regions].reverse(), regions]) {
      for (const region of list) {
        for (
          const address of [
            region.guestAddress - 1,
            region.guestAddress,
            region.guestAddress + region.size - 1,
            region.guestAddress + region.size,
          ]
        ) {
          const expected = regions.find((r) =>
            address >= r.guestAddress && address < r.guestAddress + r.size
          );
          equal(memory.regionOf(address)?.hostAddress, expected?.hostAddress);
        }
      }
    }
  },
);

property(
  "regionOfUser() finds only whole pieces",
  import.meta.url,
  fc.tuple(layouts, fc.integer({ min: -2, max: 1002 }), fc.integer({ min: 1, max: 1002 })),
  ([regions, offset, size]) => {
    const memory = new GuestMemory(regions);
    for (const region of regions) {
      const address = region.userAddress + offset;
      const expected = regions.find((r) =>
        address >= r.userAddress && address + size <= r.userAddress + r.size
      );
      equal(memory.regionOfUser(address, size)?.hostAddress, expected?.hostAddress);
    }
  },
);

Deno.test("a memory without regions contains nothing", () => {
  const memory = new GuestMemory([]);
  equal(memory.regionOf(0), null);
  equal(memory.regionOfUser(0, 1), null);
});
