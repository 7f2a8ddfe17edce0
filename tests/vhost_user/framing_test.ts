import assert from "node:assert/strict";
import { concat, viewOf, words } from "../support/little_endian.ts";
import { encodeMessage, FLAGS, mask, REQUEST } from "../support/vhost_messages.ts";
import { Conversation, until } from "./conversation.ts";

const OFFERED = mask(28n, 29n, 30n, 32n);

Deno.test("Connection takes a message that comes byte by byte", async () => {
  await using talk = new Conversation();
  for (const byte of encodeMessage(REQUEST.SET_FEATURES, FLAGS.VERSION, words(OFFERED))) {
    talk.raw(new Uint8Array([byte]));
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  assert.equal(await talk.askU64(REQUEST.GET_FEATURES), OFFERED);
});

Deno.test("Connection takes several messages that come at once", async () => {
  await using talk = new Conversation();
  const ask = encodeMessage(REQUEST.GET_FEATURES, FLAGS.VERSION, new Uint8Array(0));
  talk.raw(concat(ask, ask, ask));
  for (let i = 0; i < 3; i++) {
    assert.equal(viewOf((await talk.receive())!.payload).getBigUint64(0, true), OFFERED);
  }
});

Deno.test("Connection gives descriptors to the message that they came with", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  const size = 1 << 20;
  const payload = concat(words(0n), words(0n, BigInt(size), 0x1000n, 0n));
  const message = encodeMessage(REQUEST.ADD_MEM_REG, FLAGS.VERSION | FLAGS.NEED_REPLY, payload);
  // With the first byte, as everybody does; and with the payload, as nobody does but the socket allows.
  talk.raw(message.slice(0, 1), [talk.memfd(size)]);
  talk.raw(message.slice(1));
  assert.equal(viewOf((await talk.receive())!.payload).getBigUint64(0, true), 0n);
  viewOf(message).setBigUint64(12 + 8, BigInt(size), true);
  viewOf(message).setBigUint64(12 + 24, 0x20_0000n, true);
  talk.raw(message.slice(0, 12));
  talk.raw(message.slice(12), [talk.memfd(size)]);
  assert.equal(viewOf((await talk.receive())!.payload).getBigUint64(0, true), 0n);
  assert.equal(talk.device.regions.length, 2);
});

const violations: Record<string, [Uint8Array<ArrayBuffer>, RegExp]> = {
  "another version": [encodeMessage(REQUEST.GET_FEATURES, 2, new Uint8Array(0)), /version 2/],
  "a reply nobody asked for": [
    encodeMessage(REQUEST.GET_FEATURES, FLAGS.VERSION | FLAGS.REPLY, new Uint8Array(0)),
    /marked as a reply/,
  ],
  "a payload larger than any": [
    encodeMessage(REQUEST.SET_FEATURES, FLAGS.VERSION, words(0n), 0x7fff_ffff),
    /claims 2147483647 bytes/,
  ],
};
for (const [name, [bytes, reason]] of Object.entries(violations)) {
  Deno.test(`Connection drops a front end that sends ${name}`, async () => {
    await using talk = new Conversation();
    talk.raw(bytes);
    await talk.dropped(reason);
  });
}

Deno.test("Connection drops a front end that hangs up within a message", async () => {
  await using talk = new Conversation();
  talk.raw(encodeMessage(REQUEST.SET_FEATURES, FLAGS.VERSION, words(0n), 16));
  talk.hangUp();
  await talk.served;
  assert.equal(talk.log.length, 1);
  assert.match(talk.log[0]!, /hung up within a message/);
});

Deno.test("Connection drops a front end that sends more descriptors than a message can have", async () => {
  await using talk = new Conversation();
  const fd = talk.eventfd();
  const message = encodeMessage(REQUEST.SET_OWNER, FLAGS.VERSION, new Uint8Array(0));
  talk.raw(message, Array.from({ length: 40 }, () => fd));
  await talk.dropped(/file descriptors of a message were lost/);
});

Deno.test("Connection takes 32 descriptors, and the row says how many there may be", async () => {
  await using talk = new Conversation();
  await talk.negotiate();
  const fd = talk.eventfd();
  const fds = Array.from({ length: 32 }, () => fd);
  await talk.refused(REQUEST.SET_OWNER, new Uint8Array(0), fds, /32 file descriptors, not 0/);
  assert.equal(await talk.askU64(REQUEST.GET_FEATURES), OFFERED);
});

Deno.test("Connection ends when the signal is aborted, in the middle of a message too", async () => {
  for (const bytes of [0, 5, 14]) {
    await using talk = new Conversation();
    await talk.askU64(REQUEST.GET_FEATURES);
    const message = encodeMessage(REQUEST.SET_FEATURES, FLAGS.VERSION, words(0n));
    if (bytes > 0) talk.raw(message.slice(0, bytes));
    talk.controller.abort();
    await until("the end of the connection", () => talk.ended);
    assert.equal(await talk.receive(), null, "the socket is closed");
    assert.deepEqual(talk.log, []);
  }
});

Deno.test("Connection waits for a front end that does not read its replies", async () => {
  await using talk = new Conversation();
  // Each reply takes some 800 bytes of the socket's 200 KiB, so the back end cannot send them all at once.
  const count = 2_000;
  const ask = encodeMessage(REQUEST.GET_FEATURES, FLAGS.VERSION, new Uint8Array(0));
  talk.raw(concat(...Array(count).fill(ask)));
  for (let i = 0; i < count; i++) {
    assert.equal(viewOf((await talk.receive())!.payload).getBigUint64(0, true), OFFERED);
  }
});

Deno.test("Connection ends while it waits for a front end that does not read its replies", async () => {
  await using talk = new Conversation();
  const ask = encodeMessage(REQUEST.GET_FEATURES, FLAGS.VERSION, new Uint8Array(0));
  talk.raw(concat(...Array(2_000).fill(ask)));
  await new Promise((resolve) => setTimeout(resolve, 0));
  talk.controller.abort();
  await until("the end of the connection", () => talk.ended);
});
