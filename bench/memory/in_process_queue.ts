/**
 * A whole request queue in this process: a ring in plain memory, `Queue`, `FuseServer` and `PassthroughFs` over a real
 * directory. What a guest, vhost-user and a second thread would add is left out, so that what is
 * measured is the daemon's own path from the ring to the system call and back.
 *
 * @module
 */

import { PASSTHROUGH_DEFAULTS, type PassthroughConfig } from "../../src/config.ts";
import { Queue } from "../../src/device/queue.ts";
import { Recorder } from "../../src/device/recorder.ts";
import { FuseServer } from "../../src/fuse/server.ts";
import { Session } from "../../src/fuse/session.ts";
import { GuestMemory } from "../../src/memory/guest_memory.ts";
import { PassthroughFs } from "../../src/passthrough/passthrough_fs.ts";
import { QueueRecord } from "../../src/state/queue_record.ts";
import { STATE_HEADER } from "../../src/state/layout.ts";
import { StateMemory } from "../../src/state/state_memory.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { Chain } from "../../src/virtqueue/chain.ts";
import { IN_HEADER, INIT_IN, Opcode, OUT_HEADER } from "../../src/wire/fuse.ts";
import { AVAIL, DESC, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from "../../src/wire/virtio_ring.ts";

const QUEUE_SIZE = 128;
/** Where things lie in the "guest's" memory: rings, then an area for each prepared request. */
const AT = { DESC: 0, AVAIL: 4096, USED: 8192, SLOTS: 16384 } as const;
/** Within a request's area. */
const SLOT = { REQUEST: 0, REPLY: 4096, DATA: 65536, SIZE: 131072 } as const;
const DESCRIPTORS_PER_SLOT = 4;
const SLOT_COUNT = 16;
const MEMORY_SIZE = AT.SLOTS + SLOT_COUNT * SLOT.SIZE;

/** A request that can be sent again and again. */
export interface PreparedRequest {
  /** The struct behind the header; to be changed between two sends, if need be. */
  readonly body: DataView;
  /** The body of the last reply. */
  readonly reply: DataView;
  /** Makes it available and has it served. Returns its status: 0 or a negative errno. */
  send(): number;
  /** The same; throws unless it succeeds. */
  sendChecked(): void;
}

/** The queue, and its driver's few lines. */
export class InProcessQueue {
  readonly #memory = NativeMemory.allocate(MEMORY_SIZE);
  readonly #queue: Queue;
  readonly #server: FuseServer;
  readonly #chain = new Chain();
  readonly state: NativeMemory;
  readonly #avail: Uint16Array;
  #availIdx = 0;
  #prepared = 0;

  /** Serves a directory; the calling thread becomes the queue's thread. */
  constructor(sharedDir: string, config: Partial<PassthroughConfig> = {}) {
    this.state = StateMemory.create().memory;
    const fs = new PassthroughFs({ ...PASSTHROUGH_DEFAULTS, ...config, sharedDir }, this.state);
    const session = new Session(this.state.u32, STATE_HEADER.SESSION >>> 2);
    const record = new QueueRecord(this.state, 1);
    const recorder = new Recorder(record);
    this.#server = new FuseServer(fs, session, {
      warn: (message) => console.error(message),
      trace: null,
      begin: (opcode, nodeid) => recorder.begin(opcode, nodeid),
      count: (opcode, status, bytesIn, bytesOut) =>
        recorder.count(opcode, status, bytesIn, bytesOut),
    });
    const guestMemory = new GuestMemory([{
      guestAddress: 0,
      userAddress: 0,
      hostAddress: this.#memory.address,
      size: MEMORY_SIZE,
    }]);
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
      guestMemory,
      { warn: (message) => console.error(message), recorder, record },
    );
    if (typeof queue === "string") throw new Error(queue);
    this.#queue = queue;
    this.#avail = new Uint16Array(this.#memory.u8.buffer, AT.AVAIL, 2 + QUEUE_SIZE);
    this.#init();
  }

  /** Makes a request: header, struct of `structSize` zeroes, name; room for data and reply. */
  prepare(
    opcode: number,
    nodeid: number,
    structSize: number,
    options: { readonly name?: string; readonly dataSize?: number; readonly replySize?: number } =
      {},
  ): PreparedRequest {
    if (this.#prepared === SLOT_COUNT) throw new Error("Too many prepared requests");
    const slot = this.#prepared++;
    const base = AT.SLOTS + slot * SLOT.SIZE;
    const { view, u8 } = this.#memory;
    const name = options.name === undefined ? [] : [...new TextEncoder().encode(options.name), 0];
    const dataSize = options.dataSize ?? 0;
    const requestSize = IN_HEADER.SIZE + structSize + name.length;
    view.setUint32(base + IN_HEADER.LEN, requestSize + dataSize, true);
    view.setUint32(base + IN_HEADER.OPCODE, opcode, true);
    view.setUint32(base + IN_HEADER.UNIQUE, 2, true);
    view.setUint32(base + IN_HEADER.NODEID, nodeid, true);
    u8.set(name, base + IN_HEADER.SIZE + structSize);
    const reply = base + SLOT.REPLY;
    const replySize = OUT_HEADER.SIZE + (options.replySize ?? 256);
    const buffers: [address: number, size: number, flags: number][] = [[base, requestSize, 0]];
    if (dataSize > 0) buffers.push([base + SLOT.DATA, dataSize, 0]);
    buffers.push([reply, replySize, VIRTQ_DESC_F_WRITE]);
    const head = slot * DESCRIPTORS_PER_SLOT;
    buffers.forEach(([address, size, flags], i) => {
      const at = AT.DESC + (head + i) * DESC.SIZE;
      this.#memory.setU64(at + DESC.ADDR, address);
      view.setUint32(at + DESC.LEN, size, true);
      const next = i + 1 < buffers.length;
      view.setUint16(at + DESC.FLAGS, flags | (next ? VIRTQ_DESC_F_NEXT : 0), true);
      view.setUint16(at + DESC.NEXT, head + i + 1, true);
    });
    const send = () => {
      this.#makeAvailable(head);
      this.#queue.serve(this.#server, this.#chain);
      return view.getInt32(reply + OUT_HEADER.ERROR, true);
    };
    return {
      body: new DataView(u8.buffer, base + IN_HEADER.SIZE, structSize),
      reply: new DataView(u8.buffer, reply + OUT_HEADER.SIZE, replySize - OUT_HEADER.SIZE),
      send,
      sendChecked: () => {
        const status = send();
        if (status !== 0) throw new Error(`Opcode ${opcode} failed with ${status}`);
      },
    };
  }

  #makeAvailable(head: number): void {
    this.#avail[AVAIL.RING / 2 + (this.#availIdx & (QUEUE_SIZE - 1))] = head;
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    Atomics.store(this.#avail, AVAIL.IDX / 2, this.#availIdx);
  }

  #init(): void {
    const init = this.prepare(Opcode.INIT, 0, INIT_IN.SIZE);
    init.body.setUint32(INIT_IN.MAJOR, 7, true);
    init.body.setUint32(INIT_IN.MINOR, 45, true);
    init.body.setUint32(INIT_IN.FLAGS, 0xffffffff, true);
    init.sendChecked();
  }
}
