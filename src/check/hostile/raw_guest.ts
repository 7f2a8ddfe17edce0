/**
 * A guest that writes its requests and its ring by hand, so that it can get them wrong.
 *
 * @module
 */

import { errnoName } from "../../sys/errno.ts";
import { libc } from "../../sys/libc.ts";
import { NativeMemory } from "../../sys/native_memory.ts";
import { WaitSet } from "../../sys/wait_set.ts";
import { EPOLLERR, EPOLLHUP } from "../../wire/linux.ts";
import { FUSE_SETXATTR_EXT, IN_HEADER, INIT_IN, Opcode, OUT_HEADER } from "../../wire/fuse.ts";
import { FIRST_REQUEST_QUEUE } from "../../wire/virtio_fs.ts";
import {
  AVAIL,
  DESC,
  USED,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "../../wire/virtio_ring.ts";
import { ringLayout } from "../../guest/driver/driver_ring.ts";
import { type Doorbells, Frontend, type RingLayout } from "../../guest/frontend/frontend.ts";
import type { Secrets } from "./secrets.ts";

/** Entries of the ring; each request takes two. */
export const RING_SIZE = 128;
/** Requests that can be outstanding. */
export const SLOTS = RING_SIZE / 2;
const REQUEST_SIZE = 8192;
const REPLY_SIZE = 72 * 1024;
const SLOT_SIZE = REQUEST_SIZE + REPLY_SIZE;
/** Room of a reply unless something else is asked for. */
export const ROOM = 4096;
const MEMORY_SIZE = 8 * 1024 * 1024;
const PATIENCE_MS = 20_000;
const LOOK_MS = 50;

const ONE = NativeMemory.allocate(4096);
ONE.setU64(0, 1);
const ONE_POINTER = ONE.pointerAt(0);

/** The daemon does not answer any more; the message says why. */
export class NoAnswer extends Error {}

/** What came back. */
export interface Answer {
  /** 0 or a negative errno. */
  readonly status: number;
  readonly body: DataView<ArrayBuffer>;
}

/** One descriptor, as it is written. */
export interface Descriptor {
  readonly address: number;
  readonly size: number;
  readonly flags: number;
  readonly next: number;
}

/** One connection with one request queue. */
export class RawGuest {
  readonly frontend: Frontend;
  readonly memory: NativeMemory;
  readonly secrets: Secrets;
  readonly layout: RingLayout;
  /** Where data and indirect tables may lie. */
  readonly spare: number;
  /** How long the daemon may take. */
  patienceMs = PATIENCE_MS;
  readonly #doorbells: Doorbells;
  readonly #slots: number;
  readonly #avail: Uint16Array<ArrayBuffer>;
  readonly #used: Uint16Array<ArrayBuffer>;
  readonly #waitSet = new WaitSet();
  readonly #answered = new Set<number>();
  readonly #sent = new Set<number>();
  /** As they were sent: in memory they may have changed. */
  readonly #opcodes = new Uint32Array(SLOTS);
  #availIndex = 0;
  #usedIndex = 0;
  #unique = 0;
  #isGone = false;

  private constructor(
    frontend: Frontend,
    secrets: Secrets,
    layout: RingLayout,
    doorbells: Doorbells,
  ) {
    this.frontend = frontend;
    this.secrets = secrets;
    this.layout = layout;
    this.#doorbells = doorbells;
    this.memory = frontend.memory.bytes;
    const { buffer } = this.memory.u8;
    this.#avail = new Uint16Array(buffer, layout.avail, AVAIL.RING / 2 + RING_SIZE + 1);
    this.#used = new Uint16Array(buffer, layout.used, USED.RING / 2 + RING_SIZE * 4 + 1);
    this.#slots = frontend.memory.allocate(SLOTS * SLOT_SIZE);
    this.spare = frontend.memory.allocate(1024 * 1024);
    const { backendChannel } = frontend;
    for (const fd of [doorbells.call, frontend.socketFd, backendChannel?.fd ?? -1]) {
      if (fd >= 0) this.#waitSet.add(fd);
    }
  }

  /** Connects and starts a session that offers the daemon these flags. */
  static async connect(
    socketPath: string,
    secrets: Secrets,
    flags: readonly [number, number] = [ALL_FLAGS, 0],
  ): Promise<RawGuest> {
    const memorySize = MEMORY_SIZE;
    const frontend = await Frontend.connect({ socketPath, memorySize, timeoutMs: PATIENCE_MS });
    try {
      const hiprio = ringLayout(
        frontend.memory.allocate(ringLayout(0, RING_SIZE).length),
        RING_SIZE,
      );
      await frontend.startQueue(0, hiprio);
      const layout = ringLayout(
        frontend.memory.allocate(ringLayout(0, RING_SIZE).length),
        RING_SIZE,
      );
      const doorbells = await frontend.startQueue(FIRST_REQUEST_QUEUE, layout);
      const guest = new RawGuest(frontend, secrets, layout, doorbells);
      const { status } = guest.init(flags);
      if (status < 0) throw new NoAnswer(`INIT was answered with ${errnoName(status)}`);
      return guest;
    } catch (error) {
      frontend.close();
      throw error;
    }
  }

  init([low, high]: readonly [number, number]): Answer {
    const body = new DataView(new ArrayBuffer(INIT_IN.SIZE));
    body.setUint32(INIT_IN.MAJOR, 7, true);
    body.setUint32(INIT_IN.MINOR, 38, true);
    body.setUint32(INIT_IN.FLAGS, low, true);
    body.setUint32(INIT_IN.FLAGS2, high, true);
    return this.call(Opcode.INIT, 0n, new Uint8Array(body.buffer));
  }

  /** One request and its answer. */
  call(opcode: number, nodeid: bigint, body: Uint8Array = NOTHING, room = ROOM): Answer {
    const slot = this.post(opcode, nodeid, body, room);
    this.kick();
    return this.await(slot);
  }

  /** Writes a request; {@linkcode RawGuest.kick} shows it. Returns its slot. */
  post(opcode: number, nodeid: bigint, body: Uint8Array = NOTHING, room = ROOM): number {
    const slot = this.freeSlot();
    const at = this.requestAt(slot);
    const { view, u8 } = this.memory;
    u8.fill(0, at, at + IN_HEADER.SIZE);
    const size = IN_HEADER.SIZE + body.length;
    this.#unique += 2;
    view.setUint32(at + IN_HEADER.LEN, size, true);
    view.setUint32(at + IN_HEADER.OPCODE, opcode, true);
    view.setUint32(at + IN_HEADER.UNIQUE, this.#unique, true);
    view.setBigUint64(at + IN_HEADER.NODEID, nodeid, true);
    view.setUint32(at + IN_HEADER.PID, 1, true);
    u8.set(body, at + IN_HEADER.SIZE);
    const reply = this.replyAt(slot);
    view.setInt32(reply + OUT_HEADER.ERROR, 0, true);
    view.setUint32(reply + OUT_HEADER.LEN, 0, true);
    this.describe(
      2 * slot,
      [{ address: at, size, flags: 0, next: 0 }, {
        address: reply,
        size: room === 0 ? 0 : OUT_HEADER.SIZE + room,
        flags: VIRTQ_DESC_F_WRITE,
        next: 0,
      }].slice(0, room === 0 ? 1 : 2),
    );
    this.offer(2 * slot);
    this.#sent.add(slot);
    this.#opcodes[slot] = opcode;
    // An answer that nobody looked at is no answer to this.
    this.#answered.delete(slot);
    return slot;
  }

  /** A slot whose request has come back. */
  freeSlot(): number {
    for (let i = 0; i < SLOTS; i++) {
      const slot = (this.#unique / 2 + i) % SLOTS;
      if (!this.#sent.has(slot)) return slot;
    }
    throw new Error("All slots are taken");
  }

  requestAt(slot: number): number {
    return this.#slots + slot * SLOT_SIZE;
  }

  replyAt(slot: number): number {
    return this.requestAt(slot) + REQUEST_SIZE;
  }

  /** Writes descriptors from this index on, each with the next, but where they say something else. */
  describe(
    first: number,
    descriptors: readonly Descriptor[],
    table = this.layout.descriptors,
  ): void {
    const { view } = this.memory;
    descriptors.forEach(({ address, size, flags, next }, i) => {
      const at = table + (first + i) * DESC.SIZE;
      this.memory.setU64(at + DESC.ADDR, address);
      view.setUint32(at + DESC.LEN, size, true);
      const follows = i + 1 < descriptors.length && next === 0;
      view.setUint16(at + DESC.FLAGS, flags | (follows ? VIRTQ_DESC_F_NEXT : 0), true);
      view.setUint16(at + DESC.NEXT, next === 0 ? first + i + 1 : next, true);
    });
  }

  /** Puts a head into the available ring, and the index on by `step`. */
  offer(head: number, step = 1): void {
    this.#avail[AVAIL.RING / 2 + (this.#availIndex & (RING_SIZE - 1))] = head;
    this.#availIndex = (this.#availIndex + step) & 0xffff;
  }

  /** Shows what was offered, and kicks. */
  kick(): void {
    // The used_event: each answer is to be told.
    Atomics.store(this.#avail, AVAIL.RING / 2 + RING_SIZE, this.#usedIndex);
    Atomics.store(this.#avail, AVAIL.IDX / 2, this.#availIndex);
    libc.write(this.#doorbells.kick, ONE_POINTER, 8);
  }

  /** Requests that have not come back. */
  get outstanding(): number {
    return this.#sent.size;
  }

  /** Takes back what is there; returns how many that were. */
  reap(): number {
    let count = 0;
    while (Atomics.load(this.#used, USED.IDX / 2) !== this.#usedIndex) {
      const entry = USED.RING / 2 + (this.#usedIndex & (RING_SIZE - 1)) * 4;
      const slot = this.#used[entry]! >>> 1;
      this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
      if (this.#sent.delete(slot)) this.#answered.add(slot);
      count++;
    }
    return count;
  }

  /** Waits for one request. Throws {@linkcode NoAnswer} when nothing comes. */
  await(slot: number): Answer {
    this.#until(() => this.#answered.has(slot));
    return this.answer(slot);
  }

  /** Waits for all. */
  awaitAll(): void {
    this.#until(() => this.#sent.size === 0);
  }

  /** The answer of a request that has come back. It is looked through for what no guest may see. */
  answer(slot: number): Answer {
    this.#answered.delete(slot);
    const at = this.replyAt(slot);
    const { view, u8 } = this.memory;
    const length = view.getUint32(at + OUT_HEADER.LEN, true);
    const status = view.getInt32(at + OUT_HEADER.ERROR, true);
    const end = Math.min(Math.max(length, OUT_HEADER.SIZE), REPLY_SIZE);
    const body = new DataView(u8.slice(at + OUT_HEADER.SIZE, at + end).buffer);
    if (status === 0) this.secrets.look(this.#opcodes[slot]!, body);
    return { status, body };
  }

  #until(done: () => boolean): void {
    const deadline = performance.now() + this.patienceMs;
    for (let i = 0; !done(); i++) {
      if (this.reap() > 0) continue;
      // Most answers come within the time of a few looks.
      if (i < 200) continue;
      if (this.#isGone) throw new NoAnswer("the daemon has hung up");
      if (performance.now() > deadline) {
        throw new NoAnswer(`nothing came back for ${Math.round(this.patienceMs / 1000)} s`);
      }
      Atomics.store(this.#avail, AVAIL.RING / 2 + RING_SIZE, this.#usedIndex);
      const ready = this.#waitSet.wait(LOOK_MS);
      for (let event = 0; event < ready; event++) {
        const gone = (this.#waitSet.readyEvents(event) & (EPOLLHUP | EPOLLERR)) !== 0;
        if (gone && this.#waitSet.readyFd(event) === this.frontend.socketFd) this.#isGone = true;
      }
      this.frontend.backendChannel?.serve();
    }
  }

  /** Hangs up, in the middle of whatever it is. */
  close(): void {
    this.#waitSet.close();
    this.frontend.close();
  }
}

/** But the one that makes SETXATTR's struct longer. */
const ALL_FLAGS = 0xffffffff - FUSE_SETXATTR_EXT;
const NOTHING = new Uint8Array(0);
