import assert from "node:assert/strict";
import { words } from "../support/little_endian.ts";
import { encodeMessage, FLAGS, mask, REQUEST, VRING_NO_FD } from "../support/vhost_messages.ts";
import { addresses, Conversation } from "./conversation.ts";

const R = REQUEST;

async function negotiated(features?: bigint): Promise<Conversation> {
  const talk = new Conversation();
  await talk.negotiate(features);
  return talk;
}

/** The steps of setting up ring 1, by name. */
function steps(talk: Conversation): Record<string, () => Promise<void>> {
  return {
    num: () => talk.set(R.SET_VRING_NUM, words(1, 64)),
    addr: () => talk.set(R.SET_VRING_ADDR, addresses(1)),
    base: () => talk.set(R.SET_VRING_BASE, words(1, 5)),
    kick: () => talk.set(R.SET_VRING_KICK, words(1n), [talk.eventfd()]),
    call: () => talk.set(R.SET_VRING_CALL, words(1n), [talk.eventfd()]),
    err: () => talk.set(R.SET_VRING_ERR, words(1n), [talk.eventfd()]),
    enable: () => talk.set(R.SET_VRING_ENABLE, words(1, 1)),
  };
}

async function setUp(talk: Conversation, order: string): Promise<void> {
  const step = steps(talk);
  for (const name of order.split(" ")) await step[name]!();
}

const ORDER = "call num base addr kick enable";

for (
  const order of [
    ORDER,
    "enable num base addr kick call enable",
    "num addr base call err kick enable",
    "kick enable call num addr base",
    "enable kick addr num base call",
  ]
) {
  Deno.test(`vhost-user: a ring set up in the order ${order}`, async () => {
    await using talk = await negotiated();
    await setUp(talk, order);
    const queue = talk.device.running.get(1)!;
    assert.equal(queue.size, 64);
    assert.equal(queue.base, 5);
    assert.equal(queue.descriptors, 0x1000);
    assert.equal(queue.avail, 0x2000);
    assert.equal(queue.used, 0x3000);
    assert.equal(queue.eventIdx, true);
    assert.ok(queue.kickFd > 2 && queue.callFd > 2 && queue.kickFd !== queue.callFd);
    assert.equal(talk.device.running.size, 1);
  });
}

Deno.test("vhost-user: without PROTOCOL_FEATURES a ring starts enabled", async () => {
  await using talk = await negotiated(mask(32n));
  await setUp(talk, "num base addr");
  assert.equal(talk.device.running.size, 0);
  await setUp(talk, "kick");
  assert.equal(talk.device.running.get(1)!.eventIdx, false);
});

Deno.test("vhost-user: with PROTOCOL_FEATURES a ring waits for SET_VRING_ENABLE", async () => {
  await using talk = await negotiated();
  await setUp(talk, "num base addr call kick");
  assert.equal(talk.device.running.size, 0);
  await setUp(talk, "enable");
  assert.equal(talk.device.running.size, 1);
  await setUp(talk, "enable");
  assert.deepEqual(talk.device.calls, ["start 1"]);
});

Deno.test("vhost-user: SET_VRING_ENABLE 0 stops the queue, 1 goes on from there", async () => {
  await using talk = await negotiated();
  await setUp(talk, ORDER);
  talk.device.bases.set(1, 700);
  await talk.set(R.SET_VRING_ENABLE, words(1, 0));
  assert.equal(talk.device.running.size, 0);
  await setUp(talk, "enable");
  assert.equal(talk.device.running.get(1)!.base, 700);
  await talk.refused(R.SET_VRING_ENABLE, words(1, 2), [], /not by 2/);
});

Deno.test("vhost-user: GET_VRING_BASE stops a ring until the next SET_VRING_KICK", async () => {
  await using talk = await negotiated();
  await setUp(talk, ORDER);
  talk.device.bases.set(1, 65535);
  assert.deepEqual(await talk.ask(R.GET_VRING_BASE, words(1, 0)), words(1, 65535));
  assert.equal(talk.device.running.size, 0);
  await setUp(talk, "enable");
  assert.equal(talk.device.running.size, 0, "enabling does not start a stopped ring");
  assert.deepEqual(await talk.ask(R.GET_VRING_BASE, words(1, 0)), words(1, 65535), "asked again");
  await setUp(talk, "kick");
  assert.equal(talk.device.running.get(1)!.base, 65535);
  assert.deepEqual(await talk.ask(R.GET_VRING_BASE, words(2, 0)), words(2, 0), "never started");
});

Deno.test("vhost-user: SET_VRING_CALL on a running ring replaces the descriptor", async () => {
  await using talk = await negotiated();
  await setUp(talk, ORDER);
  const before = talk.device.running.get(1)!.callFd;
  await setUp(talk, "call");
  assert.notEqual(talk.device.running.get(1)!.callFd, before);
  await talk.set(R.SET_VRING_CALL, words(1n | VRING_NO_FD));
  assert.equal(talk.device.running.get(1)!.callFd, -1);
  assert.deepEqual(talk.device.calls, ["start 1", "call 1", "call 1"]);
});

Deno.test("vhost-user: SET_VRING_KICK without a descriptor asks for polling", async () => {
  await using talk = await negotiated();
  await setUp(talk, "num base addr call enable");
  await talk.set(R.SET_VRING_KICK, words(1n | VRING_NO_FD));
  assert.equal(talk.device.running.get(1)!.kickFd, -1);
});

Deno.test("vhost-user: settings of a running ring can change; the same again does nothing", async () => {
  await using talk = await negotiated();
  await setUp(talk, ORDER);
  talk.device.bases.set(1, 9);
  await talk.set(R.SET_VRING_ADDR, addresses(1));
  await talk.set(R.SET_VRING_NUM, words(1, 64));
  assert.deepEqual(talk.device.calls, ["start 1"]);
  await talk.set(R.SET_VRING_ADDR, addresses(1, 0x10000));
  assert.equal(talk.device.running.get(1)!.descriptors, 0x10000);
  assert.equal(talk.device.running.get(1)!.base, 9);
  const before = talk.device.running.get(1)!.kickFd;
  await setUp(talk, "kick");
  assert.notEqual(talk.device.running.get(1)!.kickFd, before);
  await talk.set(R.SET_VRING_BASE, words(1, 33));
  assert.equal(talk.device.running.get(1)!.base, 33);
});

Deno.test("vhost-user: SET_FEATURES on running rings, as QEMU repeats it", async () => {
  await using talk = await negotiated();
  await setUp(talk, ORDER);
  await talk.set(R.SET_FEATURES, words(mask(28n, 29n, 30n, 32n)));
  assert.deepEqual(talk.device.calls, ["start 1"]);
  await talk.set(R.SET_FEATURES, words(mask(28n, 30n, 32n)));
  assert.equal(talk.device.running.get(1)!.eventIdx, false);
});

Deno.test("vhost-user: a queue that cannot run is refused, and the ring stays as it was", async () => {
  await using talk = await negotiated();
  await setUp(talk, "call num base addr kick");
  talk.device.refusal = "the used ring lies outside the guest's memory";
  await talk.refused(
    R.SET_VRING_ENABLE,
    words(1, 1),
    [],
    /SET_VRING_ENABLE .* outside the guest's/,
  );
  assert.equal(talk.device.running.size, 0);
  talk.device.refusal = null;
  await setUp(talk, "enable");
  assert.equal(talk.device.running.size, 1);
});

Deno.test("vhost-user: a queue that cannot run drops a front end that wants no acknowledgement", async () => {
  await using talk = await negotiated();
  await setUp(talk, "call num base addr kick");
  talk.device.refusal = "no";
  talk.send(R.SET_VRING_ENABLE, words(1, 1));
  await talk.dropped(/SET_VRING_ENABLE cannot be done: no/);
});

Deno.test("vhost-user: bad ring messages are refused", async () => {
  await using talk = await negotiated();
  const fd = talk.eventfd();
  for (const size of [0, 3, 65536]) {
    await talk.refused(R.SET_VRING_NUM, words(1, size), [], /not a power of two/);
  }
  await talk.refused(R.SET_VRING_NUM, words(3, 64), [], /no ring 3, only 3/);
  await talk.refused(R.SET_VRING_BASE, words(1, 65536), [], /not an index of 16 bits/);
  await talk.refused(R.SET_VRING_ENABLE, words(0xffff_ffff, 1), [], /no ring 4294967295/);
  await talk.refused(R.SET_VRING_ADDR, addresses(1, 0x1000, 1), [], /dirty logging/);
  await talk.refused(
    R.SET_VRING_ADDR,
    words(1, 0, 2n ** 60n, 0n, 0n, 0n),
    [],
    /neither an address nor a size/,
  );
  await talk.refused(R.SET_VRING_KICK, words(1n), [], /descriptor is missing/);
  await talk.refused(R.SET_VRING_CALL, words(1n | VRING_NO_FD), [fd], /says that it has none/);
  await talk.refused(R.SET_VRING_ERR, words(3n), [fd], /no ring 3/);
  await talk.refused(R.SET_VRING_KICK, words(1n << 40n), [fd], /names no ring/);
  assert.deepEqual(talk.device.calls, []);
});

Deno.test("vhost-user: GET_VRING_BASE of no ring drops the connection", async () => {
  await using talk = await negotiated();
  const flags = FLAGS.VERSION | FLAGS.NEED_REPLY;
  talk.raw(encodeMessage(R.GET_VRING_BASE, flags, words(9, 0)));
  await talk.dropped(/GET_VRING_BASE cannot be done: there is no ring 9/);
});

Deno.test("vhost-user: RESET_DEVICE stops the rings and resets the device, memory stays", async () => {
  await using talk = await negotiated();
  await setUp(talk, ORDER);
  await talk.set(R.RESET_DEVICE);
  assert.deepEqual(talk.device.calls, ["start 1", "stop 1", "reset"]);
  await setUp(talk, "kick num addr base");
  assert.equal(talk.device.running.size, 0, "disabled until enabled again");
  await talk.set(R.SET_FEATURES, words(mask(29n, 30n, 32n)));
  await setUp(talk, "enable");
  assert.equal(talk.device.running.get(1)!.base, 5);
  assert.equal(talk.device.running.get(1)!.eventIdx, true);
});
