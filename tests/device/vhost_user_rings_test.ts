import assert from "node:assert/strict";
import { Daemon, isRustPeer, until } from "../support/daemon.ts";
import { Frontend } from "../support/frontend.ts";
import { FuseClient, ROOT } from "../support/fuse_client.ts";
import { OP } from "../support/fuse_wire.ts";
import { Guest, setUpRing, vringAddr } from "../support/guest.ts";
import { ordinaryRegions } from "../support/guest_memory.ts";
import { close, eventfd, eventfdTake, waitReadable } from "../support/libc.ts";
import { words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";
import { SplitQueue } from "../support/split_queue.ts";
import { TempTree } from "../support/temp_tree.ts";
import { FEATURE, mask, PROTOCOL, REQUEST } from "../support/vhost_messages.ts";

const served = new ServedTree();

/** How long a ring is watched that must not be served. */
const SILENCE_MS = 150;

const getattr = (fuse: FuseClient) => fuse.submit(OP.GETATTR, ROOT, words(0, 0, 0n), { room: 104 });

/** Memory and rings that have not been handed to the back end yet. */
function parts(eventIdx = false) {
  const regions = ordinaryRegions();
  const queues = [0, 1].map((index) =>
    new SplitQueue(64, { eventIdx, ring: regions[index]!, buffers: regions })
  );
  return {
    regions,
    queues,
    fuse: new FuseClient(queues[1]!),
    free: () => {
      for (const queue of queues) queue.dispose();
      for (const region of regions) region.dispose();
    },
  };
}

served.testWithoutGuest("vhost-user: rings set up in UML's order", ({ daemon }) => {
  const frontend = Frontend.connect(daemon.socketPath);
  const { regions, queues, fuse, free } = parts();
  frontend.send(REQUEST.SET_OWNER);
  const offered = frontend.askU64(REQUEST.GET_FEATURES);
  const protocol = frontend.askU64(REQUEST.GET_PROTOCOL_FEATURES) &
    mask(PROTOCOL.REPLY_ACK, PROTOCOL.BACKEND_REQ, PROTOCOL.CONFIG);
  frontend.send(REQUEST.SET_PROTOCOL_FEATURES, words(protocol));
  frontend.protocolFeatures = protocol;
  const channel = frontend.setBackendReqFd();
  for (let size = 1; size <= 40; size += 1) frontend.getConfig(0, size);
  frontend.set(
    REQUEST.SET_FEATURES,
    words(offered & mask(FEATURE.VERSION_1, FEATURE.PROTOCOL_FEATURES, FEATURE.INDIRECT_DESC)),
  );
  frontend.setMemTable(regions);
  queues.forEach((queue, index) => {
    frontend.set(REQUEST.SET_VRING_CALL, words(BigInt(index)), [queue.callFd]);
    frontend.set(REQUEST.SET_VRING_NUM, words(index, queue.size));
    frontend.set(REQUEST.SET_VRING_BASE, words(index, 0));
    frontend.set(REQUEST.SET_VRING_ADDR, vringAddr(index, queue));
  });
  queues.forEach((queue, index) => {
    frontend.set(REQUEST.SET_VRING_KICK, words(BigInt(index)), [queue.kickFd]);
    frontend.enable(index, true);
  });
  fuse.init();
  assert.equal(fuse.getattr(ROOT).mode & 0o170000, 0o040000);
  close(channel);
  frontend.close();
  free();
});

served.testWithoutGuest(
  "vhost-user: without PROTOCOL_FEATURES rings start enabled",
  ({ daemon }) => {
    const frontend = Frontend.connect(daemon.socketPath);
    const { regions, queues, fuse, free } = parts();
    frontend.send(REQUEST.SET_OWNER);
    frontend.askU64(REQUEST.GET_FEATURES);
    frontend.send(REQUEST.SET_FEATURES, words(mask(FEATURE.VERSION_1)));
    frontend.setMemTable(regions);
    queues.forEach((queue, index) => setUpRing(frontend, index, queue));
    fuse.init();
    assert.equal(fuse.getattr(ROOT).mode & 0o170000, 0o040000);
    frontend.close();
    free();
  },
);

served.testWithoutGuest(
  "vhost-user: with PROTOCOL_FEATURES a ring waits for SET_VRING_ENABLE",
  ({ daemon }) => {
    const frontend = Frontend.connect(daemon.socketPath);
    const { regions, queues, fuse, free } = parts();
    frontend.negotiate(mask(FEATURE.VERSION_1));
    frontend.setMemTable(regions);
    queues.forEach((queue, index) => setUpRing(frontend, index, queue));
    const pending = getattr(fuse);
    assert.equal(fuse.poll(pending, SILENCE_MS), false, "not served while disabled");
    frontend.enable(1, true);
    // What was kicked while the ring was off is still there when it is switched on. The request
    // itself comes before INIT, so that only its completion is of interest.
    assert.equal(fuse.poll(pending, 5_000), true, "served once enabled");
    frontend.close();
    free();
  },
);

served.test("vhost-user: SET_VRING_ENABLE 0 pauses a ring and 1 resumes it", ({ guest }) => {
  guest.frontend.enable(1, false);
  const pending = getattr(guest.fuse);
  assert.equal(guest.fuse.poll(pending, SILENCE_MS), false, "not served while disabled");
  guest.frontend.enable(1, true);
  assert.equal(guest.fuse.wait(pending).error, 0);
});

served.test("vhost-user: SET_VRING_ENABLE before and after ring set-up, as QEMU 11 does", ({ guest }) => {
  for (const on of [true, true, false, false, true]) {
    guest.frontend.enable(0, on);
    guest.frontend.enable(1, on);
  }
  guest.fuse.getattr(ROOT);
});

served.test("vhost-user: GET_VRING_BASE stops the ring and a restart resumes there", ({ guest }) => {
  for (let count = 0; count < 10; count += 1) guest.fuse.getattr(ROOT);
  const queue = guest.queues[1]!;
  const base = guest.frontend.getVringBase(1);
  assert.equal(base, queue.availIndex, "everything that was available has been taken");
  const pending = getattr(guest.fuse);
  assert.equal(guest.fuse.poll(pending, SILENCE_MS), false, "stopped");
  guest.frontend.set(REQUEST.SET_VRING_NUM, words(1, queue.size));
  guest.frontend.set(REQUEST.SET_VRING_BASE, words(1, base));
  guest.frontend.set(REQUEST.SET_VRING_ADDR, vringAddr(1, queue));
  guest.frontend.set(REQUEST.SET_VRING_KICK, words(1n), [queue.kickFd]);
  guest.frontend.set(REQUEST.SET_VRING_CALL, words(1n), [queue.callFd]);
  guest.frontend.enable(1, true);
  queue.kickAlways();
  assert.equal(guest.fuse.wait(pending).error, 0, "the request posted meanwhile is served");
  assert.equal(queue.outstanding, 0);
});

served.test("vhost-user: GET_VRING_BASE waits for the requests in flight", ({ guest, tree }) => {
  tree.file("data", new Uint8Array(1 << 20));
  const { nodeid } = guest.fuse.lookup(ROOT, "data");
  const fh = guest.fuse.open(nodeid);
  const body = words(fh, 0n, 1 << 16, 0, 0n, 0, 0);
  const pending = Array.from(
    { length: 20 },
    () => guest.fuse.add(OP.READ, nodeid, body, { room: 1 << 16 }),
  );
  const queue = guest.queues[1]!;
  queue.publish();
  const base = guest.frontend.getVringBase(1);
  // Whatever was taken from the ring is complete once the answer is there: nothing may come later.
  assert.equal(base, queue.deviceUsedIndex(), "taken = used");
  const index = queue.deviceUsedIndex();
  assert.ok(pending.length >= queue.outstanding);
  waitReadable(guest.frontend.fd, 50);
  assert.equal(queue.deviceUsedIndex(), index, "no completion after the ring was stopped");
});

served.test("vhost-user: SET_VRING_CALL replaces the interrupt of a running ring", ({ guest }) => {
  guest.fuse.getattr(ROOT);
  const other = eventfd();
  guest.frontend.set(REQUEST.SET_VRING_CALL, words(1n), [other]);
  const queue = guest.queues[1]!;
  queue.setUsedEvent(queue.usedIndex); // armed before the request can finish
  const pending = getattr(guest.fuse);
  assert.ok(waitReadable(other, 5_000), "the new eventfd is signalled");
  assert.ok(eventfdTake(other) > 0);
  guest.frontend.set(REQUEST.SET_VRING_CALL, words(1n), [queue.callFd]);
  assert.equal(guest.fuse.wait(pending).error, 0);
  guest.fuse.getattr(ROOT);
  close(other);
});

served.test("vhost-user: SET_VRING_ERR is taken", ({ guest }) => {
  const error = eventfd();
  guest.frontend.set(REQUEST.SET_VRING_ERR, words(1n), [error]);
  guest.fuse.getattr(ROOT);
  close(error);
});

served.test("vhost-user: RESET_DEVICE stops all rings and a new set-up works", ({ guest }) => {
  const before = guest.fuse.getattr(ROOT);
  guest.frontend.set(REQUEST.RESET_DEVICE, new Uint8Array(0));
  const queue = guest.queues[1]!;
  const stopped = getattr(guest.fuse);
  assert.equal(guest.fuse.poll(stopped, SILENCE_MS), false, "stopped");
  const fresh = [0, 1].map((index) =>
    new SplitQueue(64, { eventIdx: true, ring: guest.regions[index]!, buffers: guest.regions })
  );
  guest.frontend.set(REQUEST.SET_FEATURES, words(guest.frontend.features));
  guest.frontend.setMemTable(guest.regions);
  fresh.forEach((ring, index) => setUpRing(guest.frontend, index, ring));
  guest.frontend.enable(0, true);
  guest.frontend.enable(1, true);
  const fuse = new FuseClient(fresh[1]!);
  fuse.init();
  assert.equal(fuse.getattr(ROOT).ino, before.ino);
  assert.equal(queue.take(), null, "the old ring is left alone");
  for (const ring of fresh) ring.dispose();
});

served.testWithoutGuest(
  "vhost-user: nodeids of an earlier connection mean nothing",
  async ({ daemon, tree }) => {
    if (isRustPeer) return;
    tree.file("directory/file", "x");
    let old = 0n;
    {
      using guest = Guest.connect(daemon.socketPath);
      old = guest.fuse.walk("directory", "file");
      guest.fuse.getattr(old);
    }
    const held = () =>
      descriptorPaths(daemon.pid).filter((path) => path.startsWith(tree.root + "/d"));
    await until("the inodes of the first connection are let go", () => held().length === 0);
    using guest = Guest.connect(daemon.socketPath);
    const error = guest.fuse.fails(OP.GETATTR, old, words(0, 0, 0n));
    assert.ok([116, 22, 9, 2].includes(error), `errno ${error}`);
    assert.equal(guest.fuse.walk("directory") > 1n, true);
  },
);

served.testWithoutGuest(
  "vhost-user: --keep-listening leaks no descriptor per connection",
  async ({ daemon }) => {
    if (isRustPeer) return;
    const connect = () => {
      using guest = Guest.connect(daemon.socketPath);
      guest.fuse.getattr(ROOT);
    };
    connect();
    connect();
    await until("a quiet daemon", () => true);
    const before = settledCount(daemon.pid);
    const start = await before;
    for (let count = 0; count < 10; count += 1) connect();
    const deadline = performance.now() + 5_000;
    let now = await settledCount(daemon.pid);
    while (now > start && performance.now() < deadline) now = await settledCount(daemon.pid);
    assert.ok(now <= start, `${start} descriptors before, ${now} after ten connections`);
  },
);

Deno.test("vhost-user: without --keep-listening a disconnect ends the daemon with 0", async () => {
  using tree = new TempTree();
  await using daemon = await Daemon.start({ sharedDir: tree.root });
  {
    using guest = Guest.connect(daemon.socketPath);
    guest.fuse.getattr(ROOT);
  }
  assert.equal(await daemon.exitCode(), 0);
  assert.throws(() => Deno.lstatSync(daemon.socketPath), Deno.errors.NotFound, "socket removed");
});

Deno.test("vhost-user: a disconnect with requests in the rings ends the daemon with 0", async () => {
  using tree = new TempTree();
  await using daemon = await Daemon.start({ sharedDir: tree.root });
  {
    using guest = Guest.connect(daemon.socketPath);
    for (let count = 0; count < 30; count += 1) {
      guest.fuse.add(OP.GETATTR, ROOT, words(0, 0, 0n), { room: 104 });
    }
    guest.queues[1]!.publish();
  }
  assert.equal(await daemon.exitCode(), 0);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test({
    name: `vhost-user: ${signal} during a connection ends the daemon cleanly`,
    ignore: isRustPeer,
    fn: async () => {
      using tree = new TempTree();
      await using daemon = await Daemon.start({ sharedDir: tree.root, keepListening: true });
      using guest = Guest.connect(daemon.socketPath);
      guest.fuse.getattr(ROOT);
      daemon.signal(signal);
      assert.equal(await daemon.exitCode(), 0);
      assert.throws(() => Deno.lstatSync(daemon.socketPath), Deno.errors.NotFound);
    },
  });
}

function descriptorPaths(pid: number): string[] {
  const paths: string[] = [];
  for (const entry of Deno.readDirSync(`/proc/${pid}/fd`)) {
    try {
      paths.push(Deno.readLinkSync(`/proc/${pid}/fd/${entry.name}`));
    } catch {
      // Closed between the two calls.
    }
  }
  return paths;
}

/** The number of descriptors once two looks agree. */
async function settledCount(pid: number): Promise<number> {
  let last = -1;
  await until("the descriptor count settles", () => {
    const now = descriptorPaths(pid).length;
    const settled = now === last;
    last = now;
    return settled;
  });
  return last;
}
