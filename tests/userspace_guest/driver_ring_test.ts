import { equal, match } from "node:assert/strict";
import { DriverRing, NOTHING_USED, ringLayout } from "../../src/guest/driver/driver_ring.ts";
import { GuestMemory } from "../../src/memory/guest_memory.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { Chain } from "../../src/virtqueue/chain.ts";
import { SplitQueue } from "../../src/virtqueue/split_queue.ts";
import { DESC, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from "../../src/wire/virtio_ring.ts";

const SIZE = 8;
const TABLE = 8192;
const BUFFER = 16384;

/** A driver's ring and the device's side of it, over the same memory. */
function pair(features: { indirect: boolean; eventIdx: boolean }) {
  const memory = NativeMemory.allocate(65536);
  const layout = ringLayout(4096, SIZE);
  const ring = new DriverRing(memory, layout, features);
  const address = memory.address;
  const guest = new GuestMemory([
    { guestAddress: 0, userAddress: address, hostAddress: address, size: 65536 },
  ]);
  const device = SplitQueue.create(guest, {
    size: SIZE,
    descriptors: address + layout.descriptors,
    avail: address + layout.avail,
    used: address + layout.used,
    base: 0,
    eventIdx: features.eventIdx,
  });
  if (typeof device === "string") throw new Error(device);
  return { memory, ring, device, layout };
}

/** Writes a table of `readable` and `writable` pieces of 16 bytes; returns how many descriptors it has. */
function table(memory: NativeMemory, readable: number, writable: number, at = TABLE): number {
  const count = readable + writable;
  for (let i = 0; i < count; i++) {
    const entry = at + i * DESC.SIZE;
    memory.setU64(entry + DESC.ADDR, BUFFER + i * 64);
    memory.view.setUint32(entry + DESC.LEN, 16, true);
    const flags = (i < readable ? 0 : VIRTQ_DESC_F_WRITE) | (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0);
    memory.view.setUint16(entry + DESC.FLAGS, flags, true);
    memory.view.setUint16(entry + DESC.NEXT, i + 1, true);
  }
  return count;
}

for (const indirect of [true, false]) {
  for (const eventIdx of [true, false]) {
    const name = `${indirect ? "indirect" : "direct"}, ${eventIdx ? "EVENT_IDX" : "flags"}`;

    Deno.test(`virtio 2.7: what the driver offers is what the device takes (${name})`, () => {
      const { memory, ring, device } = pair({ indirect, eventIdx });
      const chain = new Chain();
      // More than twice around the indices' 16 bits.
      for (let i = 0; i < 140_000; i++) {
        ring.add(5, TABLE, table(memory, 2, 1));
        ring.publish();
        equal(device.pop(chain), true);
        equal(chain.readableSize, 32);
        equal(chain.writableSize, 16);
        device.push(chain.head, 7);
        device.publish();
        equal(ring.take(), 5);
        equal(ring.usedSize, 7);
        equal(ring.take(), NOTHING_USED);
      }
      equal(ring.broken, null);
    });

    Deno.test(`chains come back in any order (${name})`, () => {
      const { memory, ring, device } = pair({ indirect, eventIdx });
      const count = table(memory, 1, 1);
      let random = 7;
      for (let round = 0; round < 500; round++) {
        const names: number[] = [];
        while (ring.hasRoom(count)) {
          names.push(names.length);
          ring.add(names.length - 1, TABLE, count);
        }
        equal(names.length, indirect ? SIZE : SIZE / 2);
        ring.publish();
        const heads: number[] = [];
        for (const chain = new Chain(); device.pop(chain);) heads.push(chain.head);
        equal(heads.length, names.length);
        const back = new Set<number>();
        while (heads.length > 0) {
          random = (Math.imul(random, 1103515245) + 12345) >>> 0;
          device.push(heads.splice(random % heads.length, 1)[0]!, 0);
        }
        device.publish();
        for (let one = ring.take(); one !== NOTHING_USED; one = ring.take()) back.add(one);
        equal(back.size, names.length);
      }
    });
  }
}

Deno.test("virtio 2.7.10: the device kicks and is kicked only where the other side asks (EVENT_IDX)", () => {
  const { memory, ring, device } = pair({ indirect: true, eventIdx: true });
  const count = table(memory, 1, 1);
  const chain = new Chain();
  device.askForKick();
  ring.add(1, TABLE, count);
  equal(ring.publish(), true, "it asked for the first");
  ring.add(2, TABLE, count);
  equal(ring.publish(), false, "and for no other yet");
  equal(ring.askForCall(), false);
  device.pop(chain);
  device.push(chain.head, 0);
  equal(device.publish(), true, "the driver sleeps");
  device.pop(chain);
  device.push(chain.head, 0);
  equal(device.publish(), false, "it has been woken");
  equal(ring.askForCall(), true, "there is something already");
});

Deno.test("a used ring that says what cannot be breaks the ring, once", () => {
  const cases: readonly (readonly [RegExp, (m: NativeMemory, used: number) => void])[] = [
    [/descriptor 5, which it does not have/, (m, used) => {
      m.view.setUint32(used + 4, 5, true);
      m.view.setUint16(used + 2, 1, true);
    }],
    [/descriptor 4294967295/, (m, used) => {
      m.view.setUint32(used + 4, 0xffffffff, true);
      m.view.setUint16(used + 2, 1, true);
    }],
    [/claims 9 used buffers in a queue of 8/, (m, used) => m.view.setUint16(used + 2, 9, true)],
  ];
  for (const [reason, spoil] of cases) {
    const { memory, ring, layout } = pair({ indirect: true, eventIdx: true });
    ring.add(0, TABLE, table(memory, 1, 1));
    ring.publish();
    spoil(memory, layout.used);
    equal(ring.take(), NOTHING_USED);
    match(ring.broken!, reason);
    equal(ring.take(), NOTHING_USED);
    equal(ring.hasUsed, false);
  }
});
