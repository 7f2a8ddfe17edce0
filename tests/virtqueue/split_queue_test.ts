import { deepEqual, equal, match } from "node:assert/strict";
import fc from "fast-check";
import { Chain } from "../../src/virtqueue/chain.ts";
import { SplitQueue } from "../../src/virtqueue/split_queue.ts";
import { property } from "./property.ts";
import { TestRegions, USER_OFFSET } from "./regions.ts";

const RING = 0x10000;
const DATA = 0x80000;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** A driver written from the specification: every field at its own offset, byte by byte. */
class Driver {
  readonly regions = new TestRegions([
    { guestAddress: RING, size: 0x40000 },
    { guestAddress: DATA, size: 0x10000 },
  ]);
  readonly chain = new Chain();
  readonly size: number;
  readonly descriptors = RING;
  readonly avail: number;
  readonly used: number;
  availIdx: number;

  constructor(size: number, index = 0) {
    this.size = size;
    this.avail = RING + 16 * size;
    this.used = this.avail + Math.ceil((6 + 2 * size) / 4) * 4;
    this.availIdx = index;
    this.regions.store(this.avail + 2, index, 2);
    this.regions.store(this.used + 2, index, 2);
  }

  device(eventIdx = false, base = this.availIdx): SplitQueue {
    const queue = SplitQueue.create(this.regions.memory, {
      size: this.size,
      descriptors: this.descriptors + USER_OFFSET,
      avail: this.avail + USER_OFFSET,
      used: this.used + USER_OFFSET,
      base,
      eventIdx,
    });
    if (typeof queue === "string") throw new Error(queue);
    return queue;
  }

  describe(index: number, address: number, size: number, flags: number, next = 0): void {
    this.describeAt(this.descriptors + 16 * index, address, size, flags, next);
  }

  describeAt(at: number, address: number, size: number, flags: number, next = 0): void {
    this.regions.store(at, address, 8);
    this.regions.store(at + 8, size, 4);
    this.regions.store(at + 12, flags, 2);
    this.regions.store(at + 14, next, 2);
  }

  offer(head: number): void {
    this.regions.store(this.avail + 4 + 2 * (this.availIdx % this.size), head, 2);
    this.availIdx = (this.availIdx + 1) % 65536;
    this.regions.store(this.avail + 2, this.availIdx, 2);
  }

  get usedIdx(): number {
    return this.regions.load(this.used + 2, 2);
  }

  usedElement(index: number): [id: number, length: number] {
    const at = this.used + 4 + 8 * (index % this.size);
    return [this.regions.load(at, 4), this.regions.load(at + 4, 4)];
  }

  set usedEvent(index: number) {
    this.regions.store(this.avail + 4 + 2 * this.size, index, 2);
  }

  get availEvent(): number {
    return this.regions.load(this.used + 4 + 8 * this.size, 2);
  }

  set availFlags(flags: number) {
    this.regions.store(this.avail, flags, 2);
  }

  get usedFlags(): number {
    return this.regions.load(this.used, 2);
  }
}

property(
  "SplitQueue gives back what was offered, in any order, over the wrap of the indices",
  import.meta.url,
  fc.record({
    sizeBits: fc.integer({ min: 0, max: 5 }),
    start: fc.oneof(fc.nat(65535), fc.integer({ min: 65500, max: 65535 })),
    eventIdx: fc.boolean(),
    steps: fc.array(
      fc.record({ offers: fc.nat(6), takes: fc.nat(6), returns: fc.nat(6), pick: fc.nat() }),
      {
        minLength: 1,
        maxLength: 40,
      },
    ),
  }),
  ({ sizeBits, start, eventIdx, steps }) => {
    const driver = new Driver(1 << sizeBits, start);
    const queue = driver.device(eventIdx);
    const free = Array.from({ length: driver.size }, (_, i) => i);
    const offered: number[] = [];
    const taken: number[] = [];
    let seen = start;
    let serial = 0;
    for (const step of steps) {
      for (let i = 0; i < step.offers && free.length > 0; i++) {
        const head = free.shift()!;
        driver.describe(head, DATA + head * 16, 16, WRITE);
        driver.offer(head);
        offered.push(head);
      }
      equal(queue.hasAvailable, offered.length > 0);
      for (let i = 0; i < step.takes; i++) {
        const expected = offered.shift();
        equal(queue.pop(driver.chain), expected !== undefined);
        if (expected === undefined) break;
        equal(driver.chain.head, expected);
        equal(driver.chain.writableSize, 16);
        taken.push(expected);
      }
      const before = driver.usedIdx;
      const returned: [number, number][] = [];
      for (let i = 0; i < step.returns && taken.length > 0; i++) {
        const [head] = taken.splice(step.pick % taken.length, 1);
        queue.push(head!, ++serial);
        returned.push([head!, serial]);
        free.push(head!);
      }
      // Staged, not shown.
      equal(driver.usedIdx, before);
      // A driver that wants to hear of the very next used buffer.
      driver.usedEvent = seen;
      equal(queue.publish(), returned.length > 0);
      for (const element of returned) {
        deepEqual(driver.usedElement(seen), element);
        seen = (seen + 1) % 65536;
      }
      equal(driver.usedIdx, seen);
      equal(
        queue.base,
        (start + 65536 + ((driver.availIdx - start + 65536) % 65536) - offered.length) % 65536,
      );
    }
    equal(queue.broken, null);
  },
);

Deno.test("virtio 2.7.10: with EVENT_IDX the device notifies when used_event is passed, once", () => {
  const driver = new Driver(8, 65534);
  const queue = driver.device(true);
  // "Tell me after the third": index 0 after the wrap.
  driver.usedEvent = 0;
  const wants = Array.from({ length: 5 }, (_, i) => {
    driver.describe(i, DATA, 4, WRITE);
    driver.offer(i);
    equal(queue.pop(driver.chain), true);
    queue.push(i, 0);
    return queue.publish();
  });
  deepEqual(wants, [false, false, true, false, false]);
});

Deno.test("virtio 2.7.10: one notification decision covers a whole batch", () => {
  const driver = new Driver(8);
  const queue = driver.device(true);
  driver.usedEvent = 2;
  for (let i = 0; i < 5; i++) queue.push(i, 0);
  equal(queue.publish(), true);
  equal(queue.publish(), false);
});

Deno.test("virtio 2.7.7.1: without EVENT_IDX, NO_INTERRUPT silences the device", () => {
  const driver = new Driver(4);
  const queue = driver.device(false);
  queue.push(0, 0);
  equal(queue.publish(), true);
  driver.availFlags = 1;
  queue.push(1, 0);
  equal(queue.publish(), false);
  equal(driver.usedIdx, 2);
});

Deno.test("virtio 2.7.10.1: askForKick() names the next buffer, and sees one that came meanwhile", () => {
  const driver = new Driver(4, 65535);
  const queue = driver.device(true);
  equal(queue.askForKick(), false);
  equal(driver.availEvent, 65535);
  driver.describe(0, DATA, 4, WRITE);
  driver.offer(0);
  equal(queue.askForKick(), true);
  equal(queue.pop(driver.chain), true);
  equal(queue.askForKick(), false);
  equal(driver.availEvent, 0);
});

Deno.test("virtio 2.7.8: without EVENT_IDX kicks are declined and asked for by NO_NOTIFY", () => {
  const driver = new Driver(4);
  const queue = driver.device(false);
  queue.declineKicks();
  equal(driver.usedFlags, 1);
  equal(queue.askForKick(), false);
  equal(driver.usedFlags, 0);
});

Deno.test("virtio 2.7.5: a chain is read descriptor by descriptor", () => {
  const driver = new Driver(8);
  const queue = driver.device();
  driver.describe(5, DATA, 10, NEXT, 2);
  driver.describe(2, DATA + 100, 20, NEXT, 7);
  driver.describe(7, DATA + 200, 30, WRITE | NEXT, 0);
  driver.describe(0, DATA + 300, 40, WRITE);
  driver.offer(5);
  equal(queue.pop(driver.chain), true);
  equal(driver.chain.head, 5);
  equal(driver.chain.readableSize, 30);
  equal(driver.chain.writableSize, 70);
});

Deno.test("virtio 2.7.5.3: an indirect table, alone and at the end of a chain", () => {
  const driver = new Driver(4);
  const queue = driver.device();
  // At an odd address: a table needs no alignment of ours.
  const table = DATA + 0x8001;
  driver.describeAt(table, DATA, 11, NEXT, 2);
  driver.describeAt(table + 32, DATA + 50, 5, WRITE);
  driver.describe(1, table, 48, INDIRECT);
  driver.describe(3, DATA + 90, 100, NEXT, 1);
  driver.offer(1);
  driver.offer(3);
  equal(queue.pop(driver.chain), true);
  deepEqual([driver.chain.readableSize, driver.chain.writableSize], [11, 5]);
  equal(queue.pop(driver.chain), true);
  deepEqual([driver.chain.readableSize, driver.chain.writableSize], [111, 5]);
});

Deno.test("load() reads a chain again, as it stands then", () => {
  const driver = new Driver(4);
  const queue = driver.device();
  driver.describe(2, DATA, 10, 0);
  driver.offer(2);
  equal(queue.pop(driver.chain), true);
  driver.describe(2, DATA, 20, 0);
  equal(queue.load(driver.chain, 2), true);
  equal(driver.chain.readableSize, 20);
});

Deno.test("a queue continues at its base, and at the used index in memory", () => {
  const driver = new Driver(4, 9);
  driver.describe(1, DATA, 4, WRITE);
  driver.offer(1);
  const queue = driver.device(false, 9);
  equal(queue.pop(driver.chain), true);
  equal(queue.base, 10);
  queue.push(1, 3);
  queue.publish();
  equal(driver.usedIdx, 10);
  deepEqual(driver.usedElement(9), [1, 3]);
});

/** Each way to break a queue, and what is said of it. */
const BREAKS: Readonly<Record<string, [(driver: Driver) => void, RegExp]>> = {
  "too many available": [(d) => {
    d.regions.store(d.avail + 2, 5, 2);
  }, /claims 5 available buffers in a queue of 4/],
  "a head beyond the table": [(d) => d.offer(4), /names descriptor 4/],
  "a next beyond the table": [(d) => {
    d.describe(0, DATA, 4, NEXT, 4);
    d.offer(0);
  }, /descriptor 4 of a table of 4/],
  "a loop": [(d) => {
    d.describe(0, DATA, 4, NEXT, 1);
    d.describe(1, DATA, 4, NEXT, 0);
    d.offer(0);
  }, /loops/],
  "an address beyond 2^53": [(d) => {
    d.describe(0, 0, 4, 0);
    d.regions.store(RING + 4, 0xffffffff, 4);
    d.offer(0);
  }, /outside the guest's memory/],
  "readable after writable": [(d) => {
    d.describe(0, DATA, 4, WRITE | NEXT, 1);
    d.describe(1, DATA, 4, 0);
    d.offer(0);
  }, /out of order/],
  "indirect with next": [(d) => {
    d.describe(0, DATA, 16, INDIRECT | NEXT, 1);
    d.offer(0);
  }, /indirect descriptor with a next one/],
  "indirect inside indirect": [(d) => {
    d.describeAt(DATA, DATA, 16, INDIRECT);
    d.describe(0, DATA, 16, INDIRECT);
    d.offer(0);
  }, /inside an indirect table/],
  "an empty indirect table": [(d) => {
    d.describe(0, DATA, 0, INDIRECT);
    d.offer(0);
  }, /indirect table of 0 bytes/],
  "an indirect table of one and a half": [(d) => {
    d.describe(0, DATA, 24, INDIRECT);
    d.offer(0);
  }, /indirect table of 24 bytes/],
  "an indirect table that leaves its region": [(d) => {
    d.describe(0, DATA + 0xfff8, 16, INDIRECT);
    d.offer(0);
  }, /indirect table outside/],
  "a next beyond the indirect table": [(d) => {
    d.describeAt(DATA, DATA, 4, NEXT, 1);
    d.describe(0, DATA, 16, INDIRECT);
    d.offer(0);
  }, /descriptor 1 of a table of 1/],
};

Deno.test("a buffer outside memory is for the user of the queue to judge", () => {
  const driver = new Driver(4);
  const queue = driver.device();
  driver.describe(0, DATA + 0xfff0, 17, 0);
  driver.offer(0);
  equal(queue.pop(driver.chain), true);
  equal(driver.chain.hasUnreachable, true);
  equal(queue.broken, null);
  queue.fail("nobody to tell");
  equal(queue.broken, "nobody to tell");
  equal(queue.hasAvailable, false);
});

for (const [what, [breakIt, reason]] of Object.entries(BREAKS)) {
  Deno.test(`a broken ring (${what}) says why and gives nothing more`, () => {
    const driver = new Driver(4);
    const queue = driver.device();
    breakIt(driver);
    equal(queue.pop(driver.chain), false);
    match(queue.broken!, reason);
    equal(queue.base, 0);
    driver.describe(3, DATA, 4, 0);
    driver.offer(3);
    equal(queue.hasAvailable, false);
    equal(queue.pop(driver.chain), false);
    equal(queue.askForKick(), false);
  });
}

Deno.test("create() refuses rings that are no rings", () => {
  const driver = new Driver(4);
  const good = {
    size: 4,
    descriptors: driver.descriptors + USER_OFFSET,
    avail: driver.avail + USER_OFFSET,
    used: driver.used + USER_OFFSET,
    base: 0,
    eventIdx: false,
  };
  const { memory } = driver.regions;
  for (
    const [bad, reason] of [
      [{ size: 0 }, /not a power of two/],
      [{ size: 3 }, /not a power of two/],
      [{ size: 65536 }, /not a power of two/],
      [{ descriptors: 5 }, /descriptor table lies outside/],
      // Guest-physical addresses are not what the front end names rings by.
      [{ avail: driver.avail }, /available ring lies outside/],
      [{ used: RING + USER_OFFSET + 0x40000 - 37 }, /used ring lies outside/],
      [{ avail: good.avail + 1 }, /not aligned to 2/],
      [{ used: good.used + 2 }, /not aligned to 4/],
    ] as const
  ) {
    const result = SplitQueue.create(memory, { ...good, ...bad });
    equal(typeof result, "string", JSON.stringify(bad));
    match(result as string, reason);
  }
});
