import assert from "node:assert/strict";
import { type FuseClient, type Pending, ROOT } from "../support/fuse_client.ts";
import { OP } from "../support/fuse_wire.ts";
import type { Guest } from "../support/guest.ts";
import { words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

const served = new ServedTree();
const body = words(0, 0, 0n);

/** xorshift32: a test that fails is run again with the seed in its message. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** `total` requests in batches of random size, with a random number left outstanding. */
function storm(guest: Guest, total: number, seed: number): void {
  const random = randomNumbers(seed);
  const fuse: FuseClient = guest.fuse;
  const queue = guest.queues[1]!;
  const pending: Pending[] = [];
  let sent = 0;
  while (sent < total || pending.length > 0) {
    const room = Math.floor(queue.freeDescriptors / 4);
    const batch = Math.min(random(24), room, total - sent);
    for (let index = 0; index < batch; index += 1) {
      pending.push(fuse.add(OP.GETATTR, ROOT, body, { room: 104 }));
      sent += 1;
      if (random(4) === 0) queue.publish(); // some batches in several steps
    }
    queue.publish();
    const keep = sent === total ? 0 : random(12);
    while (pending.length > keep) assert.equal(fuse.wait(pending.shift()!).error, 0);
  }
  assert.equal(queue.outstanding, 0, `seed ${seed}`);
}

served.test("virtio 2.7.7.2: no wake-up is missed over 100,000 requests with EVENT_IDX", ({ guest }) => {
  const queue = guest.queues[1]!;
  assert.ok(queue.eventIdx);
  const seed = (Math.random() * 2 ** 32) >>> 0;
  try {
    storm(guest, 100_000, seed);
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
  assert.ok(queue.kicks < 100_000, "some kicks were suppressed");
});

served.test("virtio 2.7.7: no wake-up is missed without EVENT_IDX", ({ guest }) => {
  assert.ok(!guest.queues[1]!.eventIdx);
  storm(guest, 20_000, 12345);
}, { eventIdx: false });

for (const eventIdx of [true, false]) {
  const how = eventIdx ? "with" : "without";
  served.test(`virtio 2.7: ring indices wrap around at 65,536, ${how} EVENT_IDX`, ({ guest }) => {
    storm(guest, 2_000, 99);
    assert.ok(guest.queues[1]!.usedIndex < 2_000, "the index has wrapped");
  }, { eventIdx, startIndex: 65_000 });
}

/** Posts a request and sees it done by looking at the ring, without sleeping on the interrupt. */
function spin(guest: Guest): void {
  const queue = guest.queues[1]!;
  const pending = guest.fuse.submit(OP.GETATTR, ROOT, body, { room: 104 });
  const deadline = performance.now() + 5_000;
  while (queue.deviceUsedIndex() === queue.usedIndex) {
    assert.ok(performance.now() < deadline, "the request is not served");
  }
  assert.equal(guest.fuse.wait(pending).error, 0);
}

served.test("virtio 2.7.7: avail.flags = NO_INTERRUPT keeps the device quiet", ({ guest }) => {
  const queue = guest.queues[1]!;
  queue.takeInterrupts();
  queue.setAvailFlags(1);
  for (let count = 0; count < 100; count += 1) spin(guest);
  guest.frontend.getVringBase(1); // the ring has stopped: nothing can come any more
  assert.equal(queue.takeInterrupts(), 0);
}, { eventIdx: false, notOnRust: true });

served.test("virtio 2.7.7.2: no interrupt before used_event is passed", ({ guest }) => {
  const queue = guest.queues[1]!;
  queue.setUsedEvent(queue.usedIndex + 1000);
  spin(guest);
  queue.takeInterrupts();
  for (let count = 0; count < 100; count += 1) spin(guest);
  guest.frontend.getVringBase(1);
  assert.equal(queue.takeInterrupts(), 0);
});

served.test("virtio 2.7.7.2: used_event in the middle of a batch interrupts", ({ guest }) => {
  const queue = guest.queues[1]!;
  queue.takeInterrupts();
  const start = queue.usedIndex;
  queue.setUsedEvent(start + 5);
  const pending = Array.from(
    { length: 10 },
    () => guest.fuse.add(OP.GETATTR, ROOT, body, { room: 104 }),
  );
  queue.publish();
  const deadline = performance.now() + 5_000;
  let interrupts = 0;
  while (interrupts === 0) {
    interrupts += queue.takeInterrupts();
    assert.ok(performance.now() < deadline, "no interrupt although used_event was passed");
  }
  for (const request of pending) guest.fuse.wait(request);
});
