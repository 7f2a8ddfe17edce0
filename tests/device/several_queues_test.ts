import assert from "node:assert/strict";
import { isRustPeer } from "../support/daemon.ts";
import {
  createBody,
  type FuseClient,
  type Pending,
  readBody,
  ROOT,
} from "../support/fuse_client.ts";
import { O, OP, readEntry } from "../support/fuse_wire.ts";
import { name, viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";

const QUEUES = 4;
const served = new ServedTree(isRustPeer ? [] : ["--num-request-queues", `${QUEUES}`]);
const options = { requestQueues: QUEUES, queueSize: 256, notOnRust: true };
const getattrBody = words(0, 0, 0n);

/** Posts the same number of requests to every queue, kicks them all, then collects all replies. */
function storm(
  clients: readonly FuseClient[],
  perQueue: number,
  request: (queue: number, index: number) => [number, bigint, Uint8Array, number],
): { error: number; body: Uint8Array }[][] {
  const pending: Pending[][] = clients.map((client, queue) =>
    Array.from({ length: perQueue }, (_, index) => {
      const [opcode, nodeid, body, room] = request(queue, index);
      return client.add(opcode, nodeid, body, { room });
    })
  );
  for (const client of clients) client.queue.publish();
  return clients.map((client, queue) => pending[queue]!.map((item) => client.wait(item)));
}

served.test("virtio-fs: nodes and handles are the same in all queues", ({ guest, tree }) => {
  tree.file("f", "content");
  const nodes = guest.clients.map((client) => client.lookup(ROOT, "f").nodeid);
  assert.equal(new Set(nodes).size, 1);
  const handles = guest.clients.map((client) => client.open(nodes[0]!, O.RDWR));
  assert.equal(new Set(handles).size, QUEUES);
  for (const client of guest.clients) {
    for (const fh of handles) assert.equal(client.read(nodes[0]!, fh, 0n, 100).length, 7);
  }
  guest.clients[3]!.release(nodes[0]!, handles[0]!);
  assert.equal(guest.clients[1]!.fails(OP.READ, nodes[0]!, readBody(handles[0]!, 0n, 1)), 9);
}, options);

served.test("virtio-fs: INIT on any request queue starts the session of all", ({ guest }) => {
  guest.clients[2]!.init();
  for (const client of guest.clients) client.getattr(ROOT);
}, { ...options, init: false });

served.test("virtio-fs: lookups of one name from all queues count right", ({ guest, tree }) => {
  tree.file("f", "x");
  let nodeid = 0n;
  let count = 0n;
  for (let round = 0; round < 50; round += 1) {
    const replies = storm(guest.clients, 32, () => [OP.LOOKUP, ROOT, name("f"), 128]).flat();
    const nodes = new Set(replies.map((reply) => {
      assert.equal(reply.error, 0);
      return readEntry(reply.body).nodeid;
    }));
    assert.equal(nodes.size, 1, "two nodeids for one inode");
    const [found] = [...nodes];
    if (nodeid !== 0n) assert.equal(found, nodeid, "it is still the same one");
    nodeid = found!;
    count += BigInt(replies.length);
  }
  guest.forget(nodeid, count - 1n);
  assert.equal(guest.clients[1]!.getattr(nodeid).size, 1n, "one is left");
  guest.forget(nodeid, 1n);
  assert.ok(guest.clients[2]!.fails(OP.GETATTR, nodeid, getattrBody) > 0, "none is left");
}, options);

served.test("virtio-fs: first lookup and last forget race without harm", ({ guest, tree }) => {
  for (let index = 0; index < 16; index += 1) tree.file(`f${index}`, `${index}`);
  for (let round = 0; round < 100; round += 1) {
    const replies = storm(
      guest.clients,
      16,
      (_, index) => [OP.LOOKUP, ROOT, name(`f${index}`), 128],
    );
    const counts = new Map<bigint, bigint>();
    for (let index = 0; index < 16; index += 1) {
      const nodes = new Set<bigint>();
      for (const perQueue of replies) {
        assert.equal(perQueue[index]!.error, 0, `round ${round}`);
        const { nodeid, attr } = readEntry(perQueue[index]!.body);
        assert.equal(attr.size, BigInt(`${index}`.length));
        nodes.add(nodeid);
        counts.set(nodeid, (counts.get(nodeid) ?? 0n) + 1n);
      }
      assert.equal(nodes.size, 1, `f${index} has two nodeids in round ${round}`);
    }
    for (const [nodeid, count] of counts) guest.forget(nodeid, count);
    for (const nodeid of counts.keys()) {
      assert.ok(guest.clients[round % QUEUES]!.fails(OP.GETATTR, nodeid, getattrBody) > 0);
    }
  }
}, options);

served.test("virtio-fs: creating in all queues at once", ({ guest, tree }) => {
  const replies = storm(
    guest.clients,
    60,
    (queue, index) => [OP.CREATE, ROOT, createBody(`q${queue}-${index}`), 144],
  ).flat();
  const nodes = new Set(replies.map((reply) => readEntry(reply.body).nodeid));
  const handles = new Set(replies.map((reply) => viewOf(reply.body).getBigUint64(128, true)));
  assert.equal(nodes.size, 240);
  assert.equal(handles.size, 240);
  assert.equal([...Deno.readDirSync(tree.root)].length, 240);
}, options);

served.test("virtio-fs: of many O_EXCL creations of one name one wins", ({ guest, tree }) => {
  for (let round = 0; round < 50; round += 1) {
    const replies = storm(
      guest.clients,
      4,
      () => [OP.CREATE, ROOT, createBody(`f${round}`), 144],
    ).flat();
    assert.equal(replies.filter((reply) => reply.error === 0).length, 1);
    assert.ok(replies.every((reply) => reply.error === 0 || reply.error === -17));
  }
  assert.equal([...Deno.readDirSync(tree.root)].length, 50);
}, options);

served.test("virtio-fs: callers of different queues do not mix", ({ guest, tree }) => {
  Deno.chmodSync(tree.root, 0o777);
  for (let round = 0; round < 20; round += 1) {
    const pending = guest.clients.map((client, queue) =>
      Array.from({ length: 20 }, (_, index) => {
        const body = createBody(`u${queue}-${round}-${index}`);
        return client.add(OP.CREATE, ROOT, body, {
          room: 144,
          uid: 1000 + queue,
          gid: 2000 + queue,
        });
      })
    );
    for (const client of guest.clients) client.queue.publish();
    guest.clients.forEach((client, queue) => {
      for (const item of pending[queue]!) {
        const { attr } = readEntry(client.wait(item).body);
        assert.deepEqual([attr.uid, attr.gid], [1000 + queue, 2000 + queue]);
      }
    });
  }
}, options);

served.test(
  "virtio-fs: open, read and release storms keep the handles apart",
  ({ guest, tree }) => {
    const nodes = Array.from({ length: QUEUES }, (_, index) => {
      tree.file(`f${index}`, `content ${index}`);
      return guest.fuse.lookup(ROOT, `f${index}`).nodeid;
    });
    for (let round = 0; round < 30; round += 1) {
      const opened = storm(
        guest.clients,
        20,
        (queue) => [OP.OPEN, nodes[queue]!, words(O.RDONLY, 0), 16],
      ).map((replies) => replies.map((reply) => viewOf(reply.body).getBigUint64(0, true)));
      const read = storm(
        guest.clients,
        20,
        (queue, index) => [OP.READ, nodes[queue]!, readBody(opened[queue]![index]!, 0n, 64), 64],
      );
      read.forEach((replies, queue) => {
        for (const reply of replies) {
          assert.equal(new TextDecoder().decode(reply.body), `content ${queue}`);
        }
      });
      storm(
        guest.clients,
        20,
        (queue, index) => [OP.RELEASE, nodes[queue]!, words(opened[queue]![index]!, 0, 0, 0n), 0],
      );
    }
  },
  options,
);

served.test("virtio-fs: a large write in one queue does not hold up another", ({ guest, tree }) => {
  tree.file("f");
  const { nodeid } = guest.fuse.lookup(ROOT, "f");
  const fh = guest.fuse.open(nodeid, O.RDWR);
  const data = new Uint8Array(1 << 20);
  const writing: Pending[] = [];
  const body = (offset: bigint) => {
    const head = words(fh, offset, data.length, 0, 0n, 0, 0);
    const whole = new Uint8Array(head.length + data.length);
    whole.set(head);
    return whole;
  };
  for (let index = 0; index < 8; index += 1) {
    writing.push(guest.fuse.add(OP.WRITE, nodeid, body(BigInt(index) << 20n), { room: 8 }));
  }
  guest.fuse.queue.publish();
  for (let count = 0; count < 50; count += 1) guest.clients[1]!.getattr(ROOT);
  for (const item of writing) assert.equal(guest.fuse.wait(item).error, 0);
  assert.equal(Deno.lstatSync(tree.path("f")).size, 8 << 20);
}, options);

served.test("virtio-fs: fewer queues than the daemon has are enough", ({ guest }) => {
  guest.fuse.getattr(ROOT);
}, { ...options, requestQueues: 1 });
