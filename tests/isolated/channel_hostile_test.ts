import { deepEqual, equal, ok } from "node:assert/strict";
import { Channel, channelPair } from "../../src/sandbox/channel.ts";
import { close, memfd } from "../support/libc.ts";
import { descriptorCount, DESCRIPTORS_MAX, HostileEnd } from "./hostile_end.ts";

const MESSAGE_SIZE_MAX = 256 * 1024;

/** A channel and the other end. */
class Line implements Disposable {
  readonly channel: Channel<unknown, unknown>;
  readonly other: HostileEnd;

  constructor() {
    const [ours, theirs] = channelPair();
    this.channel = new Channel(ours);
    this.other = new HostileEnd(theirs);
  }

  /** Receives what has been sent; false if it is no message. */
  receive(): boolean {
    try {
      this.channel.receiveSync()?.fd?.close();
      return true;
    } catch (error) {
      ok(error instanceof SyntaxError, String(error));
      return false;
    }
  }

  [Symbol.dispose](): void {
    this.channel.close();
    this.other[Symbol.dispose]();
  }
}

for (const [what, content] of [["JSON", '{"kind":"x"}'], ["not JSON", "{"], ["nothing", ""]]) {
  for (const count of [0, 1, 2, 3, 250, DESCRIPTORS_MAX]) {
    Deno.test(`${count} descriptors with ${what}: none is left in the receiver`, () => {
      using line = new Line();
      const fds = line.other.descriptors(count);
      const before = descriptorCount();
      for (let i = 0; i < 20; i++) {
        equal(line.other.trySend(content!, fds), true);
        line.receive();
      }
      equal(descriptorCount(), before);
    });
  }
}

Deno.test("of two descriptors the first arrives", () => {
  using line = new Line();
  const sent = ["first", "second"].map((name) => memfd(name, 1));
  line.other.trySend("{}", sent);
  const { fd } = line.channel.receiveSync()!;
  ok(Deno.readLinkSync(`/proc/self/fd/${fd!.number}`).startsWith("/memfd:first"));
  fd!.close();
  for (const own of sent) close(own);
});

Deno.test("values that are no messages arrive as what they are, and change nothing else", () => {
  using line = new Line();
  const values = ["null", "[]", '"text"', "5", "1e999", "-0", "true", "[[[[]]]]"]
    .concat('{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}')
    .concat("[".repeat(100_000) + "]".repeat(100_000));
  for (const value of values) {
    line.other.trySend(value);
    const received = line.channel.receiveSync()!;
    equal(received.fd, null);
    if (value.length < 100) deepEqual(received.message, JSON.parse(value));
  }
  equal(({} as Record<string, unknown>).polluted, undefined);
});

Deno.test("a message of 256 KiB arrives; a longer one is none, and the next one is whole", () => {
  using line = new Line();
  const text = (size: number) => `"${"x".repeat(size - 2)}"`;
  line.other.trySend(text(MESSAGE_SIZE_MAX));
  equal((line.channel.receiveSync()!.message as string).length, MESSAGE_SIZE_MAX - 2);
  for (const size of [MESSAGE_SIZE_MAX + 1, 2 * MESSAGE_SIZE_MAX]) {
    equal(line.other.trySend(text(size)), true);
    equal(line.receive(), false);
    line.other.trySend('"next"');
    equal(line.channel.receiveSync()!.message, "next");
  }
  equal(line.channel.send("x".repeat(MESSAGE_SIZE_MAX)), false);
});

Deno.test("bytes that are no UTF-8, and NULs, are no message", () => {
  using line = new Line();
  for (
    const bytes of [[0xff, 0xfe], [0], [0x7b, 0, 0x7d], [0xed, 0xa0, 0x80], [0xef, 0xbb, 0xbf]]
  ) {
    line.other.trySend(Uint8Array.from(bytes));
    equal(line.receive(), false);
  }
});

Deno.test("a queue that nobody reads: send() says so at once, and works again when it is read", () => {
  using line = new Line();
  const { channel } = line;
  const message = "x".repeat(10_000);
  let sent = 0;
  while (channel.send(message)) ok(++sent < 100_000, "the queue has no end");
  const before = performance.now();
  for (let i = 0; i < 100; i++) equal(channel.send(message), false);
  ok(performance.now() - before < 5000);
  for (let i = 0; i < sent; i++) equal(line.other.tryReceive()!.message, message);
  equal(channel.send(message), true);
});

Deno.test("an empty message, or the other end's going, is the end", async () => {
  using line = new Line();
  line.other.trySend("1");
  line.other.trySend("");
  line.other.trySend("2");
  const seen: unknown[] = [];
  for await (const { message } of line.channel.messages(new AbortController().signal)) {
    seen.push(message);
  }
  deepEqual(seen, [1]);
  line.other[Symbol.dispose]();
  equal(line.channel.receiveSync()!.message, 2);
  equal(line.channel.receiveSync(), null);
  equal(line.channel.send("anybody?"), false);
});
