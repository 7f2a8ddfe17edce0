import assert from "node:assert/strict";
import { acceptFrontend } from "../../src/vhost_user/accept.ts";
import { Backend } from "../../src/vhost_user/backend.ts";
import { openListener } from "../../src/vhost_user/listener.ts";
import { close, connectUnix } from "../support/libc.ts";
import { concat, words } from "../support/little_endian.ts";
import { encodeMessage, FLAGS, REQUEST } from "../support/vhost_messages.ts";
import { addresses, Conversation, logInto, region, table, until } from "./conversation.ts";
import { FakeDevice } from "./fake_device.ts";

const MIB = 1 << 20;

function descriptorCount(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** A front end that hands over one of everything. */
async function handEverythingOver(talk: Conversation): Promise<void> {
  await talk.negotiate();
  const fd = talk.memfd(2 * MIB);
  await talk.set(REQUEST.SET_MEM_TABLE, table(region(0, MIB, 0x1000)), [fd]);
  await talk.set(REQUEST.ADD_MEM_REG, concat(words(0n), region(MIB, MIB, 0x20_0000, MIB)), [fd]);
  await talk.set(REQUEST.SET_BACKEND_REQ_FD, words(), [talk.eventfd()]);
  for (let index = 0; index < 3; index++) {
    await talk.set(REQUEST.SET_VRING_NUM, words(index, 64));
    await talk.set(REQUEST.SET_VRING_ADDR, addresses(index));
    // Twice: what is replaced has to go as well.
    for (const request of [REQUEST.SET_VRING_KICK, REQUEST.SET_VRING_CALL, REQUEST.SET_VRING_ERR]) {
      await talk.set(request, words(BigInt(index)), [talk.eventfd()]);
      await talk.set(request, words(BigInt(index)), [talk.eventfd()]);
    }
    await talk.set(REQUEST.SET_VRING_ENABLE, words(index, 1));
  }
  await talk.refused(REQUEST.SET_VRING_KICK, words(9n), [talk.eventfd()], /no ring 9/);
  await talk.refused(REQUEST.SET_MEM_TABLE, table(), [fd, fd], /0 regions with 2/);
  talk.log.length = 0;
}

const ends: Record<string, (talk: Conversation) => void> = {
  "a hang-up": (talk) => talk.hangUp(),
  "an abort": (talk) => talk.controller.abort(),
  "a violation": (talk) => talk.raw(encodeMessage(1, 0, words(0n)), [talk.eventfd()]),
  "a hang-up within a message": (talk) => {
    talk.raw(encodeMessage(1, FLAGS.VERSION, words(0n), 16), [talk.eventfd()]);
    talk.hangUp();
  },
};
for (const [name, end] of Object.entries(ends)) {
  Deno.test(`Backend lets everything go after ${name}`, async () => {
    // What is made once and kept (scratch memory has no descriptors) is made by a first round.
    for (const round of [0, 1]) {
      const before = descriptorCount();
      const device = new FakeDevice();
      {
        await using talk = new Conversation(device);
        await handEverythingOver(talk);
        assert.equal(device.running.size, 3);
        device.calls.length = 0;
        end(talk);
        await until("the end", () => talk.ended);
      }
      assert.deepEqual(device.calls, ["stop 0", "stop 1", "stop 2", "reset", "memory"]);
      assert.equal(descriptorCount(), before, `round ${round}`);
    }
  });
}

Deno.test("Backend serves one front end after the other, each from the start", async () => {
  const device = new FakeDevice();
  const log: string[] = [];
  const backend = new Backend(device, logInto(log));
  for (let round = 0; round < 3; round++) {
    await using talk = new Conversation(device, backend, log);
    await handEverythingOver(talk);
    assert.equal(device.regions.length, 2);
  }
  // Nothing negotiated is left of the last one.
  await using talk = new Conversation(device, backend, log);
  talk.send(REQUEST.RESET_DEVICE);
  await talk.dropped(/RESET_DEVICE was not negotiated/);
});

Deno.test("Backend resets the device even for a front end that says nothing", async () => {
  const device = new FakeDevice();
  {
    await using _talk = new Conversation(device);
  }
  assert.deepEqual(device.calls, ["reset"]);
});

Deno.test("Backend lets everything go when the device fails", async () => {
  const before = descriptorCount();
  const device = new FakeDevice();
  device.setMemory = () => Promise.reject(new Error("out of order"));
  const talk = new Conversation(device);
  await talk.negotiate();
  talk.send(REQUEST.SET_MEM_TABLE, table(region(0, MIB, 0x1000)), [talk.memfd(MIB)]);
  await assert.rejects(talk.served, /out of order/);
  await assert.rejects(async () => await talk[Symbol.asyncDispose](), /out of order/);
  assert.equal(descriptorCount(), before);
});

Deno.test("acceptFrontend() takes front ends until it is aborted", async () => {
  const directory = Deno.makeTempDirSync();
  const listener = openListener({ kind: "path", path: `${directory}/socket`, group: null });
  const before = descriptorCount();
  const controller = new AbortController();
  for (let round = 0; round < 3; round++) {
    const accepted = acceptFrontend(listener.fd, controller.signal);
    const client = connectUnix(`${directory}/socket`);
    using frontend = await accepted;
    assert.ok(frontend !== null);
    assert.equal(frontend.closed, false);
    close(client);
  }
  const waiting = acceptFrontend(listener.fd, controller.signal);
  controller.abort();
  assert.equal(await waiting, null);
  assert.equal(await acceptFrontend(listener.fd, controller.signal), null, "aborted before");
  assert.equal(descriptorCount(), before);
  listener.close();
  Deno.removeSync(directory, { recursive: true });
});

Deno.test("acceptFrontend() says why it cannot accept", async () => {
  const directory = Deno.makeTempDirSync();
  const listener = openListener({ kind: "path", path: `${directory}/socket`, group: null });
  const client = connectUnix(`${directory}/socket`);
  // A connected socket that can be read from, and not accepted from.
  const frontend = await acceptFrontend(listener.fd, new AbortController().signal);
  close(client);
  const again = acceptFrontend(frontend!.number, new AbortController().signal);
  await assert.rejects(again, /Cannot accept a front end: EINVAL/);
  frontend!.close();
  listener.close();
  Deno.removeSync(directory, { recursive: true });
});
