/**
 * A whole request queue in this process: a ring in plain memory, `Queue`, `FuseServer` and `PassthroughFs` over a real
 * directory. What a guest, vhost-user and a second thread would add is left out, so that what is
 * measured is the daemon's own path from the ring to the system call and back.
 *
 * @module
 */

import { PASSTHROUGH_DEFAULTS, type PassthroughConfig } from "../../src/config.ts";
import { Queue } from "../../src/device/queue.ts";
import { FuseServer } from "../../src/fuse/server.ts";
import { Session } from "../../src/fuse/session.ts";
import { GuestMemory } from "../../src/memory/guest_memory.ts";
import { PassthroughFs } from "../../src/passthrough/passthrough_fs.ts";
import { Counters } from "../../src/state/counters.ts";
import { STATE_HEADER } from "../../src/state/layout.ts";
import { StateMemory } from "../../src/state/state_memory.ts";
import { NativeMemory } from "../../src/sys/native_memory.ts";
import { Chain } from "../../src/virtqueue/chain.ts";
import { IN_HEADER, INIT_IN, Opcode, OUT_HEADER } from "../../src/wire/fuse.ts";
import { AVAIL, DESC, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from "../../src/wire/virtio_ring.ts";

const QUEUE_SIZE = 128;
/** Where things lie in the "guest's" memory. */
const AT = {
  DESC: 0,
  AVAIL: 4096,
  USED: 8192,
  REQUEST: 16384,
  DATA: 65536,
  REPLY: 131072,
} as const;
const MEMORY_SIZE = 4 * 1024 * 1024;

/** The queue, and its driver's few lines. */
export class InProcessQueue {
  readonly #memory = NativeMemory.allocate(MEMORY_SIZE);
  readonly #queue: Queue;
  readonly #server: FuseServer;
  readonly #chain = new Chain();
  readonly state: NativeMemory;
  readonly #avail: Uint16Array;
  #availIdx = 0;

  /** Serves a directory; the calling thread becomes the queue's thread. */
  constructor(sharedDir: string, config: Partial<PassthroughConfig> = {}) {
    this.state = StateMemory.create().memory;
    const fs = new PassthroughFs({ ...PASSTHROUGH_DEFAULTS, ...config, sharedDir }, this.state);
    const session = new Session(this.state.u32, STATE_HEADER.SESSION >>> 2);
    const counters = new Counters(this.state, 1);
    this.#server = new FuseServer(fs, session, {
      warn: (message) => console.error(message),
      trace: null,
      count: (opcode, status) => counters.count(opcode, status < 0),
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
      (message) => console.error(message),
    );
    if (typeof queue === "string") throw new Error(queue);
    this.#queue = queue;
    this.#avail = new Uint16Array(this.#memory.u8.buffer, AT.AVAIL, 2 + QUEUE_SIZE);
    this.#init();
  }

  /** Prepares a request; {@linkcode send} may then be called any number of times. Returns the struct's view. */
  prepare(
    opcode: number,
    nodeid: number,
    structSize: number,
    options: { readonly name?: string; readonly dataSize?: number; readonly replySize?: number },
  ): DataView {
    const { view, u8 } = this.#memory;
    const name = options.name === undefined ? [] : [...new TextEncoder().encode(options.name), 0];
    const dataSize = options.dataSize ?? 0;
    const requestSize = IN_HEADER.SIZE + structSize + name.length;
    u8.fill(0, AT.REQUEST, AT.REQUEST + requestSize);
    view.setUint32(AT.REQUEST + IN_HEADER.LEN, requestSize + dataSize, true);
    view.setUint32(AT.REQUEST + IN_HEADER.OPCODE, opcode, true);
    view.setUint32(AT.REQUEST + IN_HEADER.UNIQUE, 2, true);
    view.setUint32(AT.REQUEST + IN_HEADER.NODEID, nodeid, true);
    u8.set(name, AT.REQUEST + IN_HEADER.SIZE + structSize);
    const buffers: [address: number, size: number, flags: number][] = [[
      AT.REQUEST,
      requestSize,
      0,
    ]];
    if (dataSize > 0) buffers.push([AT.DATA, dataSize, 0]);
    const replySize = OUT_HEADER.SIZE + (options.replySize ?? 256);
    buffers.push([AT.REPLY, replySize, VIRTQ_DESC_F_WRITE]);
    buffers.forEach(([address, size, flags], i) => {
      const at = AT.DESC + i * DESC.SIZE;
      this.#memory.setU64(at + DESC.ADDR, address);
      view.setUint32(at + DESC.LEN, size, true);
      const next = i + 1 < buffers.length;
      view.setUint16(at + DESC.FLAGS, flags | (next ? VIRTQ_DESC_F_NEXT : 0), true);
      view.setUint16(at + DESC.NEXT, i + 1, true);
    });
    return new DataView(this.#memory.u8.buffer, AT.REQUEST + IN_HEADER.SIZE, structSize);
  }

  /** Makes the prepared request available and has it served. Returns its status: 0 or a negative errno. */
  send(): number {
    this.#avail[AVAIL.RING / 2 + (this.#availIdx & (QUEUE_SIZE - 1))] = 0;
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    Atomics.store(this.#avail, AVAIL.IDX / 2, this.#availIdx);
    this.#queue.serve(this.#server, this.#chain);
    return this.#memory.view.getInt32(AT.REPLY + OUT_HEADER.ERROR, true);
  }

  /** Sends the prepared request and throws unless it succeeds. */
  sendChecked(): void {
    const status = this.send();
    if (status !== 0) throw new Error(`The request failed with ${status}`);
  }

  /** A u32 of the last reply's body. */
  replyU32(offset: number): number {
    return this.#memory.view.getUint32(AT.REPLY + OUT_HEADER.SIZE + offset, true);
  }

  #init(): void {
    const init = this.prepare(Opcode.INIT, 0, INIT_IN.SIZE, {});
    init.setUint32(INIT_IN.MAJOR, 7, true);
    init.setUint32(INIT_IN.MINOR, 45, true);
    init.setUint32(INIT_IN.FLAGS, 0xffffffff, true);
    this.sendChecked();
  }
}
