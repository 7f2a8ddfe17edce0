import assert from "node:assert/strict";
import { isRustPeer, until } from "../support/daemon.ts";
import { FuseClient, type Pending, readBody, ROOT } from "../support/fuse_client.ts";
import { OP } from "../support/fuse_wire.ts";
import { Guest, setUpRing } from "../support/guest.ts";
import { name, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";
import { SplitQueue } from "../support/split_queue.ts";
import { REQUEST } from "../support/vhost_messages.ts";

const QUEUES = isRustPeer ? 1 : 4;
const served = new ServedTree(isRustPeer ? [] : ["--num-request-queues", `${QUEUES}`]);
const options = { requestQueues: QUEUES, queueSize: 256 };
/** Rust virtiofsd 1.14 falls silent now and then when its rings are switched under load. */
const steady = { ...options, notOnRust: true };
const getattrBody = words(0, 0, 0n);

/** Fills every request queue and kicks, without waiting for anything. */
function fill(guest: Guest, perQueue: number): Pending[][] {
  return guest.clients.map((client) => {
    const pending = Array.from(
      { length: perQueue },
      () => client.add(OP.GETATTR, ROOT, getattrBody, { room: 104 }),
    );
    client.queue.publish();
    return pending;
  });
}

function drain(guest: Guest, pending: Pending[][]): void {
  guest.clients.forEach((client, queue) => {
    for (const item of pending[queue]!) assert.equal(client.wait(item).error, 0);
  });
}

served.test("vhost-user: SET_MEM_TABLE under load loses nothing", ({ guest }) => {
  for (let round = 0; round < 50; round += 1) {
    const pending = fill(guest, 40);
    guest.frontend.setMemTable(guest.regions);
    drain(guest, pending);
  }
}, options);

served.test("vhost-user: SET_VRING_ENABLE off and on under load loses nothing", ({ guest }) => {
  for (let round = 0; round < 30; round += 1) {
    const pending = fill(guest, 40);
    for (let index = 1; index <= QUEUES; index += 1) guest.frontend.enable(index, false);
    for (let index = 1; index <= QUEUES; index += 1) guest.frontend.enable(index, true);
    drain(guest, pending);
  }
}, steady);

served.test(
  "vhost-user: GET_VRING_BASE and restart under load serves each request once",
  ({ guest }) => {
    for (let round = 0; round < 40; round += 1) {
      const pending = fill(guest, 40);
      guest.queues.forEach((queue, index) => {
        if (index === 0) return;
        const base = guest.frontend.getVringBase(index);
        assert.equal(base, queue.deviceUsedIndex(), "what was taken is complete");
        guest.frontend.set(REQUEST.SET_VRING_BASE, words(index, base));
        guest.frontend.set(REQUEST.SET_VRING_KICK, words(BigInt(index)), [queue.kickFd]);
        guest.frontend.set(REQUEST.SET_VRING_CALL, words(BigInt(index)), [queue.callFd]);
        guest.frontend.enable(index, true);
        queue.kickAlways();
      });
      drain(guest, pending);
    }
    for (const queue of guest.queues) assert.equal(queue.outstanding, 0);
  },
  steady,
);

served.testWithoutGuest(
  "vhost-user: hang-ups under load, again and again",
  async ({ daemon, tree }) => {
    if (isRustPeer) return;
    tree.file("f", new Uint8Array(1 << 20));
    for (let round = 0; round < 40; round += 1) {
      const guest = Guest.connect(daemon.socketPath, options);
      const { nodeid } = guest.fuse.lookup(ROOT, "f");
      const fh = guest.fuse.open(nodeid);
      for (const client of guest.clients) {
        for (let count = 0; count < 20; count += 1) {
          client.add(OP.READ, nodeid, readBody(fh, 0n, 65_536), { room: 65_536 });
        }
        client.queue.publish();
      }
      guest[Symbol.dispose]();
    }
    using guest = Guest.connect(daemon.socketPath, options);
    drain(guest, fill(guest, 10));
    assert.ok(await daemon.isRunning());
  },
);

served.test("vhost-user: RESET_DEVICE under load", ({ guest }) => {
  fill(guest, 20);
  guest.frontend.set(REQUEST.RESET_DEVICE, new Uint8Array(0));
  const used = guest.queues.map((queue) => queue.deviceUsedIndex());
  const fresh = guest.queues.map((_, index) =>
    new SplitQueue(64, {
      eventIdx: true,
      ring: guest.regions[index % 3]!,
      buffers: guest.regions,
    })
  );
  guest.frontend.set(REQUEST.SET_FEATURES, words(guest.frontend.features));
  guest.frontend.setMemTable(guest.regions);
  fresh.forEach((queue, index) => setUpRing(guest.frontend, index, queue));
  fresh.forEach((_, index) => guest.frontend.enable(index, true));
  const fuse = new FuseClient(fresh[1]!);
  fuse.init();
  fuse.getattr(ROOT);
  const now = guest.queues.map((queue) => queue.deviceUsedIndex());
  assert.deepEqual(now, used, "nothing moves in the old rings");
  for (const queue of fresh) queue.dispose();
}, options);

for (const how of ["never", "prefer"]) {
  const holding = new ServedTree([`--inode-file-handles=${how}`]);

  holding.test(`--inode-file-handles=${how}: FORGET and RELEASE give descriptors back`, async ({ guest, tree, daemon }) => {
    const count = () => [...Deno.readDirSync(`/proc/${daemon.pid}/fd`)].length;
    const { fuse } = guest;
    const once = () => {
      const nodes: bigint[] = [];
      for (let index = 0; index < 300; index += 1) {
        const { nodeid } = fuse.lookup(ROOT, `f${index}`);
        nodes.push(nodeid);
        const fh = fuse.open(nodeid);
        fuse.release(nodeid, fh);
      }
      const dir = fuse.opendir(ROOT);
      for (const { entry } of fuse.readdirAll(ROOT, dir, { plus: true, size: 32_768 })) {
        if (entry !== null && nodes.includes(entry.nodeid)) guest.forget(entry.nodeid);
      }
      fuse.release(ROOT, dir, OP.RELEASEDIR);
      fuse.fails(OP.LOOKUP, ROOT, name("missing"), { room: 128 });
      for (const nodeid of nodes) guest.forget(nodeid);
    };
    for (let index = 0; index < 300; index += 1) tree.file(`f${index}`);
    once();
    const before = count();
    for (let round = 0; round < 3; round += 1) once();
    await until(`no more than ${before} descriptors, now ${count()}`, () => count() <= before);
  });

  holding.test(`--inode-file-handles=${how}: an inode number that is used again`, ({ guest, tree }) => {
    const { fuse } = guest;
    const seen = new Map<bigint, { generation: bigint; type: number }>();
    for (let round = 0; round < 40; round += 1) {
      if (round % 2 === 0) tree.file("n", "x");
      else tree.directory("n");
      const { nodeid, generation, attr } = fuse.lookup(ROOT, "n");
      const type = attr.mode >> 12;
      const earlier = seen.get(nodeid);
      if (earlier !== undefined && earlier.type !== type) {
        assert.notEqual(generation, earlier.generation, "one node, two file types");
      }
      seen.set(nodeid, { generation, type });
      assert.equal(fuse.getattr(nodeid).mode >> 12, type);
      Deno.removeSync(tree.path("n"));
    }
  });
}
