import { equal } from "node:assert/strict";
import { BackendChannel } from "../../src/guest/frontend/backend_channel.ts";
import { ShmemRegion } from "../../src/guest/frontend/shmem_region.ts";
import { libc, status } from "../../src/sys/libc.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";

const PAGE = 4096;
const MAP = 9;
const UNMAP = 10;
const CONFIG_CHANGE = 2;
/** Version 1, need_reply. */
const ASKING = 1 | 8;
const memory = NativeMemory.allocate(4096);

interface Mapping {
  readonly id: number;
  readonly offset: number;
  readonly length: number;
  readonly fdOffset?: number;
  readonly writable?: boolean;
}

/** Sends a message of the daemon's, as the vhost-user specification lays it out, with a descriptor or none. */
function send(socket: number, request: number, mapping: Mapping | null, fd: number | null): void {
  const { view, u8, address } = memory;
  u8.fill(0);
  const size = mapping === null ? 0 : 40;
  view.setUint32(0, request, true);
  view.setUint32(4, ASKING, true);
  view.setUint32(8, size, true);
  if (mapping !== null) {
    u8[12] = mapping.id;
    memory.setU64(20, mapping.fdOffset ?? 0);
    memory.setU64(28, mapping.offset);
    memory.setU64(36, mapping.length);
    memory.setU64(44, mapping.writable === false ? 0 : 1);
  }
  // struct iovec at 1024, struct msghdr at 1040, control at 1104.
  memory.setU64(1024, address);
  memory.setU64(1032, 12 + size);
  memory.setU64(1040 + 16, address + 1024);
  memory.setU64(1040 + 24, 1);
  if (fd !== null) {
    memory.setU64(1104, 20);
    view.setInt32(1112, 1, true);
    view.setInt32(1116, 1, true);
    view.setInt32(1120, fd, true);
    memory.setU64(1040 + 32, address + 1104);
    memory.setU64(1040 + 40, 24);
  }
  equal(status(libc.sendmsg(socket, memory.pointerAt(1040), 0)), 12 + size);
}

/** The answer to the last message: 0, or something else. */
function answer(socket: number, request: number): bigint {
  equal(status(libc.read(socket, memory.pointerAt(2048), 20)), 20);
  equal(memory.view.getUint32(2048, true), request);
  equal(memory.view.getUint32(2052, true) & 7, 5, "version 1, a reply");
  return memory.view.getBigUint64(2060, true);
}

Deno.test("vhost-user: the daemon's SHMEM_MAP and SHMEM_UNMAP are done and answered", () => {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, new Uint8Array(2 * PAGE).fill(9));
  const fd = status(libc.open(new TextEncoder().encode(path + "\0"), 2, 0));
  using region = new ShmemRegion(8 * PAGE);
  const { channel, theirs } = BackendChannel.open(new Map([[0, region]]));
  const socket = theirs.number;
  const exchange = (request: number, mapping: Mapping | null, file: number | null): bigint => {
    send(socket, request, mapping, file);
    channel.serve();
    return answer(socket, request);
  };
  const before = [...Deno.readDirSync("/proc/self/fd")].length;
  equal(exchange(MAP, { id: 0, offset: PAGE, length: 2 * PAGE }, fd), 0n);
  equal(region.bytes.u8[PAGE], 9);
  const refused: readonly (readonly [number, Mapping | null, number | null])[] = [
    [MAP, { id: 0, offset: 2 * PAGE, length: PAGE }, fd],
    [MAP, { id: 1, offset: 0, length: PAGE }, fd],
    [MAP, { id: 0, offset: 7 * PAGE, length: 2 * PAGE }, fd],
    [MAP, { id: 0, offset: 5 * PAGE, length: PAGE }, null],
    [MAP, null, fd],
    [UNMAP, { id: 0, offset: PAGE, length: PAGE }, null],
    [77, null, null],
  ];
  for (const [request, mapping, file] of refused) {
    equal(exchange(request, mapping, file) === 0n, false, `${request} ${JSON.stringify(mapping)}`);
  }
  equal(exchange(CONFIG_CHANGE, null, null), 0n);
  equal(exchange(UNMAP, { id: 0, offset: PAGE, length: 2 * PAGE }, null), 0n);
  equal(region.mappings.size, 0);
  equal([...Deno.readDirSync("/proc/self/fd")].length, before, "descriptors were closed");
  // Two at once are both served; a hang-up in the middle of a message ends the channel, and nothing else.
  send(socket, CONFIG_CHANGE, null, null);
  send(socket, CONFIG_CHANGE, null, null);
  channel.serve();
  answer(socket, CONFIG_CHANGE);
  answer(socket, CONFIG_CHANGE);
  libc.write(socket, memory.pointerAt(0), 5);
  theirs.close();
  channel.serve();
  channel.serve();
  channel[Symbol.dispose]();
  libc.close(fd);
  Deno.removeSync(path);
});
