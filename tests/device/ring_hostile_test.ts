import assert from "node:assert/strict";
import { type Daemon, isRustPeer, until } from "../support/daemon.ts";
import { encodeRequest, ROOT } from "../support/fuse_client.ts";
import { OP } from "../support/fuse_wire.ts";
import type { Guest } from "../support/guest.ts";
import { words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";
import { DESC_F, type SplitQueue, writeDescriptor } from "../support/split_queue.ts";
import { REQUEST } from "../support/vhost_messages.ts";

const served = new ServedTree(isRustPeer ? [] : ["--num-request-queues", "2"]);
// Rust virtiofsd ends or falls silent on most of these rings; that is what is wanted here otherwise.
const options = { requestQueues: 2, queueSize: 64, notOnRust: true };
const { NEXT, WRITE, INDIRECT } = DESC_F;

/** A whole GETATTR in guest memory, and room for its answer: what a sane chain would name. */
function buffers(guest: Guest) {
  const region = guest.regions[1]!;
  const request = encodeRequest(OP.GETATTR, ROOT, words(0, 0, 0n), {}, 4242n);
  const readable = region.allocate(request.length);
  region.bytes.set(request, readable);
  const writable = region.allocate(120);
  return {
    region,
    readable: region.guestAddress + readable,
    readableLength: request.length,
    writable: region.guestAddress + writable,
    table: region.allocate(4096, 16),
  };
}

/** What a driver can get wrong: each writes a chain with head 0 and makes it available. */
const badChains: Record<string, (queue: SplitQueue, guest: Guest) => void> = {
  "a chain that loops": (queue, guest) => {
    const b = buffers(guest);
    queue.writeDescriptor(0, b.readable, b.readableLength, NEXT, 1);
    queue.writeDescriptor(1, b.writable, 120, NEXT | WRITE, 1);
    queue.pushHead(0);
  },
  "a chain that is its own successor": (queue, guest) => {
    const b = buffers(guest);
    queue.writeDescriptor(0, b.readable, b.readableLength, NEXT, 0);
    queue.pushHead(0);
  },
  "a head outside the table": (queue) => queue.pushHead(64),
  "a head of 65535": (queue) => queue.pushHead(0xffff),
  "a next outside the table": (queue, guest) => {
    const b = buffers(guest);
    queue.writeDescriptor(0, b.readable, b.readableLength, NEXT, 64);
    queue.pushHead(0);
  },
  "a readable buffer outside memory": (queue, guest) => {
    const b = buffers(guest);
    queue.writeDescriptor(0, 0x66_0000_0000, 56, NEXT, 1);
    queue.writeDescriptor(1, b.writable, 120, WRITE);
    queue.pushHead(0);
  },
  "a writable buffer outside memory": (queue, guest) => {
    const b = buffers(guest);
    queue.writeDescriptor(0, b.readable, b.readableLength, NEXT, 1);
    queue.writeDescriptor(1, 0x66_0000_0000, 120, WRITE);
    queue.pushHead(0);
  },
  "a buffer that ends outside memory": (queue, guest) => {
    const b = buffers(guest);
    queue.writeDescriptor(0, b.readable, b.readableLength, NEXT, 1);
    queue.writeDescriptor(1, b.region.guestAddress + b.region.size - 8, 120, WRITE);
    queue.pushHead(0);
  },
  "an address that overflows 64 bits": (queue, guest) => {
    const b = buffers(guest);
    writeDescriptor(queue.ring.view, queue.descriptorOffset, {
      address: 0xffff_ffff_ffff_fff0n,
      length: 56,
      flags: NEXT,
      next: 1,
    });
    queue.writeDescriptor(1, b.writable, 120, WRITE);
    queue.pushHead(0);
  },
  "a length of 4 GiB": (queue, guest) => {
    const b = buffers(guest);
    queue.writeDescriptor(0, b.readable, b.readableLength, NEXT, 1);
    queue.writeDescriptor(1, b.writable, 0xffff_ffff, WRITE);
    queue.pushHead(0);
  },
  "writable before readable": (queue, guest) => {
    const b = buffers(guest);
    queue.writeDescriptor(0, b.writable, 120, NEXT | WRITE, 1);
    queue.writeDescriptor(1, b.readable, b.readableLength, 0);
    queue.pushHead(0);
  },
  "an indirect table inside an indirect table": (queue, guest) => {
    const b = buffers(guest);
    const inner = {
      address: b.region.guestAddress + b.table,
      length: 32,
      flags: INDIRECT,
      next: 0,
    };
    writeDescriptor(b.region.view, b.table, inner);
    queue.writeDescriptor(0, b.region.guestAddress + b.table, 16, INDIRECT);
    queue.pushHead(0);
  },
  "an indirect table whose length is not a multiple of 16": (queue, guest) => {
    const b = buffers(guest);
    writeTable(b);
    queue.writeDescriptor(0, b.region.guestAddress + b.table, 33, INDIRECT);
    queue.pushHead(0);
  },
  "an empty indirect table": (queue, guest) => {
    const b = buffers(guest);
    queue.writeDescriptor(0, b.region.guestAddress + b.table, 0, INDIRECT);
    queue.pushHead(0);
  },
  "an indirect table outside memory": (queue) => {
    queue.writeDescriptor(0, 0x66_0000_0000, 32, INDIRECT);
    queue.pushHead(0);
  },
  "a next outside the indirect table": (queue, guest) => {
    const b = buffers(guest);
    writeTable(b, 7);
    queue.writeDescriptor(0, b.region.guestAddress + b.table, 32, INDIRECT);
    queue.pushHead(0);
  },
  "an indirect table that loops": (queue, guest) => {
    const b = buffers(guest);
    writeTable(b, 0);
    queue.writeDescriptor(0, b.region.guestAddress + b.table, 32, INDIRECT);
    queue.pushHead(0);
  },
  "an available index that jumps by more than the ring": (queue) => queue.jumpAvailIndex(65),
  "an available index that goes backwards": (queue) => queue.jumpAvailIndex(-3),
};

/** Two descriptors in the indirect table: request, then reply. */
function writeTable(b: ReturnType<typeof buffers>, next = 1): void {
  writeDescriptor(b.region.view, b.table, {
    address: b.readable,
    length: b.readableLength,
    flags: NEXT,
    next,
  });
  writeDescriptor(b.region.view, b.table + 16, {
    address: b.writable,
    length: 120,
    flags: WRITE,
    next: 0,
  });
}

const lineCount = (daemon: Daemon) => daemon.stderr().split("\n").length;

for (const [what, post] of Object.entries(badChains)) {
  served.test(
    `virtio 2.7: ${what} breaks its queue once, and no other`,
    async ({ guest, daemon }) => {
      const queue = guest.queues[1]!;
      guest.fuse.getattr(ROOT);
      const lines = lineCount(daemon);
      post(queue, guest);
      queue.publish();
      queue.kickAlways();
      await until("one line in the log about it", () => lineCount(daemon) > lines);
      // Kicking a broken queue must not fill the log.
      const said = lineCount(daemon);
      for (let count = 0; count < 50; count += 1) queue.kickAlways();
      guest.forget(77n);
      if (!isRustPeer) {
        assert.equal(guest.clients[1]!.getattr(ROOT).mode & 0o170000, 0o040000, "other queue");
      }
      assert.ok(lineCount(daemon) - said <= 1, `the log grows:\n${daemon.stderr()}`);
      // The front end can still talk, stop the queue and start over.
      guest.frontend.getVringBase(1);
      assert.ok(guest.frontend.isAlive());
    },
    options,
  );
}

served.test(
  "virtio 2.7: zero-length descriptors are served or break the queue",
  async ({ guest, daemon }) => {
    const queue = guest.queues[1]!;
    const b = buffers(guest);
    const lines = lineCount(daemon);
    queue.writeDescriptor(60, b.readable, b.readableLength, NEXT, 61);
    queue.writeDescriptor(61, b.readable, 0, NEXT, 62);
    queue.writeDescriptor(62, b.writable, 0, NEXT | WRITE, 63);
    queue.writeDescriptor(63, b.writable, 120, WRITE);
    const before = queue.deviceUsedIndex();
    queue.pushHead(60);
    queue.publish();
    await until(
      "an answer or a line in the log",
      () => queue.deviceUsedIndex() !== before || lineCount(daemon) > lines,
    );
    if (queue.deviceUsedIndex() !== before) assert.equal(queue.usedElement(before).length, 120);
    guest.forget(77n);
  },
  options,
);

served.test(
  "virtio 2.7: a broken queue works again after a new set-up",
  async ({ guest, daemon }) => {
    const queue = guest.queues[1]!;
    const lines = lineCount(daemon);
    queue.pushHead(1000);
    queue.publish();
    queue.kickAlways();
    await until("one line in the log about it", () => lineCount(daemon) > lines);
    guest.frontend.getVringBase(1);
    queue.startAt(0);
    const { frontend } = guest;
    frontend.set(REQUEST.SET_VRING_BASE, words(1, 0));
    frontend.set(REQUEST.SET_VRING_KICK, words(1n), [queue.kickFd]);
    frontend.enable(1, true);
    assert.equal(guest.fuse.getattr(ROOT).mode & 0o170000, 0o040000);
  },
  options,
);

/** Chains that are sound as chains but too small for an answer. */
const smallRooms: [string, number[]][] = [
  ["no writable part at all", []],
  ["eight bytes for the reply header", [8]],
  ["fifteen bytes for the reply header", [15]],
];

for (const [what, writable] of smallRooms) {
  served.test(`virtio 2.7.4: a request with ${what} is given back`, ({ guest }) => {
    const queue = guest.queues[1]!;
    const request = encodeRequest(OP.GETATTR, ROOT, words(0, 0, 0n), {}, 999_998n);
    queue.add([request], writable);
    queue.publish();
    assert.equal(queue.waitTake().length, 0);
    guest.fuse.getattr(ROOT);
  }, options);
}

served.test(
  "virtio 2.7.4: room for the header but not for the body is an error reply",
  ({ guest }) => {
    for (const room of [0, 1, 50, 103]) {
      const reply = guest.fuse.call(OP.GETATTR, ROOT, words(0, 0, 0n), { room });
      assert.ok(reply.error < 0, `room ${room}`);
      assert.equal(reply.body.length, 0);
    }
    guest.fuse.getattr(ROOT);
  },
  options,
);

served.test("virtio 2.7: random rings never end the daemon", async ({ guest, daemon }) => {
  const queue = guest.queues[1]!;
  const bytes = crypto.getRandomValues(new Uint8Array(16 * queue.size));
  queue.ring.bytes.set(bytes, queue.descriptorOffset);
  for (let head = 0; head < queue.size; head += 1) queue.pushHead(head * 3);
  queue.publish();
  queue.kickAlways();
  guest.forget(77n);
  assert.ok(guest.frontend.isAlive());
  assert.ok(await daemon.isRunning());
}, options);
