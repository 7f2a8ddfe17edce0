import { deepEqual, equal } from "node:assert/strict";
import fc from "fast-check";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { Chain } from "../../src/virtqueue/chain.ts";
import { property } from "./property.ts";
import { iovecBytes, TestRegions } from "./regions.ts";

/** Two regions that touch, one apart: buffers may cross the border of the first two. */
const regions = new TestRegions([
  { guestAddress: 0x1000, size: 3000 },
  { guestAddress: 0x1000 + 3000, size: 2001 },
  { guestAddress: 0x40000, size: 700 },
]);
const FIRST = 0x1000;
const TOUCHING_SIZE = 5001;
const APART = 0x40000;
const APART_SIZE = 700;

interface Buffer {
  readonly address: number;
  readonly size: number;
}

const buffer: fc.Arbitrary<Buffer> = fc.oneof(
  fc.tuple(fc.nat(TOUCHING_SIZE - 1), fc.nat(900)).map(([offset, size]) => ({
    address: FIRST + offset,
    size: Math.min(size, TOUCHING_SIZE - offset),
  })),
  fc.tuple(fc.nat(APART_SIZE - 1), fc.nat(400)).map(([offset, size]) => ({
    address: APART + offset,
    size: Math.min(size, APART_SIZE - offset),
  })),
  // Around the border.
  fc.tuple(fc.integer({ min: 2990, max: 3005 }), fc.nat(20)).map(([offset, size]) => ({
    address: FIRST + offset,
    size,
  })),
);
const buffers = fc.array(buffer, { maxLength: 12 });
const chain = new Chain();
const scratch = NativeMemory.allocate(65536);

function load(readable: readonly Buffer[], writable: readonly Buffer[]): void {
  chain.clear(7);
  for (const { address, size } of readable) {
    equal(chain.add(regions.memory, address, size, false), true);
  }
  for (const { address, size } of writable) {
    equal(chain.add(regions.memory, address, size, true), true);
  }
}

/** The stream as guest addresses, byte by byte. */
function stream(list: readonly Buffer[]): number[] {
  return list.flatMap(({ address, size }) => Array.from({ length: size }, (_, i) => address + i));
}

/** A range within `length` bytes, chosen by two fractions. */
function cut(length: number, from: number, to: number): [offset: number, size: number] {
  const a = Math.floor(from * (length + 1));
  const b = Math.floor(to * (length + 1));
  return [Math.min(a, b), Math.abs(a - b)];
}

// Not fc.double(): that is even over exponents, which is nearly always nothing.
const fraction = fc.nat(9999).map((value) => value / 10000);
const cuts = fc.tuple(fraction, fraction);

function fillRandomly(seed: number): void {
  let state = seed >>> 0;
  for (const { guestAddress, size } of regions.spans) {
    for (let i = 0; i < size; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      regions.setByte(guestAddress + i, state >>> 24);
    }
  }
}

property(
  "virtio 2.7.4: sizes do not depend on how buffers are split",
  import.meta.url,
  fc.tuple(buffers, buffers),
  ([readable, writable]) => {
    load(readable, writable);
    equal(chain.head, 7);
    equal(chain.readableSize, stream(readable).length);
    equal(chain.writableSize, stream(writable).length);
  },
);

property(
  "copyIn() takes the bytes of the stream, from any offset",
  import.meta.url,
  fc.tuple(buffers, buffers, cuts, fc.nat()),
  ([readable, writable, [from, to], seed]) => {
    fillRandomly(seed);
    load(readable, writable);
    const addresses = stream(readable);
    const [offset, size] = cut(addresses.length, from, to);
    scratch.u8.fill(0xee, 0, size + 200);
    chain.copyIn(offset, scratch, 100, size);
    const expected = addresses.slice(offset, offset + size).map((address) => regions.byte(address));
    deepEqual([...scratch.u8.slice(100, 100 + size)], expected);
    equal(scratch.u8[99], 0xee);
    equal(scratch.u8[100 + size], 0xee);
  },
);

property(
  "copyOut() writes exactly the bytes of the stream, and no other",
  import.meta.url,
  fc.tuple(buffers, buffers, cuts, fc.nat()),
  ([readable, writable, [from, to], seed]) => {
    fillRandomly(seed);
    load(readable, writable);
    const addresses = stream(writable);
    const [offset, size] = cut(addresses.length, from, to);
    const model = new Map<number, number>();
    for (const { guestAddress, size } of regions.spans) {
      for (let i = 0; i < size; i++) model.set(guestAddress + i, regions.byte(guestAddress + i));
    }
    for (let i = 0; i < size; i++) {
      scratch.u8[50 + i] = (i * 7 + 1) & 0xff;
      model.set(addresses[offset + i]!, (i * 7 + 1) & 0xff);
    }
    chain.copyOut(offset, scratch, 50, size);
    for (const [address, value] of model) {
      if (regions.byte(address) !== value) equal(regions.byte(address), value, `byte ${address}`);
    }
  },
);

property(
  "readable() and writable() name the bytes of the stream as iovecs",
  import.meta.url,
  fc.tuple(buffers, buffers, cuts),
  ([readable, writable, [from, to]]) => {
    load(readable, writable);
    for (
      const [list, fill] of [
        [readable, (offset: number, size: number) => chain.readable(offset, size)],
        [writable, (offset: number, size: number) => chain.writable(offset, size)],
      ] as const
    ) {
      const addresses = stream(list);
      const [offset, size] = cut(addresses.length, from, to);
      const count = fill(offset, size);
      equal(chain.iovecSize, size);
      const expected = addresses.slice(offset, offset + size).map((a) => regions.hostAddress(a));
      deepEqual(iovecBytes(chain.iovecPointer, count), expected);
    }
  },
);

property(
  "add() says that part of a buffer is unreachable if and only if some of its bytes do not exist",
  import.meta.url,
  fc.tuple(
    fc.oneof(
      fc.integer({ min: FIRST - 20, max: FIRST + 20 }),
      fc.integer({ min: FIRST + 2980, max: FIRST + 3020 }),
      fc.integer({ min: FIRST + TOUCHING_SIZE - 20, max: FIRST + TOUCHING_SIZE + 20 }),
      fc.integer({ min: APART - 20, max: APART + APART_SIZE + 20 }),
    ),
    fc.nat(60),
    fc.boolean(),
  ),
  ([address, size, writable]) => {
    chain.clear(0);
    equal(chain.add(regions.memory, address, size, writable), true);
    let reachable = 0;
    while (reachable < size && regions.contains(address + reachable, 1)) reachable++;
    equal(chain.hasUnreachable, reachable < size);
    equal(writable ? chain.writableSize : chain.readableSize, reachable);
  },
  2000,
);

Deno.test("virtio 2.7.4.2: a readable buffer after a writable one is refused", () => {
  chain.clear(0);
  equal(chain.add(regions.memory, FIRST, 10, false), true);
  equal(chain.add(regions.memory, FIRST, 10, true), true);
  equal(chain.add(regions.memory, FIRST, 10, false), false);
});

Deno.test("a stream ends at its first unreachable byte, the other one does not", () => {
  chain.clear(0);
  equal(chain.add(regions.memory, FIRST, 10, false), true);
  equal(chain.add(regions.memory, FIRST - 5, 10, false), true);
  equal(chain.add(regions.memory, FIRST, 10, false), true);
  equal(chain.add(regions.memory, FIRST, 7, true), true);
  deepEqual([chain.readableSize, chain.writableSize, chain.hasUnreachable], [10, 7, true]);
});

Deno.test("consecutive pages in separate descriptors make one iovec", () => {
  load([{ address: FIRST, size: 100 }, { address: FIRST + 100, size: 50 }], []);
  equal(chain.readable(0, 150), 1);
  equal(chain.iovecSize, 150);
});

Deno.test("more vectors than one system call takes: iovecSize says how far they go", () => {
  // Every other byte: nothing can be merged.
  load([], Array.from({ length: 1500 }, (_, i) => ({ address: FIRST + 2 * i, size: 1 })));
  equal(chain.writable(0, 1500), 1024);
  equal(chain.iovecSize, 1024);
  equal(chain.writable(1024, 476), 476);
  equal(chain.iovecSize, 476);
  deepEqual(iovecBytes(chain.iovecPointer, 1), [regions.hostAddress(FIRST + 2048)]);
});

Deno.test("a range beyond the stream is our own mistake and asserts", () => {
  load([{ address: FIRST, size: 10 }], [{ address: FIRST, size: 5 }]);
  for (
    const reach of [() => chain.copyIn(8, scratch, 0, 3), () => chain.copyOut(0, scratch, 0, 6)]
  ) {
    let thrown = false;
    try {
      reach();
    } catch {
      thrown = true;
    }
    equal(thrown, true);
  }
});

Deno.test("a stream larger than a system call's result is refused", () => {
  const huge = new TestRegions([{ guestAddress: 0, size: 2 ** 31 }]);
  chain.clear(0);
  equal(chain.add(huge.memory, 0, 2 ** 30, true), true);
  equal(chain.add(huge.memory, 0, 1, true), false);
});
