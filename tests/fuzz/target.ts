/**
 * What is fuzzed: a queue in plain memory, the server and the file system over a directory, in this thread.
 *
 * @module
 */

import { SharedVersions, VersionsThread } from "../../src/coherence/versions.ts";
import { Queue } from "../../src/device/queue.ts";
import { Recorder } from "../../src/device/recorder.ts";
import { FuseServer } from "../../src/fuse/server.ts";
import { Session } from "../../src/fuse/session.ts";
import { GuestMemory } from "../../src/memory/guest_memory.ts";
import { PassthroughFs } from "../../src/passthrough/passthrough_fs.ts";
import { HandleTable } from "../../src/state/handle_table.ts";
import { InodeTable } from "../../src/state/inode_table.ts";
import { STATE_HEADER } from "../../src/state/layout.ts";
import { LockTable } from "../../src/state/lock_table.ts";
import { QueueRecord } from "../../src/state/queue_record.ts";
import { StateMemory } from "../../src/state/state_memory.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { Chain as ServedChain } from "../../src/virtqueue/chain.ts";
import { NOTHING_ELSE } from "../state/fresh_state.ts";
import { AT, type Chain, INDIRECT, NEXT, QUEUE_SIZE } from "./chains.ts";
import { FakeWindow } from "./fake_window.ts";
import { modeConfig } from "./modes.ts";
import type { Random } from "./random.ts";

const DESC_SIZE = 16;
const INDIRECT_MAX = 64;

/** What became of one request. */
export interface Outcome {
  /** -1 = none was used: it waits, or the queue broke. */
  readonly used: number;
  readonly status: number;
  readonly broken: boolean;
}

/** What requests are put to. */
export interface FuzzTarget {
  /** What has been warned of since somebody looked. */
  readonly warnings: string[];
  /** Requests are put into it, and replies, at the places of `chains.ts`. */
  readonly memory: Pick<NativeMemory, "u8" | "view">;
  /** What is held for the guest: nothing but the root directory, when there is no session. */
  readonly held: string;
  /** Whether requests have been put aside. */
  readonly waits: boolean;
  /** What is at the beginning of an input must not depend on those before it. */
  rewind(): void;
  /** A new queue, as after a driver's reset. */
  restartQueue(): void;
  /** Puts a chain into the ring and has it served. Throws where the ring is not as it must be. */
  submit(chain: Chain, random: Random): Outcome;
  /** Tries again what was put aside. */
  retry(): void;
  /** The front end stops the queue and goes away. */
  disconnect(): void;
}

/** One file system in one mode, in this thread. */
export class Target implements FuzzTarget {
  readonly warnings: string[] = [];
  readonly memory: NativeMemory = NativeMemory.allocate(AT.END);
  readonly window = new FakeWindow();
  readonly #state = StateMemory.create();
  readonly #server: FuseServer;
  readonly #recorder: Recorder;
  readonly #record: QueueRecord;
  readonly #chain = new ServedChain();
  readonly #guest: GuestMemory;
  readonly #avail: Uint16Array;
  readonly #used: Uint16Array;
  readonly #inodes: InodeTable;
  readonly #handles: HandleTable;
  readonly #locks: LockTable;
  #queue!: Queue;
  #availIndex = 0;

  constructor(mode: string, sharedDir: string, versionTable: string) {
    const config = modeConfig(mode, sharedDir);
    const state = this.#state.memory;
    // What the daemon does at start: the file system asks it how many descriptors it has.
    if (state.u32[STATE_HEADER.FD_LIMIT >>> 2] === 0) {
      state.u32[STATE_HEADER.FD_LIMIT >>> 2] = 2000;
    }
    const warn = (message: string) => void this.warnings.push(message);
    const hasWindow = config.dax === "always";
    const versions = config.cache === "shared"
      ? SharedVersions.open({ path: versionTable, slotCount: 1 << 10, watchHost: false }, state)
      : null;
    const fs = new PassthroughFs(config, state, {
      warn,
      versions: versions === null ? null : new VersionsThread(versions.place, state, 0),
      ...(hasWindow || versions !== null) && {
        makeRegions: (_, files) => {
          this.window.serve(files, hasWindow);
          const region = { begin: () => 0, disconnect() {} };
          return { window: this.window, versions: versions === null ? null : region };
        },
      },
    });
    this.#record = new QueueRecord(state, 1);
    this.#recorder = new Recorder(this.#record);
    this.#server = new FuseServer(fs, new Session(state.u32, STATE_HEADER.SESSION >>> 2), {
      warn,
      trace: null,
      begin: (opcode, nodeid) => this.#recorder.begin(opcode, nodeid),
      count: (...counted) => this.#recorder.count(...counted),
    });
    this.#inodes = new InodeTable(state, NOTHING_ELSE);
    this.#handles = new HandleTable(state, () => {});
    this.#locks = new LockTable(state);
    const region = { guestAddress: 0, userAddress: 0, hostAddress: this.memory.address };
    this.#guest = new GuestMemory([{ ...region, size: AT.END }]);
    this.#avail = new Uint16Array(this.memory.u8.buffer, AT.AVAIL, 2 + QUEUE_SIZE + 1);
    this.#used = new Uint16Array(this.memory.u8.buffer, AT.USED, 2 + 4 * QUEUE_SIZE + 1);
    this.restartQueue();
  }

  get held(): string {
    const { count, rangeCount } = this.#locks;
    const locks = rangeCount === 0 ? `${count} locks` : `${count} locks of ${rangeCount} ranges`;
    return `${this.#inodes.count} inodes, ${this.#handles.count} handles, ${locks}, ` +
      `${this.window.count} mappings`;
  }

  get waits(): boolean {
    return this.#queue.waits;
  }

  rewind(): void {
    this.window.rewind();
  }

  restartQueue(): void {
    this.memory.u8.fill(0, 0, AT.INDIRECT);
    this.#availIndex = 0;
    const queue = Queue.create(
      {
        index: 1,
        size: QUEUE_SIZE,
        descriptors: AT.DESC,
        avail: AT.AVAIL,
        used: AT.USED,
        base: 0,
        eventIdx: true,
        kickFd: -1,
        callFd: -1,
      },
      this.#guest,
      {
        warn: (message) => void this.warnings.push(message),
        recorder: this.#recorder,
        record: this.#record,
      },
    );
    if (typeof queue === "string") throw new Error(queue);
    this.#queue = queue;
  }

  submit(chain: Chain, random: Random): Outcome {
    const { memory } = this;
    const { view } = memory;
    const { pieces, isSound } = chain;
    const isIndirect = chain.isIndirect && pieces.length <= INDIRECT_MAX;
    const start = isIndirect ? AT.INDIRECT : AT.DESC;
    const first = isIndirect ? 0 : random.below(QUEUE_SIZE - pieces.length);
    pieces.forEach((piece, i) => {
      const at = start + (first + i) * DESC_SIZE;
      memory.setU64(at, piece.address);
      view.setUint32(at + 8, piece.size, true);
      const isLast = i + 1 === pieces.length && piece.next === 0;
      view.setUint16(at + 12, piece.flags | (isLast ? 0 : NEXT), true);
      view.setUint16(at + 14, piece.next < 0 ? -1 - piece.next : first + i + 1, true);
    });
    let head = first;
    if (isIndirect) {
      head = random.below(QUEUE_SIZE);
      const at = AT.DESC + head * DESC_SIZE;
      memory.setU64(at, AT.INDIRECT);
      const odd = isSound ? 0 : random.below(3);
      view.setUint32(at + 8, pieces.length * DESC_SIZE + odd, true);
      view.setUint16(at + 12, INDIRECT, true);
    }
    if (!isSound && random.oneIn(10)) head = random.below(QUEUE_SIZE * 2);
    const before = this.#used[1]!;
    this.#avail[2 + (this.#availIndex & (QUEUE_SIZE - 1))] = head;
    this.#availIndex = (this.#availIndex + (!isSound && random.oneIn(12) ? random.below(100) : 1)) &
      0xffff;
    Atomics.store(this.#avail, 1, this.#availIndex);
    const waited = this.#queue.waits;
    this.#queue.serve(this.#server, this.#chain);
    const broken = this.warnings.some((warning) => warning.includes("is broken"));
    const count = (this.#used[1]! - before) & 0xffff;
    if (isSound) {
      if (broken && !this.warnings.some((warning) => warning.includes("more requests wait"))) {
        throw new Error(`a sound chain broke the queue: ${this.warnings.join("; ")}`);
      }
      if (count !== 1 && !broken && !(count === 0 && (this.#queue.waits || waited))) {
        throw new Error(`a sound chain was used ${count} times`);
      }
      if (count === 1) return this.#answer(chain, before, head);
    }
    return { used: -1, status: 0, broken };
  }

  #answer({ room, reply }: Chain, before: number, head: number): Outcome {
    const { view } = this.memory;
    const element = AT.USED + 4 + (before & (QUEUE_SIZE - 1)) * 8;
    const id = view.getUint32(element, true);
    const used = view.getUint32(element + 4, true);
    if (id !== head) throw new Error(`head ${head} was given back as ${id}`);
    if (reply === null && used <= room) return { used, status: 0, broken: false };
    return outcomeOf(view, used, room);
  }

  retry(): void {
    this.#queue.retry(this.#server, this.#chain);
  }

  disconnect(): void {
    this.#queue.interrupt(this.#server, this.#chain);
    this.#server.disconnect();
  }
}

/** Reads the reply at AT.REPLY. Throws if it is none. */
export function outcomeOf(view: DataView, used: number, room: number): Outcome {
  if (used > room) throw new Error(`${used} bytes used of a room of ${room}`);
  if (used === 0) return { used, status: 0, broken: false };
  if (used < 16) throw new Error(`a reply of ${used} bytes`);
  const length = view.getUint32(AT.REPLY, true);
  const status = view.getInt32(AT.REPLY + 4, true);
  if (length !== used) throw new Error(`a reply of ${used} bytes that says ${length}`);
  if (status > 0 || status <= -4096) throw new Error(`a reply with error ${status}`);
  if (status !== 0 && used !== 16) throw new Error(`error ${status} with a body`);
  return { used, status, broken: false };
}
