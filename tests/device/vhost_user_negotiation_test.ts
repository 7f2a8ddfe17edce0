import assert from "node:assert/strict";
import { isRustPeer } from "../support/daemon.ts";
import { Frontend } from "../support/frontend.ts";
import { Guest } from "../support/guest.ts";
import { close } from "../support/libc.ts";
import { concat, viewOf, words } from "../support/little_endian.ts";
import { ServedTree } from "../support/served_tree.ts";
import {
  encodeMessage,
  FEATURE,
  FLAGS,
  mask,
  PROTOCOL,
  REQUEST,
} from "../support/vhost_messages.ts";

const QUEUES = isRustPeer ? 1 : 3;
const served = new ServedTree(isRustPeer ? [] : ["--num-request-queues", `${QUEUES}`]);

served.testWithoutGuest(
  "vhost-user: GET_FEATURES offers what a virtio 1 guest needs",
  ({ daemon }) => {
    const frontend = Frontend.connect(daemon.socketPath);
    const features = frontend.askU64(REQUEST.GET_FEATURES);
    const needed = mask(
      FEATURE.VERSION_1,
      FEATURE.PROTOCOL_FEATURES,
      FEATURE.INDIRECT_DESC,
      FEATURE.EVENT_IDX,
    );
    assert.equal(features & needed, needed);
    // Bit 0 is VIRTIO_FS_F_NOTIFICATION, which would move the request queues; bits 34 and 36 are the
    // packed ring and its order, 33 is the IOMMU: none of them is implemented by this kind of device.
    assert.equal(features & mask(0n, 33n, 34n), 0n);
    assert.equal(frontend.askU64(REQUEST.GET_FEATURES), features, "asked again");
    frontend.close();
  },
);

served.testWithoutGuest(
  "vhost-user: GET_PROTOCOL_FEATURES offers the set QEMU uses",
  ({ daemon }) => {
    const frontend = Frontend.connect(daemon.socketPath);
    frontend.askU64(REQUEST.GET_FEATURES);
    const offered = frontend.askU64(REQUEST.GET_PROTOCOL_FEATURES);
    for (
      const name of [
        "MQ",
        "REPLY_ACK",
        "BACKEND_REQ",
        "BACKEND_SEND_FD",
        "CONFIG",
        "CONFIGURE_MEM_SLOTS",
        "RESET_DEVICE",
      ] as const
    ) {
      assert.ok((offered >> PROTOCOL[name]) & 1n, name);
    }
    frontend.close();
  },
);

served.testWithoutGuest(
  "vhost-user: dirty logging is offered whole or not at all",
  ({ daemon }) => {
    const frontend = Frontend.connect(daemon.socketPath);
    const features = frontend.askU64(REQUEST.GET_FEATURES);
    const protocol = frontend.askU64(REQUEST.GET_PROTOCOL_FEATURES);
    assert.equal((features >> FEATURE.LOG_ALL) & 1n, (protocol >> PROTOCOL.LOG_SHMFD) & 1n);
    frontend.close();
  },
);

served.testWithoutGuest(
  "vhost-user: GET_QUEUE_NUM counts hiprio and the request queues",
  ({ daemon }) => {
    const frontend = Frontend.connect(daemon.socketPath);
    frontend.negotiate();
    assert.equal(frontend.askU64(REQUEST.GET_QUEUE_NUM), BigInt(1 + QUEUES));
    frontend.close();
  },
);

served.testWithoutGuest(
  "vhost-user: GET_MAX_MEM_SLOTS allows at least QEMU's minimum",
  ({ daemon }) => {
    const frontend = Frontend.connect(daemon.socketPath);
    frontend.negotiate();
    assert.ok(frontend.askU64(REQUEST.GET_MAX_MEM_SLOTS) >= 8n);
    frontend.close();
  },
);

served.testWithoutGuest("vhost-user: SET_FEATURES before SET_OWNER and twice", ({ daemon }) => {
  const frontend = Frontend.connect(daemon.socketPath);
  const features = frontend.askU64(REQUEST.GET_FEATURES) & mask(30n, 32n);
  const protocol = frontend.askU64(REQUEST.GET_PROTOCOL_FEATURES) & mask(PROTOCOL.REPLY_ACK);
  frontend.send(REQUEST.SET_PROTOCOL_FEATURES, words(protocol));
  frontend.protocolFeatures = protocol;
  frontend.set(REQUEST.SET_OWNER, new Uint8Array(0));
  frontend.set(REQUEST.SET_FEATURES, words(features));
  frontend.set(REQUEST.SET_FEATURES, words(features));
  frontend.close();
});

served.testWithoutGuest(
  "vhost-user: NEED_REPLY gets no answer unless REPLY_ACK was agreed",
  ({ daemon }) => {
    const frontend = Frontend.connect(daemon.socketPath);
    frontend.askU64(REQUEST.GET_FEATURES);
    frontend.askU64(REQUEST.GET_PROTOCOL_FEATURES);
    frontend.send(REQUEST.SET_PROTOCOL_FEATURES, words(mask(PROTOCOL.CONFIG)));
    const flags = FLAGS.VERSION | FLAGS.NEED_REPLY;
    frontend.sendRaw(encodeMessage(REQUEST.SET_OWNER, flags, new Uint8Array(0)));
    // The next message on the wire must answer the next question.
    frontend.askU64(REQUEST.GET_FEATURES);
    frontend.close();
  },
);

served.testWithoutGuest(
  "vhost-user: a request with NEED_REPLY and a reply of its own gets one reply",
  ({ daemon }) => {
    const frontend = Frontend.connect(daemon.socketPath);
    frontend.negotiate();
    const flags = FLAGS.VERSION | FLAGS.NEED_REPLY;
    frontend.sendRaw(encodeMessage(REQUEST.GET_QUEUE_NUM, flags, new Uint8Array(0)));
    assert.equal(frontend.receive()?.request, REQUEST.GET_QUEUE_NUM);
    frontend.askU64(REQUEST.GET_FEATURES);
    frontend.close();
  },
);

served.testWithoutGuest("vhost-user: GET_CONFIG gives tag and queue count", ({ daemon }) => {
  const frontend = Frontend.connect(daemon.socketPath);
  frontend.negotiate();
  const config = frontend.getConfig(0, 40);
  const tag = new TextDecoder().decode(config.subarray(0, 36)).replace(/\0+$/, "");
  assert.equal(tag, "tests");
  assert.equal(viewOf(config).getUint32(36, true), QUEUES);
  frontend.close();
});

served.testWithoutGuest(
  "vhost-user: GET_CONFIG byte by byte at growing sizes, as UML asks",
  ({ daemon }) => {
    const frontend = Frontend.connect(daemon.socketPath);
    frontend.negotiate();
    const whole = frontend.getConfig(0, 40);
    for (let size = 1; size <= 40; size += 1) {
      assert.deepEqual(frontend.getConfig(0, size), whole.subarray(0, size), `size ${size}`);
    }
    frontend.close();
  },
);

served.testWithoutGuest("vhost-user: GET_CONFIG of a part", ({ daemon }) => {
  const frontend = Frontend.connect(daemon.socketPath);
  frontend.negotiate();
  const whole = frontend.getConfig(0, 40);
  assert.deepEqual(frontend.getConfig(36, 4), whole.subarray(36));
  assert.deepEqual(frontend.getConfig(3, 7), whole.subarray(3, 10));
  frontend.close();
});

served.testWithoutGuest(
  "vhost-user: GET_CONFIG beyond the config space is refused",
  ({ daemon }) => {
    const frontend = Frontend.connect(daemon.socketPath);
    frontend.negotiate();
    frontend.send(REQUEST.GET_CONFIG, concat(words(0x10000, 4, 0), new Uint8Array(4)));
    const reply = frontend.receive();
    // The specification: a payload of size 0 says "error". Hanging up is the other honest answer.
    assert.ok(reply === null || reply.payload.length === 0, "no bytes from outside");
    frontend.close();
  },
);

served.testWithoutGuest("vhost-user: the driver cannot write the config space", ({ daemon }) => {
  const frontend = Frontend.connect(daemon.socketPath);
  frontend.negotiate();
  const whole = frontend.getConfig(0, 40);
  const change = concat(words(0, 4, 0), words(0x41414141));
  const status = frontend.acknowledge(REQUEST.SET_CONFIG, change);
  if (status !== null) assert.deepEqual(frontend.getConfig(0, 40), whole);
  frontend.close();
});

served.testWithoutGuest("vhost-user: SET_BACKEND_REQ_FD keeps the channel open", ({ daemon }) => {
  const guest = Guest.connect(daemon.socketPath);
  const channel = guest.frontend.setBackendReqFd();
  assert.equal(guest.fuse.getattr(1n).mode & 0o170000, 0o040000);
  guest[Symbol.dispose]();
  close(channel);
});
