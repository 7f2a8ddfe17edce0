import assert from "node:assert/strict";
import { cutLength, readBody, ROOT, writeBody } from "../support/fuse_client.ts";
import { O, OP } from "../support/fuse_wire.ts";
import { Guest } from "../support/guest.ts";
import { GuestRegion, ordinaryRegions } from "../support/guest_memory.ts";
import { concat, name, viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";
import { DESC_F, type SplitQueue } from "../support/split_queue.ts";
import { mask, PROTOCOL } from "../support/vhost_messages.ts";

const served = new ServedTree();
const MIB = 1 << 20;

/** Posts a chain built by hand from guest addresses and returns the bytes of the reply header. */
function postRaw(
  queue: SplitQueue,
  readable: [number, number][],
  writable: [number, number][],
): number {
  const pieces = [...readable, ...writable];
  pieces.forEach(([address, length], index) => {
    const flags = (index < pieces.length - 1 ? DESC_F.NEXT : 0) |
      (index >= readable.length ? DESC_F.WRITE : 0);
    // The top of the table: chains of `add` take descriptors from the bottom.
    queue.writeDescriptor(queue.size - 8 + index, address, length, flags, queue.size - 7 + index);
  });
  queue.pushHead(queue.size - 8);
  const before = queue.deviceUsedIndex();
  queue.publish();
  const deadline = performance.now() + 5_000;
  while (queue.deviceUsedIndex() === before) {
    assert.ok(performance.now() < deadline, "the chain was not used");
  }
  return queue.usedElement(before).length;
}

const lookupRequest = (entry: string) => {
  const body = name(entry);
  return concat(words(40 + body.length, OP.LOOKUP, 77n, ROOT, 0, 0, 1, 0), body);
};

served.testWithoutGuest(
  "vhost-user: SET_MEM_TABLE alone, with several regions",
  ({ daemon, tree }) => {
    tree.file("f", "content");
    const regions = ordinaryRegions();
    using guest = Guest.connect(daemon.socketPath, { regions, init: false });
    guest.frontend.setMemTable(regions);
    guest.fuse.init();
    assert.equal(guest.fuse.lookup(ROOT, "f").attr.size, 7n);
  },
);

served.test("vhost-user: SET_MEM_TABLE on running rings (memory hot-plug of QEMU)", ({ guest, tree }) => {
  tree.file("f", "content");
  guest.fuse.lookup(ROOT, "f");
  guest.frontend.setMemTable(guest.regions);
  assert.equal(guest.fuse.lookup(ROOT, "f").attr.size, 7n);
});

served.test("vhost-user: SET_MEM_TABLE need not be sorted by address", ({ guest, tree }) => {
  tree.file("f", "content");
  guest.frontend.setMemTable([...guest.regions].reverse());
  assert.equal(guest.fuse.lookup(ROOT, "f").attr.size, 7n);
}, { notOnRust: true });

served.test("vhost-user: ADD_MEM_REG on running rings, then REM_MEM_REG", ({ guest, tree }) => {
  tree.file("f", "content");
  const slots = mask(PROTOCOL.CONFIGURE_MEM_SLOTS);
  assert.equal(guest.frontend.protocolFeatures & slots, slots);
  const added = new GuestRegion(0x20_0000_0000, MIB, 0x2000);
  const queue = guest.queues[1]!;
  for (let round = 0; round < 3; round += 1) {
    guest.frontend.addMemReg(added);
    const request = lookupRequest("f");
    added.bytes.set(request, 16);
    added.bytes.fill(0, 4096, 4096 + 144);
    const length = postRaw(
      queue,
      [[added.guestAddress + 16, request.length]],
      [[added.guestAddress + 4096, 144]],
    );
    assert.equal(length, 144);
    const reply = viewOf(added.bytes.subarray(4096, 4096 + 144));
    assert.equal(reply.getInt32(4, true), 0);
    assert.equal(reply.getBigUint64(16 + 40 + 8, true), 7n, "size in the entry");
    guest.frontend.remMemReg(added, round % 2 === 0);
    queue.startAt(queue.deviceUsedIndex());
  }
  guest.fuse.getattr(ROOT);
  added.dispose();
}, { notOnRust: true }); // it drops a front end that sends an fd with REM_MEM_REG

served.test(
  "vhost-user: a descriptor that crosses from one region into the next",
  ({ guest, tree }) => {
    tree.file("f", "content");
    const low = new GuestRegion(0x30_0000_0000, MIB);
    const high = new GuestRegion(0x30_0000_0000 + MIB, MIB, 0x5000);
    guest.frontend.addMemReg(high);
    guest.frontend.addMemReg(low);
    const request = lookupRequest("f");
    // The boundary falls into the header of the request, and into the entry of the reply.
    low.bytes.set(request.subarray(0, 24), MIB - 24);
    high.bytes.set(request.subarray(24), 0);
    const cases: [number, number][] = [[low.guestAddress + MIB - 24, request.length]];
    const queue = guest.queues[1]!;
    const plain = guest.regions[0]!;
    const at = plain.allocate(144);
    assert.equal(postRaw(queue, cases, [[plain.guestAddress + at, 144]]), 144);
    assert.equal(
      viewOf(plain.bytes.subarray(at)).getInt32(4, true),
      0,
      "request across the border",
    );
    queue.startAt(queue.deviceUsedIndex());
    plain.bytes.set(request, 0x80_0000);
    const readable: [number, number][] = [[plain.guestAddress + 0x80_0000, request.length]];
    assert.equal(postRaw(queue, readable, [[low.guestAddress + MIB - 60, 144]]), 144);
    const reply = concat(low.bytes.subarray(MIB - 60), high.bytes.subarray(0, 84));
    assert.equal(viewOf(reply).getUint32(0, true), 144);
    assert.equal(viewOf(reply).getBigUint64(8, true), 77n);
    assert.equal(viewOf(reply).getBigUint64(16 + 48, true), 7n, "reply across the border");
    low.dispose();
    high.dispose();
  },
  { notOnRust: true },
);

served.test("vhost-user: buffers at the first and the last byte of a region", ({ guest, tree }) => {
  tree.file("f", "content");
  const region = new GuestRegion(0x40_0000_0000, MIB);
  guest.frontend.addMemReg(region);
  const request = lookupRequest("f");
  region.bytes.set(request, 0);
  const reply: [number, number] = [region.guestAddress + MIB - 144, 144];
  const length = postRaw(guest.queues[1]!, [[region.guestAddress, request.length]], [reply]);
  assert.equal(length, 144);
  assert.equal(viewOf(region.bytes.subarray(MIB - 144)).getUint32(0, true), 144);
  region.dispose();
});

served.test("vhost-user: file data across all regions", ({ guest, tree }) => {
  tree.file("f");
  const { nodeid } = guest.fuse.lookup(ROOT, "f");
  const fh = guest.fuse.open(nodeid, O.RDWR);
  const data = crypto.getRandomValues(new Uint8Array(60_000));
  const written = guest.fuse.ok(OP.WRITE, nodeid, writeBody(fh, 0n, data), {
    readableCuts: [40, 40, 4096, 8192, 1, 4095, 17],
    room: 8,
  });
  assert.equal(viewOf(written).getUint32(0, true), data.length);
  assert.deepEqual(Deno.readFileSync(tree.path("f")), data);
  const read = guest.fuse.ok(OP.READ, nodeid, readBody(fh, 0n, 60_000), {
    writableCuts: [16, ...cutLength(60_000, [1, 4096, 5, 20_000])],
    room: 60_000,
  });
  assert.deepEqual(read, data);
});

served.testWithoutGuest(
  "vhost-user: SET_MEM_TABLE with one region behind a large hole",
  ({ daemon }) => {
    const regions = [new GuestRegion(0xff_ffff_0000_0000 / 0x100, 32 * MIB, 0x7000)];
    using guest = Guest.connect(daemon.socketPath, { regions });
    guest.fuse.getattr(ROOT);
  },
);
