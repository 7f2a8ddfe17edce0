import { deepEqual, equal } from "node:assert/strict";
import fc from "fast-check";
import { Request } from "../../src/fuse/request.ts";
import {
  emptySecurityContext,
  securityContext,
  supplementaryGroups,
} from "../support/fuse_wire.ts";
import { concat, name, padded8, text, words } from "../support/little_endian.ts";
import { property } from "../virtqueue/property.ts";
import { FakeBuffers } from "./fake_buffers.ts";

const EINVAL = 22;
const WRITE = 16;
const MKDIR = 9;
const buffers = new FakeBuffers();

function raw(
  body: Uint8Array,
  other: { opcode?: number; length?: number; extensionUnits?: number; nodeid?: bigint } = {},
): Uint8Array {
  return concat(
    words(other.length ?? 40 + body.length, other.opcode ?? MKDIR, 77n, other.nodeid ?? 5n),
    words(1, 2, 3, other.extensionUnits ?? 0),
    body,
  );
}

function load(bytes: Uint8Array): [Request, number] {
  const request = new Request();
  buffers.load(bytes, 4096);
  return [request, request.load(buffers)];
}

Deno.test("load() reads the header", () => {
  const [request, status] = load(raw(new Uint8Array(8)));
  equal(status, 0);
  deepEqual(
    [request.opcode, request.uniqueLo, request.nodeid, request.uid, request.gid, request.pid],
    [MKDIR, 77, 5, 1, 2, 3],
  );
});

Deno.test("load() refuses what is shorter than a header or lies about its length", () => {
  for (const size of [0, 1, 39]) equal(load(raw(new Uint8Array()).slice(0, size))[1], -EINVAL);
  equal(load(raw(new Uint8Array(8), { length: 49 }))[1], -EINVAL);
  equal(load(raw(new Uint8Array(8), { length: 39 }))[1], -EINVAL);
  equal(load(raw(new Uint8Array(8), { length: 0xffffffff }))[1], -EINVAL);
  equal(load(raw(new Uint8Array(256 * 1024)))[1], -EINVAL);
  // A short request leaves nothing of the one before.
  const [request] = load(raw(new Uint8Array()).slice(0, 6));
  deepEqual([request.nodeid, request.uid, request.uniqueLo], [0, 0, 0]);
});

Deno.test("load() believes the header where the buffers are larger", () => {
  const [request, status] = load(raw(new Uint8Array(100), { length: 48 }));
  equal(status, 0);
  equal(request.size, 48);
});

Deno.test("load() leaves WRITE's data where they are", () => {
  const [request, status] = load(raw(new Uint8Array(40 + 1024 * 1024), { opcode: WRITE }));
  equal(status, 0);
  equal(request.size, 80);
});

Deno.test("a nodeid that no table can have becomes -1", () => {
  equal(load(raw(new Uint8Array(), { nodeid: 2n ** 32n }))[0].nodeid, -1);
  equal(load(raw(new Uint8Array(), { nodeid: 2n ** 64n - 1n }))[0].nodeid, -1);
  equal(load(raw(new Uint8Array(), { nodeid: 2n ** 32n - 1n }))[0].nodeid, 2 ** 32 - 1);
});

Deno.test("parse() finds names and the data behind them", () => {
  const [request] = load(raw(concat(words(1, 2), name("first"), name("second"), text("data"))));
  equal(request.parse(8, 2), true);
  equal(request.nameText(), "first");
  equal(request.name2Text(), "second");
  equal(request.dataSize, 4);
  equal(request.bytes.u8[request.dataOffset], "d".charCodeAt(0));
});

Deno.test("parse() refuses what ends too early", () => {
  equal(load(raw(words(1)))[0].parse(8, 0), false);
  equal(load(raw(words(1, 2)))[0].parse(8, 1), false);
  equal(load(raw(concat(words(1, 2), text("no-nul"))))[0].parse(8, 1), false);
  equal(load(raw(concat(words(1, 2), name("one"))))[0].parse(8, 2), false);
  // The NUL beyond the header's length does not count.
  equal(load(raw(name("abc"), { length: 43 }))[0].parse(0, 1), false);
});

Deno.test("extensions: a group and a label are found, names are not read into them", () => {
  const body = padded8(concat(words(0o755, 0), name("directory")));
  const extensions = concat(
    securityContext("security.selinux", text("label")),
    supplementaryGroups(1234, 99),
  );
  const [request] = load(raw(concat(body, extensions), { extensionUnits: extensions.length / 8 }));
  equal(request.parse(8, 1), true);
  equal(request.nameText(), "directory");
  equal(request.supplementaryGroup, 1234);
  const at = (offset: number, size: number): string =>
    new TextDecoder().decode(request.bytes.u8.slice(offset, offset + size));
  equal(at(request.labelNameOffset, request.labelNameSize), "security.selinux");
  equal(at(request.labelOffset, request.labelSize), "label");
  // The next request has neither.
  buffers.load(raw(body), 4096);
  request.load(buffers);
  request.parse(8, 1);
  deepEqual([request.supplementaryGroup, request.labelNameSize], [-1, 0]);
});

Deno.test("extensions: Linux 5.17 to 6.2 put a label behind the names without announcing it", () => {
  const label = securityContext("security.selinux", text("label"));
  const [request] = load(raw(concat(words(0o755, 0), name("directory"), label)));
  equal(request.parse(8, 1, true), true);
  equal(request.nameText(), "directory");
  equal(request.labelNameSize, "security.selinux".length);
  equal(request.labelSize, 5);
  // Guests that did not agree on labels send none: what follows a name is no extension then.
  const [other] = load(raw(concat(words(0o755, 0), name("directory"), label)));
  equal(other.parse(8, 1), true);
  equal(other.labelNameSize, 0);
});

Deno.test("extensions: none at all, no groups, unknown types", () => {
  for (const extensions of [emptySecurityContext(), supplementaryGroups(), words(16, 4711, 1, 2)]) {
    const units = extensions.length / 8;
    const [request] = load(raw(concat(padded8(name("x")), extensions), { extensionUnits: units }));
    equal(request.parse(0, 1), true);
    deepEqual([request.supplementaryGroup, request.labelNameSize], [-1, 0]);
  }
});

Deno.test("extensions that contradict themselves are refused", () => {
  const bad: [string, Uint8Array, number?][] = [
    ["longer than the request", words(8, 0), 100],
    ["a block smaller than its header", words(4, 32)],
    ["a block beyond the end", words(32, 32, 1, 2)],
    ["more groups than bytes", words(8 + 4, 32, 1, 0)],
    ["a group block without a count", words(8, 32)],
    ["a label without a NUL", words(8 + 8 + 8, 1, 1, 0, 0x61616161, 0x61616161)],
    ["a label beyond its block", padded8(concat(words(8 + 8 + 2, 1, 100, 0), name("a")))],
    ["a label without a name", words(8 + 8 + 8, 1, 1, 0, 0, 0)],
  ];
  for (const [what, extensions, units] of bad) {
    const extensionUnits = units ?? Math.ceil(extensions.length / 8);
    const [request] = load(
      raw(concat(padded8(name("x")), padded8(extensions)), { extensionUnits }),
    );
    equal(request.parse(0, 1), false, what);
  }
});

property(
  "whatever the bytes, parsing ends inside the request",
  import.meta.url,
  fc.record({
    body: fc.uint8Array({ maxLength: 120 }),
    units: fc.oneof(fc.nat(16), fc.nat(65535)),
    structSize: fc.constantFrom(0, 8, 16, 40),
    names: fc.nat(2),
    small: fc.boolean(),
  }),
  ({ body, units, structSize, names, small }) => {
    // Small numbers make blocks that nearly hold together.
    const bytes = small ? body.map((byte, i) => i % 4 === 0 ? byte % 40 : 0) : body;
    const [request, status] = load(raw(bytes, { extensionUnits: units }));
    equal(status, 0);
    if (!request.parse(structSize, names)) return;
    const end = 40 + bytes.length;
    equal(request.dataOffset + request.dataSize <= end, true);
    if (names > 0) equal(request.nameOffset + request.nameSize < end, true);
    if (names > 1) equal(request.name2Offset + request.name2Size < end, true);
    equal(request.labelOffset + request.labelSize <= end || request.labelNameSize === 0, true);
  },
  2000,
);
