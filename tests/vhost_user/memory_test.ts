import assert from "node:assert/strict";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { close, mapShared, open, socketPair } from "../support/libc.ts";
import { concat, words } from "../support/little_endian.ts";
import { REQUEST } from "../support/vhost_messages.ts";
import { Conversation, region, table } from "./conversation.ts";

const MIB = 1 << 20;

/** Lines of /proc/self/maps that show memory of ours called memfd:test. */
function mappingCount(): number {
  return Deno.readTextFileSync("/proc/self/maps").split("\n")
    .filter((line) => line.includes("/memfd:test")).length;
}

function single(payload: Uint8Array): Uint8Array {
  return concat(words(0n), payload);
}

async function negotiated(): Promise<Conversation> {
  const talk = new Conversation();
  await talk.negotiate();
  return talk;
}

Deno.test("vhost-user: SET_MEM_TABLE maps what the front end shares", async () => {
  await using talk = await negotiated();
  const fd = talk.memfd(4 * MIB);
  const theirs = mapShared(fd, 4 * MIB);
  // An offset within a page, too: libraries share what lies behind a header.
  await talk.set(
    REQUEST.SET_MEM_TABLE,
    table(region(0, MIB, 0x1000_0000), region(MIB, MIB, 0x2000_0000, MIB + 0x1234)),
    [fd, fd],
  );
  const [first, second] = talk.device.regions;
  assert.equal(first!.userAddress, 0x1000_0000);
  assert.equal(second!.guestAddress, MIB);
  assert.equal(second!.size, MIB);
  new Uint8Array(theirs.buffer)[MIB + 0x1234] = 42;
  const ours = new NativeMemory(second!.hostAddress, second!.size);
  assert.equal(ours.u8[0], 42);
  ours.u8[MIB - 1] = 7;
  assert.equal(new Uint8Array(theirs.buffer)[2 * MIB + 0x1233], 7);
  theirs.unmap();
});

Deno.test("vhost-user: SET_MEM_TABLE as User Mode Linux sends it, with room behind the last region", async () => {
  await using talk = await negotiated();
  const payload = concat(words(1, 0), region(0x8000, MIB, 0x8000, 0x8000), new Uint8Array(32));
  await talk.set(REQUEST.SET_MEM_TABLE, payload, [talk.memfd(2 * MIB)]);
  assert.equal(talk.device.regions[0]!.guestAddress, 0x8000);
});

Deno.test("vhost-user: SET_MEM_TABLE replaces the table and unmaps the old one", async () => {
  await using talk = await negotiated();
  const before = mappingCount();
  const fd = talk.memfd(MIB);
  await talk.set(REQUEST.SET_MEM_TABLE, table(region(0, MIB, 0x1000)), [fd]);
  await talk.set(REQUEST.SET_MEM_TABLE, table(region(MIB, MIB, 0x1000)), [fd]);
  assert.deepEqual(talk.device.calls, ["memory 0", `memory ${MIB}`]);
  assert.equal(mappingCount(), before + 1);
  talk.hangUp();
  await talk.served;
  assert.equal(mappingCount(), before);
  assert.deepEqual(talk.device.regions, []);
});

Deno.test("vhost-user: ADD_MEM_REG and REM_MEM_REG, with and without a descriptor", async () => {
  await using talk = await negotiated();
  const fd = talk.memfd(MIB);
  const before = mappingCount();
  const low = single(region(0, MIB, 0x1000));
  const high = single(region(MIB, MIB, 0x20_0000));
  await talk.set(REQUEST.ADD_MEM_REG, low, [fd]);
  await talk.set(REQUEST.ADD_MEM_REG, high, [fd]);
  assert.equal(mappingCount(), before + 2);
  await talk.set(REQUEST.REM_MEM_REG, low, [fd]);
  assert.equal(mappingCount(), before + 1);
  assert.deepEqual(talk.device.regions.map((one) => one.guestAddress), [MIB]);
  // The offset does not identify a region.
  await talk.set(REQUEST.REM_MEM_REG, single(region(MIB, MIB, 0x20_0000, 0x5000)), []);
  assert.equal(mappingCount(), before);
  await talk.refused(REQUEST.REM_MEM_REG, high, [], /no such region/);
});

Deno.test("vhost-user: ADD_MEM_REG has an end at GET_MAX_MEM_SLOTS", async () => {
  await using talk = await negotiated();
  const fd = talk.memfd(4096);
  const slot = (index: number) => single(region(index * 4096, 4096, (index + 1) * 4096));
  for (let index = 0; index < 509; index++) {
    await talk.set(REQUEST.ADD_MEM_REG, slot(index), [fd]);
  }
  await talk.refused(REQUEST.ADD_MEM_REG, slot(509), [fd], /all 509 memory slots/);
});

Deno.test("vhost-user: bad memory tables are refused and the old one stays", async () => {
  await using talk = await negotiated();
  const fd = talk.memfd(MIB);
  await talk.set(REQUEST.SET_MEM_TABLE, table(region(0, MIB, 0x1000)), [fd]);
  const before = mappingCount();
  const old = talk.device.regions;
  const set = REQUEST.SET_MEM_TABLE;
  const one = region(0, 0x1000, 0x1000);
  const next = region(0x1000, 0x1000, 0x8000);
  await talk.refused(set, words(2, 0), [fd, fd], /2 regions do not fit into 8 bytes/);
  await talk.refused(set, words(0x8000_0000, 0), [fd], /do not fit/);
  await talk.refused(set, words(1), [fd], /4 bytes of payload/);
  await talk.refused(set, table(one, next), [fd], /2 regions with 1 descriptors/);
  await talk.refused(set, table(one), [fd, fd], /1 regions with 2 descriptors/);
  await talk.refused(set, table(one), [], /1 regions with 0 descriptors/);
  await talk.refused(set, table(...Array(9).fill(one)), Array(8).fill(fd), /296 bytes/);
  await talk.refused(set, table(region(0, 0, 0x1000)), [fd], /has no bytes/);
  await talk.refused(
    set,
    table(one, region(0xfff, 0x1000, 0x8000)),
    [fd, fd],
    /overlap at guest address 0xfff/,
  );
  await talk.refused(
    set,
    table(one, region(0x1000, 0x1000, 0x1800)),
    [fd, fd],
    /overlap at front end address 0x1800/,
  );
  await talk.refused(set, table(region(0, MIB + 1, 0x1000)), [fd], /ends before the region does/);
  await talk.refused(set, table(region(0, MIB, 0x1000, 1)), [fd], /ends before the region does/);
  await talk.refused(set, table(region(2 ** 53 - 4096, MIB, 0x1000)), [fd], /beyond 2\^53/);
  const wild = table(words(2n ** 63n, 4096n, 0n, 0n));
  await talk.refused(set, wild, [fd], /neither an address nor a size/);
  await talk.refused(set, table(one), [talk.eventfd()], /cannot be used.*mmap failed/);
  const [left, right] = socketPair();
  // The first region can be mapped and must not stay so.
  await talk.refused(set, table(one, next), [fd, left], /region 1 cannot be used.*mmap failed/);
  close(left);
  close(right);
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, new Uint8Array(4096));
  const readOnly = open(path, 0);
  await talk.refused(set, table(one), [readOnly], /mmap failed with EACCES/);
  close(readOnly);
  Deno.removeSync(path);
  assert.equal(talk.device.regions, old, "the device heard of none of them");
  assert.equal(mappingCount(), before);
});

Deno.test("vhost-user: ADD_MEM_REG that overlaps what is there is refused", async () => {
  await using talk = await negotiated();
  const fd = talk.memfd(MIB);
  await talk.set(REQUEST.ADD_MEM_REG, single(region(0, MIB, 0x1000)), [fd]);
  await talk.refused(
    REQUEST.ADD_MEM_REG,
    single(region(MIB - 1, 1, 0x40_0000)),
    [fd],
    /overlap at guest address 0xfffff/,
  );
  await talk.refused(REQUEST.ADD_MEM_REG, single(region(MIB, 4096, 0)), [], /0 file descriptors/);
});
