import assert from "node:assert/strict";
import fc from "fast-check";
import { until } from "../support/daemon.ts";
import { Frontend, memRegion, memTable } from "../support/frontend.ts";
import { ROOT } from "../support/fuse_client.ts";
import { Guest, vringAddr } from "../support/guest.ts";
import { GuestRegion, ordinaryRegions } from "../support/guest_memory.ts";
import { close, eventfd, memfd } from "../support/libc.ts";
import { concat, words } from "../support/little_endian.ts";
import { negotiated, refused, serveNext } from "../support/refusal.ts";
import { ServedTree } from "../support/served_tree.ts";
import { encodeMessage, FLAGS, REQUEST, VRING_NO_FD } from "../support/vhost_messages.ts";

const served = new ServedTree();
const MIB = 1 << 20;

const raw: Record<string, Uint8Array<ArrayBuffer>> = {
  "a version other than 1": encodeMessage(REQUEST.GET_FEATURES, 2, new Uint8Array(0)),
  "a version of 0": encodeMessage(REQUEST.GET_FEATURES, 0, new Uint8Array(0)),
  "a payload of 4 GiB announced": encodeMessage(
    REQUEST.SET_FEATURES,
    FLAGS.VERSION,
    words(0n),
    0xffff_ffff,
  ),
  "a payload of 1 MiB announced": encodeMessage(REQUEST.SET_FEATURES, 1, words(0n), MIB),
  "a reply nobody asked for": encodeMessage(
    REQUEST.SET_FEATURES,
    FLAGS.VERSION | FLAGS.REPLY,
    words(0n),
  ),
  "text": new TextEncoder().encode("GET / HTTP/1.1\r\nHost: example\r\n\r\n"),
};

for (const [what, bytes] of Object.entries(raw)) {
  served.testWithoutGuest(`vhost-user: ${what} loses the connection`, async ({ daemon }) => {
    const before = daemon.stderr().length;
    const frontend = negotiated(daemon);
    frontend.sendRaw(bytes);
    frontend.waitHangUp();
    frontend.close();
    await until("a line in the log", () => daemon.stderr().length > before);
    serveNext(daemon);
  }, { notOnRust: true });
}

for (const length of [0, 1, 11, 12, 15]) {
  served.testWithoutGuest(
    `vhost-user: a hang-up after ${length} bytes of a message`,
    ({ daemon }) => {
      const frontend = Frontend.connect(daemon.socketPath);
      frontend.sendRaw(encodeMessage(REQUEST.SET_FEATURES, 1, words(0n)).slice(0, length));
      frontend.close();
      serveNext(daemon);
    },
  );
}

served.testWithoutGuest("vhost-user: a message that arrives byte by byte", ({ daemon }) => {
  const frontend = Frontend.connect(daemon.socketPath);
  for (const byte of encodeMessage(REQUEST.GET_FEATURES, 1, new Uint8Array(0))) {
    frontend.sendRaw(new Uint8Array([byte]));
  }
  assert.equal(frontend.receive()?.request, REQUEST.GET_FEATURES);
  frontend.close();
}, { notOnRust: true });

served.testWithoutGuest("vhost-user: two messages in one packet", ({ daemon }) => {
  const frontend = Frontend.connect(daemon.socketPath);
  const message = encodeMessage(REQUEST.GET_FEATURES, 1, new Uint8Array(0));
  frontend.sendRaw(concat(message, message));
  assert.equal(frontend.receive()?.request, REQUEST.GET_FEATURES);
  assert.equal(frontend.receive()?.request, REQUEST.GET_FEATURES);
  frontend.close();
});

served.testWithoutGuest(
  "vhost-user: descriptors where none belong are closed",
  async ({ daemon }) => {
    const frontend = Frontend.connect(daemon.socketPath);
    const count = () => [...Deno.readDirSync(`/proc/${daemon.pid}/fd`)].length;
    frontend.askU64(REQUEST.GET_FEATURES);
    const before = count();
    const extra = eventfd();
    for (let round = 0; round < 20; round += 1) {
      if (!frontend.send(REQUEST.GET_FEATURES, new Uint8Array(0), [extra, extra])) break;
      if (frontend.receive() === null) break;
    }
    await until(`no more than ${before} descriptors`, () => count() <= before);
    close(extra);
    frontend.close();
    serveNext(daemon);
  },
  { notOnRust: true },
);

served.testWithoutGuest("vhost-user: forty descriptors in one message", ({ daemon }) => {
  const frontend = negotiated(daemon);
  const fd = memfd("x", MIB);
  const table = concat(words(1, 0), words(0n, BigInt(MIB), 0x1000_0000n, 0n));
  frontend.acknowledge(REQUEST.SET_MEM_TABLE, table, new Array(40).fill(fd));
  close(fd);
  frontend.close();
  serveNext(daemon);
}, { notOnRust: true });

served.testWithoutGuest(
  "vhost-user: more regions than GET_MAX_MEM_SLOTS are refused",
  async ({ daemon }) => {
    const frontend = negotiated(daemon);
    const slots = Number(frontend.askU64(REQUEST.GET_MAX_MEM_SLOTS));
    assert.ok(slots <= 4096);
    const fd = memfd("x", 4096);
    const region = (index: number) =>
      words(0n, BigInt(index) << 20n, 4096n, 0x1000_0000n + (BigInt(index) << 20n), 0n);
    for (let index = 0; index < slots; index += 1) {
      frontend.set(REQUEST.ADD_MEM_REG, region(index), [fd]);
    }
    await refused(daemon, frontend, REQUEST.ADD_MEM_REG, region(slots), [fd]);
    close(fd);
    frontend.close();
    serveNext(daemon);
  },
  { notOnRust: true },
);

served.testWithoutGuest(
  "vhost-user: ADD_MEM_REG over an existing region is refused",
  async ({ daemon }) => {
    const frontend = negotiated(daemon);
    const region = new GuestRegion(0x10_0000, MIB);
    frontend.addMemReg(region);
    const payload = concat(words(0n), memRegion(region));
    await refused(daemon, frontend, REQUEST.ADD_MEM_REG, payload, [region.fd]);
    frontend.close();
    region.dispose();
    serveNext(daemon);
  },
);

/** Where a ring's parts may not lie: what is done to the three addresses. */
const badRings: Record<string, (address: bigint, region: GuestRegion) => bigint> = {
  "outside memory": () => 0x1234_5678_9000n,
  "at the last byte of memory": (_, region) => BigInt(region.userAddress + region.size - 2),
  "at an address that overflows": () => 0xffff_ffff_ffff_fff0n,
  "at guest addresses instead of user addresses": (address, region) =>
    address - BigInt(region.userAddress),
};

for (const [what, spoil] of Object.entries(badRings)) {
  served.testWithoutGuest(`vhost-user: a ring ${what} is refused or never runs`, ({ daemon }) => {
    using guest = Guest.connect(daemon.socketPath, { init: false });
    const queue = guest.queues[1]!;
    guest.frontend.getVringBase(1);
    const good = vringAddr(1, queue);
    const view = new DataView(good.buffer, good.byteOffset);
    for (const at of [8, 16, 24]) {
      const address = spoil(view.getBigUint64(at, true), queue.ring);
      view.setBigUint64(at, BigInt.asUintN(64, address), true);
    }
    const { frontend } = guest;
    // A refusal ends it: the ring keeps the addresses it had.
    const alive = frontend.acknowledge(REQUEST.SET_VRING_ADDR, good) === 0n &&
      frontend.acknowledge(REQUEST.SET_VRING_KICK, words(1n), [queue.kickFd]) !== null &&
      frontend.acknowledge(REQUEST.SET_VRING_ENABLE, words(1, 1)) !== null;
    if (alive) {
      const before = queue.deviceUsedIndex();
      queue.pushHead(0);
      queue.publish();
      queue.kickAlways();
      frontend.isAlive();
      assert.equal(queue.deviceUsedIndex(), before);
    }
    guest[Symbol.dispose]();
    serveNext(daemon);
  }, { notOnRust: true });
}

served.testWithoutGuest("vhost-user: a ring started before it has addresses", ({ daemon }) => {
  const frontend = negotiated(daemon);
  const regions = ordinaryRegions();
  frontend.setMemTable(regions);
  const kick = eventfd();
  frontend.acknowledge(REQUEST.SET_VRING_KICK, words(1n), [kick]);
  frontend.acknowledge(REQUEST.SET_VRING_ENABLE, words(1, 1));
  close(kick);
  frontend.close();
  for (const region of regions) region.dispose();
  serveNext(daemon);
});

served.testWithoutGuest("vhost-user: a ring started before there is memory", ({ daemon }) => {
  const frontend = negotiated(daemon);
  const kick = eventfd();
  frontend.acknowledge(REQUEST.SET_VRING_NUM, words(1, 128));
  frontend.acknowledge(REQUEST.SET_VRING_ADDR, words(1, 0, 4096n, 8192n, 12288n, 0n));
  frontend.acknowledge(REQUEST.SET_VRING_KICK, words(1n), [kick]);
  frontend.acknowledge(REQUEST.SET_VRING_ENABLE, words(1, 1));
  close(kick);
  frontend.close();
  serveNext(daemon);
});

served.test("vhost-user: memory taken away under a running ring", async ({ guest, daemon }) => {
  guest.fuse.getattr(ROOT);
  const payload = concat(words(0n), memRegion(guest.queues[1]!.ring));
  guest.frontend.acknowledge(REQUEST.REM_MEM_REG, payload);
  const queue = guest.queues[1]!;
  queue.pushHead(0);
  queue.publish();
  queue.kickAlways();
  guest.frontend.isAlive();
  guest[Symbol.dispose]();
  assert.ok(await daemon.isRunning());
  serveNext(daemon);
}, { notOnRust: true });

served.test("vhost-user: an empty SET_MEM_TABLE under running rings", async ({ guest, daemon }) => {
  guest.frontend.acknowledge(REQUEST.SET_MEM_TABLE, memTable([]));
  guest.queues[1]!.kickAlways();
  guest.frontend.isAlive();
  guest[Symbol.dispose]();
  assert.ok(await daemon.isRunning());
  serveNext(daemon);
}, { notOnRust: true });

served.testWithoutGuest("vhost-user: SET_VRING_KICK with the no-fd bit", ({ daemon }) => {
  const frontend = negotiated(daemon);
  frontend.acknowledge(REQUEST.SET_VRING_KICK, words(1n | VRING_NO_FD));
  frontend.close();
  serveNext(daemon);
});

served.test("vhost-user: a second front end does not disturb the first", ({ guest, daemon }) => {
  const second = Frontend.connect(daemon.socketPath);
  second.send(REQUEST.GET_FEATURES);
  for (let count = 0; count < 20; count += 1) guest.fuse.getattr(ROOT);
  second.close();
  guest.fuse.getattr(ROOT);
}, { notOnRust: true });

served.testWithoutGuest(
  "vhost-user: random bytes on fresh connections (property)",
  ({ daemon }) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        const frontend = Frontend.connect(daemon.socketPath);
        frontend.sendRaw(new Uint8Array(bytes));
        frontend.close();
      }),
      { numRuns: 60 },
    );
    serveNext(daemon);
  },
  { notOnRust: true },
);

served.testWithoutGuest(
  "vhost-user: random payloads for every request (property)",
  ({ daemon }) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 45 }),
        fc.uint8Array({ maxLength: 64 }),
        fc.integer({ min: 0, max: 3 }),
        (request, payload, count) => {
          const frontend = negotiated(daemon);
          const fds = Array.from({ length: count }, () => memfd("x", MIB));
          const flags = FLAGS.VERSION | FLAGS.NEED_REPLY;
          if (frontend.sendRaw(encodeMessage(request, flags, new Uint8Array(payload)), fds)) {
            // An answer of whatever kind, or a hang-up; but not silence.
            frontend.receive();
          }
          for (const fd of fds) close(fd);
          frontend.close();
        },
      ),
      { numRuns: 150 },
    );
    serveNext(daemon);
  },
  { notOnRust: true },
);
