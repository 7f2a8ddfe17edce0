/**
 * A daemon that answers INIT as it should and everything else with garbage of one kind:
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

/** Serves its rings from a timer. */
class GarbageDevice implements VhostUserDevice {
  readonly queueCount = 2;
  readonly features = (1n << 32n) | (1n << 29n) | (1n << 28n);
  readonly shmemBit: number | null = null;
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
    return Promise.resolve([]);
  }

  setShmemChannel(): void {}

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
      else if (opcode === INIT) ring.push(chain.head, init(chain));
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
  // ATOMIC_O_TRUNC, BIG_WRITES, MAX_PAGES
  scratch.view.setUint32(OUT + 28, 0x400028, true);
  scratch.view.setUint32(OUT + 36, 1 << 20, true);
  scratch.view.setUint16(OUT + 44, 256, true);
  chain.copyOut(0, scratch, OUT, 80);
  return 80;
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
