/**
 * A daemon that answers INIT as it should and everything else with garbage of one kind, or with versions of inodes that cannot be
 * ("versions …"):
 *
 *     deno run -A tests/userspace_guest/garbage_daemon.ts SOCKET KIND
 *
 * @module
 */

import { GuestMemory, type RegionAddresses } from "../../src/memory/guest_memory.ts";
import { libc } from "../../src/sys/libc.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { acceptFrontend } from "../../src/vhost_user/accept.ts";
import { Backend } from "../../src/vhost_user/backend.ts";
import type { QueueSetup, VhostUserDevice } from "../../src/vhost_user/device.ts";
import { openListener } from "../../src/vhost_user/listener.ts";
import { Chain } from "../../src/virtqueue/chain.ts";
import { SplitQueue } from "../../src/virtqueue/split_queue.ts";

const [socketPath, kind] = Deno.args as [string, string];

const INIT = 26;
const FORGET = 2;
const LOOK_MS = 1;
const scratch = NativeMemory.allocate(65536);
const one = NativeMemory.allocate(8);
one.setU64(0, 1);

/** What a daemon says of versions. */
interface Lies {
  /** Bytes of region 1; 0: there is none. */
  readonly regionSize: number;
  /** What is mapped there. */
  readonly table?: Uint8Array<ArrayBuffer>;
  /** The index of each inode's slot. */
  readonly index: number;
}

/** A table of 512 slots with this layout version. */
function table(layout: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4096);
  bytes.set(new TextEncoder().encode("ShredVer"));
  const view = new DataView(bytes.buffer);
  view.setBigUint64(8, layout, true);
  view.setBigUint64(16, 512n, true);
  return bytes;
}

const LIES: Readonly<Record<string, Lies>> = {
  "versions without a region": { regionSize: 0, index: 8 },
  "versions, nothing mapped": { regionSize: 4096, index: 8 },
  "versions of another layout": { regionSize: 4096, table: table(2n), index: 8 },
  "versions, half a table": { regionSize: 8192, table: table(1n), index: 8 },
  "versions in slot 0": { regionSize: 4096, table: table(1n), index: 0 },
  "versions in the header": { regionSize: 4096, table: table(1n), index: 7 },
  "versions behind the end": { regionSize: 4096, table: table(1n), index: 512 },
  "versions far behind the end": { regionSize: 4096, table: table(1n), index: 2 ** 52 },
};
const lies = LIES[kind] ?? null;

/** Serves its rings from a timer. */
class GarbageDevice implements VhostUserDevice {
  readonly observer = { setConnected() {}, setFeatures() {}, setProtocolFeatures() {} };
  readonly queueCount = 2;
  readonly features = (1n << 32n) | (1n << 29n) | (1n << 28n);
  readonly shmemBit: number | null = lies === null ? null : 22;
  #channel = -1;
  readonly config = null;
  #memory = new GuestMemory([]);
  readonly #running = new Map<
    number,
    { setup: QueueSetup; ring: SplitQueue; timer: ReturnType<typeof setInterval> }
  >();

  setMemory(regions: readonly RegionAddresses[]): Promise<void> {
    this.#memory = new GuestMemory(regions);
    return Promise.resolve();
  }

  startQueue(setup: QueueSetup): Promise<string | null> {
    const ring = SplitQueue.create(this.#memory, setup);
    if (typeof ring === "string") return Promise.resolve(ring);
    const timer = setInterval(() => this.#serve(setup, ring), LOOK_MS);
    this.#running.set(setup.index, { setup, ring, timer });
    return Promise.resolve(null);
  }

  stopQueue(index: number): Promise<number> {
    const queue = this.#running.get(index)!;
    clearInterval(queue.timer);
    this.#running.delete(index);
    return Promise.resolve(queue.ring.base);
  }

  setCallFd(): Promise<void> {
    return Promise.resolve();
  }

  openShmem(): Promise<readonly number[]> {
    return Promise.resolve(lies === null ? [] : [0, lies.regionSize]);
  }

  setShmemChannel(fd: number): void {
    this.#channel = fd;
  }

  hasMapped(): boolean {
    return false;
  }

  addDataRegion(): boolean {
    return false;
  }

  removeDataRegion(): Promise<void> {
    return Promise.resolve();
  }

  reset(): Promise<void> {
    return Promise.resolve();
  }

  #serve(setup: QueueSetup, ring: SplitQueue): void {
    const chain = new Chain();
    while (ring.pop(chain)) {
      chain.copyIn(0, scratch, 0, Math.min(chain.readableSize, 4096));
      const opcode = scratch.view.getUint32(4, true);
      if (opcode === FORGET) ring.push(chain.head, 0);
      else if (opcode === INIT) {
        if (lies?.table !== undefined) mapTable(this.#channel, lies);
        ring.push(chain.head, init(chain));
      } else if (lies !== null) ring.push(chain.head, lie(chain, opcode, lies));
      else answer(ring, chain, setup, this.#memory);
      if (ring.publish() && setup.callFd >= 0) libc.write(setup.callFd, one.pointerAt(0), 8);
    }
  }
}

/** struct fuse_out_header at 8192 of the scratch memory, and its body behind it. */
const OUT = 8192;

function header(length: number, error: number, uniqueChange = 0): void {
  scratch.view.setUint32(OUT, length, true);
  scratch.view.setInt32(OUT + 4, error, true);
  scratch.view.setUint32(OUT + 8, scratch.view.getUint32(8, true) + uniqueChange, true);
  scratch.view.setUint32(OUT + 12, scratch.view.getUint32(12, true), true);
}

function init(chain: Chain): number {
  scratch.u8.fill(0, OUT, OUT + 80);
  header(80, 0);
  scratch.view.setUint32(OUT + 16, 7, true);
  scratch.view.setUint32(OUT + 20, 36, true);
  // ATOMIC_O_TRUNC, BIG_WRITES, MAX_PAGES, and INIT_EXT with SHARED_VERSIONS
  scratch.view.setUint32(OUT + 28, lies === null ? 0x400028 : 0x40400028, true);
  scratch.view.setUint32(OUT + 48, lies === null ? 0 : 0x40000000, true);
  scratch.view.setUint32(OUT + 36, 1 << 20, true);
  scratch.view.setUint16(OUT + 44, 256, true);
  chain.copyOut(0, scratch, OUT, 80);
  return 80;
}

const LOOKUP = 1;
const GETATTR = 3;
const REFUSED = -5;
/** Each answer is another size, so that one from a cache would show. */
let sizeToldLast = 0;

/** A file that is there, whatever is asked for, with attributes for a day and a version that is none. */
function lie(chain: Chain, opcode: number, { index }: Lies): number {
  scratch.u8.fill(0, OUT, OUT + 256);
  const attr = opcode === LOOKUP ? 40 : 16;
  const size = opcode === LOOKUP ? 16 + 128 + 16 : 16 + 104;
  if ((opcode !== LOOKUP && opcode !== GETATTR) || chain.writableSize < 16 + attr + 88) {
    header(16, REFUSED);
    chain.copyOut(0, scratch, OUT, 16);
    return 16;
  }
  // With a guest that did not ask for versions there is no room for one.
  const told = Math.min(size, chain.writableSize);
  header(told, 0);
  const body = OUT + 16;
  if (opcode === LOOKUP) {
    const isRoot = scratch.u8[40] === 0x2e;
    scratch.setU64(body, isRoot ? 1 : 2);
    scratch.setU64(body + 16, 86400);
    scratch.setU64(body + 24, 86400);
    scratch.setU64(body + 128, index);
    scratch.setU64(body + 136, 0x1000);
    scratch.view.setUint32(body + attr + 60, isRoot ? 0o40755 : 0o100644, true);
  } else {
    scratch.setU64(body, 86400);
    const isRoot = scratch.u64(16) === 1;
    scratch.view.setUint32(body + attr + 60, isRoot ? 0o40755 : 0o100644, true);
  }
  scratch.setU64(body + attr, 77);
  scratch.setU64(body + attr + 8, ++sizeToldLast);
  chain.copyOut(0, scratch, OUT, told);
  return told;
}

/** vhost-user: SHMEM_MAP of region 1, and its answer. */
function mapTable(channel: number, { table, regionSize }: Lies): void {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, table!);
  const fd = libc.open(new TextEncoder().encode(path + "\0"), 0, 0) as number;
  Deno.removeSync(path);
  const { view, u8, address } = scratch;
  const at = 16384;
  u8.fill(0, at, at + 512);
  view.setUint32(at, 9, true);
  view.setUint32(at + 4, 1 | 8, true);
  view.setUint32(at + 8, 40, true);
  u8[at + 12] = 1;
  scratch.setU64(at + 36, regionSize);
  // struct iovec, struct msghdr, and the descriptor behind them.
  scratch.setU64(at + 128, address + at);
  scratch.setU64(at + 136, 52);
  scratch.setU64(at + 160, address + at + 128);
  scratch.setU64(at + 168, 1);
  scratch.setU64(at + 176, address + at + 256);
  scratch.setU64(at + 184, 24);
  scratch.setU64(at + 256, 20);
  view.setInt32(at + 264, 1, true);
  view.setInt32(at + 268, 1, true);
  view.setInt32(at + 272, fd, true);
  libc.sendmsg(channel, scratch.pointerAt(at + 144), 0);
  libc.read(channel, scratch.pointerAt(at + 320), 20);
  libc.close(fd);
}

function answer(ring: SplitQueue, chain: Chain, setup: QueueSetup, memory: GuestMemory): void {
  const size = Math.min(chain.writableSize, 4096);
  for (let i = 16; i < size; i++) scratch.u8[OUT + i] = Math.random() * 256;
  const send = (used: number): void => {
    chain.copyOut(0, scratch, OUT, size);
    ring.push(chain.head, used);
  };
  const usedRing = (index: number, value: number): void => {
    const region = memory.regionOfUser(setup.used, 4)!;
    region.bytes.view.setUint16(setup.used - region.userAddress + index, value, true);
  };
  switch (kind) {
    case "short":
      header(size, 0);
      return send(8);
    case "length":
      header(size + 8, 0);
      return send(size);
    case "long":
      header(0x7fffffff, 0);
      return send(0x7fffffff);
    case "unique":
      header(size, 0, 2);
      return send(size);
    case "positive error":
      header(16, 5);
      return send(16);
    case "huge error":
      header(16, -5000);
      return send(16);
    case "error with a body":
      header(size, -2);
      return send(size);
    case "random body":
      header(size, 0);
      return send(size);
    case "wrong descriptor":
      header(16, 0);
      chain.copyOut(0, scratch, OUT, 16);
      return ring.push((chain.head + 7) % setup.size, 16);
    case "twice":
      header(16, -2);
      send(16);
      return ring.push(chain.head, 16);
    case "index":
      header(16, -2);
      send(16);
      ring.publish();
      usedRing(2, 30000);
      libc.write(setup.callFd, one.pointerAt(0), 8);
      return;
    case "silence":
      return;
    default:
      throw new Error(`there is no garbage called "${kind}"`);
  }
}

const log = { debug() {}, info() {}, warn: (text: string) => console.error(text) };
const listener = openListener({ kind: "path", path: socketPath, group: null });
const backend = new Backend(new GarbageDevice(), log);
const { signal } = new AbortController();
for (;;) {
  const socket = await acceptFrontend(listener.fd, signal);
  if (socket === null) break;
  await backend.serve(socket, signal);
}
