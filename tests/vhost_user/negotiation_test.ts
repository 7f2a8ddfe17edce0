import assert from "node:assert/strict";
import { concat, viewOf, words } from "../support/little_endian.ts";
import { encodeMessage, FLAGS, mask, PROTOCOL, REQUEST } from "../support/vhost_messages.ts";
import { Conversation } from "./conversation.ts";
import { FakeDevice } from "./fake_device.ts";

const P = PROTOCOL;
const ALWAYS = mask(
  P.MQ,
  P.REPLY_ACK,
  P.BACKEND_REQ,
  P.BACKEND_SEND_FD,
  P.RESET_DEVICE,
  P.CONFIGURE_MEM_SLOTS,
);

Deno.test("vhost-user: GET_FEATURES adds PROTOCOL_FEATURES to the device's", async () => {
  await using talk = new Conversation();
  assert.equal(await talk.askU64(REQUEST.GET_FEATURES), talk.device.features | mask(30n));
});

Deno.test("vhost-user: GET_PROTOCOL_FEATURES offers CONFIG where there is one", async () => {
  await using withTag = new Conversation();
  assert.equal(await withTag.askU64(REQUEST.GET_PROTOCOL_FEATURES), ALWAYS | mask(P.CONFIG));
  await using withoutTag = new Conversation(new FakeDevice(null));
  assert.equal(await withoutTag.askU64(REQUEST.GET_PROTOCOL_FEATURES), ALWAYS);
});

Deno.test("vhost-user: GET_QUEUE_NUM and GET_MAX_MEM_SLOTS", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  assert.equal(await talk.askU64(REQUEST.GET_QUEUE_NUM), 3n);
  assert.equal(await talk.askU64(REQUEST.GET_MAX_MEM_SLOTS), 509n);
});

Deno.test("vhost-user: features that were never offered are refused", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  await talk.refused(REQUEST.SET_FEATURES, words(mask(32n, 34n)), [], /0x400000000/);
  await talk.refused(
    REQUEST.SET_PROTOCOL_FEATURES,
    words(mask(P.REPLY_ACK, P.LOG_SHMFD, P.INFLIGHT_SHMFD)),
    [],
    /LOG_SHMFD INFLIGHT_SHMFD/,
  );
  // The refused word is not in force: REPLY_ACK and the rest still are.
  assert.equal(await talk.askU64(REQUEST.GET_MAX_MEM_SLOTS), 509n);
});

Deno.test("vhost-user: NEED_REPLY means nothing before REPLY_ACK is negotiated", async () => {
  await using talk = new Conversation();
  const flags = FLAGS.VERSION | FLAGS.NEED_REPLY;
  talk.raw(encodeMessage(REQUEST.SET_OWNER, flags, new Uint8Array(0)));
  assert.equal(await talk.askU64(REQUEST.GET_FEATURES), talk.device.features | mask(30n));
  // The message that negotiates it is itself acknowledged.
  await talk.set(REQUEST.SET_PROTOCOL_FEATURES, words(mask(P.REPLY_ACK)));
});

Deno.test("vhost-user: a message with a reply of its own is not acknowledged as well", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  const flags = FLAGS.VERSION | FLAGS.NEED_REPLY;
  talk.raw(encodeMessage(REQUEST.GET_QUEUE_NUM, flags, new Uint8Array(0)));
  assert.equal(viewOf((await talk.receive())!.payload).getBigUint64(0, true), 3n);
  assert.equal(await talk.askU64(REQUEST.GET_MAX_MEM_SLOTS), 509n);
});

Deno.test("vhost-user: an error drops the connection where no acknowledgement was asked for", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  talk.send(REQUEST.SET_FEATURES, words(mask(50n)));
  await talk.dropped(/SET_FEATURES cannot be done: features 0x4000000000000 were never offered/);
});

Deno.test("vhost-user: unknown messages", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  await talk.refused(4711, words(1, 2, 3), [talk.eventfd()], /message 4711 .* is not known/);
  await talk.refused(0, new Uint8Array(0), [], /message 0 .* is not known/);
  talk.log.length = 0;
  talk.send(4711);
  await talk.dropped(/message 4711 cannot be done: this message is not known/);
});

Deno.test("vhost-user: messages of features that are not offered", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  await talk.refused(REQUEST.SET_STATUS, words(0n), [], /SET_STATUS .* STATUS was not negotiated/);
  await talk.refused(REQUEST.SET_LOG_FD, new Uint8Array(0), [talk.eventfd()], /LOG_SHMFD/);
  await talk.refused(19, words(0n), [], /SEND_RARP .* RARP was not/);
});

for (const request of ["SET_LOG_BASE", "GET_INFLIGHT_FD", "GET_SHMEM_CONFIG"] as const) {
  Deno.test(`vhost-user: ${request}, whose reply has no "no", drops the connection`, async () => {
    await using talk = new Conversation();
    await talk.negotiate();
    const flags = FLAGS.VERSION | FLAGS.NEED_REPLY;
    talk.raw(encodeMessage(REQUEST[request], flags, new Uint8Array(0)));
    await talk.dropped(new RegExp(`${request} cannot be done: .* was not negotiated`));
  });
}

Deno.test("vhost-user: messages of features that were offered and not negotiated", async () => {
  await using talk = new Conversation();
  talk.send(REQUEST.SET_PROTOCOL_FEATURES, words(mask(P.REPLY_ACK)));
  await talk.refused(REQUEST.RESET_DEVICE, new Uint8Array(0), [], /RESET_DEVICE was not/);
  await talk.refused(REQUEST.SET_CONFIG, words(0, 0, 0), [], /CONFIG was not negotiated/);
  const fd = talk.eventfd();
  await talk.refused(REQUEST.SET_BACKEND_REQ_FD, new Uint8Array(0), [fd], /BACKEND_REQ was not/);
});

Deno.test("vhost-user: payload sizes and descriptor counts are checked", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  const fd = talk.eventfd();
  await talk.refused(REQUEST.SET_FEATURES, words(0), [], /4 bytes of payload, not 8/);
  await talk.refused(REQUEST.SET_FEATURES, words(0n, 0), [], /12 bytes of payload, not 8/);
  await talk.refused(REQUEST.SET_FEATURES, words(0n), [fd], /1 file descriptors, not 0/);
  await talk.refused(REQUEST.SET_VRING_ADDR, words(0, 0, 0n), [], /16 bytes of payload, not 40/);
  await talk.refused(REQUEST.SET_VRING_KICK, words(0n), [fd, fd], /2 file descriptors, not 0 to 1/);
  await talk.refused(REQUEST.SET_BACKEND_REQ_FD, words(), [], /0 file descriptors, not 1/);
  await talk.refused(REQUEST.SET_BACKEND_REQ_FD, words(0), [fd], /4 bytes of payload, not 0/);
});

/** The payload of GET_CONFIG and of its reply. */
function config(offset: number, size: number, bytes: Uint8Array): Uint8Array {
  return concat(words(offset, size, 0), bytes);
}

Deno.test("vhost-user: GET_CONFIG whole, in part, and beyond the end", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  const space = talk.device.config!;
  const ask = (offset: number, size: number) =>
    talk.ask(REQUEST.GET_CONFIG, config(offset, size, new Uint8Array(size)));
  assert.deepEqual(await ask(0, 40), config(0, 40, space));
  assert.deepEqual(await ask(36, 4), config(36, 4, space.slice(36)));
  // User Mode Linux: always from 0, one byte more at a time.
  for (let size = 1; size <= 44; size++) {
    const expected = new Uint8Array(size);
    expected.set(space.subarray(0, size));
    assert.deepEqual(await ask(0, size), config(0, size, expected), `size ${size}`);
  }
  // QEMU asks for all 256 bytes that a configuration space can have.
  assert.deepEqual((await ask(0, 256)).subarray(12, 52), space);
  assert.equal((await ask(0, 257)).length, 0, "an empty reply says no");
  assert.equal((await ask(0xffff_ffff, 4)).length, 0);
});

Deno.test("vhost-user: GET_CONFIG whose payload is not as long as its size says", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  const space = talk.device.config!;
  // Longer: the reply has the length of the request. Shorter: it has room for what was asked for.
  const long = await talk.ask(REQUEST.GET_CONFIG, config(0, 4, new Uint8Array(20)));
  assert.deepEqual(long, config(0, 4, concat(space.slice(0, 4), new Uint8Array(16))));
  const short = await talk.ask(REQUEST.GET_CONFIG, config(0, 40, new Uint8Array(0)));
  assert.deepEqual(short, config(0, 40, space));
  assert.equal((await talk.ask(REQUEST.GET_CONFIG, words(0))).length, 0);
});

Deno.test("vhost-user: SET_CONFIG is refused, the space is read-only", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  await talk.refused(REQUEST.SET_CONFIG, config(0, 4, words(1)), [], /read-only/);
});

Deno.test("vhost-user: RESET_OWNER changes nothing", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  await talk.set(REQUEST.RESET_OWNER);
  assert.deepEqual(talk.device.calls, []);
});
